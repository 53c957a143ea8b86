"""What a learner answers about query rows: a Student-t for each number, or log-probabilities for each class."""

from typing import NamedTuple

import numpy as np
from scipy import special

from upstairs.target import Scale, back_mean, back_quantile, back_std, forward

__all__ = [
    "ClassPrediction",
    "Explanation",
    "Prediction",
    "class_log_proba",
    "finite_dof",
    "from_scale",
    "log_density",
    "log_likelihood",
    "quantile",
    "t_log_density",
    "t_quantile",
]


class Prediction(NamedTuple):
    """Regression. ``mean`` and ``std`` are on the user's scale; the distribution that quantiles come from is Student's t with
    ``center``, ``spread`` and ``dof`` on the learner's own scale u (see `target.Scale`). Every field is float64 [n].
    """

    mean: np.ndarray
    std: np.ndarray
    center: np.ndarray
    spread: np.ndarray
    dof: np.ndarray


class ClassPrediction(NamedTuple):
    """Classification: natural log of the probability of each class, float64 [n, C]."""

    log_proba: np.ndarray


class Explanation(NamedTuple):
    """Why: predictions of n rows as sums, on the learner's own scale (u, or the logit of a class).

    ``base + shared.sum(1) + level + scale + slopes.sum(1) + local`` is the center; all but the first two are the task's own and
    come from its support: ``support.sum(1)``.

    Attributes
    ----------
    base : float64 [n]
        What the meta-model says of any row.
    shared : float64 [n, p]
        What it says of rows like these, by column.
    level : float64 [n]
        The task's own level.
    scale : float64 [n]
        How much stronger or weaker the shared effects are in this task.
    slopes : float64 [n, p]
        The task's own effects, by column.
    local : float64 [n]
        What rows of the support that are near the query row add.
    support : float64 [n, s]
        How far each support row moved each prediction.
    exact : bool
        False where a part is an approximation.
    """

    base: np.ndarray
    shared: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    local: np.ndarray
    support: np.ndarray
    exact: bool


def from_scale(scale: Scale, center: np.ndarray, variance: np.ndarray, spread: np.ndarray, dof: np.ndarray) -> Prediction:
    """A Student-t on the learner's scale, with its mean and standard deviation taken back to the user's.

    The mean of a log target takes the Gaussian ``variance``: a single odd support widens the Student-t, and exp of that would
    multiply the mean. Below 3 degrees of freedom the variance of the Student-t is counted as at 3.
    """
    mean = back_mean(scale, center, variance)
    return Prediction(mean, back_std(scale, mean, spread**2 * _inflation(dof)), center, spread, dof)


def class_log_proba(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, C] from the logits [n, C] of each class against the rest, or [n, 1] of the second of two.

    P = σ(μ / √(1 + πv/8)) averages the logistic function over a logit's uncertainty (MacKay 1992, equation 15).
    """
    logits = mean / np.sqrt(1 + np.pi / 8 * variance)
    if logits.shape[1] == 1:
        return np.column_stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)])
    log_proba = np.maximum(-np.logaddexp(0, -logits), np.log(1e-6))
    return log_proba - special.logsumexp(log_proba, axis=1, keepdims=True)


def quantile(prediction: Prediction, scale: Scale, probability: float, factor: np.ndarray) -> np.ndarray:
    """The quantile of y [n] at one probability; ``factor`` [n] widens (calibration)."""
    return back_quantile(scale, prediction.center + factor * prediction.spread * t_quantile(prediction.dof, probability))


def t_quantile(dof: np.ndarray, probability: float) -> np.ndarray:
    """Quantile [n] of Student's t, computed once for each number of degrees of freedom: it takes long, and rows share a few."""
    dof, rows = np.unique(dof, return_inverse=True)
    return np.where(np.isinf(dof), special.ndtri(probability), special.stdtrit(finite_dof(dof), probability))[rows]


def t_log_density(t: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Log density [n] of Student's t, whose constant is computed once for each number of degrees of freedom, as above."""
    dof, rows = np.unique(finite_dof(dof), return_inverse=True)
    constant = special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2) - np.log(np.pi * dof) / 2
    return constant[rows] - ((dof + 1) / 2)[rows] * np.log1p(t**2 / dof[rows])


def log_density(prediction: Prediction, scale: Scale, y: np.ndarray) -> np.ndarray:
    """Log density [n] of y, on the user's own scale."""
    error = (forward(scale, y) - prediction.center) / prediction.spread
    density = t_log_density(error, prediction.dof) - np.log(prediction.spread * scale.sd)
    return density - np.log(np.maximum(y + scale.shift, 1e-300)) if scale.log else density


def log_likelihood(prediction: Prediction | ClassPrediction, scale: Scale | None, y: np.ndarray) -> np.ndarray:
    """Log density of numbers, or log probability of class codes, y [n]."""
    if isinstance(prediction, ClassPrediction):
        return prediction.log_proba[np.arange(len(y)), y.astype(int)]
    return log_density(prediction, scale, y)


def _inflation(dof: np.ndarray) -> np.ndarray:
    finite = np.maximum(finite_dof(dof), 3.0)
    return np.where(np.isinf(dof), 1.0, finite / (finite - 2))


def finite_dof(dof: np.ndarray) -> np.ndarray:
    """Degrees of freedom that Student-t functions can take: a million is as good as infinity."""
    return np.where(np.isinf(dof), 1e6, dof)
