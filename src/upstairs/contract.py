"""What every meta-learner promises, and the door work that is written once for all of them.

A learner gives four pure functions and never sees a table, a label or a task id (`adaptation.Learner`). Everything else is
here: reading tables, targets and groups; fitting; adapting to one task or many; known tasks.

    MetaEstimator    fit · adapt · adapt_tasks          learned upstairs, across tasks
    AdaptedModel     update                             adapted downstairs, to one task
    AdaptedTasks     a Mapping task id -> AdaptedModel  adapted to many tasks at once
    all three        predict · predict_interval · predict_quantiles · predict_proba     (`answers`)
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from upstairs.adaptation import Learner, adapt, bytes_of, explain, locate, predict
from upstairs.answers import Answers, AnswersClasses, AnswersNumbers
from upstairs.errors import UpstairsError
from upstairs.prediction import Explanation
from upstairs.table import Columns, read_groups, read_target
from upstairs.target import check_labels, check_numbers
from upstairs.tasks import Tasks, group_rows, offsets_of

__all__ = ["AdaptedClassifier", "AdaptedRegressor", "AdaptedTasks", "Learner", "MetaClassifier", "MetaRegressor"]

MOST_KNOWN_ROWS = 150
"""Rows of a known task that a fitted meta-model keeps, to adapt to when it is asked about that task."""


class MetaEstimator(Answers, BaseEstimator):
    """A meta-learner: learns across tasks in `fit`, adapts to one or many in `adapt` and `adapt_tasks`.

    Subclasses are final and give ``learner`` and their parameters, among them ``random_state``.
    """

    learner: Learner

    def fit(self, X, y, groups=None):
        """Learn across tasks.

        Parameters
        ----------
        X : DataFrame (pandas, polars), Arrow table or ndarray, n rows
        y : array-like [n]
            Target; no missing values.
        groups : array-like [n], optional
            The task of each row. Without it all rows are one task.

        Returns
        -------
        self

        Raises
        ------
        UpstairsError
            A sentence that names the column, argument or row that can't be used.
        """
        self._validate_params()
        columns = Columns.learn(X)
        Z = columns.encode(X)
        target, n_classes = self._learn_target(read_target(y, len(Z)))
        if len(target) < 2:
            raise UpstairsError(
                "X holds 1 sample, but fit needs at least 2 rows, and in practice tens of tasks with some rows each."
            )
        tasks = _group(Z, target, groups, columns.levels)
        del Z  # learning is when memory is short
        if groups is not None and tasks.n_tasks < 2:
            raise UpstairsError(
                f"groups holds one task only, {tasks.ids[0]!r}: there is nothing to learn across tasks. "
                "Pass the column that tells tasks apart, or leave groups out to treat all rows as one task."
            )
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        state, info = self.learner.learn(tasks, n_classes, self.get_params(deep=False), rng)
        self.state_, self.info_ = state, info
        self.known_ = tasks.thin(MOST_KNOWN_ROWS, rng)
        self._set_columns(columns)
        return self

    def adapt(self, X, y) -> AdaptedModel:
        """Adapt to one new task.

        Parameters
        ----------
        X : table of s support rows
        y : array-like [s]

        Returns
        -------
        model : AdaptedRegressor or AdaptedClassifier
            Fitted; this meta-model is unchanged.
        """
        check_is_fitted(self)
        return self._adapted_model(self).fit(X, y)

    def adapt_tasks(self, X, y, groups) -> AdaptedTasks:
        """Adapt to many new tasks at once.

        Parameters
        ----------
        X : table of n support rows
        y : array-like [n]
        groups : array-like [n]
            The task of each row.

        Returns
        -------
        models : AdaptedTasks
            A Mapping from task id to adapted model that also predicts for rows of many tasks.
        """
        check_is_fitted(self)
        if groups is None:
            raise UpstairsError("adapt_tasks needs groups, the task of each row; for a single task call adapt(X, y).")
        return self._adapted_tasks(self, self._read_support(X, y, groups))

    def explain(self, X) -> Explanation | dict[Any, Explanation]:
        """Explain the zero-shot prediction of each row of X (see `Explanation`); for more than two classes, of each class."""
        check_is_fitted(self)
        return explain(self, adapt(self, self.known_.take(np.array([], int))), self.columns_.encode(X))

    def _ask(self, X, groups):
        check_is_fitted(self)
        Z = self.columns_.encode(X)
        if groups is None:
            asked, task = np.array([], int), np.full(len(Z), -1)
        else:
            asked, task = np.unique(locate(self.known_.ids, read_groups(groups, len(Z))), return_inverse=True)
            if len(asked) and asked[0] == -1:
                asked, task = asked[1:], task - 1
        adaptation = adapt(self, self.known_.take(asked), self.state_.fold[asked])
        return self, *predict(adaptation, Z, task)

    def _set_columns(self, columns: Columns) -> None:
        """What fit and load both leave of the columns, some of it for scikit-learn."""
        self.columns_ = columns
        self.n_features_in_ = len(columns.names)
        if columns.named:
            self.feature_names_in_ = np.array(columns.names, dtype=object)

    def _read_support(self, X: Any, y: Any, groups: Any) -> Tasks:
        Z = self.columns_.encode(X)
        return _group(Z, self._read_target(read_target(y, len(Z))), groups, self.columns_.levels)

    @abc.abstractmethod
    def _learn_target(self, y: np.ndarray) -> tuple[np.ndarray, int]:
        """Numbers or class codes [n] of a meta-train target, and the number of classes."""

    @abc.abstractmethod
    def _read_target(self, y: np.ndarray) -> np.ndarray:
        """Numbers or class codes [n] of a support's target."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class AdaptedModel(Answers, BaseEstimator):
    """A meta-model adapted to one task: a fitted scikit-learn predictor.

    Parameters
    ----------
    meta : fitted MetaEstimator
        It is shared, not copied.

    Attributes
    ----------
    support_ : Tasks
        The s rows that it was adapted to, as numbers.
    """

    def __init__(self, meta: MetaEstimator):
        self.meta = meta

    def fit(self, X, y, groups=None):
        """Adapt to these support rows, whatever this model was adapted to before; ``groups`` is ignored."""
        return self._set_support(self.meta._read_support(X, y, None))

    def update(self, X, y) -> AdaptedModel:
        """A new model, adapted to the rows of this one and the given ones: equal to adapting to all of them at once."""
        more = type(self)(self.meta).fit(X, y).support_
        both = self.support_._replace(
            X=np.concatenate([self.support_.X, more.X]),
            y=np.concatenate([self.support_.y, more.y]),
            offsets=offsets_of(self.support_.sizes + more.sizes),
        )
        return type(self)(self.meta)._set_support(both)

    def explain(self, X) -> Explanation | dict[Any, Explanation]:
        """Explain the prediction of each row of X (see `Explanation`); for more than two classes, of each class."""
        return explain(self.meta, self._adaptation, self.meta.columns_.encode(X))

    @property
    def nbytes(self) -> int:
        """Bytes of the support and of what was computed from it; what is shared with the meta-model doesn't count."""
        return bytes_of((self.support_, self._adaptation.adapted))

    def _set_support(self, support: Tasks):
        self.support_ = support
        self._adaptation = adapt(self.meta, support)
        return self

    def _ask(self, X, groups):
        Z = self.meta.columns_.encode(X)
        return self.meta, *predict(self._adaptation, Z, np.zeros(len(Z), int))

    def __sklearn_clone__(self):
        return type(self)(self.meta)


