"""What the machines' least-squares companion says in closed form: in which columns tasks differ, and how wide a kernel is.

With squared loss and no tube the joint problem is that of a linear mixed model: v_t ~ N(0, C M) relative to the noise. So C M
is what maximises the likelihood of the targets themselves (y, or ±1 for classes): one variance for each column, and how the
columns' effects are correlated (`mixed_model`). It then serves every loss. A kernel's width is the one whose ridge predicts
held-out tasks best once each task's level is removed as far as its rows allow (random-intercept least squares).
"""

import numpy as np
from scipy import linalg

from upstairs.levels import task_sums
from upstairs.mixed_model import Sums, correlations, fixed_effects, maximise_posterior, residual_sums, sums_of
from upstairs.svm.features import with_kernel
from upstairs.svm.kernel import KernelMap
from upstairs.tasks import Tasks

__all__ = ["choose_map", "learn_relevance"]

MOST_ROUNDS, SETTLED = 20, 0.02
"""Rounds at most, and the change of C in one by which the likelihood is as good as at its top."""
MOST_TASKS, MOST_ENTRIES = 1_000, 20_000_000
LEVEL, SLOPE, NOISE = 0.2, 0.05, 0.5
"""Variances to start from."""
PENALTIES = 10.0 ** np.arange(-2, 4)


def learn_relevance(
    D: np.ndarray, Y: np.ndarray, tasks: Tasks, fold: np.ndarray, group: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float, float]:
    """M [1 + d, 1 + d] with a diagonal of 1 on average, C, and the variance of the noise, from rows D [n, 1 + d] and targets Y
    [n, outputs]. Columns of the same ``group`` [1 + d] share one variance.
    """
    most = max(2, min(MOST_TASKS, MOST_ENTRIES // D.shape[1] ** 2))
    few = np.sort(rng.permutation(tasks.n_tasks)[:most])
    rows = np.isin(tasks.task_of_row, few)
    thin, fold = tasks.take(few), np.unique(fold[few], return_inverse=True)[1]
    sums = [sums_of(D[rows], y, np.ones(len(y)), thin) for y in Y[rows].T]
    theta, w = np.where(group < 0, LEVEL, SLOPE), NOISE
    for _ in range(MOST_ROUNDS):
        before = theta.mean() / w
        residuals = [residual_sums(part, fixed_effects(part, theta, w, fold, 1.0)[fold]) for part in sums]
        every = Sums(*(np.concatenate(field) for field in zip(*residuals, strict=True)))
        theta, w = maximise_posterior(every, theta, w, group, learn_noise=True)
        if abs(np.log(theta.mean() / w / before)) < SETTLED:
            break
    root = np.sqrt(theta / theta.mean())
    return root[:, None] * correlations(every, theta, w, np.tile(fold, len(sums))) * root, float(theta.mean() / w), w


def choose_map(maps: list[KernelMap], D: np.ndarray, Y: np.ndarray, tasks: Tasks, fold: np.ndarray, level: float) -> KernelMap:
    """The map of smallest error on held-out tasks; ``level`` is the variance of levels over that of the noise."""
    return min(maps, key=lambda one: _held_out_error(with_kernel(one, D), Y, tasks, fold, level)) if len(maps) > 1 else maps[0]


def _held_out_error(phi: np.ndarray, Y: np.ndarray, tasks: Tasks, fold: np.ndarray, level: float) -> float:
    """Mean squared error at the best penalty, of tasks that the ridge has not seen."""
    sizes = tasks.sizes
    share = np.repeat((1 - 1 / np.sqrt(1 + sizes * level)) / np.maximum(sizes, 1), sizes)[:, None]
    rows = np.column_stack([phi, Y]).astype(np.float64)
    rows -= share * np.repeat(task_sums(rows, tasks.offsets), sizes, axis=0)
    fold_of_row, q = np.repeat(fold, sizes), phi.shape[1]
    products = [rows[fold_of_row == k].T @ rows[fold_of_row == k] for k in range(fold.max() + 1)]
    whole, errors = sum(products), np.zeros(len(PENALTIES))
    for own in products:
        eigenvalue, U = linalg.eigh((whole - own)[:q, :q])
        target, G, g = U.T @ (whole - own)[:q, q:], U.T @ own[:q, :q] @ U, U.T @ own[:q, q:]
        for b, penalty in enumerate(PENALTIES):
            coef = target / (np.maximum(eigenvalue, 0) + penalty)[:, None]
            errors[b] += np.trace(own[q:, q:]) - 2 * (coef * g).sum() + (coef * (G @ coef)).sum()
    return float(errors.min())
