"""How well on unseen tasks, by number of support rows: the errors of fitted meta-models on tasks that were held out.

Of each unseen task half of the rows (at most 200) are query, the same for every number of shots; the support of s shots is the
first s of the other half in random order. So supports are nested, and a task of 8 rows gives at most 4.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from sklearn.base import is_classifier

from upstairs.errors import UpstairsError
from upstairs.frames import row_count
from upstairs.table import read_groups, read_target

__all__ = ["SHOTS", "errors_by_shots", "hold_out_tasks", "metric_of", "take_rows"]

SHOTS = (0, 1, 2, 5, 10, 20)
MOST_QUERY = 200
LEAST_PROBABILITY = 1e-6


def hold_out_tasks(groups: Any, share: float = 0.3, random_state: int = 0) -> np.ndarray:
    """Which rows [n] (bool) belong to the share of tasks, drawn at random, that a meta-model shall not see in fit."""
    ids, task = np.unique(np.asarray(groups), return_inverse=True)
    n_unseen = round(share * len(ids))
    if n_unseen < 1 or len(ids) - n_unseen < 2:
        raise UpstairsError(
            f"There are {len(ids)} tasks, too few to hold some out: it takes at least two to learn from and one that is unseen."
        )
    unseen = np.random.default_rng(random_state).permutation(len(ids))[:n_unseen]
    return np.isin(task, unseen)


def errors_by_shots(meta: Any, X: Any, y: Any, groups: Any, shots: Sequence[int] = SHOTS, random_state: int = 0) -> np.ndarray:
    """Error of a fitted meta-model on tasks that it has never seen.

    Parameters
    ----------
    meta : fitted MetaEstimator
    X : table of n rows
    y : array-like [n]
    groups : array-like [n]
        The task of each row, none of them a task of the fit.
    shots : sequence of int, default=(0, 1, 2, 5, 10, 20)
    random_state : int, default=0
        The same number draws the same support and query rows for every meta-model.

    Returns
    -------
    errors : float64, one for each number of shots
        Root mean squared error over all query rows, or their mean log loss (see `metric_of`).
    """
    n = row_count(X)
    y, groups = read_target(y, n), read_groups(groups, n)
    support, rank, query = _draw(groups, max(shots), np.random.default_rng(random_state))
    X_query, y_query, task = take_rows(X, query), y[query], groups[query]
    errors = []
    for s in shots:
        rows = support[rank < s]
        if len(rows):
            models = meta.adapt_tasks(take_rows(X, rows), y[rows], groups=groups[rows])
            errors.append(_error(meta, models, X_query, y_query, task))
        else:
            errors.append(_error(meta, meta, X_query, y_query, None))
    return np.array(errors)


def metric_of(meta: Any) -> str:
    """What `errors_by_shots` measures."""
    return "log loss" if is_classifier(meta) else "root mean squared error"


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """The given rows (indices) of a table of any kind."""
    return X[rows] if isinstance(X, np.ndarray) else nw.from_native(X, eager_only=True)[rows].to_native()


def _draw(groups: np.ndarray, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support rows, the rank of each within its task, and query rows. A task of one row has only a query."""
    _, task, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(task)), task))
    task, size = task[order], sizes[task[order]]
    place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[task]
    n_support = size // 2
    is_support, is_query = place < np.minimum(n_support, most), (place >= n_support) & (place < n_support + MOST_QUERY)
    return order[is_support], place[is_support], order[is_query]


def _error(meta: Any, model: Any, X: Any, y: np.ndarray, groups: np.ndarray | None) -> float:
    if not is_classifier(meta):
        return float(np.sqrt(np.mean((y.astype(float) - np.asarray(model.predict(X, groups=groups), float)) ** 2)))
    proba = np.clip(np.asarray(model.predict_proba(X, groups=groups), float), LEAST_PROBABILITY, 1)
    code = {label: c for c, label in enumerate(meta.classes_.tolist())}
    known = np.array([code.get(label, -1) for label in y.tolist()])
    right = np.where(known < 0, LEAST_PROBABILITY, (proba / proba.sum(axis=1, keepdims=True))[np.arange(len(y)), known])
    return float(-np.log(right).mean())
