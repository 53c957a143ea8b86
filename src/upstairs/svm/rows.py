"""Rows of tasks as machines see them, held or made where they are read.

φ may take thirty times the room of X. Of few rows it is made once; of many, which may lie in a store, a block at a time.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from upstairs.store import let_go
from upstairs.svm.features import Features, feature_matrix
from upstairs.target import Scale, forward
from upstairs.tasks import Tasks

__all__ = ["Made", "Rows", "column", "rows_of_tasks", "targets"]

MOST_HELD = 2**26
"""Numbers of φ that are held."""


class Made:
    """A matrix, or a column of one, that is made of other rows where it is read.

    Parameters
    ----------
    make : (source [n, ...]) -> matrix [n, ...]
    source : ndarray [N, ...]
        In memory, or mapped from a store.
    """

    def __init__(self, make: Callable[[np.ndarray], np.ndarray], source: np.ndarray):
        self.make, self.source = make, source
        self.shape = len(source), *make(source[:1]).shape[1:]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.make(self.source[rows])

    def let_go(self) -> None:
        """Of what was read of a store (see `TaskStore.let_go`)."""
        let_go(self.source)


class Rows(NamedTuple):
    """Features φ, float32 [n, q], targets Y [n, outputs], and where tasks begin, int64 [T + 1]."""

    phi: np.ndarray | Made
    Y: np.ndarray | Made
    offsets: np.ndarray

    def held(self) -> "Rows":
        """The same in memory."""
        return self._replace(phi=self.phi[:], Y=self.Y[:])


def rows_of_tasks(features: Features, scale: Scale | None, n_outputs: int, tasks: Tasks) -> Rows:
    """Of all tasks that are learned from."""
    phi, Y = Made(partial(feature_matrix, features), tasks.X), Made(partial(targets, scale, n_outputs), tasks.y)
    rows = Rows(phi, Y, tasks.offsets)
    return rows.held() if math.prod(phi.shape) <= MOST_HELD else rows


def column(matrix: np.ndarray | Made, c: int) -> np.ndarray | Made:
    """One of its columns [n]."""
    if isinstance(matrix, Made):
        return Made(lambda source: matrix.make(source)[:, c], matrix.source)
    return matrix[:, c]


def targets(scale: Scale | None, n_outputs: int, y: np.ndarray) -> np.ndarray:
    """What machines are fitted to, float64 [n, outputs]: u, or 1 for a row's class and -1 for others; a single output stands
    for the second of two classes.
    """
    if scale is not None:
        return forward(scale, y)[:, None]
    return np.where(y[:, None] == (np.arange(n_outputs) if n_outputs > 1 else 1), 1.0, -1.0)
