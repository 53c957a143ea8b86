"""Inner learning of the meta random forest: a task's support rows -> its adapted model -> predictions.

    prediction = f_w(x) + level + deviation(x)

f_w and f_b come from the trees learned across tasks (`shared_mean`), what the support says from a Gaussian posterior with the
learned kernel (`deviation`; for classes `logit`). Both are closed form and batched over ragged tasks; an empty support is an
ordinary one and gives f_w + f_b.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from upstairs.calibration import Calibration, temper
from upstairs.forest.deviation import Deviation, adapt_deviation, predict_deviation
from upstairs.forest.explanation import explain_deviation, explain_mean
from upstairs.forest.kernel import FeatureMap, Prior, Rows, to_rows
from upstairs.forest.shared_mean import SharedMean, predict_mean
from upstairs.forest.trees import Trees, leaf_of, sum_of
from upstairs.prediction import ClassPrediction, Explanation, Prediction, from_scale
from upstairs.target import Scale, forward
from upstairs.tasks import Tasks

__all__ = ["Adapted", "Part", "State", "adapt", "class_log_proba", "explain", "features_of", "one_class", "predict", "student_t"]


class Part(NamedTuple):
    """All that was learned for one latent function: the number itself, or the logit of one class."""

    mean: SharedMean
    effects: Trees
    features: FeatureMap
    prior: Prior


class State(NamedTuple):
    """What outer learning found.

    Attributes
    ----------
    fold : int64 [T]
        Fold of each meta-train task.
    scale : Scale or None
        None for classes.
    calibration : Calibration
    parts : tuple of Part
        One for numbers and for two classes, C for C > 2 classes (each against the rest).
    nu, kappa : float
        Degrees of freedom before any row is seen, and scale, of the predictive Student t.
    direct : Trees or None
        With a log target: K pooled boosters of y itself, which take half of a zero-shot prediction.
    direct_scale : Scale or None
    """

    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    parts: tuple[Part, ...]
    nu: float
    kappa: float
    direct: Trees | None
    direct_scale: Scale | None


class Adapted(NamedTuple):
    """T adapted tasks: the deviation of each part, and the fold [T] whose shared mean it uses (-1: the average)."""

    deviations: tuple[Deviation, ...]
    fold: np.ndarray


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Condition each task's deviations on its support rows."""
    classify = state.scale is None
    deviations = []
    for c, part in enumerate(state.parts):
        rows = features_of(part, support, fold)
        target = one_class(support.y, c, len(state.parts)) if classify else forward(state.scale, support.y)
        deviations.append(adapt_deviation(part.prior, part.features.bumps, rows, target, support.offsets, classify))
    return Adapted(tuple(deviations), fold)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    classify = state.scale is None
    answers = []
    for part, deviation in zip(state.parts, adapted.deviations, strict=True):
        rows = features_of(part, query, adapted.fold)
        answers.append(predict_deviation(part.prior, part.features.bumps, deviation, rows, query.offsets, classify))
    shots = np.repeat(np.diff(adapted.deviations[0].offsets), query.sizes)
    if classify:
        return ClassPrediction(temper(state.calibration, shots, class_log_proba(answers, shots)))
    center, variance = answers[0]
    spread, dof = student_t(state.nu, state.kappa, adapted.deviations[0], variance, query.offsets)
    prediction = from_scale(state.scale, center, variance, spread, dof)
    return prediction if state.direct is None else _blend_direct(state, adapted, query, prediction)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the prediction of each query row of the first task, once for each part; exact."""
    explanations = []
    for part, deviation in zip(state.parts, adapted.deviations, strict=True):
        base, shared = explain_mean(part.mean, query.X)
        rows = features_of(part, query, adapted.fold)
        explanations.append(explain_deviation(part.prior, part.features, deviation, rows, base, shared))
    return tuple(explanations)


def one_class(y: np.ndarray, c: int, n_parts: int) -> np.ndarray:
    """1.0 where y [n] is the class of part c, 0.0 elsewhere; the only part of two classes stands for the second."""
    return (y == (1 if n_parts == 1 else c)).astype(np.float64)


def class_log_proba(answers: list[tuple[np.ndarray, np.ndarray]], shots: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, C] from each part's mean and variance of the logit; a zero-shot logit counts as certain."""
    logits = np.column_stack([mean / np.sqrt(1 + np.pi / 8 * np.where(shots > 0, variance, 0)) for mean, variance in answers])
    if len(answers) == 1:
        return np.column_stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)])
    log_proba = np.maximum(-np.logaddexp(0, -logits), np.log(1e-6))
    return log_proba - special.logsumexp(log_proba, axis=1, keepdims=True)


def features_of(part: Part, tasks: Tasks, fold: np.ndarray) -> Rows:
    """Rows of tasks as the deviation sees them, by the shared mean of each task's fold [T]."""
    f_w, f_b = predict_mean(part.mean, tasks.X, np.repeat(fold, tasks.sizes))
    return to_rows(part.features, tasks.X, f_w, f_b, leaf_of(part.effects, tasks.X))


def student_t(
    nu: float, kappa: float, deviation: Deviation, variance: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scale [n] and degrees of freedom [n]: scale² = κ v (ν + Q/κ) / (ν + s) with ν + s; Gaussian where s = 0."""
    sizes = np.diff(offsets)
    s = np.diff(deviation.offsets)
    if np.isinf(nu):
        ratio, dof = np.where(s > 0, kappa, 1.0), np.full(len(s), np.inf)
    else:
        ratio = np.where(s > 0, kappa * (nu + deviation.surprise / kappa) / (nu + s), 1.0)
        dof = np.where(s > 0, nu + s, np.inf)
    return np.sqrt(variance * np.repeat(ratio, sizes)), np.repeat(dof, sizes)


def _blend_direct(state: State, adapted: Adapted, query: Tasks, prediction: Prediction) -> Prediction:
    """Half of a zero-shot mean on a log target comes from y itself: exp(m + v/2) is wild while the level is unknown."""
    zero_shot = np.repeat(np.diff(adapted.deviations[0].offsets) == 0, query.sizes)
    if not zero_shot.any():
        return prediction
    fold = np.repeat(adapted.fold, query.sizes)[zero_shot]
    n_folds = int(state.fold.max()) + 1
    f = sum_of(state.direct, query.X[zero_shot], n_folds)
    f = np.where(fold < 0, f.mean(axis=1), f[np.arange(len(f)), np.maximum(fold, 0)])
    direct = state.direct_scale.mean + state.direct_scale.sd * f
    mean = prediction.mean.copy()
    mean[zero_shot] = np.maximum((mean[zero_shot] + direct) / 2, 0.0)
    return prediction._replace(mean=mean)
