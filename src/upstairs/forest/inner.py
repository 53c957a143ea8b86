"""Inner learning of the meta random forest: a task's support rows -> its adapted model -> predictions.

    prediction = f_w(x) + level + deviation(x)

f_w and f_b come from the trees learned across tasks (`shared_mean`), what the support says from a Gaussian posterior with the
learned kernel (`deviation`). Both are closed form and batched over ragged tasks; an empty support is an
ordinary one and gives f_w + f_b.
"""

from typing import NamedTuple

import numpy as np

from upstairs.blending import blend_numbers
from upstairs.calibration import Calibration, temper
from upstairs.forest.deviation import Deviation, adapt_deviation, predict_deviation
from upstairs.forest.explanation import explain_deviation, explain_mean
from upstairs.forest.kernel import FeatureMap, Prior, Rows, to_rows
from upstairs.forest.shared_mean import SharedMean, predict_mean
from upstairs.prediction import ClassPrediction, Explanation, Prediction, class_log_proba, from_scale
from upstairs.target import Scale, forward
from upstairs.tasks import Tasks
from upstairs.trees import Trees, leaf_of

__all__ = ["Adapted", "Head", "State", "adapt", "explain", "for_known", "log_proba_of", "number_of", "predict", "target_of"]


class Head(NamedTuple):
    """All that was learned for one latent function: the number on one scale, or the logit of one class.

    Attributes
    ----------
    mean : SharedMean
    effects : Trees
        Task-effect trees.
    features : FeatureMap
    prior : Prior
    scale : Scale or None
        None for a logit.
    nu, kappa : float
        Degrees of freedom before any row is seen, and scale, of the predictive Student t.
    blind : tuple of K Prior
        Each of the tasks out of one fold; empty in models of older versions.
    whole : SharedMean or None
        One model of all tasks, which answers for unseen ones instead of the average of ``mean``.
    """

    mean: SharedMean
    effects: Trees
    features: FeatureMap
    prior: Prior
    scale: Scale | None
    nu: float
    kappa: float
    blind: tuple[Prior, ...] = ()
    whole: SharedMean | None = None

    @property
    def unseen_mean(self) -> SharedMean:
        """The shared mean of unseen tasks."""
        return self.mean if self.whole is None else self.whole

    def priors_for(self, fold: np.ndarray) -> tuple[tuple[Prior, ...], np.ndarray]:
        """That of all tasks and those blind to a fold, and which of them never saw a task of these folds [T] (-1: no fold)."""
        return (self.prior, *self.blind), fold + 1 if self.blind else np.zeros(len(fold), int)


class State(NamedTuple):
    """What outer learning found.

    Attributes
    ----------
    fold : int64 [T]
        Fold of each meta-train task; -1 if every model saw it.
    scale : Scale or None
        Of the head that intervals come from; None for classes.
    calibration : Calibration
    heads : tuple of Head
        Numbers: one, or two where both y and log y are worth modelling. Classes: one for two classes, else C, each against the
        rest.
    blend : float64 [B, heads]
        Weight of each head's mean, by bucket of shots (see ``calibration.shots``).
    main : int
        The head that intervals come from.
    """

    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    heads: tuple[Head, ...]
    blend: np.ndarray
    main: int


