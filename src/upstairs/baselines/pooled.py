"""Pooled boosting: all rows of all tasks in one LightGBM model, and no adaptation at all.

    prediction = f(x),   f the mean of K boosters, each stopped by the tasks of a fold that it never saw

What a task's own support says is ignored: the zero-shot answer at every number of shots.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import special
from sklearn.utils._param_validation import Interval

from upstairs.baselines.boosting import Boosters, explain_scores, held_out_scores, learn_boosters, scores
from upstairs.baselines.crossfit import deal_folds, fold_weights, held_out_calibration
from upstairs.calibration import Calibration, temper
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward, identity_scale
from upstairs.tasks import Tasks

__all__ = ["PooledClassifier", "PooledRegressor"]

LEAST_VARIANCE = 1e-8


class State(NamedTuple):
    """What is learned across tasks.

    Attributes
    ----------
    boosters : Boosters
    noise : float
        Variance of u about f on tasks that f never saw; 1 for classes.
    fold : int64 [T]
    scale : Scale, or None for classes
    calibration : Calibration
    """

    boosters: Boosters
    noise: float
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration | None


class Info(NamedTuple):
    """Number of boosting rounds; variance of unseen tasks' rows about f on the user's scale (1 for classes)."""

    n_rounds: int
    noise_variance: float


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    weights : float64 [T, K]
        Of each booster.
    shots : int64 [T]
        Seen only by the calibration.
    """

    weights: np.ndarray
    shots: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn f, and how far unseen tasks are from it."""
    held_out, known_fold = deal_folds(tasks, rng)
    tasks, fold, _ = held_out
    scale = None if n_classes else identity_scale(tasks.y)
    target = tasks.y if n_classes else forward(scale, tasks.y)
    boosters, rounds = learn_boosters(tasks, target, n_classes, fold, params["learning_rate"], rng)
    noise = 1.0
    if not n_classes:
        noise = max(float(((target - held_out_scores(boosters, tasks, fold)[:, 0]) ** 2).mean()), LEAST_VARIANCE)
    state = State(boosters, noise, known_fold, scale, None)
    state = state._replace(calibration=held_out_calibration(adapt, predict, state, held_out))
    return state, Info(rounds, noise * (1.0 if scale is None else scale.sd**2))


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Nothing is learned from a support."""
    return Adapted(fold_weights(fold, len(state.boosters.text)), support.sizes)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """f at each row."""
    task = query.task_of_row
    center = scores(state.boosters, query.X, adapted.weights[task])
    if state.scale is None:
        logits = np.column_stack([np.zeros(len(task)), center]) if center.shape[1] == 1 else center
        return ClassPrediction(temper(state.calibration, adapted.shots[task], special.log_softmax(logits, axis=1)))
    variance = np.full(len(task), state.noise)
    return from_scale(state.scale, center[:, 0], variance, np.sqrt(variance), np.full(len(task), np.inf))


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Shapley values of f; all of it is shared."""
    n, p = query.X.shape
    base, shared = explain_scores(state.boosters, query.X, adapted.weights[query.task_of_row])
    return tuple(
        Explanation(
            base=base[:, m],
            shared=shared[:, m],
            level=np.zeros(n),
            scale=np.zeros(n),
            slopes=np.zeros((n, p)),
            local=np.zeros(n),
            support=np.zeros((n, adapted.shots[0])),
            exact=True,
        )
        for m in range(base.shape[1])
    )


LEARNER = Learner(learn, adapt, predict, explain, State, Info)
CONSTRAINTS = {"learning_rate": [Interval(Real, 0, 1, closed="right")], "random_state": ["random_state"]}


class PooledRegressor(MetaRegressor):
    """Pooled LightGBM: one model for the rows of all tasks, which learns nothing from a support.

    The number of rounds and of leaves (5 or 31) are those that predict held-out tasks best.

    Parameters
    ----------
    learning_rate : float, default=0.1
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the intervals.

    Attributes
    ----------
    info_ : Info
        ``n_rounds``, and ``noise_variance`` on the scale of y.

    References
    ----------
    G. Ke et al.: LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30 (2017).
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learning_rate=0.1, random_state=None):
        self.learning_rate = learning_rate
        self.random_state = random_state


class PooledClassifier(MetaClassifier):
    """Pooled LightGBM: one model for the rows of all tasks, which learns nothing from a support.

    The number of rounds and of leaves (5 or 31) are those that predict held-out tasks best.

    Parameters
    ----------
    learning_rate : float, default=0.1
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the probabilities.

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
        ``n_rounds``.

    References
    ----------
    G. Ke et al.: LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30 (2017).
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learning_rate=0.1, random_state=None):
        self.learning_rate = learning_rate
        self.random_state = random_state
