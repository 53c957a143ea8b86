"""What every meta-learner promises, and the door work that is written once for all of them.

A learner gives four pure functions and never sees a table, a label or a task id (`Learner`). Everything else is here: reading
tables, targets and groups; fitting; adapting one task or many; predicting for unseen, adapted and known tasks, which is one
path: an adaptation to many supports, the last of which is empty and serves every row whose task is not known.

    MetaEstimator    fit · adapt · adapt_tasks          learned upstairs, across tasks
    AdaptedModel     update                             adapted downstairs, to one task
    AdaptedTasks     a Mapping task id -> AdaptedModel  adapted to many tasks at once
    all three        predict · predict_interval · predict_quantiles · predict_proba
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from upstairs.calibration import interval_factor
from upstairs.errors import UpstairsError
from upstairs.prediction import ClassPrediction, Explanation, Prediction, quantile
from upstairs.table import Columns, answer, read_groups, read_target, row_count
from upstairs.target import check_labels, check_numbers
from upstairs.tasks import Tasks, group_rows, offsets_of

__all__ = ["AdaptedClassifier", "AdaptedRegressor", "AdaptedTasks", "Learner", "MetaClassifier", "MetaRegressor"]

MOST_KNOWN_ROWS = 150
"""Rows of a known task that a fitted meta-model keeps, to adapt to when it is asked about that task."""


class Learner(NamedTuple):
    """The four functions of a meta-learner, and the types of what its fit leaves behind.

    learn : (tasks, n_classes, params, rng) -> state, info
        ``n_classes`` is 0 for regression. The state is a NamedTuple of arrays with at least the fields ``fold`` (int [T], the
        fold of each meta-train task), ``scale`` (`target.Scale`, or None for classes) and ``calibration``.
    adapt : (state, support, fold) -> adapted
        ``fold`` [T] names the part of the state that never saw a known task; it is -1 for an unseen one.
    predict : (state, adapted, query) -> Prediction | ClassPrediction
        Query and adapted hold the same tasks in the same order.
    explain : (state, adapted, query) -> one Explanation for numbers and two classes, C for C > 2 classes
        All query rows belong to the first task.
    state, info : type
        The NamedTuples that ``learn`` returns. Their annotations are all that `upstairs.load` needs to rebuild them, so each
        field is ndarray, int, float, bool, str, None, another NamedTuple, ``tuple[X, ...]`` or a union of these.
    """

    learn: Callable[[Tasks, int, dict, np.random.Generator], tuple[Any, Any]]
    adapt: Callable[[Any, Tasks, np.ndarray], Any]
    predict: Callable[[Any, Any, Tasks], Prediction | ClassPrediction]
    explain: Callable[[Any, Any, Tasks], tuple[Explanation, ...]]
    state: type
    info: type


class _Predicts(abc.ABC):
    """The public ways to ask, once for meta-models, adapted models and adapted tasks."""

    @abc.abstractmethod
    def _ask(self, X: Any, groups: Any) -> tuple[MetaEstimator, Prediction | ClassPrediction, np.ndarray]:
        """The fitted meta-model, its prediction for each row of X, and the support rows [n] behind each."""


class _PredictsNumbers(_Predicts):
    def predict(self, X, groups=None, return_std: bool = False):
        """Predict the mean of y.

        Parameters
        ----------
        X : table of n rows with the columns seen in fit
        groups : array-like [n], optional
            The task of each row. Rows of tasks that are not known get the zero-shot prediction.
        return_std : bool, default=False
            Also return the standard deviation.

        Returns
        -------
        mean : [n], in the kind of table that X is
        std : [n], only with ``return_std``
        """
        _, prediction, _ = self._ask(X, groups)
        mean = answer(X, prediction.mean, "prediction")
        return (mean, answer(X, prediction.std, "std")) if return_std else mean

    def predict_interval(self, X, coverage: float = 0.9, groups=None):
        """Predict an interval that covers y with the given probability on unseen tasks.

        Parameters
        ----------
        X : table of n rows
        coverage : float in (0, 1), default=0.9
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        interval : [n, 2], columns ``lower`` and ``upper``
        """
        if not 0 < coverage < 1:
            raise UpstairsError(f"coverage must lie between 0 and 1, as 0.9 does, but is {coverage}.")
        return self._quantiles(X, [(1 - coverage) / 2, (1 + coverage) / 2], groups, ["lower", "upper"])

    def predict_quantiles(self, X, quantiles=(0.1, 0.5, 0.9), groups=None):
        """Predict quantiles of y.

        Parameters
        ----------
        X : table of n rows
        quantiles : sequence of k floats in (0, 1)
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        quantiles : [n, k]
        """
        probabilities = np.atleast_1d(np.asarray(quantiles, float))
        if not ((probabilities > 0) & (probabilities < 1)).all():
            raise UpstairsError(f"quantiles must lie between 0 and 1, as 0.5 does, but are {list(probabilities)}.")
        return self._quantiles(X, probabilities, groups, [f"q{p:g}" for p in probabilities])

    def _quantiles(self, X, probabilities, groups, names):
        meta, prediction, shots = self._ask(X, groups)
        state = meta.state_
        columns = [
            quantile(prediction, state.scale, p, interval_factor(state.calibration, shots, abs(2 * p - 1)))
            for p in probabilities
        ]
        return answer(X, np.column_stack(columns), names)


class _PredictsClasses(_Predicts):
    def predict(self, X, groups=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : table of n rows with the columns seen in fit
        groups : array-like [n], optional
            The task of each row. Rows of tasks that are not known get the zero-shot prediction.

        Returns
        -------
        label : [n], in the kind of table that X is, with the user's own labels
        """
        meta, prediction, _ = self._ask(X, groups)
        return answer(X, meta.classes_[prediction.log_proba.argmax(axis=1)], "prediction")

    def predict_proba(self, X, groups=None):
        """Predict the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : table of n rows
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        probability : [n, C]
        """
        meta, prediction, _ = self._ask(X, groups)
        return answer(X, np.exp(prediction.log_proba), [str(label) for label in meta.classes_])