class Adapted(NamedTuple):
    """T adapted tasks: the deviation of each head, and the fold [T] whose shared mean and prior it uses (-1: those of all)."""

    deviations: tuple[Deviation, ...]
    fold: np.ndarray


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Condition each task's deviations on its support rows."""
    deviations = []
    for c, head in enumerate(state.heads):
        rows = features_of(head, support, fold)
        target = target_of(head, support.y, c, len(state.heads))
        bumps, classify = head.features.bumps, head.scale is None
        deviations.append(adapt_deviation(*head.priors_for(fold), bumps, rows, target, support.offsets, classify))
    return Adapted(tuple(deviations), fold)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    answers = []
    for head, deviation in zip(state.heads, adapted.deviations, strict=True):
        rows = features_of(head, query, adapted.fold)
        bumps, classify = head.features.bumps, head.scale is None
        answers.append(predict_deviation(*head.priors_for(adapted.fold), bumps, deviation, rows, query.offsets, classify))
    shots = np.repeat(np.diff(adapted.deviations[0].offsets), query.sizes)
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, shots, log_proba_of(answers, shots)))
    numbers = [
        number_of(head, deviation, *answer, query.offsets)
        for head, deviation, answer in zip(state.heads, adapted.deviations, answers, strict=True)
    ]
    return blend_numbers(numbers, state.blend, state.main, state.calibration, shots)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the prediction of each query row of the first task, by the main head, or once for each class; exact."""
    asked = range(len(state.heads)) if state.scale is None else [state.main]
    explanations = []
    for head, deviation in ((state.heads[h], adapted.deviations[h]) for h in asked):
        base, shared = explain_mean(head.unseen_mean, query.X)
        rows = features_of(head, query, adapted.fold)
        priors, which = head.priors_for(adapted.fold)
        prior = priors[which[0]]
        explanations.append(explain_deviation(prior, head.features, deviation, rows, base, shared))
    return tuple(explanations)


def for_known(state: State) -> State:
    """The prior of all tasks answers for known ones: a fold's, of fewer tasks, costs them more than it is less certain."""
    return state._replace(heads=tuple(head._replace(blind=()) for head in state.heads))


def features_of(head: Head, tasks: Tasks, fold: np.ndarray) -> Rows:
    """Rows of tasks as the deviation sees them, by the shared mean of each task's fold [T]."""
    f_w, f_b = _mean_of(head, tasks.X, np.repeat(fold, tasks.sizes))
    return to_rows(head.features, tasks.X, f_w, f_b, leaf_of(head.effects, tasks.X))


def _mean_of(head: Head, X: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f_w and f_b [n] of rows, by the fold [n] of their task."""
    if head.whole is None or (fold >= 0).all():
        return predict_mean(head.mean, X, fold)
    f_w, f_b = predict_mean(head.whole, X, np.full(len(X), -1))
    known = fold >= 0
    if known.any():
        f_w[known], f_b[known] = predict_mean(head.mean, X[known], fold[known])
    return f_w, f_b


def target_of(head: Head, y: np.ndarray, c: int, n_heads: int) -> np.ndarray:
    """What head c is conditioned on [n]: u, or 1 where y is the head's class (a single head stands for the second of two)."""
    if head.scale is None:
        return (y == (1 if n_heads == 1 else c)).astype(np.float64)
    return forward(head.scale, y)


def number_of(head: Head, deviation: Deviation, mean: np.ndarray, variance: np.ndarray, offsets: np.ndarray) -> Prediction:
    """Student's t of query rows: scale² = κ v (ν + Q/κ) / (ν + s) with ν + s degrees of freedom; Gaussian where s = 0."""
    s = np.diff(deviation.offsets)
    if np.isinf(head.nu):
        ratio, dof = np.where(s > 0, head.kappa, 1.0), np.full(len(s), np.inf)
    else:
        ratio = np.where(s > 0, head.kappa * (head.nu + deviation.surprise / head.kappa) / (head.nu + s), 1.0)
        dof = np.where(s > 0, head.nu + s, np.inf)
    n = np.diff(offsets)
    return from_scale(head.scale, mean, variance, np.sqrt(variance * np.repeat(ratio, n)), np.repeat(dof, n))


def log_proba_of(answers: list[tuple[np.ndarray, np.ndarray]], shots: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, C] from each head's mean and variance of the logit; a zero-shot logit counts as certain."""
    mean, variance = (np.column_stack(part) for part in zip(*answers, strict=True))
    return class_log_proba(mean, np.where(shots[:, None] > 0, variance, 0))
