"""Columns that give the task or the target away, found before anything is fitted.

    names the task       text, or whole numbers given in a row, each value of which stands in one task only
    knows the target     a column of numbers that goes with the target nearly exactly, or whose values tell the class
    knows the task mean  a column, constant within tasks, that comes closer to the tasks' mean targets than their noise lets any
                         honest one come: with s² the variance within tasks and n_t rows in task t, the squares that a line
                         leaves, Σ n_t r_t² / s², would be χ² with T − 2 degrees of freedom for the truest column; far fewer are
                         a sign that it was computed from the target

What describes a task honestly (its size, its place, a measurement of it) is none of these.
"""

import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsWarning
from upstairs.evaluation.draws import Draw
from upstairs.frames import distinct, kind_of, open_table, plain

__all__ = ["find_leaks", "warn_of"]

LEAST_TASKS = 10
NAMING = 0.98
"""Share of the rows whose value stands in one task only, from which on a column names the task."""
NEAR_ONE = 0.999
"""Squared correlation from which on a column is the target."""
FEW_MISTAKES = 0.01
"""Of those that the most frequent class makes, up to which a column is the target."""
LEAST_ROWS = 5
"""Of each of two classes, without which a number parts them by chance."""
TOO_CLOSE = 0.2
"""Of the squares that noise alone would leave."""


def find_leaks(X: Any, y: np.ndarray, draw: Draw, classes: bool) -> list[str]:
    """A sentence about each column that gives something away."""
    table = open_table(X)
    target = _indicators(y) if classes else y.astype(float)[:, None]
    leaks = []
    for j, name in enumerate(table.names):
        codes, numbers = _read(table.column(j, mixed=True), name)
        if _names_the_task(codes, numbers, draw):
            leaks.append(
                f"Column {name!r} names the task: a value of it stands in one task only. On an unseen task it says nothing; "
                "leave it out."
            )
        elif _is_the_target(codes, numbers, target, y, classes):
            leaks.append(
                f"Column {name!r} gives the target away: one can be read off the other. Leave it out if it comes later."
            )
        elif numbers is not None and _knows_the_means(numbers, target, draw):
            leaks.append(
                f"Column {name!r}, constant within tasks, comes closer to their mean target than noise allows, as if it had "
                "been computed from it. Leave it out, or compute it from other rows."
            )
    return leaks


def warn_of(leaks: list[str], stacklevel: int) -> None:
    for leak in leaks:
        warnings.warn(leak, UpstairsWarning, stacklevel=stacklevel + 1)


def _read(array: pa.Array, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes [n] of equal values, -1 where missing, and for a column of numbers these."""
    array = plain(array)
    if kind_of(array, name) != "number":
        return distinct(array)[0], None
    numbers = array.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(numbers), -1, np.unique(numbers, return_inverse=True)[1]), numbers


def _names_the_task(codes: np.ndarray, numbers: np.ndarray | None, draw: Draw) -> bool:
    there = codes >= 0
    n_tasks, n_values = len(draw.ids), codes.max(initial=-1) + 1
    if n_tasks < 3 or not n_tasks / 2 <= n_values <= there.sum() / 2:
        return False
    if numbers is not None and not _given_in_a_row(np.unique(numbers[there])):
        return False
    pairs = np.unique(codes[there] * n_tasks + draw.task[there])
    tasks_of_value = np.bincount(pairs // n_tasks, minlength=n_values)
    return bool((tasks_of_value[codes[there]] == 1).mean() >= NAMING and there.mean() >= NAMING)


def _given_in_a_row(values: np.ndarray) -> bool:
    """Whether these are whole numbers with hardly a gap, as ids are."""
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool((values == np.floor(values)).all()) and np.ptp(values) < 2 * len(values)


def _is_the_target(codes: np.ndarray, numbers: np.ndarray | None, target: np.ndarray, y: np.ndarray, classes: bool) -> bool:
    there = codes >= 0
    if there.sum() < LEAST_TASKS:
        return False
    if not classes:
        return numbers is not None and _correlation(numbers[there], target[there, 0]) ** 2 > NEAR_ONE
    label = np.unique(y, return_inverse=True)[1][there]
    sizes = np.bincount(label)
    if _reads_the_class(codes[there], label, sizes):
        return True
    if numbers is None or len(sizes) != 2 or sizes.min() < LEAST_ROWS:
        return False
    low, high = numbers[there][label == 0], numbers[there][label == 1]
    return bool(low.max() < high.min() or high.max() < low.min())


def _reads_the_class(codes: np.ndarray, label: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether nearly every value stands beside one class, of a column whose values come often enough to tell."""
    if len(np.unique(codes)) > len(codes) / 4:
        return False
    pairs, count = np.unique(codes * len(sizes) + label, return_counts=True)
    most = np.zeros(codes.max() + 1, int)
    np.maximum.at(most, pairs // len(sizes), count)
    return bool(len(codes) - most.sum() <= FEW_MISTAKES * (len(codes) - sizes.max())) and sizes.max() < len(codes)


def _knows_the_means(numbers: np.ndarray, target: np.ndarray, draw: Draw) -> bool:
    n_tasks = len(draw.ids)
    size = np.bincount(draw.task, minlength=n_tasks)
    if n_tasks < LEAST_TASKS or not np.isfinite(numbers).all():
        return False
    value = np.bincount(draw.task, weights=numbers, minlength=n_tasks) / size
    spread = np.abs(numbers - value[draw.task]).max()
    if spread > 1e-9 * max(1.0, np.abs(numbers).max()) or len(np.unique(value)) < LEAST_TASKS:
        return False
    return any(_too_close(value, column, size, draw.task) for column in target.T)


def _too_close(value: np.ndarray, target: np.ndarray, size: np.ndarray, task: np.ndarray) -> bool:
    n_tasks = len(size)
    mean = np.bincount(task, weights=target, minlength=n_tasks) / size
    n_free = len(target) - n_tasks
    noise = ((target - mean[task]) ** 2).sum() / n_free if n_free > 0 else 0.0
    if noise <= 1e-12 * target.var():
        return False
    weight = np.sqrt(size)
    A = np.column_stack([np.ones(n_tasks), (value - value.mean()) / max(value.std(), 1e-300)])
    line, *_ = np.linalg.lstsq(A * weight[:, None], mean * weight, rcond=None)
    left = (size * (mean - A @ line) ** 2).sum() / noise
    return bool(left < TOO_CLOSE * (n_tasks - 2))


def _indicators(y: np.ndarray) -> np.ndarray:
    return (y[:, None] == np.unique(y)).astype(float)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 0 else 0.0
