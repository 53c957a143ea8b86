"""Boosting on many tasks: K boosters, each blind to one fold of tasks, stopped together by the tasks they don't see.

`boost` knows nothing of levels or classes: it asks a `Loss` for the gradient on the rows of the tasks that a booster sees, and
for the error on those that it doesn't. One number of rounds serves all folds: where the weighted mean of the held-out curves is
lowest, found once it has hardly fallen for some strides of rounds; a mean of several is smooth, so that few will do. Where one
fold is long past its best, the others end, too: one giant task may hold most of what is to gain. `grow` boosts one that sees
all tasks, where the number of rounds is known.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import lightgbm
import numpy as np

from upstairs.tasks import Tasks, offsets_of

__all__ = ["Boosted", "Fold", "Loss", "LossOfRows", "boost", "grow", "make_folds"]

STRIDE, PATIENCE, LONG_PATIENCE, MOST_STRIDES = 3, 5, 25, 200
"""Rounds between two looks at held-out tasks; strides without a gain of the mean, past the best of any one fold, and in all."""
LEAST_GAIN = 5e-4
"""A smaller fall of the error, as a share of it, is none."""
PARAMS = {
    "objective": "none",
    "boosting": "gbdt",
    "cat_smooth": 10.0,
    "lambda_l2": 10.0,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "feature_pre_filter": False,
    "max_bin": 255,
}


class LossOfRows(NamedTuple):
    """What to descend on n rows, by what the model says of them, F [n].

    gradient : F -> gradient [n], Hessian [n]
    held_out : F -> mean error
    """

    gradient: Callable
    held_out: Callable


Loss = Callable[[np.ndarray, np.ndarray], LossOfRows]
"""Of rows (indices), sorted by task, and the offsets of their tasks."""


class Fold(NamedTuple):
    """Rows (indices) of the tasks that a booster sees and of those that it does not, binned."""

    rows: np.ndarray
    offsets: np.ndarray
    binned: lightgbm.Dataset
    held_rows: np.ndarray
    held_offsets: np.ndarray
    held_binned: lightgbm.Dataset
    can_split: bool


class Boosted(NamedTuple):
    """K boosters of which the first ``rounds`` trees count."""

    boosters: list
    rounds: int
    error: float

    def texts(self) -> list[str]:
        """LightGBM's own text of each booster's trees that count; none at all if no tree does."""
        return [booster.model_to_string(num_iteration=self.rounds) for booster in self.boosters] if self.rounds else []


def make_folds(tasks: Tasks, fold: np.ndarray) -> tuple[list[Fold], Fold]:
    """Bin the rows once and deal them out by the fold [T] of their task; and the fold that sees all of them."""
    categories = np.flatnonzero(tasks.levels).tolist()
    binned = lightgbm.Dataset(
        tasks.X, np.zeros(len(tasks.X)), categorical_feature=categories, params=PARAMS, free_raw_data=False
    ).construct()
    # LightGBM stops the process's training with an error of its own where no column has two bins
    can_split = any(binned.feature_num_bin(j) > 1 for j in range(binned.num_feature()))

    def part(of_task: np.ndarray) -> tuple[np.ndarray, np.ndarray, lightgbm.Dataset]:
        rows = np.flatnonzero(of_task[tasks.task_of_row])
        return rows, offsets_of(tasks.sizes[of_task]), binned.subset(rows).construct()

    folds = [Fold(*part(fold != k), *part(fold == k), can_split) for k in range(fold.max() + 1)]
    nothing = np.empty(0, int), np.zeros(1, int), binned  # which is never asked
    return folds, Fold(np.arange(len(tasks.X)), tasks.offsets, binned, *nothing, can_split)


def boost(
    folds: list[Fold], start: np.ndarray, loss: Loss, num_leaves: int, seed: int, learning_rate: float,
    extra_trees: bool = False,
) -> Boosted:  # fmt: skip
    """Boost each fold from ``start`` [K, n], what the model of each fold starts from."""
    params = _params(num_leaves, seed, learning_rate, extra_trees, start.shape[1])
    boosters = [lightgbm.Booster(params, fold.binned) if fold.can_split else None for fold in folds]
    runs = map(_held_out_errors, boosters, folds, start, itertools.repeat(loss))
    weights = [len(fold.held_rows) for fold in folds]
    curves: list[tuple[float, ...]] = []
    mean: list[float] = []
    last_gain = 0
    # the first fold that can't be split further ends the others: beyond its last round there is no mean
    for errors in itertools.islice(zip(*runs, strict=False), MOST_STRIDES + 1):
        curves.append(errors)
        mean.append(np.average(errors, weights=weights))
        if mean[-1] < (1 - LEAST_GAIN) * mean[last_gain]:
            last_gain = len(mean) - 1
        if len(mean) > min(PATIENCE + last_gain, LONG_PATIENCE + np.argmin(curves, axis=0).min()):
            break
    best = int(np.argmin(mean))
    return Boosted(boosters, best * STRIDE, float(mean[best]))


def grow(
    fold: Fold, start: np.ndarray, loss: Loss, num_leaves: int, seed: int, learning_rate: float, rounds: int,
    extra_trees: bool = False,
) -> Boosted:  # fmt: skip
    """Boost one fold from ``start`` [1, n], for that many rounds."""
    own, seen = loss(fold.rows, fold.offsets), start[0, fold.rows]
    if not fold.can_split:
        return Boosted([], 0, np.nan)
    booster = lightgbm.Booster(_params(num_leaves, seed, learning_rate, extra_trees, start.shape[1]), fold.binned)
    for _ in range(rounds):
        booster.update(fobj=lambda F, _: own.gradient(seen + F))
    return Boosted([booster], rounds, np.nan)


def _params(num_leaves: int, seed: int, learning_rate: float, extra_trees: bool, n_rows: int) -> dict:
    own = {"num_leaves": num_leaves, "seed": seed, "learning_rate": learning_rate, "extra_trees": extra_trees}
    # a leaf of 20 rows is coarse where there are a few hundred
    return PARAMS | own | {"min_data_in_leaf": int(np.clip(n_rows // 100, 5, 20))}


def _held_out_errors(booster: lightgbm.Booster | None, fold: Fold, start: np.ndarray, loss: Loss) -> Iterator[float]:
    """The held-out error after 0, 1, 2, … strides, each of which is grown when it is asked for."""
    seen, unseen = start[fold.rows], start[fold.held_rows]
    own, held = loss(fold.rows, fold.offsets), loss(fold.held_rows, fold.held_offsets)
    yield held.held_out(unseen)
    if booster is None:
        return
    booster.add_valid(fold.held_binned, "held out")

    def objective(F, _):
        return own.gradient(seen + F)

    def watch(F, _):
        return "error", held.held_out(unseen + F), False

    while not any(booster.update(fobj=objective) for _ in range(STRIDE)):
        yield booster.eval_valid(watch)[-1][2]
