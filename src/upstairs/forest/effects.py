"""Task-effect trees: a forest whose leaves gather rows that move together within a task.

Tree m sees a bootstrap of tasks, each with a random sign s_t, and is grown on s_t r'_ti, where r' is the residual once its
level is told by the other rows of its task. In expectation over signs a split's gain is Σ_t (Σ_{i ∈ node} r'_ti)² / n_node,
the energy of task effects: the signs hide everything that tasks have in common. K_F(x, x') is the share of trees in which two
rows reach the same leaf.
"""

import lightgbm
import numpy as np

from upstairs.tasks import Tasks
from upstairs.trees import Booster, Trees, flatten

__all__ = ["grow_effect_trees"]

MOST_ROWS = 8000
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


def grow_effect_trees(tasks: Tasks, residual: np.ndarray, n_trees: int, rng: np.random.Generator) -> Trees:
    """Grow ``n_trees`` trees on leave-one-out residuals [n]."""
    rows = np.arange(len(residual))
    if len(rows) > MOST_ROWS:
        rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
    task = tasks.task_of_row[rows]
    categories = np.flatnonzero(tasks.levels).tolist()
    params = PARAMS | {"seed": int(rng.integers(2**31 - 1))}
    binned = lightgbm.Dataset(tasks.X[rows], residual[rows], categorical_feature=categories, params=params)
    binned.construct()
    if n_trees == 0 or all(binned.feature_num_bin(j) < 2 for j in range(binned.num_feature())):
        return flatten([])
    booster = lightgbm.Booster(params, binned)

    def objective(_, __):
        weight = rng.multinomial(tasks.n_tasks, np.full(tasks.n_tasks, 1 / tasks.n_tasks))[task].astype(float)
        sign = rng.choice([-1.0, 1.0], tasks.n_tasks)[task]
        return -weight * sign * residual[rows], weight + 1e-9

    for _ in range(n_trees):
        booster.update(fobj=objective)
    return flatten([Booster(booster.model_to_string(), 1.0, 0)])
