"""The tasks of a store, adapted when they are asked about: as many models as there are tasks, none of them held."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.answers import Answers, AnswersClasses, AnswersNumbers
from upstairs.errors import UpstairsError
from upstairs.store import TaskStore
from upstairs.table import read_groups

__all__ = ["StoredClassifiers", "StoredRegressors"]


class StoredTasks(Answers, Mapping):
    """A meta-model and a store of supports: a Mapping from task id to adapted model.

    Parameters
    ----------
    meta : fitted MetaEstimator
    support : TaskStore
        Encoded by the columns of that meta-model.
    """

    def __init__(self, meta: Any, support: TaskStore):
        if support.columns != meta.columns_:
            raise UpstairsError(
                f"{support.path} is encoded by other columns than the model: pack it with like=model (--like MODEL)."
            )
        self.meta, self.support = meta, support

    def has_support(self, groups: np.ndarray) -> np.ndarray:
        """Which rows belong to tasks of the store, bool [n]."""
        return self.support.locate(groups) >= 0

    def __getitem__(self, task: Any) -> Any:
        at = self.support.locate([task])
        if at[0] < 0:
            raise KeyError(task)
        return self.meta._adapted_model(self.meta)._set_support(self.support.tasks(at))

    def __contains__(self, task: object) -> bool:
        return bool(self.support.locate([task])[0] >= 0)

    def __iter__(self) -> Iterator:
        return iter(self.support.ids.tolist())

    def __len__(self) -> int:
        return self.support.n_tasks

    def _ask(self, X: Any, groups: Any) -> tuple[Any, Any, np.ndarray]:
        Z = self.meta.columns_.encode(X)
        if groups is None:
            raise UpstairsError("predict needs groups, the task of each row; for a single task ask models[task].")
        return self.ask_encoded(Z, read_groups(groups, len(Z)))

    def ask_encoded(self, Z: np.ndarray, groups: np.ndarray) -> tuple[Any, Any, np.ndarray]:
        """`_ask` about rows that are numbers already."""
        asked, task = np.unique(self.support.locate(groups), return_inverse=True)
        if len(asked) and asked[0] == -1:
            asked, task = asked[1:], task - 1
        return self.meta, *predict(adapt(self.meta, self.support.tasks(asked)), Z, task)


class StoredRegressors(AnswersNumbers, StoredTasks):
    __doc__ = StoredTasks.__doc__


class StoredClassifiers(AnswersClasses, StoredTasks):
    __doc__ = StoredTasks.__doc__
