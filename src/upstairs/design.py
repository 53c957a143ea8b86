"""The columns of the linear baselines: 1, clipped numbers, flags of missing values, one-hot levels."""

from typing import NamedTuple

import numba
import numpy as np

from upstairs.compiled import read_only
from upstairs.tasks import Tasks

__all__ = ["Design", "by_column", "design_matrix", "fill_design", "learn_design"]

MOST_LEVELS, FEWEST_ROWS, FEWEST_MISSING = 30, 10, 0.01
FARTHEST = 12.0


class Design(NamedTuple):
    """Which columns make the design, and the range that numbers are clipped to.

    Attributes
    ----------
    numbers : int32 [a]
        Columns of X that are numbers and vary.
    low, high : float32 [a]
        Their meta-train range, within ±12.
    missing : int32 [b]
        Columns that get a flag for missing values.
    category, level : int32 [c]
        Column and code of each one-hot column.
    logs : int32 [d]
        Skewed columns that come a second time, on a log scale from the low end of their range.
    curve : float64 [4, d]
        Low end, shift, and the mean and standard deviation of log(x − low + shift).
    """

    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    category: np.ndarray
    level: np.ndarray
    logs: np.ndarray
    curve: np.ndarray

    @property
    def column(self) -> np.ndarray:
        """The column of X behind each column of the design but the first, [q - 1]."""
        return np.concatenate([self.numbers, self.missing, self.category, self.logs])


def learn_design(tasks: Tasks, logs: bool = False) -> Design:
    """Choose the columns on meta-train rows; with ``logs``, skewed ones come on a log scale as well."""
    X, is_number = tasks.X, tasks.levels == 0
    missing = np.isnan(X)
    share = missing.mean(axis=0)
    seen = np.where(missing, 0, X)  # 0 is the mean, so it lies within the range of any column that varies
    low, high = np.maximum(seen.min(axis=0), -FARTHEST), np.minimum(seen.max(axis=0), FARTHEST)
    numbers = np.flatnonzero(is_number & (high > low))
    category, level = [], []
    for j in np.flatnonzero(~is_number):
        counts = np.bincount(X[~missing[:, j], j].astype(int), minlength=tasks.levels[j])
        frequent = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
        frequent = frequent[counts[frequent] >= FEWEST_ROWS]
        category += [j] * len(frequent)
        level += frequent.tolist()
    return Design(
        numbers.astype(np.int32),
        low[numbers],
        high[numbers],
        np.flatnonzero((share > FEWEST_MISSING) & (share < 1)).astype(np.int32),
        np.array(category, np.int32),
        np.array(level, np.int32),
        *_learn_logs(seen, low, high, numbers if logs else numbers[:0]),
    )


def design_matrix(design: Design, X: np.ndarray) -> np.ndarray:
    """D, float64 [n, q = 1 + a + b + c + d], for rows X float32 [n, p]; a missing number is at its mean."""
    D = np.empty((len(X), 1 + len(design.column)))
    fill_design(design, X, D)
    return D


def fill_design(design: Design, X: np.ndarray, D: np.ndarray) -> None:
    """The design of rows X into the first columns of D, of any precision."""
    numbers, low, high, missing, category, level = map(read_only, design[:6])
    _fill(read_only(X), numbers, low, high, missing, category, level, D)
    if d := len(design.logs):
        low, shift, mean, sd = design.curve
        log = np.log(np.maximum(np.nan_to_num(X[:, design.logs]) - low, 0) + shift)
        q = 1 + len(design.column)
        D[:, q - d : q] = np.clip((log - mean) / sd, -FARTHEST, FARTHEST)


def by_column(design: Design, terms: np.ndarray, n_columns: int) -> np.ndarray:
    """Sums [n, p] of the terms [n, q] of a linear prediction by the column of X behind each; the first term is nobody's."""
    return terms[:, 1:] @ (design.column[:, None] == np.arange(n_columns))


@numba.njit(cache=True, nogil=True)
def _fill(X, numbers, low, high, missing, category, level, D):  # pragma: no cover (compiled)
    a, b = 1 + len(numbers), 1 + len(numbers) + len(missing)
    for i in range(len(X)):
        D[i, 0] = 1
        for j in range(len(numbers)):
            x = X[i, numbers[j]]
            D[i, 1 + j] = 0 if np.isnan(x) else min(max(x, low[j]), high[j])
        for j in range(len(missing)):
            D[i, a + j] = np.isnan(X[i, missing[j]])
        for j in range(len(category)):
            D[i, b + j] = X[i, category[j]] == level[j]


def _learn_logs(seen: np.ndarray, low: np.ndarray, high: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the numbers are skewed, and their log curves; the shift keeps the lowest hundredth from deciding the slope."""
    x = np.clip(seen[:, numbers], low[numbers], high[numbers]).astype(np.float64)
    skewed = ((x - x.mean(axis=0)) ** 3).mean(axis=0) > x.std(axis=0) ** 3
    x, bottom = x[:, skewed], low[numbers][skewed].astype(np.float64)
    shift = np.maximum(np.quantile(x - bottom, 0.01, axis=0), 1e-3) if x.size else np.empty(0)
    log = np.log(x - bottom + shift)
    return numbers[skewed].astype(np.int32), np.stack([bottom, shift, log.mean(axis=0), np.maximum(log.std(axis=0), 1e-6)])
