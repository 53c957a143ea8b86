"""Many tasks as flat numbers and offsets: the one grouped structure that every room below and above works on.

The rows of task t are ``X[offsets[t]:offsets[t + 1]]``. One task is ``offsets = [0, n]`` and a task without rows (a zero-shot
support) is an ordinary task, so nothing needs a second code path.
"""

import itertools
from typing import NamedTuple

import numpy as np

__all__ = ["Tasks", "assign_folds", "few_rows", "group_rows", "offsets_of", "pseudo_tasks", "rows_of"]

PORTION = 2**20
"""Rows that are thinned at once."""


class Tasks(NamedTuple):
    """Rows sorted by task.

    Attributes
    ----------
    X : ndarray of float32, shape [n, p]
        Numbers are centred and scaled, categories are integer codes; NaN where a value is missing.
    y : ndarray of float64, shape [n]
        The target on the user's own scale, or the class code.
    offsets : ndarray of int64, shape [T + 1]
    ids : ndarray, shape [T]
        The user's own name of each task.
    levels : ndarray of int32, shape [p]
        Number of categories of each column; 0 for a column of numbers.
    """

    X: np.ndarray
    y: np.ndarray
    offsets: np.ndarray
    ids: np.ndarray
    levels: np.ndarray

    @property
    def n_tasks(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each task, int64 [T]."""
        return np.diff(self.offsets)

    @property
    def task_of_row(self) -> np.ndarray:
        """Index of each row's task, int64 [n]."""
        return np.repeat(np.arange(self.n_tasks), self.sizes)

    def between(self, start: int, stop: int) -> "Tasks":
        """Tasks ``start`` to ``stop``, as views."""
        first, last = self.offsets[start], self.offsets[stop]
        offsets = self.offsets[start : stop + 1] - first
        return Tasks(self.X[first:last], self.y[first:last], offsets, self.ids[start:stop], self.levels)

    def take(self, tasks: np.ndarray) -> "Tasks":
        """The given tasks (indices), in the given order."""
        rows = rows_of(self.offsets, tasks)
        return Tasks(self.X[rows], self.y[rows], offsets_of(self.sizes[tasks]), self.ids[tasks], self.levels)

    def take_rows(self, rows: np.ndarray, sizes: np.ndarray) -> "Tasks":
        """The given rows (indices, already sorted by task), of which ``sizes[t]`` belong to task t."""
        return Tasks(self.X[rows], self.y[rows], offsets_of(sizes), self.ids, self.levels)

    def nothing(self) -> "Tasks":
        """A single task without rows."""
        return Tasks(self.X[:0], self.y[:0], np.zeros(2, np.int64), np.zeros(1, np.int64), self.levels)

    def join(self, more: "Tasks") -> "Tasks":
        """The rows of each task, followed by those of the same task (by position) in ``more``."""
        order = np.argsort(np.concatenate([self.task_of_row, more.task_of_row]), kind="stable")
        X, y = np.concatenate([self.X, more.X])[order], np.concatenate([self.y, more.y])[order]
        return self._replace(X=X, y=y, offsets=offsets_of(self.sizes + more.sizes))

    def thin(self, most: int, rng: np.random.Generator) -> "Tasks":
        """At most ``most`` rows of each task, drawn at random; every task keeps some."""
        if not (self.sizes > most).any():
            return self
        portion = self.offsets[:-1] // PORTION
        edges = [*np.flatnonzero(np.diff(portion, prepend=-1)).tolist(), self.n_tasks]
        kept = []
        for start, stop in itertools.pairwise(edges):  # what is mapped is read only where it is kept
            first, sizes = self.offsets[start], self.sizes[start:stop]
            task = np.repeat(np.arange(stop - start), sizes)
            shuffled = np.lexsort((rng.random(len(task)), task))
            rank = np.arange(len(task)) - (self.offsets[start:stop] - first)[task]
            kept.append(first + np.sort(shuffled[rank < most]))
        return self.take_rows(np.concatenate(kept), np.minimum(self.sizes, most))


def few_rows(tasks: Tasks, most: int, rng: np.random.Generator, *, least: int) -> tuple[Tasks, np.ndarray]:
    """At most ``most`` rows, thinned evenly over tasks.

    Where fewer than ``least`` rows of a task would be left, which say little of how a task differs, the rows are taken from a
    random sample of the tasks instead.

    Returns
    -------
    tasks : Tasks
    which : int64
        Which of the tasks they are, in order.
    """
    sizes = tasks.sizes
    each = _rows_a_task(sizes, most)
    if each >= least or np.minimum(sizes, least).sum() <= most:
        return tasks.thin(each, rng), np.arange(tasks.n_tasks)
    order = rng.permutation(tasks.n_tasks)
    n_tasks = int(np.searchsorted(np.cumsum(np.minimum(sizes[order], least)), most, side="right"))
    which = np.sort(order[: max(2, n_tasks)])
    return tasks.take(which).thin(least, rng), which


def _rows_a_task(sizes: np.ndarray, most: int) -> int:
    """The largest c with Σ_t min(n_t, c) ≤ most."""
    if sizes.sum() <= most:
        return int(sizes.max())
    low, high = 1, int(sizes.max())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle)
    return low


def rows_of(offsets: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Rows of the given tasks, one task after the other, where tasks begin at ``offsets`` [T + 1]."""
    sizes = np.diff(offsets)[tasks]
    return np.repeat(offsets[:-1][tasks] - offsets_of(sizes)[:-1], sizes) + np.arange(sizes.sum())


def offsets_of(sizes: np.ndarray) -> np.ndarray:
    """Offsets [T + 1] of tasks with the given sizes [T]."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def group_rows(codes: np.ndarray, n_tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Order of the rows that sorts them by task (stable), and the offsets [n_tasks + 1] after sorting."""
    return np.argsort(codes, kind="stable"), offsets_of(np.bincount(codes, minlength=n_tasks))


def assign_folds(n_tasks: int, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each task, int64 [T]: a random permutation modulo the number of folds."""
    return rng.permutation(n_tasks) % min(n_folds, n_tasks)


def pseudo_tasks(tasks: Tasks, rng: np.random.Generator) -> Tasks:
    """The tasks themselves if they are two or more; a single one is cut at random into up to five."""
    if tasks.n_tasks >= 2:
        return tasks
    n_pseudo = min(5, len(tasks.y))
    order, offsets = group_rows(rng.permutation(len(tasks.y)) % n_pseudo, n_pseudo)
    return Tasks(tasks.X[order], tasks.y[order], offsets, np.arange(n_pseudo), tasks.levels)
