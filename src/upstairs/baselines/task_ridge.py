"""Task ridge: a linear model of the support alone, as if no other task had ever been seen.

    numbers    minimise Σ (u_i − m − β_0 − z_iᵀβ)² + λ |β|²
    classes    minimise −Σ log P(y_i) + λ/2 |β|²,   logit P = logit π + β_0 + z_iᵀβ,   one against the rest

β_0 is all but free: N(0, 10²) on the standard scale. A support of 0 or 1 rows, or of one class, says nothing about slopes, and
the prediction is the population's mean m or frequencies π. These, the columns' scale and the noise come from other tasks.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import special
from sklearn.utils._param_validation import Interval

from upstairs.baselines.crossfit import deal_folds, fold_weights, held_out_calibration
from upstairs.baselines.posterior import (
    Posterior,
    all_moments,
    binary_targets,
    gaussian_posterior,
    log_probabilities,
    logistic_posterior,
    n_latents,
    pulls,
)
from upstairs.calibration import Calibration, temper
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.design import Design, by_column, design_matrix, learn_design
from upstairs.levels import task_sums, variance_components
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward, identity_scale
from upstairs.tasks import Tasks

__all__ = ["TaskRidgeClassifier", "TaskRidgeRegressor"]

FREE_SD = 10.0


class State(NamedTuple):
    """What is learned across tasks.

    Attributes
    ----------
    center : float64 [K, M]
        Population mean of u by fold model, or logit of each class's frequency (of the second one for two).
    noise, level : float
        Variance within tasks w and between tasks b of u; ones for classes.
    prior_sd : float64 [q]
        Of each weight: √(w/λ), and 10 for the constant.
    design : Design
    fold : int64 [T]
    scale : Scale, or None for classes
    calibration : Calibration
    """

    center: np.ndarray
    noise: float
    level: float
    prior_sd: np.ndarray
    design: Design
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration | None


class Info(NamedTuple):
    """Variances within and between tasks on the user's scale; ones for classes."""

    noise_variance: float
    level_variance: float


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    base : float64 [T, M]
        What is expected of an unseen task.
    able : bool [T]
        Whether the support says anything about slopes.
    posterior : tuple of Posterior [M]
    shots : int64 [T]
    """

    base: np.ndarray
    able: np.ndarray
    posterior: tuple[Posterior, ...]
    shots: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the population's mean, the noise and the calibration; the weights are each task's own affair."""
    held_out, known_fold = deal_folds(tasks, rng)
    tasks, fold, _ = held_out
    scale = None if n_classes else identity_scale(tasks.y)
    w, b = (1.0, 1.0) if n_classes else variance_components(forward(scale, tasks.y), tasks.offsets)
    outside = fold[tasks.task_of_row] != np.arange(fold.max() + 1)[:, None]
    if n_classes:
        center = special.logit(
            (outside @ binary_targets(tasks.y, n_latents(n_classes)) + 0.5) / (outside.sum(axis=1)[:, None] + 1)
        )
    else:
        center = outside @ forward(scale, tasks.y)[:, None] / outside.sum(axis=1)[:, None]
    design = learn_design(tasks)
    prior_sd = np.full(1 + len(design.column), np.sqrt(w / params["penalty"]))
    prior_sd[0] = FREE_SD
    state = State(center, w, b, prior_sd, design, known_fold, scale, None)
    state = state._replace(calibration=held_out_calibration(adapt, predict, state, held_out))
    unit = 1.0 if scale is None else scale.sd**2
    return state, Info(w * unit, b * unit)


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Fit a linear model to each support."""
    task, shots = support.task_of_row, support.sizes
    base = fold_weights(fold, len(state.center)) @ state.center
    A = design_matrix(state.design, support.X) * state.prior_sd
    if state.scale is not None:
        b = (forward(state.scale, support.y) - base[task, 0]) / np.sqrt(state.noise)
        return Adapted(base, shots > 1, (gaussian_posterior(A / np.sqrt(state.noise), b, support.offsets),), shots)
    Y = binary_targets(support.y, base.shape[1])
    counts = task_sums(Y, support.offsets)
    able = ((counts > 0) & (counts < shots[:, None])).max(axis=1)
    posteriors = (logistic_posterior(A, y, f, support.offsets) for y, f in zip(Y.T, base[task].T, strict=True))
    return Adapted(base, able, tuple(posteriors), shots)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """The task's own line, or the population's mean where the support is too small to draw one."""
    task = query.task_of_row
    able = adapted.able[task]
    A = design_matrix(state.design, query.X) * state.prior_sd
    mean, variance = all_moments(adapted.posterior, A, query.offsets)
    center = adapted.base[task] + mean * able[:, None]
    if state.scale is None:
        log_proba = log_probabilities(center, variance * able[:, None])
        return ClassPrediction(temper(state.calibration, adapted.shots[task], log_proba))
    variance = state.noise + np.where(able, variance[:, 0], state.level)
    return from_scale(state.scale, center[:, 0], variance, np.sqrt(variance), np.full(len(task), np.inf))


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """The line's own terms: nothing is shared but the constant."""
    n, p = query.X.shape
    A = design_matrix(state.design, query.X) * state.prior_sd * adapted.able[0]
    return tuple(
        Explanation(
            base=np.full(n, base),
            shared=np.zeros((n, p)),
            level=A[:, 0] * posterior.mean[0, 0],
            scale=np.zeros(n),
            slopes=by_column(state.design, A * posterior.mean[0], p),
            local=np.zeros(n),
            support=pulls(posterior, A),
            exact=True,
        )
        for base, posterior in zip(adapted.base[0], adapted.posterior, strict=True)
    )


LEARNER = Learner(learn, adapt, predict, explain, State, Info)
CONSTRAINTS = {"penalty": [Interval(Real, 0, None, closed="neither")], "random_state": ["random_state"]}


class TaskRidgeRegressor(MetaRegressor):
    """Ridge regression on the support alone: what a task tells without any other.

    Numbers are standardised and missing values flagged as the meta-train tasks suggest, categories are one-hot. A support of
    0 or 1 rows gets the population's mean.

    Parameters
    ----------
    penalty : float, default=1.0
        λ, on standardised columns; the constant is all but free.
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the intervals.

    Attributes
    ----------
    info_ : Info
        ``level_variance`` and ``noise_variance`` (about the task's mean) on the scale of y.

    References
    ----------
    A. E. Hoerl, R. W. Kennard: Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12 (1970), 55-67.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, penalty=1.0, random_state=None):
        self.penalty = penalty
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # without a support it answers a constant
        return tags


class TaskRidgeClassifier(MetaClassifier):
    """Logistic regression with a ridge penalty on the support alone; of several classes each against the rest.

    Columns are treated as in `TaskRidgeRegressor`. A support of 0 or 1 rows, or of one class, gets the population's
    frequencies.

    Parameters
    ----------
    penalty : float, default=1.0
        λ, on standardised columns; the constant is all but free.
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the probabilities.

    Attributes
    ----------
    classes_ : ndarray [C]

    References
    ----------
    S. le Cessie, J. C. van Houwelingen: Ridge estimators in logistic regression. Applied Statistics 41 (1992), 191-201.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, penalty=1.0, random_state=None):
        self.penalty = penalty
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # without a support it answers a constant
        return tags
