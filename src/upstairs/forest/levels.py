"""Task levels as nuisance: variance components, and residuals seen by a task that does not see them.

A level is the part of a residual that all rows of a task share, b its variance over tasks and w the variance within.
"""

import numpy as np

__all__ = ["leave_one_out", "shrunk_levels", "task_sums", "variance_components"]


def task_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of the values [n] of each task [T]; 0 for a task without rows."""
    totals = np.concatenate([[0.0], np.cumsum(values)])
    return totals[offsets[1:]] - totals[offsets[:-1]]


def variance_components(r: np.ndarray, offsets: np.ndarray) -> tuple[float, float]:
    """Variance within tasks w and between tasks b of residuals r [n], by moments; b is at least 10⁻³ w.

    w = Σ_t Σ_i (r_ti − m_t)² / (N − T),  b = (Σ n_t (m_t − m̄)² − (T − 1) w) / (N − Σ n_t² / N), m_t the mean of task t.
    Where no task has two rows the two can't be told apart, and all variance counts as within.
    """
    sizes = np.diff(offsets)
    n, n_tasks = len(r), len(sizes)
    means = task_sums(r, offsets) / np.maximum(sizes, 1)
    if n_tasks < 2 or n <= n_tasks:
        w = max(float(r.var()), 1e-12)
        return w, 1e-3 * w
    w = max(float(((r - np.repeat(means, sizes)) ** 2).sum() / (n - n_tasks)), 1e-12)
    between = float((sizes * (means - r.mean()) ** 2).sum())
    b = (between - (n_tasks - 1) * w) / max(n - (sizes**2).sum() / n, 1e-12)
    return w, float(max(b, 1e-3 * w))


def shrunk_levels(r: np.ndarray, offsets: np.ndarray, w: float, b: float) -> np.ndarray:
    """Posterior mean of each row's task level [n]: b Σ r / (n_t b + w)."""
    sizes = np.diff(offsets)
    return np.repeat(b * task_sums(r, offsets) / (sizes * b + w), sizes)


def leave_one_out(r: np.ndarray, offsets: np.ndarray, w: float, b: float) -> np.ndarray:
    """Error [n] of each row once its level is estimated from the *other* rows of its task."""
    sizes = np.diff(offsets)
    n = np.repeat(sizes, sizes)
    return r - b * (np.repeat(task_sums(r, offsets), sizes) - r) / ((n - 1) * b + w)
