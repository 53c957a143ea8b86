"""The one table that everything is told from: losses summed by learner, number of shots, fold and unseen task.

A second, smaller one holds what the same learners make of rows of tasks that they know. Both are NamedTuples of columns, as
long as there are such rows; `by` cuts them into groups.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from upstairs.evaluation.metrics import Metric, mean_over_tasks, root

__all__ = ["BINS", "COVERAGES", "Findings", "KnownLosses", "TaskLosses", "bring_together", "by", "mean_error"]

COVERAGES = np.array([0.5, 0.8, 0.9, 0.95])
"""Intervals that are looked at; widths are those of the 90 % one."""
BINS = 10
"""Bins of a predicted probability, of equal width."""


class TaskLosses(NamedTuple):
    """R parts: one learner, number of shots, fold and unseen task each. What numbers and classes don't share has width 0.

    Attributes
    ----------
    learner, shots, fold, task : int64 [R]
        Learner and task by their position; shots are what was asked for.
    n_support : int64 [R]
        Support rows that the task could give.
    n_rows, loss : [R]
        Query rows, and their losses.
    n_held, held_loss : [R]
        Of those query rows on which known tasks are compared with unseen ones.
    support_loss : float64 [R]
        Losses of the support rows themselves.
    naive_loss : float64 [R]
        Losses of the query rows where the mean, or the frequencies, of meta-train are the prediction.
    crps, width : float64 [R, 1 or 0]
    covered : float64 [R, 4 or 0]
        Query rows inside the interval of each of ``COVERAGES``.
    right : float64 [R, 0 or 1]
        Query rows whose most probable class is theirs.
    binned, promised, happened : float64 [R, 0 or 10]
        By bin of the predicted probability: how many predictions, their sum, and how often the class was there.
    """

    learner: np.ndarray
    shots: np.ndarray
    fold: np.ndarray
    task: np.ndarray
    n_support: np.ndarray
    n_rows: np.ndarray
    loss: np.ndarray
    n_held: np.ndarray
    held_loss: np.ndarray
    support_loss: np.ndarray
    naive_loss: np.ndarray
    crps: np.ndarray
    width: np.ndarray
    covered: np.ndarray
    right: np.ndarray
    binned: np.ndarray
    promised: np.ndarray
    happened: np.ndarray


class KnownLosses(NamedTuple):
    """One learner, fold and known task each: rows held out of its fit, and their losses [R]."""

    learner: np.ndarray
    fold: np.ndarray
    task: np.ndarray
    n_rows: np.ndarray
    loss: np.ndarray


class Findings(NamedTuple):
    """All that was measured.

    Attributes
    ----------
    learners : tuple of str [L]
    metric : Metric
    ids : [T]
        The user's name of each task.
    shots : tuple of int [S]
    losses : TaskLosses
    known : KnownLosses
    fit_seconds : float64 [L, F]
    adapt_seconds : float64 [L, F, S]
        To adapt to all unseen tasks of a fold and predict their rows.
    """

    learners: tuple[str, ...]
    metric: Metric
    ids: np.ndarray
    shots: tuple[int, ...]
    losses: TaskLosses
    known: KnownLosses
    fit_seconds: np.ndarray
    adapt_seconds: np.ndarray


def bring_together(parts: Sequence[Any]) -> Any:
    """Several tables of one kind below each other."""
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def by(table: Any, *names: str) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The table in groups of equal columns of these names, in ascending order, each after its values."""
    keys = np.column_stack([getattr(table, name) for name in names])
    values, code = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(code, kind="stable")
    edges = np.searchsorted(code[order], np.arange(len(values) + 1))
    for value, start, stop in zip(values.tolist(), edges[:-1], edges[1:], strict=True):
        rows = order[start:stop]
        yield tuple(value), type(table)(*(column[rows] for column in table))


def mean_error(metric: Metric, loss: np.ndarray, n_rows: np.ndarray, task: np.ndarray) -> tuple[float, float]:
    """The error that is shown, over all rows, and its standard error over tasks."""
    mean, se = mean_over_tasks(loss, n_rows, task)
    if metric.root:
        mean, se = root(mean, se)
    return float(mean), float(se)
