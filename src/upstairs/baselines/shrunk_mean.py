"""Shrunk mean: no columns, only the level of a task, between the population's and that of its own support.

    y_ti = m + b_t + ε_ti,   b_t ~ N(0, b),   ε_ti ~ N(0, w)
    prediction = m + b Σ (y − m) / (s b + w)

m is the generalised least squares mean, in which a task counts 1 / (b + w / n_t). For classes y is one-hot and b, w are summed
over the classes: the posterior mean of a Dirichlet with concentration w / b.
"""

from typing import ClassVar, NamedTuple

import numpy as np
from scipy import special

from upstairs.baselines.crossfit import deal_folds, fold_weights, held_out_calibration
from upstairs.calibration import Calibration, temper
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.levels import shrunk_levels, task_sums, variance_components
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward, identity_scale
from upstairs.tasks import Tasks

__all__ = ["ShrunkMeanClassifier", "ShrunkMeanRegressor"]

LEAST_PROBABILITY = 1e-6


class State(NamedTuple):
    """What is learned across tasks.

    Attributes
    ----------
    center : float64 [K, m]
        Population mean by fold model, of u (m = 1) or of each class.
    noise, level : float
        Variance within tasks w and between tasks b.
    fold : int64 [T]
    scale : Scale, or None for classes
    calibration : Calibration
    """

    center: np.ndarray
    noise: float
    level: float
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration | None


class Info(NamedTuple):
    """Variances within and between tasks: on the user's scale, or of the one-hot classes."""

    noise_variance: float
    level_variance: float


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    base : float64 [T, m]
        What is expected of an unseen task.
    level : float64 [T, m]
        How far the task lies from it.
    variance : float64 [T]
        Of the level.
    shots : int64 [T]
    pull : float64 [n, m]
        How far each support row moved its task's level.
    """

    base: np.ndarray
    level: np.ndarray
    variance: np.ndarray
    shots: np.ndarray
    pull: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the population mean and how far tasks lie apart."""
    held_out, known_fold = deal_folds(tasks, rng)
    tasks, fold, _ = held_out
    scale = None if n_classes else identity_scale(tasks.y)
    Y = _outputs(scale, n_classes, tasks.y)
    w, b = _variances(Y, tasks)
    center = _population_means(Y, tasks, fold, w, b)
    w, b = _variances(Y - center[fold][tasks.task_of_row], tasks)
    state = State(center, w, b, known_fold, scale, None)
    state = state._replace(calibration=held_out_calibration(adapt, predict, state, held_out))
    unit = 1.0 if scale is None else scale.sd**2
    return state, Info(w * unit, b * unit)


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Shrink each task's mean residual."""
    base = fold_weights(fold, len(state.center)) @ state.center
    r = _outputs(state.scale, base.shape[1], support.y) - base[support.task_of_row]
    level, variance = shrunk_levels(r, support.offsets, state.noise, state.level)
    pull = state.level * r / (support.sizes * state.level + state.noise)[support.task_of_row, None]
    return Adapted(base, level, variance, support.sizes, pull)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Every row of a task gets the task's level."""
    task = query.task_of_row
    center = (adapted.base + adapted.level)[task]
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, adapted.shots[task], _log(center)))
    variance = state.noise + adapted.variance[task]
    return from_scale(state.scale, center[:, 0], variance, np.sqrt(variance), np.full(len(task), np.inf))


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """The level is all there is. For classes it is a difference of logits, shared out among the support rows by how far each
    moved the probability.
    """
    n, p = query.X.shape
    base, level, pull = adapted.base[0], adapted.level[0], adapted.pull
    if state.scale is None:
        some = slice(1, 2) if len(base) == 2 else slice(None)
        before, after = _logit(base[some]), _logit((base + level)[some])
        pull = pull[:, some] * np.divide(after - before, level[some], out=np.zeros(len(before)), where=level[some] != 0)
        base, level = before, after - before
    return tuple(
        Explanation(
            base=np.full(n, base[m]),
            shared=np.zeros((n, p)),
            level=np.full(n, level[m]),
            scale=np.zeros(n),
            slopes=np.zeros((n, p)),
            local=np.zeros(n),
            support=np.tile(pull[:, m], (n, 1)),
            exact=state.scale is not None,
        )
        for m in range(len(base))
    )


LEARNER = Learner(learn, adapt, predict, explain, State, Info)


class ShrunkMeanRegressor(MetaRegressor):
    """Population mean plus the shrunk mean of the support: what is known of a task without any column.

    The level of task t is N(m, b) and its rows scatter about it with variance w; both variances are learned from the
    meta-train tasks. The prediction of a task with s support rows is m + b Σ (y − m) / (s b + w).

    Parameters
    ----------
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the intervals.

    Attributes
    ----------
    info_ : Info
        ``level_variance`` b and ``noise_variance`` w on the scale of y.

    References
    ----------
    B. Efron, C. Morris: Data analysis using Stein's estimator and its generalizations. JASA 70 (1975), 311-319.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
    >>> from upstairs.datasets import make_random_slopes
    >>> data = make_random_slopes(n_tasks=30, random_state=0)
    >>> meta = ShrunkMeanRegressor(random_state=0).fit(data.X, data.y, groups=data.groups)
    >>> meta.adapt(data.X[:5], data.y[:5]).predict(data.X[5:7]).shape
    (2,)
    """

    learner = LEARNER
    _parameter_constraints: ClassVar = {"random_state": ["random_state"]}

    def __init__(self, random_state=None):
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # without a support it answers a constant
        return tags


class ShrunkMeanClassifier(MetaClassifier):
    """Population frequencies of the classes, shrunk towards those of the support.

    The frequencies of a task follow a Dirichlet about the population's, with concentration w / b learned from the meta-train
    tasks; the prediction is its posterior mean.

    Parameters
    ----------
    random_state : int, RandomState or None, default=None
        Deals tasks into folds and draws the episodes that calibrate the probabilities.

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
        ``level_variance`` b and ``noise_variance`` w of the one-hot classes, summed over classes.

    References
    ----------
    B. Efron, C. Morris: Data analysis using Stein's estimator and its generalizations. JASA 70 (1975), 311-319.
    """

    learner = LEARNER
    _parameter_constraints: ClassVar = {"random_state": ["random_state"]}

    def __init__(self, random_state=None):
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # without a support it answers a constant
        return tags


def _outputs(scale: Scale | None, n_classes: int, y: np.ndarray) -> np.ndarray:
    """u [n, 1], or one-hot classes [n, C]."""
    return np.eye(n_classes)[y.astype(int)] if scale is None else forward(scale, y)[:, None]


def _variances(r: np.ndarray, tasks: Tasks) -> tuple[float, float]:
    parts = [variance_components(column, tasks.offsets) for column in r.T]
    return sum(w for w, _ in parts), sum(b for _, b in parts)


def _population_means(Y: np.ndarray, tasks: Tasks, fold: np.ndarray, w: float, b: float) -> np.ndarray:
    """Mean [K, m] over the tasks outside each fold, a task weighing 1 / (b + w / n_t)."""
    weight = 1 / (b + w / tasks.sizes)
    means = task_sums(Y, tasks.offsets) / tasks.sizes[:, None]
    outside = weight * (fold != np.arange(fold.max() + 1)[:, None])
    return outside @ means / outside.sum(axis=1, keepdims=True)


def _log(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability, LEAST_PROBABILITY))


def _logit(probability: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
