"""Task levels: the part of a residual that all rows of a task share.

r_ti = b_t + ε_ti,   b_t ~ N(0, b),   ε_ti ~ N(0, w)
b_t | support ~ N(b Σr / (s b + w), b w / (s b + w))
"""

import numpy as np

__all__ = ["shrunk_levels", "task_sums", "variance_components"]

LEAST_VARIANCE = 1e-8


def task_sums(values: np.ndarray, task: np.ndarray, n_tasks: int) -> np.ndarray:
    """Sums [T, m] of the values [n, m] by the task [n] of each row.

    Each sum adds the task's own rows and no others: running totals would let one task's rounding error into the next.
    """
    columns = [np.bincount(task, column, minlength=n_tasks) for column in values.T]
    return np.column_stack(columns) if columns else np.empty((n_tasks, 0))


def variance_components(r: np.ndarray, task: np.ndarray, n_tasks: int) -> tuple[float, float]:
    """Variance within tasks w and between tasks b of residuals r [n], by moments; b is at least 10⁻³ w.

    w = Σ_t Σ_i (r_ti − m_t)² / (N − T),  b = (Σ n_t (m_t − m̄)² − (T − 1) w) / (N − Σ n_t² / N), m_t the mean of task t.
    Where no task has two rows the two can't be told apart, and all variance counts as within.
    """
    n, sizes = len(r), np.bincount(task, minlength=n_tasks)
    if n_tasks < 2 or n <= n_tasks:
        w = max(float(r.var()), LEAST_VARIANCE)
        return w, 1e-3 * w
    means = np.bincount(task, r, minlength=n_tasks) / np.maximum(sizes, 1)
    w = max(float(((r - means[task]) ** 2).sum()) / (n - n_tasks), LEAST_VARIANCE)
    between = float((sizes * (means - r.mean()) ** 2).sum())
    b = (between - (n_tasks - 1) * w) / (n - (sizes**2).sum() / n)
    return w, max(b, 1e-3 * w)


def shrunk_levels(r: np.ndarray, task: np.ndarray, sizes: np.ndarray, w: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean [T, m] and variance [T] of the levels of tasks with residuals r [n, m]."""
    precision = sizes * b + w
    return b * task_sums(r, task, len(sizes)) / precision[:, None], b * w / precision
