"""What every meta-learner promises, and the door work that is written once for all of them.

A learner gives four pure functions and never sees a table, a label or a task id (`adaptation.Learner`). Everything else is
here: reading tables, targets and groups; fitting; adapting to one task or many; known tasks.

    MetaEstimator    fit · adapt · adapt_tasks          learned upstairs, across tasks
    AdaptedModel     update · novelty_                  adapted downstairs, to one task (`adapted`)
    AdaptedTasks     a Mapping task id -> AdaptedModel  adapted to many tasks at once   (`adapted`; of a store `stored_tasks`)
    all three        predict · predict_interval · predict_quantiles · predict_proba     (`answers`)
    the first two    explain                                                            (`explain`)
    MetaEstimator    nearest_tasks · task_map · suggest_rows                            (`questions`)
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from upstairs.adaptation import Learner, adapt, adapt_known, locate, predict
from upstairs.adapted import (
    AdaptedClassifier,
    AdaptedClassifiers,
    AdaptedModel,
    AdaptedRegressor,
    AdaptedRegressors,
    AdaptedTasks,
)
from upstairs.answers import Answers, AnswersClasses, AnswersNumbers
from upstairs.errors import UpstairsError
from upstairs.explain import Receipt, write_receipts
from upstairs.frames import table_kind
from upstairs.notebook import ShownMeta
from upstairs.novelty import Reference, learn_reference
from upstairs.questions import Questions
from upstairs.store import TaskStore
from upstairs.stored_tasks import StoredClassifiers, StoredRegressors, StoredTasks
from upstairs.table import Columns, read_groups, read_target
from upstairs.target import check_labels, check_numbers
from upstairs.tasks import Tasks, group_rows

__all__ = ["Learner", "MetaClassifier", "MetaRegressor"]

MOST_KNOWN_ROWS = 150
"""Rows of a known task that a fitted meta-model keeps, to adapt to when it is asked about that task."""


class MetaEstimator(ShownMeta, Questions, Answers, BaseEstimator):
    """A meta-learner: learns across tasks in `fit`, adapts to one or many in `adapt` and `adapt_tasks`.

    Subclasses are final and give ``learner`` and their parameters, among them ``random_state``.
    """

    learner: Learner
    _reference: Reference | None = None

    def fit(self, X, y=None, groups=None):
        """Learn across tasks.

        Parameters
        ----------
        X : DataFrame (pandas, polars), Arrow table or ndarray, n rows; or a TaskStore
            A store brings its own target and tasks.
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
        if isinstance(X, TaskStore):
            return self._fit_store(X, y, groups)
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
        self._table_kind = table_kind(X)
        return self._learn(tasks, columns, n_classes, self._generator())

    def _fit_store(self, store: TaskStore, y: Any, groups: Any) -> MetaEstimator:
        """`fit` from disk. Where all rows would take more than memory, a sample of the tasks is known afterwards, and a learner
        that doesn't stream learns from no others.
        """
        if y is not None or groups is not None:
            raise UpstairsError("A task store brings its own target and tasks: call fit(store), without y and groups.")
        self._check_store(store)
        rng, n_classes = self._generator(), 0
        if store.classes is not None:
            self.classes_, n_classes = store.classes, len(store.classes)
        if store.n_tasks < 2:
            raise UpstairsError(f"{store.path} holds one task only: there is nothing to learn across tasks.")
        self._table_kind = "pyarrow"
        if self.learner.streams(self.get_params(deep=False)):
            return self._learn(store.mapped, store.columns, n_classes, rng, store)
        return self._learn(store.sample(MOST_KNOWN_ROWS, rng)[0], store.columns, n_classes, rng)

    def _learn(
        self, tasks: Tasks, columns: Columns, n_classes: int, rng: np.random.Generator, store: TaskStore | None = None
    ) -> MetaEstimator:
        """Learn from tasks, and know them afterwards; of those that are streamed from a store, a sample that memory takes."""
        state, self.info_ = self.learner.learn(tasks, n_classes, self.get_params(deep=False), rng)
        self._learned = tasks.n_tasks, len(tasks.y)
        if store is not None:
            tasks, which = store.sample(MOST_KNOWN_ROWS, rng)
            state = self.learner.keep(state, which)
        self.state_, self.known_ = state, tasks.thin(MOST_KNOWN_ROWS, rng)
        self._reference = None
        self._set_columns(columns)
        return self

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))

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

    def adapt_tasks(self, X, y=None, groups=None) -> AdaptedTasks | StoredTasks:
        """Adapt to many new tasks at once.

        Parameters
        ----------
        X : table of n support rows, or a TaskStore
            A store, encoded by this model's columns (``pack(..., like=meta)``), brings its own target and tasks.
        y : array-like [n]
        groups : array-like [n]
            The task of each row.

        Returns
        -------
        models : AdaptedTasks or StoredTasks
            A Mapping from task id to adapted model that also predicts for rows of many tasks. Those of a store are adapted when
            they are asked, and not held.
        """
        check_is_fitted(self)
        if isinstance(X, TaskStore):
            if y is not None or groups is not None:
                raise UpstairsError("A task store brings its own target and tasks: call adapt_tasks(store).")
            self._check_store(X)
            return self._stored_tasks(self, X)
        if groups is None:
            raise UpstairsError("adapt_tasks needs groups, the task of each row; for a single task call adapt(X, y).")
        return self._adapted_tasks(self, self._read_support(X, y, groups))

    def explain(self, X) -> Receipt | dict[Any, Receipt]:
        """Explain the zero-shot prediction of each row of X (see `Receipt`); for more than two classes, of each class."""
        check_is_fitted(self)
        return write_receipts(self, adapt(self, self.known_.nothing()), X)

    @property
    def novelty_reference_(self) -> Reference:
        """How surprising the known tasks are; learned when it is first asked for, or when the model is saved."""
        check_is_fitted(self)
        if self._reference is None:
            self._reference = learn_reference(self)
        return self._reference

    def _ask(self, X, groups):
        check_is_fitted(self)
        Z = self.columns_.encode(X)
        return self.ask_encoded(Z, None if groups is None else read_groups(groups, len(Z)))

    def ask_encoded(self, Z: np.ndarray, groups: np.ndarray | None) -> tuple[Any, Any, np.ndarray]:
        """`_ask` about rows that are numbers already, as those of a store are."""
        if groups is None:
            asked, task = np.array([], int), np.full(len(Z), -1)
        else:
            asked, task = np.unique(locate(self.known_.ids, groups), return_inverse=True)
            if len(asked) and asked[0] == -1:
                asked, task = asked[1:], task - 1
        return self, *predict(adapt_known(self, asked), Z, task)

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
    def _check_store(self, store: TaskStore) -> None:
        """An UpstairsError where a store's target isn't of this model's kind."""

    @abc.abstractmethod
    def _read_target(self, y: np.ndarray) -> np.ndarray:
        """Numbers or class codes [n] of a support's target."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class MetaRegressor(RegressorMixin, AnswersNumbers, MetaEstimator):
    """A meta-learner of numbers."""

    _adapted_model, _adapted_tasks, _stored_tasks = AdaptedRegressor, AdaptedRegressors, StoredRegressors

    def _learn_target(self, y):
        return check_numbers(y), 0

    def _check_store(self, store):
        store.check_target("numbers")

    def _read_target(self, y):
        return check_numbers(y)


class MetaClassifier(ClassifierMixin, AnswersClasses, MetaEstimator):
    """A meta-learner of two or more classes."""

    _adapted_model, _adapted_tasks, _stored_tasks = AdaptedClassifier, AdaptedClassifiers, StoredClassifiers

    def _learn_target(self, y):
        self.classes_, codes = check_labels(y)
        return codes, len(self.classes_)

    def _check_store(self, store):
        store.check_target("classes")

    def _read_target(self, y):
        return check_labels(y, self.classes_)[1]


def _group(Z: np.ndarray, target: np.ndarray, groups: Any, levels: np.ndarray) -> Tasks:
    if groups is None:
        return Tasks(Z, target, np.array([0, len(Z)]), np.array([0]), levels)
    ids, codes = np.unique(read_groups(groups, len(Z)), return_inverse=True)
    order, offsets = group_rows(codes, len(ids))
    return Tasks(Z[order], target[order], offsets, ids, levels)
