"""Rows of tasks as machines see them, held or made where they are read.

φ may take thirty times the room of X. Of few rows it is made once; of many, which may lie in a store, a block at a time.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from upstairs.places import Place, let_go
from upstairs.svm.features import Features, feature_matrix
from upstairs.target import Scale, forward
from upstairs.tasks import Tasks, offsets_of

__all__ = ["ROWS_A_BLOCK", "Made", "Rows", "column", "rows_of_tasks", "targets"]

MOST_HELD = 2**26
"""Numbers of φ that are held."""
ROWS_A_BLOCK = 20_000
"""That are read at once; and of a task that is larger, so many of its rows: they leave little open of it, and θ counts tasks
alike.
"""


class Made:
    """A matrix, or a column of one, that is made of other rows where it is read. Pickled, it is how and of what.

    Parameters
    ----------
    make : (source [n, ...]) -> matrix [n, ...]
    source : ndarray [N, ...]
        In memory, or mapped from a store.
    kept : int64 [n], optional
        Rows of the source that the matrix has, if not all.
    """

    def __init__(self, make: Callable[[np.ndarray], np.ndarray], source: np.ndarray, kept: np.ndarray | None = None):
        self.make, self.source, self.kept = make, source, kept
        self.shape = len(source if kept is None else kept), *make(source[:1]).shape[1:]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.make(self.source[rows if self.kept is None else self.kept[rows]])

    def let_go(self) -> None:
        """Of what was read of a store (see `TaskStore.let_go`)."""
        let_go(self.source)

    def __reduce__(self):
        return _made, (self.make, Place.of(self.source), self.kept)


class Rows(NamedTuple):
    """Rows of T tasks.

    Attributes
    ----------
    phi : float32 [n, q]
    Y : float64 [n, outputs]
    offsets : int64 [T + 1]
    kept : int64 [n] or None
        Which rows of the tasks they are, if not all.
    """

    phi: np.ndarray | Made
    Y: np.ndarray | Made
    offsets: np.ndarray
    kept: np.ndarray | None = None


def rows_of_tasks(features: Features, scale: Scale | None, n_outputs: int, tasks: Tasks) -> Rows:
    """What θ is learned from."""
    make_phi, make_Y = partial(feature_matrix, features), partial(targets, scale, n_outputs)
    if math.prod(Made(make_phi, tasks.X).shape) <= MOST_HELD:
        return Rows(make_phi(tasks.X), make_Y(tasks.y), tasks.offsets)
    kept, offsets = _few_of_each(tasks.offsets)
    return Rows(Made(make_phi, tasks.X, kept), Made(make_Y, tasks.y, kept), offsets, kept)


def _few_of_each(offsets: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Rows of tasks of which none is larger than a block, evenly spread (None if they are all), and where tasks begin."""
    sizes = np.diff(offsets)
    if (sizes <= ROWS_A_BLOCK).all():
        return None, offsets
    few = np.minimum(sizes, ROWS_A_BLOCK)
    after = offsets_of(few)
    place = np.arange(after[-1]) - np.repeat(after[:-1], few)
    return np.repeat(offsets[:-1], few) + place * np.repeat(sizes, few) // np.repeat(few, few), after


def column(matrix: np.ndarray | Made, c: int) -> np.ndarray | Made:
    """One of its columns [n]."""
    if isinstance(matrix, Made):
        return Made(partial(_column, matrix.make, c), matrix.source, matrix.kept)
    return matrix[:, c]


def targets(scale: Scale | None, n_outputs: int, y: np.ndarray) -> np.ndarray:
    """What machines are fitted to, float64 [n, outputs]: u, or 1 for a row's class and -1 for others; a single output stands
    for the second of two classes.
    """
    if scale is not None:
        return forward(scale, y)[:, None]
    return np.where(y[:, None] == (np.arange(n_outputs) if n_outputs > 1 else 1), 1.0, -1.0)


def _made(make: Callable[[np.ndarray], np.ndarray], source: np.ndarray | Place, kept: np.ndarray | None) -> Made:
    return Made(make, Place.look(source), kept)


def _column(make: Callable[[np.ndarray], np.ndarray], c: int, source: np.ndarray) -> np.ndarray:
    return make(source)[:, c]
