"""Pooled boosting plus a shift: each task's prediction is moved by the shrunk mean of its residuals.

    numbers    u_ti = f(x_ti) + b_t + ε_ti,   b_t ~ N(0, b),   ε_ti ~ N(0, w)
               prediction = f(x) + b Σ (u − f) / (s b + w)
    classes    P(y_ti = c) ∝ exp(f_c(x_ti) + b_tc),   b_tc ~ N(0, b),   b_t at the mode of its posterior (Newton's method)

f is that of `pooled`. b and w come from the residuals of tasks that f never saw, since those of its own tasks are too small;
for classes b is what predicts held-out episodes best.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import optimize, special
from sklearn.utils._param_validation import Interval

from upstairs.baselines.boosting import Boosters, explain_scores, held_out_scores, learn_boosters, scores
from upstairs.baselines.crossfit import HeldOut, deal_folds, fold_weights, held_out_calibration, held_out_log_loss
from upstairs.calibration import Calibration, temper
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.levels import shrunk_levels, task_sums, variance_components
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward, identity_scale
from upstairs.tasks import Tasks

__all__ = ["PooledShiftClassifier", "PooledShiftRegressor"]

N_STEPS = 8
LONGEST_STEP = 2.0
LOG_LEVELS = (np.log(1e-3), np.log(10.0))


class State(NamedTuple):
    """What is learned across tasks.

    Attributes
    ----------
    boosters : Boosters
    noise, level : float
        Variance of u within tasks w and of their shifts b; for classes 1, and b of a logit's shift.
    fold : int64 [T]
    scale : Scale, or None for classes
    calibration : Calibration
    """

    boosters: Boosters
    noise: float
    level: float
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration | None


class Info(NamedTuple):
    """Number of boosting rounds; variances within and between tasks on the user's scale, or of a logit's shift."""

    n_rounds: int
    noise_variance: float
    level_variance: float


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    weights : float64 [T, K]
        Of each booster.
    level : float64 [T, m]
        Shift of u (m = 1) or of each class's logit.
    variance : float64 [T]
        Of the shift; 0 for classes.
    shots : int64 [T]
    pull : float64 [n, m]
        How far each support row moved its task's shift.
    """

    weights: np.ndarray
    level: np.ndarray
    variance: np.ndarray
    shots: np.ndarray
    pull: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn f, and how far tasks are shifted from it."""
    held_out, known_fold = deal_folds(tasks, rng)
    tasks, fold, _ = held_out
    scale = None if n_classes else identity_scale(tasks.y)
    target = tasks.y if n_classes else forward(scale, tasks.y)
    boosters, rounds = learn_boosters(tasks, target, n_classes, fold, params["learning_rate"], rng)
    if n_classes:
        state = _choose_level(State(boosters, 1.0, 1.0, known_fold, None, None), held_out)
    else:
        r = target - held_out_scores(boosters, tasks, fold)[:, 0]
        state = State(boosters, *variance_components(r, tasks.offsets), known_fold, scale, None)
    state = state._replace(calibration=held_out_calibration(adapt, predict, state, held_out))
    unit = 1.0 if scale is None else scale.sd**2
    return state, Info(rounds, state.noise * unit, state.level * unit)


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Shrink each task's mean residual."""
    weights, task = fold_weights(fold, len(state.boosters.text)), support.task_of_row
    f = scores(state.boosters, support.X, weights[task])
    if state.scale is None:
        level, pull = _shift_logits(_all_logits(f), support.y.astype(int), support.offsets, state.level)
        return Adapted(weights, level, np.zeros(support.n_tasks), support.sizes, pull)
    r = forward(state.scale, support.y)[:, None] - f
    level, variance = shrunk_levels(r, support.offsets, state.noise, state.level)
    pull = state.level * r / (support.sizes * state.level + state.noise)[task, None]
    return Adapted(weights, level, variance, support.sizes, pull)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """f at each row, shifted as its task is."""
    task = query.task_of_row
    f = scores(state.boosters, query.X, adapted.weights[task])
    if state.scale is None:
        log_proba = special.log_softmax(_all_logits(f) + adapted.level[task], axis=1)
        return ClassPrediction(temper(state.calibration, adapted.shots[task], log_proba))
    center, variance = (f + adapted.level[task])[:, 0], state.noise + adapted.variance[task]
    return from_scale(state.scale, center, variance, np.sqrt(variance), np.full(len(task), np.inf))


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Shapley values of f, which is shared, and the task's shift."""
    n, p = query.X.shape
    base, shared = explain_scores(state.boosters, query.X, adapted.weights[query.task_of_row])
    level, pull = adapted.level[0], adapted.pull
    if len(level) == 2:  # one logit, the difference of the two
        level, pull = level[1:] - level[:1], pull[:, 1:] - pull[:, :1]
    return tuple(
        Explanation(
            base=base[:, m],
            shared=shared[:, m],
            level=np.full(n, level[m]),
            scale=np.zeros(n),
            slopes=np.zeros((n, p)),
            local=np.zeros(n),
            support=np.tile(pull[:, m], (n, 1)),
            exact=True,
        )
        for m in range(base.shape[1])
    )


