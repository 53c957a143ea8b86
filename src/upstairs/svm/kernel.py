"""The kernel's part of φ: scikit-learn's approximation k of a kernel, k(x)ᵀk(x′) ≈ K(z, z′), with z all of D but the constant.

Nyström's for "rbf" (Williams and Seeger 2001), a tensor sketch for "poly" (Pham & Pagh 2013), or whatever the user gives.

"rbf" may see a column of numbers by its rank r among meta-train rows, z = √12 (r − ½), so that rows lie evenly whatever the
column's shape. Then the column also comes in pieces, clip(8 r − i, 0, 1) for i = 0..7 (Gorishniy et al. 2022, equation 2): it
bends by itself as well as together with others. θ is penalised alike in all parts, so κ is how readily a curve is believed
beside a line.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from sklearn.base import clone
from sklearn.kernel_approximation import Nystroem, PolynomialCountSketch

from upstairs.compiled import read_only
from upstairs.errors import UpstairsError

__all__ = ["KAPPA", "KernelMap", "check_custom", "kernel_inputs", "kernel_part", "learn_kernel"]

KAPPA = 4.0
DEGREE = 2
MOST_SEEN = 20_000
"""Rows that landmarks are drawn from."""
BLOCK = 1024
"""Rows whose distances to landmarks stay in the processor's cache."""
N_KNOTS, N_PIECES = 64, 8
"""Quantiles that a rank is read from, and pieces of a rank."""


class Ranks(NamedTuple):
    """Columns that a kernel sees by their ranks, linear between quantiles.

    Attributes
    ----------
    column : int64 [m]
        Of z.
    value, rank : float64 [m, N_KNOTS]
        Quantiles of the meta-train rows, and the middle rank, in (0, 1), of the rows that lie there.
    """

    column: np.ndarray
    value: np.ndarray
    rank: np.ndarray


class KernelMap(NamedTuple):
    """k(x), float32 [n, R].

    Attributes
    ----------
    kernel : str
        "linear" (R = 0), "rbf", "poly" or "custom".
    gamma : float
    parts : tuple of ndarray
        "rbf": landmarks [R, d] and normalization [R, R]. "poly": hash indices and signs of the sketch, and R.
    ranks : Ranks
    custom : callable or None
        The user's own; a file doesn't hold it.
    """

    kernel: str
    gamma: float
    parts: tuple[np.ndarray, ...]
    ranks: Ranks
    custom: Callable | None = None


ONE_RANK = np.float32(np.sqrt(12))
NO_RANKS = Ranks(np.empty(0, int), np.empty((0, N_KNOTS)), np.empty((0, N_KNOTS)))


def learn_kernel(
    kernel: Any, gamma: float, n_components: int, D: np.ndarray, rng: np.random.Generator, by_rank: bool = False
) -> KernelMap:
    """The map of a kernel, from meta-train rows D [n, 1 + d]; ``by_rank`` is for "rbf".

    Raises
    ------
    UpstairsError
        Where a user's own map can't be applied, or doesn't give one row of numbers for each row.
    """
    seed = int(rng.integers(2**31 - 1))
    if kernel == "linear":
        return KernelMap("linear", gamma, (), NO_RANKS)
    Z = D[np.sort(rng.permutation(len(D))[:MOST_SEEN]), 1:].astype(np.float32)
    if kernel == "rbf":
        ranks = _learn_ranks(Z) if by_rank else NO_RANKS
        _rank(Z, *map(read_only, ranks))
        nystroem = Nystroem(gamma=gamma, n_components=min(n_components, len(Z)), random_state=seed).fit(Z)
        return KernelMap("rbf", gamma, (nystroem.components_, nystroem.normalization_.astype(np.float32)), ranks)
    if kernel == "poly":
        sketch = _sketch(gamma, n_components, seed).fit(Z)
        return KernelMap("poly", gamma, (sketch.indexHash_, sketch.bitHash_, np.array(n_components)), NO_RANKS)
    custom: Any = clone(kernel).fit(Z).transform if hasattr(kernel, "transform") else kernel
    check_custom(custom, Z[:3])
    return KernelMap("custom", gamma, (), NO_RANKS, custom)


def kernel_inputs(kernel_map: KernelMap, D: np.ndarray) -> np.ndarray:
    """z, float32 [n, d], of rows D [n, 1 + d]."""
    Z = D[:, 1:].astype(np.float32)
    _rank(Z, *map(read_only, kernel_map.ranks))
    return Z


def kernel_part(kernel_map: KernelMap, Z: np.ndarray, room: int = 0) -> np.ndarray:
    """√κ k and the pieces of ranks, float32 [n, room + R + pieces], of rows z [n, d], after so many columns to be filled."""
    if kernel_map.kernel == "rbf":
        width = len(kernel_map.parts[0]) + N_PIECES * len(kernel_map.ranks.column)
        part = np.empty((len(Z), room + width), np.float32)
        _fill_rbf(kernel_map, Z, part[:, room:])
        return part
    curves = np.float32(np.sqrt(KAPPA)) * _apply(kernel_map, Z)
    return np.concatenate([np.empty((len(Z), room), np.float32), curves], axis=1)


