"""Folds of tasks: every task has a model that never saw it, from which variances, priors and calibrations are learned.

Whatever was fitted on a task's rows makes its residuals too small. So K models are fitted, each blind to one fold of tasks. A
meta-train task is predicted by the model of its own fold, an unseen task by the average of all K.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from upstairs.calibration import Calibration, identity_calibration, learn_intervals, learn_temperatures
from upstairs.episodes import BUCKETS, Episodes, draw_episodes, query_tasks, support_tasks
from upstairs.tasks import Tasks, assign_folds, pseudo_tasks

__all__ = ["HeldOut", "deal_folds", "fold_weights", "held_out_calibration", "held_out_log_loss"]

N_FOLDS = 5
N_EPISODES = 400


class HeldOut(NamedTuple):
    """Episodes of tasks, each to be predicted by the model of its task's fold [T], which never saw that task."""

    tasks: Tasks
    fold: np.ndarray
    episodes: Episodes


def deal_folds(tasks: Tasks, rng: np.random.Generator) -> tuple[HeldOut, np.ndarray]:
    """The tasks dealt into folds, with episodes of them; and the fold of each task as it was given.

    The two folds differ only where a single task was cut into pseudo-tasks: then no model is blind to it, and it is -1.
    """
    learned = pseudo_tasks(tasks, rng)
    fold = assign_folds(learned.n_tasks, N_FOLDS, rng)
    held_out = HeldOut(learned, fold, draw_episodes(learned.offsets, N_EPISODES, rng))
    return held_out, fold if learned is tasks else np.full(tasks.n_tasks, -1)


def fold_weights(fold: np.ndarray, n_folds: int) -> np.ndarray:
    """Weight of each fold's model for each task, float64 [T, K]: 1 for the task's own fold, 1/K of all where it is -1."""
    return np.where(fold[:, None] < 0, 1 / n_folds, fold[:, None] == np.arange(n_folds))


def held_out_calibration(adapt: Callable, predict: Callable, state: Any, held_out: HeldOut) -> Calibration:
    """Calibration of a learner's predictions on held-out episodes."""
    predictions, queries, task = _held_out_predictions(adapt, predict, state, held_out)
    targets = [query.y for query in queries]
    if state.scale is None:
        return learn_temperatures(BUCKETS, [prediction.log_proba for prediction in predictions], targets)
    return learn_intervals(BUCKETS, predictions, targets, task, state.scale)


def held_out_log_loss(adapt: Callable, predict: Callable, state: Any, held_out: HeldOut) -> float:
    """Log loss of a classifier on held-out episodes with a support, the mean over the buckets of shots."""
    predictions, queries, _ = _held_out_predictions(adapt, predict, state, held_out)
    losses = [
        -prediction.log_proba[np.arange(len(query.y)), query.y.astype(int)].mean()
        for prediction, query in zip(predictions[1:], queries[1:], strict=True)
        if len(query.y)
    ]
    return float(np.mean(losses)) if losses else 0.0


def _held_out_predictions(
    adapt: Callable, predict: Callable, state: Any, held_out: HeldOut
) -> tuple[list, list[Tasks], list[np.ndarray]]:
    """At each bucket of shots: predictions of the episodes that can give so many, their queries, and the task of each row."""
    tasks, fold, episodes = held_out
    state = state._replace(calibration=identity_calibration(BUCKETS))
    predictions, queries, task_of_row = [], [], []
    for shots in BUCKETS:
        drawn = episodes.take(episodes.shots >= shots)
        query = query_tasks(tasks, drawn)
        adapted = adapt(state, support_tasks(tasks, drawn, shots), fold[drawn.task])
        predictions.append(predict(state, adapted, query))
        queries.append(query)
        task_of_row.append(np.repeat(drawn.task, query.sizes))
    return predictions, queries, task_of_row
