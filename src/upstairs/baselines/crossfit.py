"""Folds of tasks: every task has a model that never saw it, from which variances, priors and calibrations are learned.

Whatever was fitted on a task's rows makes its residuals too small. So K models are fitted, each blind to one fold of tasks. A
meta-train task is predicted by the model of its own fold, an unseen task by the average of all K.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from upstairs.calibration import Calibration, identity_calibration, learn_intervals, learn_temperatures
from upstairs.episodes import SHOTS, Episodes, draw_episodes, query_tasks, support_tasks
from upstairs.errors import UpstairsError
from upstairs.tasks import Tasks, assign_folds, pseudo_tasks

__all__ = ["deal_folds", "fold_weights", "held_out_calibration"]

N_FOLDS = 5
N_EPISODES = 400
BUCKETS = (0, *SHOTS)


def deal_folds(tasks: Tasks, rng: np.random.Generator) -> tuple[Tasks, np.ndarray, np.ndarray]:
    """Tasks to learn from, the fold [T] of each, and the fold of each task as it was given.

    The two folds differ only where a single task was cut into pseudo-tasks: then no model is blind to it, and it is -1.
    """
    if len(tasks.y) < 2:
        raise UpstairsError("fit needs at least two rows, but X holds one sample.")
    learned = pseudo_tasks(tasks, rng)
    fold = assign_folds(learned.n_tasks, N_FOLDS, rng)
    return learned, fold, fold if learned is tasks else np.full(tasks.n_tasks, -1)


def fold_weights(fold: np.ndarray, n_folds: int) -> np.ndarray:
    """Weight of each fold's model for each task, float64 [T, K]: 1 for the task's own fold, 1/K of all where it is -1."""
    return np.where(fold[:, None] < 0, 1 / n_folds, fold[:, None] == np.arange(n_folds))


def held_out_calibration(
    adapt: Callable, predict: Callable, state: Any, tasks: Tasks, fold: np.ndarray, rng: np.random.Generator
) -> Calibration:
    """Calibration of a learner's predictions on episodes, each predicted by the model of its task's fold [T]."""
    state = state._replace(calibration=identity_calibration(BUCKETS))
    episodes = draw_episodes(tasks, N_EPISODES, rng)
    predictions, targets, task_of_row = [], [], []
    for shots in BUCKETS:
        able = episodes.shots >= shots
        drawn = Episodes(*(field[able] for field in episodes))
        query = query_tasks(tasks, drawn)
        adapted = adapt(state, support_tasks(tasks, drawn, shots), fold[drawn.task])
        predictions.append(predict(state, adapted, query))
        targets.append(query.y)
        task_of_row.append(np.repeat(drawn.task, query.sizes))
    if state.scale is None:
        return learn_temperatures(BUCKETS, [prediction.log_proba for prediction in predictions], targets)
    return learn_intervals(BUCKETS, predictions, targets, task_of_row, state.scale)
