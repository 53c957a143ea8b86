"""Task-effect trees: a forest whose leaves gather rows that move together within a task.

Tree m sees two thirds of the tasks, each with a random sign s_t, and is grown on s_t r'_ti, where r' is the residual once its
level is told by the other rows of its task. In expectation over signs a split's gain is Σ_t (Σ_{i ∈ node} r'_ti)² / n_node,
the energy of task effects: the signs hide everything that tasks have in common. K_F(x, x') is the share of trees in which two
rows reach the same leaf. Rows that a tree was grown on meet in its leaves because of their noise, too, so that how much K_F is
worth is learned from the trees that never saw a task.
"""

import lightgbm
import numpy as np

from upstairs.tasks import Tasks
from upstairs.trees import Booster, Trees, flatten, leaf_of

__all__ = ["blind_leaves", "grow_effect_trees"]

MOST_ROWS = 8000
PARTS = 3
"""Of the tasks, redealt for every three trees, each of which sees all parts but one."""
PARAMS = {
    "objective": "none",
    "num_leaves": 16,
    "min_data_in_leaf": 10,
    "feature_fraction_bynode": 0.6,
    "max_bin": 63,
    "cat_smooth": 10.0,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
}


def grow_effect_trees(tasks: Tasks, residual: np.ndarray, n_trees: int, rng: np.random.Generator) -> tuple[Trees, np.ndarray]:
    """Grow ``n_trees`` trees on leave-one-out residuals [n], and say which tasks each never saw, bool [M, T]."""
    rows = np.arange(len(residual))
    if len(rows) > MOST_ROWS:
        rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
    task = tasks.task_of_row[rows]
    categories = np.flatnonzero(tasks.levels).tolist()
    params = PARAMS | {"seed": int(rng.integers(2**31 - 1))}
    binned = lightgbm.Dataset(tasks.X[rows], residual[rows], categorical_feature=categories, params=params)
    binned.construct()
    if n_trees == 0 or all(binned.feature_num_bin(j) < 2 for j in range(binned.num_feature())):
        return flatten([]), np.empty((0, tasks.n_tasks), bool)
    booster, unseen = lightgbm.Booster(params, binned), np.empty((n_trees, tasks.n_tasks), bool)
    for m in range(n_trees):
        if m % PARTS == 0:
            part = rng.permutation(tasks.n_tasks) % PARTS
        # LightGBM keeps no tree that can't split, and then the next one takes its place
        place = booster.num_trees()
        unseen[place] = part == m % PARTS
        weight = (~unseen[place])[task].astype(float)
        pull = -weight * rng.choice([-1.0, 1.0], tasks.n_tasks)[task] * residual[rows]
        booster.update(fobj=lambda *_, pull=pull, weight=weight: (pull, weight + 1e-9))
    return flatten([Booster(booster.model_to_string(), 1.0, 0)]), unseen[: booster.num_trees()]


def blind_leaves(trees: Trees, unseen: np.ndarray, tasks: Tasks) -> np.ndarray:
    """Leaf of each row in trees that never saw its task, in as many for each: uint8 [n, about M / 3]."""
    n_blind = unseen.sum(axis=0).min()
    own = np.argsort(~unseen, axis=0, kind="stable")[:n_blind]
    return np.take_along_axis(leaf_of(trees, tasks.X), own.T[tasks.task_of_row], axis=1)
