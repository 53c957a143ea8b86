"""Rows as a rule sees them: inputs D and targets u, made of X and y where they are asked for.

D takes nine times the room of X, so it is never there for all rows: what is kept is X, in memory or mapped from a store.
"""

from typing import NamedTuple

import numpy as np

from upstairs.gradient.encoder import Inputs, input_matrix
from upstairs.target import Scale, forward

__all__ = ["InputRows", "Rows", "target_of"]


class InputRows(NamedTuple):
    """Rows that become inputs.

    X : float32 [n, p]
    """

    inputs: Inputs
    X: np.ndarray

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray | slice) -> "InputRows":
        """The given rows; those of a slice are a view."""
        return self._replace(X=self.X[rows])

    def matrix(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """D, float32 [*rows.shape, q], of the given rows."""
        X = self.X[rows]
        D = input_matrix(self.inputs, X.reshape(-1, X.shape[-1]))
        return D.reshape(*X.shape[:-1], D.shape[-1])


class Rows(NamedTuple):
    """Meta-train rows.

    inputs : InputRows
    y : float64 [n]
    offsets : int64 [T + 1]
    fold : int64 [T]
    scale : Scale or None
    n_classes : int
    """

    inputs: InputRows
    y: np.ndarray
    offsets: np.ndarray
    fold: np.ndarray
    scale: Scale | None
    n_classes: int

    def target(self, rows: np.ndarray) -> np.ndarray:
        """u or classes of the given rows, float32 [*rows.shape, C]."""
        return target_of(self.scale, self.y[rows], self.n_classes)


def target_of(scale: Scale | None, y: np.ndarray, n_classes: int) -> np.ndarray:
    """What a head is adapted to, float32 [..., C]: u, or 1 for a row's class (a single output is the second of two)."""
    if scale is not None:
        return forward(scale, y).astype(np.float32)[..., None]
    return (y[..., None] == (np.arange(n_classes) if n_classes > 2 else 1)).astype(np.float32)
