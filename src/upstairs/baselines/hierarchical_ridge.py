"""Hierarchical ridge: a linear model whose constant and slopes vary from task to task, as in a mixed model.

    numbers    u_ti = d_iᵀ(γ + β_t) + ε_ti,   β_t ~ N(0, Θ^½ R Θ^½),   ε_ti ~ N(0, w),   d_i = (1, columns of x_i)
    classes    logit P(y_ti) = d_iᵀ(γ + β_t),   each class against the rest

γ is the generalised least squares ridge over the tasks outside a fold; θ (one for the constant, one for each column of x) and
w maximise the marginal likelihood of the out-of-task residuals u − dᵀγ, in turns, and then the correlations R (`mixed_model`).
For classes u is Newton's working response at the posterior mode of β_t, its rows weigh p(1 − p) and w = 1 (penalised quasi-
likelihood). That finds too little variance where tasks are small, so θ is multiplied by whatever predicts held-out episodes
best.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import special
from sklearn.utils._param_validation import Interval

from upstairs.baselines.crossfit import HeldOut, deal_folds, fold_weights, held_out_calibration, held_out_log_loss
from upstairs.baselines.posterior import (
    Posterior,
    all_moments,
    binary_targets,
    gaussian_posterior,
    log_probabilities,
    logistic_posterior,
    moments,
    n_latents,
    pulls,
)
from upstairs.calibration import Calibration, temper
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.design import Design, by_column, design_matrix, learn_design
from upstairs.mixed_model import Sums, correlations, fixed_effects, maximise_posterior, residual_sums, sums_of
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward, identity_scale
from upstairs.tasks import Tasks

__all__ = ["HierarchicalRidgeClassifier", "HierarchicalRidgeRegressor"]

MOST_TASKS, MOST_ROWS = 1_000, 100_000
N_ROUNDS = 4
LEAST_WEIGHT = 1e-3
FACTORS = (1.0, 1.4, 2.0, 3.0)


class State(NamedTuple):
    """What is learned across tasks.

    Attributes
    ----------
    gamma : float64 [K, M, q]
        Fixed effects by fold model, of u (M = 1) or of each logit.
    theta : float64 [q]
        Variance of each of a task's own effects.
    noise : float
        w; 1 for classes.
    design : Design
    fold : int64 [T]
    scale : Scale, or None for classes
    calibration : Calibration
    half : float64 [q, q]
        Root of their correlations, R = half halfᵀ; empty where there are none.
    """

    gamma: np.ndarray
    theta: np.ndarray
    noise: float
    design: Design
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration | None
    half: np.ndarray = np.empty((0, 0))

    @property
    def root(self) -> np.ndarray:
        """Of the covariance of β, float64 [q, q]."""
        root = np.sqrt(self.theta)
        return root[:, None] * self.half if self.half.size else np.diag(root)


class Info(NamedTuple):
    """Variances on the user's scale, or of the logit. ``slope_variance`` [p] is by column, with numbers in sd of theirs."""

    noise_variance: float
    level_variance: float
    slope_variance: np.ndarray


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    gamma : float64 [T, M, q]
    posterior : tuple of Posterior [M]
        Of each task's own effects: of b in β = Θ^½ half b.
    shots : int64 [T]
    """

    gamma: np.ndarray
    posterior: tuple[Posterior, ...]
    shots: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the fixed effects, and by how much the effects of tasks vary."""
    held_out, known_fold = deal_folds(tasks, rng)
    tasks, fold, _ = held_out
    scale = None if n_classes else identity_scale(tasks.y)
    design = learn_design(tasks)
    few = np.sort(rng.permutation(tasks.n_tasks)[:MOST_TASKS])
    thinned = tasks.take(few).thin(max(2, MOST_ROWS // len(few)), rng)
    D = design_matrix(design, thinned.X)
    group = np.append(-1, design.column)
    if n_classes:
        Y = binary_targets(thinned.y, n_latents(n_classes))
        gamma, theta, w, R = _learn_classes(D, Y, thinned, fold[few], group, params["penalty"])
    else:
        gamma, theta, w, R = _learn_numbers(D, forward(scale, thinned.y), thinned, fold[few], group, params["penalty"])
    state = State(gamma, theta, w, design, known_fold, scale, None, np.linalg.cholesky(R))
    if n_classes:
        state = _multiply_variances(state, held_out)
    state = state._replace(calibration=held_out_calibration(adapt, predict, state, held_out))
    return state, _info(state, group, tasks.X.shape[1])


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Condition each task's own effects on its support."""
    gamma = np.tensordot(fold_weights(fold, len(state.gamma)), state.gamma, axes=1)
    D, task = design_matrix(state.design, support.X), support.task_of_row
    f = np.einsum("nq,nmq->mn", D, gamma[task])
    A = D @ state.root / np.sqrt(state.noise)
    if state.scale is not None:
        b = (forward(state.scale, support.y) - f[0]) / np.sqrt(state.noise)
        return Adapted(gamma, (gaussian_posterior(A, b, support.offsets),), support.sizes)
    Y = binary_targets(support.y, len(f))
    posteriors = (logistic_posterior(A, y, f_m, support.offsets) for y, f_m in zip(Y.T, f, strict=True))
    return Adapted(gamma, tuple(posteriors), support.sizes)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """The population's line plus the task's own."""
    D, task = design_matrix(state.design, query.X), query.task_of_row
    A = D @ state.root
    mean, variance = all_moments(adapted.posterior, A, query.offsets)
    center = np.einsum("nq,nmq->nm", D, adapted.gamma[task]) + mean
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, adapted.shots[task], log_probabilities(center, variance)))
    variance = state.noise + variance[:, 0]
    return from_scale(state.scale, center[:, 0], variance, np.sqrt(variance), np.full(len(task), np.inf))


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """The terms of the population's line, and those of the task's own."""
    n, p = query.X.shape
    D = design_matrix(state.design, query.X)
    root = state.root
    A = D @ root
    return tuple(
        Explanation(
            base=np.full(n, gamma[0]),
            shared=by_column(state.design, D * gamma, p),
            level=D[:, 0] * (root[0] @ posterior.mean[0]),
            scale=np.zeros(n),
            slopes=by_column(state.design, D * (root @ posterior.mean[0]), p),
            local=np.zeros(n),
            support=pulls(posterior, A),
            exact=True,
        )
        for gamma, posterior in zip(adapted.gamma[0], adapted.posterior, strict=True)
    )


