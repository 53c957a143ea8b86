"""Linear fits where boosting and gradient descent start: about a level of each task, and pooled ones, which see levels as well.

All leave the first column, which is 1, unpenalised. Rows of a task share their level, so that a row says less of it, and pooled
fits are penalised more.
"""

import numpy as np
from scipy import linalg
from scipy.special import expit

from upstairs.levels import newton_offsets, task_sums, variance_components

__all__ = ["gls_ridge", "logistic_ridge", "pooled_logistic_ridge", "pooled_ridge"]

PENALTY, POOLED_PENALTY = 1.0, 10.0


def gls_ridge(D: np.ndarray, u: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Random-intercept least squares: rows and targets lose a_t of their task's mean, a_t = 1 − √(w / (w + n_t b))."""
    sizes = np.diff(offsets)
    D_mean, u_mean = _task_means(D, offsets), _task_means(u[:, None], offsets)[:, 0]
    coef = np.zeros(D.shape[1])
    for _ in range(2):
        w, b = variance_components(u - D @ coef, offsets)
        a = np.repeat(1 - np.sqrt(w / (w + sizes * b)), sizes)
        D_part, u_part = D - a[:, None] * D_mean, u - a * u_mean
        coef = linalg.solve(D_part.T @ D_part + _penalty(D), D_part.T @ u_part, assume_a="pos")
    return coef


def logistic_ridge(D: np.ndarray, y: np.ndarray, offsets: np.ndarray, steps: int = 8) -> np.ndarray:
    """Logistic regression about task offsets, offsets and coefficients in turn by Newton steps."""
    coef, o = np.zeros(D.shape[1]), np.zeros(len(offsets) - 1)
    for _ in range(steps):
        o = newton_offsets(y, D @ coef, offsets, o, steps=1)
        coef += _newton_step(D, y, coef, D @ coef + np.repeat(o, np.diff(offsets)), _penalty(D))
    return coef


def pooled_ridge(D: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Least squares of all rows alike."""
    return linalg.solve(D.T @ D + _penalty(D, POOLED_PENALTY), D.T @ u, assume_a="pos")


def pooled_logistic_ridge(D: np.ndarray, y: np.ndarray, steps: int = 8) -> np.ndarray:
    """Logistic regression of all rows alike, by Newton steps."""
    coef, penalty = np.zeros(D.shape[1]), _penalty(D, POOLED_PENALTY)
    for _ in range(steps):
        coef += _newton_step(D, y, coef, D @ coef, penalty)
    return coef


def _newton_step(D: np.ndarray, y: np.ndarray, coef: np.ndarray, logit: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    p = expit(logit)
    weight = np.maximum(p * (1 - p), 1e-4)
    return linalg.solve((D * weight[:, None]).T @ D + penalty, D.T @ (y - p) - penalty @ coef, assume_a="pos")


def _penalty(D: np.ndarray, size: float = PENALTY) -> np.ndarray:
    return np.diag([1e-8] + [size] * (D.shape[1] - 1))


def _task_means(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Mean of the rows of each task, repeated for each of its rows [n, d]."""
    sizes = np.diff(offsets)
    return np.repeat(task_sums(values, offsets) / sizes[:, None], sizes, axis=0)
