"""The columns of the linear baselines: 1, clipped numbers, flags of missing values, one-hot levels."""

from typing import NamedTuple

import numpy as np

from upstairs.tasks import Tasks

__all__ = ["Design", "by_column", "design_matrix", "learn_design"]

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
    """

    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    category: np.ndarray
    level: np.ndarray

    @property
    def column(self) -> np.ndarray:
        """The column of X behind each column of the design but the first, [q - 1]."""
        return np.concatenate([self.numbers, self.missing, self.category])


def learn_design(tasks: Tasks) -> Design:
    """Choose the columns on meta-train rows."""
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
    )


def design_matrix(design: Design, X: np.ndarray) -> np.ndarray:
    """D, float64 [n, q = 1 + a + b + c], for rows X float32 [n, p]; a missing number is at its mean."""
    a, b = len(design.numbers), len(design.missing)
    D = np.empty((len(X), 1 + a + b + len(design.category)))
    D[:, 0] = 1
    D[:, 1 : 1 + a] = np.nan_to_num(np.clip(X[:, design.numbers], design.low, design.high))
    D[:, 1 + a : 1 + a + b] = np.isnan(X[:, design.missing])
    D[:, 1 + a + b :] = X[:, design.category] == design.level
    return D


def by_column(design: Design, terms: np.ndarray, n_columns: int) -> np.ndarray:
    """Sums [n, p] of the terms [n, q] of a linear prediction by the column of X behind each; the first term is nobody's."""
    return terms[:, 1:] @ (design.column[:, None] == np.arange(n_columns))