LEARNER = Learner(learn, adapt, predict, explain, State, Info)
CONSTRAINTS = {"penalty": [Interval(Real, 0, None, closed="neither")], "random_state": ["random_state"]}


class HierarchicalRidgeRegressor(MetaRegressor):
    """Linear mixed model with a ridge: one line for the population, and for each task its own deviation from it.

    The deviations of a task's constant and slopes are Gaussian with mean zero and variances that are learned from the
    meta-train tasks, one for each column, and so are their correlations; a column whose effect is the same everywhere gets a
    variance near zero by itself. A new task's deviations are their posterior mean given its support, in closed form.

    Parameters
    ----------
    penalty : float, default=1.0
        Ridge penalty on the population's slopes, on standardised columns and relative to the noise.
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the intervals.

    Attributes
    ----------
    info_ : Info
        ``level_variance``, ``slope_variance`` and ``noise_variance`` on the scale of y.

    References
    ----------
    N. M. Laird, J. H. Ware: Random-effects models for longitudinal data. Biometrics 38 (1982), 963-974.

    H. Zhou, L. Hu, J. Zhou, K. Lange: MM algorithms for variance components models. JCGS 28 (2019), 350-361.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, penalty=1.0, random_state=None):
        self.penalty = penalty
        self.random_state = random_state


class HierarchicalRidgeClassifier(MetaClassifier):
    """Logistic mixed model with a ridge; of several classes each against the rest.

    As `HierarchicalRidgeRegressor`, on the logit: a new task's deviations are the mode of their posterior given its support,
    and probabilities average over what is left of their uncertainty.

    Parameters
    ----------
    penalty : float, default=1.0
        Ridge penalty on the population's slopes, on standardised columns.
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the probabilities.

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
        ``level_variance`` and ``slope_variance`` of the logit.

    References
    ----------
    N. E. Breslow, D. G. Clayton: Approximate inference in generalized linear mixed models. JASA 88 (1993), 9-25.
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, penalty=1.0, random_state=None):
        self.penalty = penalty
        self.random_state = random_state


def _learn_numbers(
    D: np.ndarray, u: np.ndarray, tasks: Tasks, fold: np.ndarray, group: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """γ [K, 1, q], θ [q] and w, in turns, and R [q, q]."""
    sums = sums_of(D, u, np.ones(len(u)), tasks)
    theta, w = _first_theta(group), 0.5
    for _ in range(N_ROUNDS):
        residuals = residual_sums(sums, fixed_effects(sums, theta, w, fold, penalty)[fold])
        theta, w = maximise_posterior(residuals, theta, w, group, learn_noise=True)
    return fixed_effects(sums, theta, w, fold, penalty)[:, None], theta, w, correlations(residuals, theta, w, fold)


def _learn_classes(
    D: np.ndarray, Y: np.ndarray, tasks: Tasks, fold: np.ndarray, group: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """γ [K, M, q] and θ [q], in turns with the logits [n, M] about which the likelihood is expanded; w = 1, and R [q, q]."""
    theta, logits = _first_theta(group), np.zeros_like(Y)
    for _ in range(N_ROUNDS):
        p = special.expit(logits)
        W = np.maximum(p * (1 - p), LEAST_WEIGHT)
        working = logits + (Y - p) / W
        sums = [sums_of(D, u, weight, tasks) for u, weight in zip(working.T, W.T, strict=True)]
        gamma = np.stack([fixed_effects(part, theta, 1.0, fold, penalty) for part in sums], axis=1)
        residuals = [residual_sums(part, gamma[fold, m]) for m, part in enumerate(sums)]
        every = Sums(*(np.concatenate(field) for field in zip(*residuals, strict=True)))
        theta, _ = maximise_posterior(every, theta, 1.0, group, learn_noise=False)
        logits = np.einsum("nq,nmq->nm", D, gamma[fold][tasks.task_of_row])
        A = D * np.sqrt(theta)
        for y, f in zip(Y.T, logits.T, strict=True):
            f += moments(logistic_posterior(A, y, f.copy(), tasks.offsets), A, tasks.offsets)[0]
    return gamma, theta, 1.0, correlations(every, theta, 1.0, np.tile(fold, Y.shape[1]))


def _first_theta(group: np.ndarray) -> np.ndarray:
    return np.where(group < 0, 0.2, 0.05)


def _multiply_variances(state: State, held_out: HeldOut) -> State:
    states = [state._replace(theta=factor * state.theta) for factor in FACTORS]
    losses = [held_out_log_loss(adapt, predict, candidate, held_out) for candidate in states]
    return states[int(np.argmin(losses))]


def _info(state: State, group: np.ndarray, n_columns: int) -> Info:
    slopes = np.zeros(n_columns)
    slopes[group[1:]] = state.theta[1:]
    unit = 1.0 if state.scale is None else state.scale.sd**2
    return Info(state.noise * unit, float(state.theta[0]) * unit, slopes * unit)
