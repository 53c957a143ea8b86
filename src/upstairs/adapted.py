"""What a meta-model becomes when it is adapted: a fitted scikit-learn predictor of one task, or of many at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from upstairs.adaptation import adapt, bytes_of, locate, predict
from upstairs.answers import Answers, AnswersClasses, AnswersNumbers
from upstairs.errors import UpstairsError
from upstairs.explain import Receipt, write_receipts
from upstairs.frames import make_table
from upstairs.notebook import ShownModel, ShownTasks
from upstairs.novelty import p_values
from upstairs.table import read_groups
from upstairs.tasks import Tasks

__all__ = [
    "AdaptedClassifier",
    "AdaptedClassifiers",
    "AdaptedModel",
    "AdaptedRegressor",
    "AdaptedRegressors",
    "AdaptedTasks",
]


class AdaptedModel(ShownModel, Answers, BaseEstimator):
    """A meta-model adapted to one task: a fitted scikit-learn predictor.

    Parameters
    ----------
    meta : fitted MetaEstimator
        It is shared, not copied.

    Attributes
    ----------
    support_ : Tasks
        The s rows that it was adapted to, as numbers.
    novelty_ : float
    """

    def __init__(self, meta: Any):
        self.meta = meta

    def fit(self, X, y, groups=None):
        """Adapt to these support rows, whatever this model was adapted to before; ``groups`` is ignored."""
        return self._set_support(self.meta._read_support(X, y, None))

    def update(self, X, y) -> AdaptedModel:
        """A new model, adapted to the rows of this one and the given ones: equal to adapting to all of them at once."""
        return type(self)(self.meta)._set_support(self.support_.join(self.meta._read_support(X, y, None)))

    def explain(self, X) -> Receipt | dict[Any, Receipt]:
        """Explain the prediction of each row of X (see `Receipt`); for more than two classes, of each class."""
        return write_receipts(self.meta, self._adaptation, X)

    @property
    def novelty_(self) -> float:
        """The p-value of "this task is like the known ones" (see `upstairs.novelty`); small where its rows are surprising.

        It can't fall below 1 / (T + 1) with T known tasks of as many rows. Without any row it is 1.
        """
        return float(p_values(self.meta, self.meta.novelty_reference_, self.support_)[0])

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


class AdaptedTasks(ShownTasks, Answers, Mapping):
    """A meta-model adapted to many tasks at once: a Mapping from task id to adapted model.

    Parameters
    ----------
    meta : fitted MetaEstimator
    support : Tasks
        The rows of each task, as numbers.
    """

    def __init__(self, meta: Any, support: Tasks):
        self.meta = meta
        self.support = support
        self._adaptation = adapt(meta, support)
        self._index = dict(zip(support.ids.tolist(), itertools.count()))

    def __getitem__(self, task) -> AdaptedModel:
        return self.meta._adapted_model(self.meta)._set_support(self.support.take(np.array([self._index[task]])))

    def has_support(self, groups: np.ndarray) -> np.ndarray:
        """Which rows belong to these tasks, bool [n]."""
        return locate(self.support.ids, groups) >= 0

    def __contains__(self, task: object) -> bool:
        return task in self._index

    def __iter__(self) -> Iterator:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def novelty(self):
        """The p-value of "this task is like the known ones" for each task (see `AdaptedModel.novelty_`).

        Returns
        -------
        table : [T, 2], columns ``task`` and ``p_value``, in the kind of table that fit was given
        """
        values = p_values(self.meta, self.meta.novelty_reference_, self.support)
        return make_table({"task": self.support.ids, "p_value": values}, self.meta._table_kind)

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
