"""What one fitted meta-learner says of the unseen tasks of a fold at every number of shots, and what that costs.

All tasks are adapted to in one call of `adapt_tasks`; what comes back are losses summed by task.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from upstairs.evaluation.losses import BINS, COVERAGES, KnownLosses, TaskLosses, bring_together
from upstairs.evaluation.metrics import NODES, Metric, crps
from upstairs.frames import take_rows

__all__ = ["Rows", "ask_about_known", "ask_by_shots"]


class Rows(NamedTuple):
    """Rows as they came, with their target as the metric takes it.

    Attributes
    ----------
    X : table of n rows
    y : [n]
        Numbers, or labels as the user has them.
    groups : [n]
    classes : [C], or None for numbers
    """

    X: Any
    y: np.ndarray
    groups: np.ndarray
    classes: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Rows":
        return Rows(take_rows(self.X, rows), self.y[rows], self.groups[rows], self.classes)

    def truth(self, able: np.ndarray | None) -> np.ndarray:
        """y as the metric takes it: numbers, or codes, -1 for classes that a meta-model isn't ``able`` [C] to name."""
        if self.classes is None:
            return self.y.astype(float)
        codes = np.searchsorted(self.classes, self.y)
        return np.where(able[codes], codes, -1)


def ask_by_shots(
    meta: Any,
    rows: Rows,
    metric: Metric,
    naive: np.ndarray,
    shots: Sequence[int],
    task: np.ndarray,
    rank: np.ndarray,
    held: np.ndarray,
) -> tuple[TaskLosses, list[float]]:
    """Losses of a fitted meta-learner on unseen tasks.

    Parameters
    ----------
    meta : fitted meta-learner
    rows : Rows
        Those n rows of the unseen tasks that may be support or are query.
    metric : Metric
    naive : scalar or [C]
        The mean of meta-train, or its frequencies.
    shots : sequence of int
    task : int [n]
        The task of each row, counted through all tasks of the evaluation.
    rank : int [n]
        The number of shots from which on a row is support, less one; -1 for query rows.
    held : bool [n]

    Returns
    -------
    losses : TaskLosses
        With learner and fold 0.
    seconds : list of float
        To adapt and predict, at each number of shots.
    """
    able = _able(meta, rows)
    tasks, code = np.unique(task, return_inverse=True)
    query, parts, seconds = np.flatnonzero(rank < 0), [], []
    usable = (rank >= 0) & (rows.truth(able) >= 0 if rows.classes is not None else True)
    constant = np.broadcast_to(naive, (len(query), *np.shape(naive)))
    naive_loss = _sums(metric.rows(rows.truth(able)[query], constant), code[query], len(tasks))
    for s in shots:
        shown = np.flatnonzero(usable & (rank < s))
        asked = rows.take(np.concatenate([query, shown]))
        start = time.perf_counter()
        model, groups = _adapted(meta, rows, shown, asked)
        prediction = _predict(model, asked, groups, able)
        seconds.append(time.perf_counter() - start)
        loss = metric.rows(asked.truth(able), prediction)
        n, at = len(query), code[np.concatenate([query, shown])]
        queried = asked.take(np.arange(n))
        more = (
            _intervals(model, queried, groups, at[:n], len(tasks))
            if able is None
            else _reliability(prediction[:n], queried.truth(able), at[:n], len(tasks))
        )
        zero = np.zeros(len(tasks), int)
        parts.append(
            TaskLosses(
                learner=zero,
                shots=zero + s,
                fold=zero,
                task=tasks,
                n_support=_sums(np.ones(len(shown)), at[n:], len(tasks)).astype(int),
                n_rows=_sums(np.ones(n), at[:n], len(tasks)).astype(int),
                loss=_sums(loss[:n], at[:n], len(tasks)),
                n_held=_sums(held[query], at[:n], len(tasks)).astype(int),
                held_loss=_sums(loss[:n] * held[query], at[:n], len(tasks)),
                support_loss=_sums(loss[n:], at[n:], len(tasks)),
                naive_loss=naive_loss,
                **more,
            )
        )
    return bring_together(parts), seconds


