"""Task levels: the part of a residual that all rows of a task share.

r_ti = b_t + ε_ti,   b_t ~ N(0, b),   ε_ti ~ N(0, w)
b_t | rows ~ N(b Σr / (n_t b + w), b w / (n_t b + w))
"""

import numpy as np
from scipy.special import expit

__all__ = ["leave_one_out", "newton_offsets", "shrunk_levels", "task_sums", "variance_components"]

LEAST_VARIANCE = 1e-12


def task_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of the values [n] or [n, m] of each task: [T] or [T, m]; 0 for a task without rows.

    Each sum adds the task's own rows and no others: running totals would let one task's rounding error into the next.
    """
    sums = np.zeros((len(offsets) - 1, *values.shape[1:]))
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled], axis=0)
    return sums


def variance_components(r: np.ndarray, offsets: np.ndarray) -> tuple[float, float]:
    """Variance within tasks w and between tasks b of residuals r [n], by moments; b is at least 10⁻³ w.

    w = Σ_t Σ_i (r_ti − m_t)² / (N − T),  b = (Σ n_t (m_t − m̄)² − (T − 1) w) / (N − Σ n_t² / N), m_t the mean of task t.
    Where no task has two rows the two can't be told apart, and all variance counts as within.
    """
    sizes = np.diff(offsets)
    n, n_tasks = len(r), len(sizes)
    if n_tasks < 2 or n <= n_tasks:
        w = max(float(r.var()), LEAST_VARIANCE)
        return w, 1e-3 * w
    means = task_sums(r, offsets) / np.maximum(sizes, 1)
    w = max(float(((r - np.repeat(means, sizes)) ** 2).sum()) / (n - n_tasks), LEAST_VARIANCE)
    between = float((sizes * (means - r.mean()) ** 2).sum())
    b = (between - (n_tasks - 1) * w) / (n - float((sizes**2).sum()) / n)
    return w, max(b, 1e-3 * w)


def shrunk_levels(r: np.ndarray, offsets: np.ndarray, w: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean [T] or [T, m] and variance [T] of the levels of tasks with residuals r [n] or [n, m]."""
    precision = np.diff(offsets) * b + w
    return (b * task_sums(r, offsets).T / precision).T, b * w / precision


def leave_one_out(r: np.ndarray, offsets: np.ndarray, w: float, b: float) -> np.ndarray:
    """Error [n] of each row once its level is estimated from the *other* rows of its task."""
    sizes = np.diff(offsets)
    n = np.repeat(sizes, sizes)
    return r - b * (np.repeat(task_sums(r, offsets), sizes) - r) / ((n - 1) * b + w)


def newton_offsets(
    y: np.ndarray, F: np.ndarray, offsets: np.ndarray, start: np.ndarray, steps: int, variance: float = 1.0
) -> np.ndarray:
    """Mode of each task's offset [T] to logits F [n] under N(0, variance), by Newton steps from ``start`` [T]."""
    sizes, o = np.diff(offsets), start.copy()
    for _ in range(steps):
        p = expit(F + np.repeat(o, sizes))
        slope = task_sums(y - p, offsets) - o / variance
        o += np.clip(slope / (task_sums(p * (1 - p), offsets) + 1 / variance), -2, 2)
    return o