LEARNER = Learner(learn, adapt, predict, explain, State, Info)
CONSTRAINTS = {"learning_rate": [Interval(Real, 0, 1, closed="right")], "random_state": ["random_state"]}


class PooledShiftRegressor(MetaRegressor):
    """Pooled LightGBM plus the shrunk mean of a task's residuals: the simplest adaptation that is hard to beat.

    The shift of a task is N(0, b) and its rows scatter about f(x) plus the shift with variance w, both learned from the
    residuals of tasks that f never saw.

    Parameters
    ----------
    learning_rate : float, default=0.1
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the intervals.

    Attributes
    ----------
    info_ : Info
        ``n_rounds``; ``level_variance`` b and ``noise_variance`` w on the scale of y.

    References
    ----------
    G. Ke et al.: LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30 (2017).

    C. N. Morris: Parametric empirical Bayes inference: theory and applications. JASA 78 (1983), 47-55.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learning_rate=0.1, random_state=None):
        self.learning_rate = learning_rate
        self.random_state = random_state


class PooledShiftClassifier(MetaClassifier):
    """Pooled LightGBM whose logits are shifted by task.

    The shifts of a task's logits are N(0, b), one for each class; b is what predicts held-out episodes best. A new task's
    shifts are the mode of their posterior given its support.

    Parameters
    ----------
    learning_rate : float, default=0.1
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that choose b and calibrate the probabilities.

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
        ``n_rounds``; ``level_variance`` b.

    References
    ----------
    G. Ke et al.: LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30 (2017).

    C. N. Morris: Parametric empirical Bayes inference: theory and applications. JASA 78 (1983), 47-55.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learning_rate=0.1, random_state=None):
        self.learning_rate = learning_rate
        self.random_state = random_state


def _all_logits(f: np.ndarray) -> np.ndarray:
    """Logits [n, C] of all classes: two have one score, which is the second's."""
    return np.column_stack([np.zeros(len(f)), f]) if f.shape[1] == 1 else f


def _shift_logits(logits: np.ndarray, codes: np.ndarray, offsets: np.ndarray, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Shifts [T, C] at the mode of their posterior, and b (Y − P) [n, C] by row, which sum to them there."""
    n_classes, task = logits.shape[1], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    Y, shift = np.eye(n_classes)[codes], np.zeros((len(offsets) - 1, n_classes))
    for _ in range(N_STEPS):
        P = special.softmax(logits + shift[task], axis=1)
        gradient = task_sums(Y - P, offsets) - shift / b
        outer = task_sums((P[:, :, None] * P[:, None]).reshape(-1, n_classes**2), offsets)
        hessian = outer.reshape(-1, n_classes, n_classes) - np.eye(n_classes) * (task_sums(P, offsets)[:, None] + 1 / b)
        step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        shift += step * np.minimum(1, LONGEST_STEP / np.maximum(np.abs(step).max(axis=1), LONGEST_STEP))[:, None]
    return shift, b * (Y - special.softmax(logits + shift[task], axis=1))


def _choose_level(state: State, held_out: HeldOut) -> State:
    def loss(log_level: float) -> float:
        return held_out_log_loss(adapt, predict, state._replace(level=float(np.exp(log_level))), held_out)

    best = optimize.minimize_scalar(loss, bounds=LOG_LEVELS, method="bounded", options={"xatol": 0.1})
    return state._replace(level=float(np.exp(best.x)))