def ask_about_known(meta: Any, rows: Rows, metric: Metric, task: np.ndarray) -> KnownLosses:
    """Losses on rows [n] of tasks that the meta-learner knows, held out of its fit; learner and fold are 0."""
    able = _able(meta, rows)
    tasks, code = np.unique(task, return_inverse=True)
    loss = metric.rows(rows.truth(able), _predict(meta, rows, rows.groups, able))
    zero = np.zeros(len(tasks), int)
    return KnownLosses(
        zero, zero, tasks, _sums(np.ones(len(code)), code, len(tasks)).astype(int), _sums(loss, code, len(tasks))
    )


def _able(meta: Any, rows: Rows) -> np.ndarray | None:
    """Which of all classes [C] the meta-learner has seen, or None for numbers."""
    return None if rows.classes is None else np.isin(rows.classes, meta.classes_)


def _adapted(meta: Any, rows: Rows, shown: np.ndarray, asked: Rows) -> tuple[Any, np.ndarray | None]:
    """What to ask, and by which groups: the meta-learner itself where no task shows a row."""
    if not len(shown):
        return meta, None
    support = rows.take(shown)
    return meta.adapt_tasks(support.X, support.y, groups=support.groups), asked.groups


def _predict(model: Any, rows: Rows, groups: np.ndarray | None, able: np.ndarray | None) -> np.ndarray:
    """Means [n], or probabilities [n, C] of all classes of the evaluation."""
    if able is None:
        return np.asarray(model.predict(rows.X, groups=groups), float)
    proba = np.zeros((len(rows.y), len(able)))
    proba[:, able] = np.asarray(model.predict_proba(rows.X, groups=groups), float)
    return proba


def _intervals(model: Any, rows: Rows, groups: np.ndarray | None, at: np.ndarray, n_tasks: int) -> dict[str, np.ndarray]:
    ends = np.concatenate([(1 - COVERAGES) / 2, (1 + COVERAGES) / 2])
    if groups is not None:
        groups = groups[: len(at)]
    quantiles = np.asarray(model.predict_quantiles(rows.X, [*NODES, *ends], groups=groups), float)
    y, lower, upper = rows.y.astype(float), *np.split(quantiles[:, len(NODES) :], 2, axis=1)
    inside = (lower <= y[:, None]) & (y[:, None] <= upper)
    nine_tenths = int(np.argmax(COVERAGES == 0.9))
    none = np.zeros((n_tasks, 0))
    return {
        "crps": _sums(crps(y, quantiles[:, : len(NODES)]), at, n_tasks)[:, None],
        "width": _sums((upper - lower)[:, nine_tenths], at, n_tasks)[:, None],
        "covered": np.column_stack([_sums(column, at, n_tasks) for column in inside.T]),
        **dict.fromkeys(("right", "binned", "promised", "happened"), none),
    }


def _reliability(proba: np.ndarray, codes: np.ndarray, at: np.ndarray, n_tasks: int) -> dict[str, np.ndarray]:
    """Of two classes the second one's probability is looked at, of more each one's."""
    right = _sums(proba.argmax(axis=1) == codes, at, n_tasks)[:, None]
    there = codes[:, None] == np.arange(proba.shape[1])
    if proba.shape[1] == 2:
        proba, there = proba[:, 1:], there[:, 1:]
    cell = at[:, None] * BINS + np.minimum((proba * BINS).astype(int), BINS - 1)
    binned, promised, happened = (
        _sums(np.broadcast_to(values, cell.shape).ravel(), cell.ravel(), n_tasks * BINS).reshape(n_tasks, BINS)
        for values in (np.ones(1), proba, there)
    )
    none = np.zeros((n_tasks, 0))
    return {
        **dict.fromkeys(("crps", "width", "covered"), none),
        "right": right,
        "binned": binned,
        "promised": promised,
        "happened": happened,
    }


def _sums(values: np.ndarray, at: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(at, weights=values, minlength=n)