class MetaEstimator(_Predicts, BaseEstimator):
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
        target, n_classes = self._learn_target(read_target(y, row_count(X)))
        if len(target) < 2:
            raise UpstairsError("X holds 1 sample, but fit needs at least 2 rows, and in practice tens of tasks with some rows each.")
        tasks = _read_tasks(columns, X, target, groups)
        if groups is not None and tasks.n_tasks < 2:
            raise UpstairsError(
                f"groups holds one task only, {tasks.ids[0]!r}: there is nothing to learn across tasks. "
                "Pass the column that tells tasks apart, or leave groups out to treat all rows as one task."
            )
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        state, info = self.learner.learn(tasks, n_classes, self.get_params(deep=False), rng)
        self.columns_, self.state_, self.info_ = columns, state, info
        self.known_ = tasks.thin(MOST_KNOWN_ROWS, rng)
        self.n_features_in_ = len(columns.names)
        if columns.named:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
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
        support = _read_tasks(self.columns_, X, self._read_target(read_target(y, row_count(X))), groups)
        return self._adapted_tasks(self, support)

    def explain(self, X) -> Explanation | dict[Any, Explanation]:
        """Explain the zero-shot prediction of each row of X (see `Explanation`); for more than two classes, of each class."""
        check_is_fitted(self)
        return _explain(self, _adapt(self, self.known_.take(np.array([], int))), self.columns_.encode(X))

    def _ask(self, X, groups):
        check_is_fitted(self)
        Z = self.columns_.encode(X)
        if groups is None:
            asked, task = np.array([], int), np.full(len(Z), -1)
        else:
            asked, task = np.unique(_locate(self.known_.ids, read_groups(groups, len(Z))), return_inverse=True)
            if len(asked) and asked[0] == -1:
                asked, task = asked[1:], task - 1
        adaptation = _adapt(self, self.known_.take(asked), self.state_.fold[asked])
        return self, *_predict(adaptation, Z, task)

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


class AdaptedModel(_Predicts, BaseEstimator):
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
        target = self.meta._read_target(read_target(y, row_count(X)))
        return self._set_support(_read_tasks(self.meta.columns_, X, target, None))

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
        return _explain(self.meta, self._adaptation, self.meta.columns_.encode(X))

    def _set_support(self, support: Tasks):
        self.support_ = support
        self._adaptation = _adapt(self.meta, support)
        return self

    def _ask(self, X, groups):
        Z = self.meta.columns_.encode(X)
        return self.meta, *_predict(self._adaptation, Z, np.zeros(len(Z), int))

    def __sklearn_clone__(self):
        return type(self)(self.meta)


