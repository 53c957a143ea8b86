"""Posteriors of linear weights, for many ragged tasks at once.

    numbers    b_i = a_iᵀβ + ε_i,   β ~ N(0, I),   ε_i ~ N(0, 1)
               mean = Aᵀ(AAᵀ + I)⁻¹b = Σ_i α_i a_i,   covariance = I − FᵀF with F = L⁻¹A,   LLᵀ = AAᵀ + I
    two classes    P(y_i = 1) = σ(f_i + a_iᵀβ): mean = Σ_i α_i a_i at the mode, with α = y − p (Newton's method), and the same
               covariance with rows √(p_i (1 − p_i)) a_i (Laplace)

Callers scale their rows so that the prior is N(0, I) and the noise is 1. Tasks are padded to a few sizes and solved batch by
batch; a row of padding is zero and so decouples exactly. A support of more rows than weights is solved in the space of weights,
by the eigenvalues of AᵀA: a task costs O(s³) for few rows and O(s) for many.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from upstairs.tasks import offsets_of

__all__ = [
    "Posterior",
    "binary_targets",
    "gaussian_posterior",
    "log_probabilities",
    "logistic_posterior",
    "moments",
    "n_latents",
    "pulls",
]

N_STEPS = 8
LONGEST_STEP = 4.0
LEAST_WEIGHT = 1e-3
LEAST_PROBABILITY = 1e-6
BLOCK_ENTRIES = 2_000_000
STEPS = np.unique([[2**k, 3 * 2 ** (k - 1)] for k in range(1, 40)])
"""Sizes that tasks are padded to, besides 1: 2, 3, 4, 6, 8, 12, 16, ..."""


class Posterior(NamedTuple):
    """Weights of T tasks.

    Attributes
    ----------
    mean : float64 [T, q]
    factor : float64 [F, q]
        Rows of each task's F, of which a task of s rows has min(s, q).
    factor_offsets : int64 [T + 1]
    rows : float64 [n, q]
        The supports' own a_i.
    alpha : float64 [n]
    """

    mean: np.ndarray
    factor: np.ndarray
    factor_offsets: np.ndarray
    rows: np.ndarray
    alpha: np.ndarray


def gaussian_posterior(A: np.ndarray, b: np.ndarray, offsets: np.ndarray) -> Posterior:
    """Posterior of each task's weights, given rows A [n, q] and numbers b [n]."""

    def solve_block(rows: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _solve(A[rows] * present[..., None], b[rows] * present)

    mean, factor, factor_offsets = _by_block(offsets, A.shape[1], solve_block)
    alpha = b - (A * np.repeat(mean, np.diff(offsets), axis=0)).sum(axis=1)
    return Posterior(mean, factor, factor_offsets, A, alpha)


def logistic_posterior(A: np.ndarray, y: np.ndarray, f: np.ndarray, offsets: np.ndarray) -> Posterior:
    """Laplace posterior of each task's weights, given rows A [n, q], classes y [n] (0 or 1) and logits f [n] without them."""

    def solve_block(rows: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _newton(A[rows] * present[..., None], y[rows], f[rows], present)

    mean, factor, factor_offsets = _by_block(offsets, A.shape[1], solve_block)
    alpha = y - special.expit(f + (A * np.repeat(mean, np.diff(offsets), axis=0)).sum(axis=1))
    return Posterior(mean, factor, factor_offsets, A, alpha)


def moments(posterior: Posterior, A: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [n] and variance [n] of aᵀβ for query rows A [n, q] of the same tasks."""
    sizes = np.diff(offsets)
    mean = (A * np.repeat(posterior.mean, sizes, axis=0)).sum(axis=1)
    variance = (A**2).sum(axis=1)
    for tasks, (n_factor, n_query) in _blocks(A.shape[1], np.diff(posterior.factor_offsets), sizes):
        F_rows, F_present = _padded_rows(posterior.factor_offsets, tasks, n_factor)
        rows, present = _padded_rows(offsets, tasks, n_query)
        projected = A[rows] @ _transposed(posterior.factor[F_rows] * F_present[..., None])
        variance[rows[present]] -= (projected**2).sum(axis=2)[present]
    return mean, np.maximum(variance, 0)


def all_moments(posteriors: tuple[Posterior, ...], A: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [n, M] and variance [n, M] of `moments` for each of M posteriors."""
    means, variances = zip(*(moments(posterior, A, offsets) for posterior in posteriors), strict=True)
    return np.column_stack(means), np.column_stack(variances)


def pulls(posterior: Posterior, A: np.ndarray) -> np.ndarray:
    """How far each support row [s] of a single task moves the mean of each query row A [n, q]: float64 [n, s]."""
    return A @ posterior.rows.T * posterior.alpha


def n_latents(n_classes: int) -> int:
    """How many two-class problems M tell C classes apart: one for two, else each class against the rest."""
    return 1 if n_classes == 2 else n_classes


def binary_targets(codes: np.ndarray, n_problems: int) -> np.ndarray:
    """Class codes [n] as two-class problems, columns of 0 and 1, float64 [n, M]."""
    return (codes[:, None] == (np.arange(n_problems) if n_problems > 1 else 1)).astype(np.float64)


def log_probabilities(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, C] of logits with mean and variance [n, M]: one logit for two classes, else one a class.

    P = σ(μ / √(1 + πv/8)) (MacKay 1992); several classes are normalised.
    """
    logit = mean / np.sqrt(1 + np.pi * variance / 8)
    if logit.shape[1] == 1:
        return np.column_stack([special.log_expit(-logit), special.log_expit(logit)])
    log = np.maximum(special.log_expit(logit), np.log(LEAST_PROBABILITY))
    return special.log_softmax(log, axis=1)


def _by_block(offsets: np.ndarray, q: int, solve_block: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [T, q] and factor [F, q] with its offsets, from a function of the padded rows [t, s] of a block of tasks."""
    sizes = np.diff(offsets)
    factor_offsets = offsets_of(np.minimum(sizes, q))
    mean, factor = np.zeros((len(sizes), q)), np.empty((factor_offsets[-1], q))
    for tasks, (width,) in _blocks(q, sizes):
        mean[tasks], part = solve_block(*_padded_rows(offsets, tasks, width))
        rows, present = _padded_rows(factor_offsets, tasks, part.shape[1])
        factor[rows[present]] = part[present]
    return mean, factor, factor_offsets


def _solve(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [t, q] and factor [t, min(s, q), q] of a batch of rows A [t, s, q] and numbers b [t, s]."""
    if A.shape[1] > A.shape[2]:
        # AᵀA = U diag(λ) Uᵀ, the largest λ first: a task of s < q rows has no more than s of them
        eigenvalue, U = (part[..., ::-1] for part in np.linalg.eigh(_transposed(A) @ A))
        share = np.maximum(eigenvalue, 0) / (1 + np.maximum(eigenvalue, 0))
        target = _times(_transposed(U), _times(_transposed(A), b))
        return _times(U, target * (1 - share)), np.sqrt(share)[..., None] * _transposed(U)
    L = np.linalg.cholesky(A @ _transposed(A) + np.eye(A.shape[1]))
    solved = np.linalg.solve(L, np.concatenate([A, b[..., None]], axis=2))
    factor = solved[..., :-1]
    return _times(_transposed(factor), solved[..., -1]), factor


def _newton(A: np.ndarray, y: np.ndarray, f: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same at the mode of the logistic posterior, by damped Newton steps."""
    mean = np.zeros((len(A), A.shape[2]))
    for _ in range(N_STEPS):
        p = special.expit(f + _times(A, mean))
        gradient = _times(_transposed(A), (y - p) * present) - mean
        step = _newton_step(_weighted(A, p), gradient)
        farthest = np.abs(_times(A, step)).max(axis=1)
        mean += step * np.minimum(1, LONGEST_STEP / np.maximum(farthest, LONGEST_STEP))[:, None]
    weighted = _weighted(A, special.expit(f + _times(A, mean)))
    return mean, _solve(weighted, np.zeros(A.shape[:2]))[1]


def _newton_step(A: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """(AᵀA + I)⁻¹ gradient [t, q], in the space of whichever is fewer, rows or weights."""
    n_rows, n_weights = A.shape[1:]
    if n_rows >= n_weights:
        return np.linalg.solve(_transposed(A) @ A + np.eye(n_weights), gradient[..., None])[..., 0]
    kernel = A @ _transposed(A) + np.eye(n_rows)
    return gradient - _times(_transposed(A), np.linalg.solve(kernel, _times(A, gradient)[..., None])[..., 0])


def _weighted(A: np.ndarray, p: np.ndarray) -> np.ndarray:
    return A * np.sqrt(np.maximum(p * (1 - p), LEAST_WEIGHT))[..., None]


def _transposed(A: np.ndarray) -> np.ndarray:
    return np.swapaxes(A, 1, 2)


def _times(A: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (A @ x[..., None])[..., 0]


def _blocks(q: int, *sizes: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Tasks [t] of alike sizes, and what to pad them to; tasks with a size of 0 are left out."""
    padded = np.stack([np.where(size > 1, STEPS[np.searchsorted(STEPS, size)], size) for size in sizes])
    some = np.flatnonzero((padded > 0).all(axis=0))
    widths, block = np.unique(padded[:, some], axis=1, return_inverse=True)
    for k, width in enumerate(widths.T.tolist()):
        tasks = some[block.ravel() == k]
        step = max(1, BLOCK_ENTRIES // (max(width) * (max(width) + q)))
        for start in range(0, len(tasks), step):
            yield tasks[start : start + step], tuple(width)


def _padded_rows(offsets: np.ndarray, tasks: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the tasks, int64 [t, width], and which of them exist; those that don't point to row 0."""
    column = np.arange(width)
    present = column < (offsets[tasks + 1] - offsets[tasks])[:, None]
    return np.where(present, offsets[tasks][:, None] + column, 0), present
