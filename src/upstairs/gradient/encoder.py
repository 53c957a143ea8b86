"""From a row to features that a linear head can adapt: φ(x) = (D, net(D)).

D is the row as numbers, with missing values flagged and categories one-hot (`upstairs.design`), and every column of numbers
once more in pieces: between two neighbouring quantiles b < c of the meta-train rows a piece is clip((x − b) / (c − b), 0, 1),
so that a linear function of D bends where the data lie (Gorishniy et al. 2022, equation 2). net is any pair of functions; with
no layers at all, a head on φ is a linear model.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numba
import numpy as np

from upstairs.compiled import read_only
from upstairs.design import Design, fill_design, learn_design
from upstairs.tasks import Tasks

__all__ = ["Inputs", "Network", "features", "input_matrix", "learn_inputs", "make_network"]

LINE = 64
"""Bytes."""


class Inputs(NamedTuple):
    """How D is made.

    Attributes
    ----------
    design : Design
    column : int32 [d]
        Column of X behind each piece.
    start, width : float32 [d]
    """

    design: Design
    column: np.ndarray
    start: np.ndarray
    width: np.ndarray


class Network(NamedTuple):
    """A pair of pure functions, as flax and equinox modules give them.

    init : (key, n_inputs) -> parameters, a pytree of arrays
    apply : (parameters, D [n, n_inputs]) -> [n, h]
    """

    init: Callable[[Any, int], Any]
    apply: Callable[[Any, Any], Any]


def learn_inputs(tasks: Tasks, n_pieces: int) -> Inputs:
    """Choose columns and quantiles on meta-train rows; columns of two values need no pieces."""
    design = learn_design(tasks)
    column: list[int] = []
    start: list[float] = []
    width: list[float] = []
    for j in design.numbers if n_pieces > 1 else []:
        x = tasks.X[:, j]
        edges = np.unique(np.nanquantile(x, np.linspace(0, 1, n_pieces + 1)))
        if len(edges) > 2:
            column += [j] * (len(edges) - 1)
            start += edges[:-1].tolist()
            width += np.diff(edges).tolist()
    return Inputs(design, np.array(column, np.int32), np.array(start, np.float32), np.array(width, np.float32))


def input_matrix(inputs: Inputs, X: np.ndarray) -> np.ndarray:
    """D, float32 [n, q], for rows X float32 [n, p]; its first column is 1."""
    D = _aligned(len(X), 1 + len(inputs.design.column) + len(inputs.column))
    fill_design(inputs.design, X, D)
    column, start, width = map(read_only, inputs[1:])
    _add_pieces(read_only(X), column, start, width, D)
    return D


def make_network(network: tuple[int, ...] | Network) -> Network:
    """The user's own pair, or a multilayer perceptron of the given widths."""
    return network if isinstance(network, Network) else _perceptron(network)


def features(network: Network, parameters: Any, D: Any) -> Any:
    """φ [n, q + h] of rows D [n, q]."""
    return jnp.concatenate([D, network.apply(parameters, D)], axis=1)


def _aligned(n: int, q: int) -> np.ndarray:
    """An empty matrix of floats that JAX takes as it is: it copies what doesn't start at a whole line of the cache."""
    raw = np.empty(4 * n * q + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + 4 * n * q].view(np.float32).reshape(n, q)


@numba.njit(cache=True, nogil=True)
def _add_pieces(X, column, start, width, D):  # pragma: no cover (compiled)
    """Into the last columns of D; a missing number is at its mean, 0."""
    q, zero, one = D.shape[1] - len(column), np.float32(0), np.float32(1)
    x, wide, slope = np.empty(X.shape[1], np.float32), np.empty(len(column), np.float32), one / width
    for i in range(len(X)):
        for j in range(len(x)):
            x[j] = zero if np.isnan(X[i, j]) else X[i, j]
        # apart from the arithmetic, which the processor does for many pieces at once
        for j in range(len(column)):
            wide[j] = x[column[j]]
        pieces = D[i, q:]
        for j in range(len(column)):
            piece = (wide[j] - start[j]) * slope[j]
            piece = zero if piece < zero else piece
            pieces[j] = one if piece > one else piece


def _perceptron(widths: tuple[int, ...]) -> Network:
    def init(key, n_inputs):
        sizes = (n_inputs, *widths)
        keys = jax.random.split(key, max(len(widths), 1))
        # He et al. (2015), equation 10
        return [
            {"weight": jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), "bias": jnp.zeros(b)}
            for k, a, b in zip(keys, sizes[:-1], widths, strict=False)
        ]

    def apply(parameters, D):
        D = D if widths else D[:, :0]
        for layer in parameters:
            D = jax.nn.tanh(D @ layer["weight"] + layer["bias"])
        return D

    return Network(init, apply)