class AdaptedTasks(Answers, Mapping):
    """A meta-model adapted to many tasks at once: a Mapping from task id to adapted model.

    Parameters
    ----------
    meta : fitted MetaEstimator
    support : Tasks
        The rows of each task, as numbers.
    """

    def __init__(self, meta: MetaEstimator, support: Tasks):
        self.meta = meta
        self.support = support
        self._adaptation = adapt(meta, support)
        self._index = dict(zip(support.ids.tolist(), itertools.count()))

    def __getitem__(self, task) -> AdaptedModel:
        return self.meta._adapted_model(self.meta)._set_support(self.support.take(np.array([self._index[task]])))

    def __iter__(self) -> Iterator:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def _ask(self, X, groups):
        Z = self.meta.columns_.encode(X)
        if groups is None:
            raise UpstairsError("predict needs groups, the task of each row; for a single task ask models[task].")
        return self.meta, *predict(self._adaptation, Z, locate(self.support.ids, read_groups(groups, len(Z))))


class AdaptedRegressor(RegressorMixin, AnswersNumbers, AdaptedModel):
    __doc__ = AdaptedModel.__doc__


class AdaptedClassifier(ClassifierMixin, AnswersClasses, AdaptedModel):
    __doc__ = AdaptedModel.__doc__

    @property
    def classes_(self) -> np.ndarray:
        return self.meta.classes_


class AdaptedRegressors(AnswersNumbers, AdaptedTasks):
    __doc__ = AdaptedTasks.__doc__


class AdaptedClassifiers(AnswersClasses, AdaptedTasks):
    __doc__ = AdaptedTasks.__doc__


class MetaRegressor(RegressorMixin, AnswersNumbers, MetaEstimator):
    """A meta-learner of numbers."""

    _adapted_model, _adapted_tasks = AdaptedRegressor, AdaptedRegressors

    def _learn_target(self, y):
        return check_numbers(y), 0

    def _read_target(self, y):
        return check_numbers(y)


class MetaClassifier(ClassifierMixin, AnswersClasses, MetaEstimator):
    """A meta-learner of two or more classes."""

    _adapted_model, _adapted_tasks = AdaptedClassifier, AdaptedClassifiers

    def _learn_target(self, y):
        self.classes_, codes = check_labels(y)
        return codes, len(self.classes_)

    def _read_target(self, y):
        return check_labels(y, self.classes_)[1]


def _group(Z: np.ndarray, target: np.ndarray, groups: Any, levels: np.ndarray) -> Tasks:
    if groups is None:
        return Tasks(Z, target, np.array([0, len(Z)]), np.array([0]), levels)
    ids, codes = np.unique(read_groups(groups, len(Z)), return_inverse=True)
    order, offsets = group_rows(codes, len(ids))
    return Tasks(Z[order], target[order], offsets, ids, levels)
