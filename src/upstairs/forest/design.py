"""The columns of the linear members: 1, clipped numbers, flags of missing values, one-hot levels."""

from typing import NamedTuple

import numpy as np

from upstairs.tasks import Tasks

__all__ = ["Design", "design_matrix", "learn_design"]

MOST_LEVELS, FEWEST_ROWS, FEWEST_MISSING = 30, 10, 0.01


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


def learn_design(tasks: Tasks) -> Design:
    """Choose the columns on meta-train rows."""
    X, is_number = tasks.X, tasks.levels == 0
    missing = np.isnan(X)
    numbers = [j for j in np.flatnonzero(is_number) if not missing[:, j].all() and np.nanmax(X[:, j]) > np.nanmin(X[:, j])]
    category, level = [], []
    for j in np.flatnonzero(~is_number):
        counts = np.bincount(X[~missing[:, j], j].astype(int), minlength=tasks.levels[j])
        frequent = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
        frequent = frequent[counts[frequent] >= FEWEST_ROWS]
        category += [j] * len(frequent)
        level += frequent.tolist()
    low = [max(np.nanmin(X[:, j]), -12) for j in numbers]
    high = [min(np.nanmax(X[:, j]), 12) for j in numbers]
    return Design(
        np.array(numbers, np.int32),
        np.array(low, np.float32),
        np.array(high, np.float32),
        np.flatnonzero(missing.mean(axis=0) > FEWEST_MISSING).astype(np.int32),
        np.array(category, np.int32),
        np.array(level, np.int32),
    )


def design_matrix(design: Design, X: np.ndarray) -> np.ndarray:
    """D, float64 [n, 1 + a + b + c], for rows X float32 [n, p]."""
    n, a, b = len(X), len(design.numbers), len(design.missing)
    D = np.empty((n, 1 + a + b + len(design.category)))
    D[:, 0] = 1
    D[:, 1 : 1 + a] = np.nan_to_num(np.clip(X[:, design.numbers], design.low, design.high))
    D[:, 1 + a : 1 + a + b] = np.isnan(X[:, design.missing])
    D[:, 1 + a + b :] = X[:, design.category] == design.level
    return D