class AdaptedTasks(_Predicts, Mapping):
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
        self._adaptation = _adapt(meta, support)
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
        return self.meta, *_predict(self._adaptation, Z, _locate(self.support.ids, read_groups(groups, len(Z))))


class AdaptedRegressor(RegressorMixin, _PredictsNumbers, AdaptedModel):
    __doc__ = AdaptedModel.__doc__


class AdaptedClassifier(ClassifierMixin, _PredictsClasses, AdaptedModel):
    __doc__ = AdaptedModel.__doc__

    @property
    def classes_(self) -> np.ndarray:
        return self.meta.classes_


class AdaptedRegressors(_PredictsNumbers, AdaptedTasks):
    __doc__ = AdaptedTasks.__doc__


class AdaptedClassifiers(_PredictsClasses, AdaptedTasks):
    __doc__ = AdaptedTasks.__doc__


class MetaRegressor(RegressorMixin, _PredictsNumbers, MetaEstimator):
    """A meta-learner of numbers."""

    _adapted_model, _adapted_tasks = AdaptedRegressor, AdaptedRegressors

    def _learn_target(self, y):
        return check_numbers(y), 0

    def _read_target(self, y):
        return check_numbers(y)


class MetaClassifier(ClassifierMixin, _PredictsClasses, MetaEstimator):
    """A meta-learner of two or more classes."""

    _adapted_model, _adapted_tasks = AdaptedClassifier, AdaptedClassifiers

    def _learn_target(self, y):
        self.classes_, codes = check_labels(y)
        return codes, len(self.classes_)

    def _read_target(self, y):
        return check_labels(y, self.classes_)[1]


class _Adaptation(NamedTuple):
    """A state adapted to T supports and, last, to the empty support."""

    learner: Learner
    state: Any
    support: Tasks
    adapted: Any


def _adapt(meta: MetaEstimator, support: Tasks, fold: np.ndarray | None = None) -> _Adaptation:
    fold = np.full(support.n_tasks, -1) if fold is None else fold
    support = support._replace(offsets=np.append(support.offsets, support.offsets[-1]))
    return _Adaptation(meta.learner, meta.state_, support, meta.learner.adapt(meta.state_, support, np.append(fold, -1)))


def _predict(adaptation: _Adaptation, Z: np.ndarray, task: np.ndarray) -> tuple[Prediction | ClassPrediction, np.ndarray]:
    """Predict rows Z [n, p] of the given tasks [n] (-1: none of the adapted ones), in the order of the rows."""
    n_tasks = adaptation.support.n_tasks
    task = np.where(task < 0, n_tasks - 1, task)
    order, offsets = group_rows(task, n_tasks)
    query = Tasks(Z[order], np.full(len(Z), np.nan), offsets, adaptation.support.ids, adaptation.support.levels)
    prediction = adaptation.learner.predict(adaptation.state, adaptation.adapted, query)
    back = np.empty(len(order), int)
    back[order] = np.arange(len(order))
    return type(prediction)(*(field[back] for field in prediction)), adaptation.support.sizes[task]


def _explain(meta: MetaEstimator, adaptation: _Adaptation, Z: np.ndarray) -> Explanation | dict[Any, Explanation]:
    support = adaptation.support
    offsets = np.minimum(np.arange(support.n_tasks + 1), 1) * len(Z)
    query = Tasks(Z, np.full(len(Z), np.nan), offsets, support.ids, support.levels)
    explanations = adaptation.learner.explain(adaptation.state, adaptation.adapted, query)
    return explanations[0] if len(explanations) == 1 else dict(zip(meta.classes_.tolist(), explanations, strict=True))


def _read_tasks(columns: Columns, X, target: np.ndarray, groups) -> Tasks:
    Z = columns.encode(X)
    if groups is None:
        return Tasks(Z, target, np.array([0, len(Z)]), np.array([0]), columns.levels)
    ids, codes = np.unique(read_groups(groups, len(Z)), return_inverse=True)
    order, offsets = group_rows(codes, len(ids))
    return Tasks(Z[order], target[order], offsets, ids, columns.levels)


def _locate(ids: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Position of each row's task among the ids, -1 where it is not one of them."""
    index = dict(zip(ids.tolist(), itertools.count()))
    return np.fromiter(map(index.get, groups.tolist(), itertools.repeat(-1)), np.int64, len(groups))
