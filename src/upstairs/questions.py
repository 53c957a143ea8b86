"""The public questions beside predictions: which known tasks is one like, how do all of them lie, which rows to label next.

Whoever inherits is a fitted meta-model. The mathematics is in `neighbours` and `suggestions`.
"""

import abc
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from upstairs.errors import UpstairsError
from upstairs.frames import make_table
from upstairs.neighbours import map_tasks, name_parts, nearest
from upstairs.suggestions import suggest
from upstairs.table import Columns
from upstairs.tasks import Tasks

__all__ = ["Questions"]


class Questions(abc.ABC):
    """The public questions, once for all meta-models. Tables come in the kind that fit was given; a dict of arrays for
    an ndarray, and Arrow where the model was loaded.
    """

    columns_: Columns
    known_: Tasks
    _table_kind = "pyarrow"

    def nearest_tasks(self, model: Any, k: int = 5):
        """The known tasks that one is most like, and how.

        Parameters
        ----------
        model : AdaptedModel
            Adapted from this meta-model.
        k : int, default=5

        Returns
        -------
        table : [k, 4], in the kind of table that fit was given (a dict of arrays for an ndarray; Arrow once loaded)
            ``task``; ``distance``, in standard deviations of a prediction (see `upstairs.neighbours`); ``alike`` and
            ``different``, the parts of the two models that agree and differ most: "level", "scale", "local" or a column.
        """
        self._check_own(model)
        if k < 1:
            raise UpstairsError(f"k must be 1 or more tasks, but is {k}.")
        position, distance, alike, different = nearest(self, model.support_, k)
        names = name_parts(self.columns_)
        columns = {"task": self.known_.ids[position], "distance": distance}
        columns |= {"alike": [names[part] for part in alike], "different": [names[part] for part in different]}
        return make_table(columns, self._table_kind)

    def task_map(self):
        """The known tasks in two dimensions: along the two principal components in which their models differ.

        Returns
        -------
        table : [T, 3], columns ``task``, ``x`` and ``y``, in the kind of table that fit was given

        See Also
        --------
        upstairs.displays.TaskMapDisplay : Draws it, coloured by any column.
        """
        check_is_fitted(self)
        x, y = map_tasks(self).positions.T
        return make_table({"task": self.known_.ids, "x": x, "y": y}, self._table_kind)

    def suggest_rows(self, X_candidates, model: Any = None, n: int = 1) -> np.ndarray:
        """Which rows of one task to label next, so as to learn most about the others.

        Parameters
        ----------
        X_candidates : table of m rows without labels
        model : AdaptedModel, optional
            What is known of the task so far; nothing by default.
        n : int, default=1

        Returns
        -------
        rows : int64 [n]
            Positions in X_candidates, the most telling first (see `upstairs.suggestions`).
        """
        check_is_fitted(self)
        if model is not None:
            self._check_own(model)
        Z = self.columns_.encode(X_candidates)
        if not 1 <= n <= len(Z):
            raise UpstairsError(f"n must lie between 1 and the {len(Z)} rows of X_candidates, but is {n}.")
        support = self.known_.nothing() if model is None else model.support_
        return suggest(self, support, Z, n)

    def _check_own(self, model: Any) -> None:
        check_is_fitted(self)
        if getattr(model, "meta", None) is not self or not isinstance(getattr(model, "support_", None), Tasks):
            raise UpstairsError(
                f"model must be what adapt of this meta-model gave, for one task, but is another {type(model).__name__}."
            )