def _fill_rbf(kernel_map: KernelMap, Z: np.ndarray, part: np.ndarray) -> None:
    """√κ k and the pieces of ranks, in float64: a batch of another size adds up in another order, and the normalization
    magnifies what differs.
    """
    landmarks, normalization = (matrix.astype(np.float64) for matrix in kernel_map.parts)
    gamma, n_landmarks = kernel_map.gamma, len(landmarks)
    toward, own, turned = 2 * gamma * landmarks.T, gamma * (landmarks**2).sum(axis=1), np.sqrt(KAPPA) * normalization.T
    for start in range(0, len(Z), BLOCK):
        z = Z[start : start + BLOCK].astype(np.float64)
        similar = z @ toward
        similar -= gamma * (z**2).sum(axis=1)[:, None]
        similar -= own
        np.exp(np.minimum(similar, 0, out=similar), out=similar)
        part[start : start + BLOCK, :n_landmarks] = similar @ turned
    _cut(read_only(Z), read_only(kernel_map.ranks.column), part[:, n_landmarks:])


@numba.njit(cache=True, nogil=True)
def _cut(Z, column, pieces):  # pragma: no cover (compiled)
    """Ranks in pieces, one after the other."""
    for i in range(len(Z)):
        for c in range(len(column)):
            at = N_PIECES * (Z[i, column[c]] / ONE_RANK + np.float32(0.5))
            for k in range(N_PIECES):
                pieces[i, N_PIECES * c + k] = min(max(at - k, np.float32(0)), np.float32(1))


@numba.njit(cache=True, nogil=True)
def _rank(Z, column, value, rank):  # pragma: no cover (compiled)
    """Columns of Z by their ranks, in place; linear between quantiles and level beyond them."""
    for i in range(len(Z)):
        for c in range(len(column)):
            z, before = np.float64(Z[i, column[c]]), 0
            for k in range(N_KNOTS):  # all of them, side by side: faster than a search, whose branches can't be foretold
                before += 1 if value[c, k] <= z else 0
            low, high = max(before - 1, 0), min(before, N_KNOTS - 1)
            width = value[c, high] - value[c, low]
            part = (z - value[c, low]) / width if width > 0.0 else 0.0
            Z[i, column[c]] = ONE_RANK * (rank[c, low] + part * (rank[c, high] - rank[c, low]) - 0.5)


def _learn_ranks(Z: np.ndarray) -> Ranks:
    """Of all columns with more than two values."""
    column = np.array([j for j in range(Z.shape[1]) if len(np.unique(Z[:, j])) > 2], int)
    level = (np.arange(N_KNOTS) + 0.5) / N_KNOTS
    value = np.quantile(Z[:, column], level, axis=0).T.astype(np.float64)
    rank = np.empty_like(value)
    for own, into in zip(value, rank, strict=True):
        # quantiles that coincide share their middle rank
        _, group = np.unique(own, return_inverse=True)
        into[:] = (np.bincount(group, level) / np.bincount(group))[group]
    return Ranks(column, value, rank)


def _apply(kernel_map: KernelMap, Z: np.ndarray) -> np.ndarray:
    if not len(Z):  # which scikit-learn's transformers, and a user's, may refuse
        return _apply(kernel_map, np.zeros((1, Z.shape[1]), np.float32))[:0]
    if kernel_map.kernel == "poly":
        index, sign, n_components = kernel_map.parts
        sketch = _sketch(kernel_map.gamma, int(n_components), 0)
        sketch.indexHash_, sketch.bitHash_ = index, sign
        return sketch.transform(Z).astype(np.float32)
    return np.asarray(kernel_map.custom(Z), np.float32)


def _sketch(gamma: float, n_components: int, seed: int) -> PolynomialCountSketch:
    return PolynomialCountSketch(gamma=gamma, degree=DEGREE, coef0=1, n_components=n_components, random_state=seed)


def check_custom(custom: Callable, Z: np.ndarray) -> int:
    """Features of a user's own map, or an error that says what it should give."""
    try:
        out = np.asarray(custom(Z), float)
    except Exception as error:
        raise UpstairsError(f"kernel can't be applied to rows [n, {Z.shape[1]}]: {str(error).splitlines()[0]}") from error
    if out.ndim != 2 or len(out) != len(Z) or not np.isfinite(out).all():
        raise UpstairsError(
            f"kernel must turn rows [n, {Z.shape[1]}] into finite features [n, h], but turns {len(Z)} rows into "
            f"{list(out.shape)}{'' if np.isfinite(out).all() else ' with NaN'}."
        )
    return out.shape[1]
