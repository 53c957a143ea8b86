"""Losses of predictions, and their means with a standard error over tasks: pure functions of numbers.

A metric gives every row a loss; what is shown is the mean over all rows of all tasks, or its root. Rows of one task err
together, so the standard error takes tasks, not rows, as what was drawn: with losses L_t summed over the n_t rows of task t,
the mean is the ratio R = Σ L_t / Σ n_t and

    se(R)² = T/(T − 1) Σ_t (L_t − R n_t)² / (Σ n_t)²        (Cochran 1977, equation 6.13)
    se(√R) = se(R) / (2 √R)                                  (delta method)
"""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from upstairs.errors import UpstairsError

__all__ = [
    "LEAST_PROBABILITY",
    "NODES",
    "Metric",
    "crps",
    "find_metric",
    "log_loss",
    "mean_over_tasks",
    "root",
    "squared_error",
]

LEAST_PROBABILITY = 1e-6
"""A class that was held impossible counts as this probable, so that one row can't make a log loss infinite."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
NODES = (_NODES + 1) / 2
"""Probabilities of the quantiles that `crps` takes: the nodes of Gauss and Legendre on (0, 1)."""


class Metric(NamedTuple):
    """A loss of rows.

    Attributes
    ----------
    name, words : str
        ``rmse``, and "root mean squared error".
    classes : bool
        Whether it takes probabilities of classes.
    rows : callable (y [n], prediction [n]) -> [n], or (codes [n], probabilities [n, C]) -> [n]
        Code -1 is a class that the meta-model has never seen.
    root : bool
        Whether the root of the mean is shown.
    """

    name: str
    words: str
    classes: bool
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    root: bool = False


def squared_error(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(y − ŷ)² [n]."""
    return (y - prediction) ** 2


def absolute_error(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """|y − ŷ| [n]."""
    return np.abs(y - prediction)


def log_loss(codes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """−log P(y) [n], of probabilities that are clipped and brought to a sum of 1."""
    proba = np.clip(proba, LEAST_PROBABILITY, 1)
    right = (proba / proba.sum(axis=1, keepdims=True))[np.arange(len(codes)), codes]
    return -np.log(np.where(codes < 0, LEAST_PROBABILITY, right))


def brier(codes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Σ_c (P_c − 1(y = c))² [n] (Brier 1950)."""
    return ((proba - (codes[:, None] == np.arange(proba.shape[1]))) ** 2).sum(axis=1) + (codes < 0)


def wrong(codes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """1 where the most probable class isn't the right one [n]."""
    return (proba.argmax(axis=1) != codes).astype(float)


METRICS = {
    "rmse": Metric("rmse", "root mean squared error", False, squared_error, root=True),
    "mae": Metric("mae", "mean absolute error", False, absolute_error),
    "log_loss": Metric("log_loss", "log loss", True, log_loss),
    "brier": Metric("brier", "Brier score", True, brier),
    "error_rate": Metric("error_rate", "error rate", True, wrong),
}
SCIKIT_LEARN = {
    "neg_root_mean_squared_error": "rmse",
    "neg_mean_absolute_error": "mae",
    "neg_log_loss": "log_loss",
    "neg_brier_score": "brier",
    "accuracy": "error_rate",
}
"""Scikit-learn's names of them, whose sign is turned: here less is better."""


def find_metric(scoring: str | None, classes: bool) -> Metric:
    """The metric of that name, or what numbers and classes are measured by where none is asked for."""
    if scoring is None:
        return METRICS["log_loss" if classes else "rmse"]
    fitting = [name for name, metric in METRICS.items() if metric.classes == classes]
    if not isinstance(scoring, str):
        raise UpstairsError(f"scoring must be the name of a metric, one of {', '.join(fitting)}, but is {scoring!r}.")
    name = SCIKIT_LEARN.get(scoring, scoring)
    if name not in METRICS:
        near = difflib.get_close_matches(scoring, [*fitting, *SCIKIT_LEARN], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fitting)}."
        raise UpstairsError(f"There is no scoring {scoring!r}; {hint}")
    if name not in fitting:
        kinds = ("numbers", "classes") if classes else ("classes", "numbers")
        raise UpstairsError(
            f"scoring={scoring!r} measures {kinds[0]}, but these meta-learners predict {kinds[1]}: use {', '.join(fitting)}."
        )
    return METRICS[name]


def crps(y: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score [n] of a distribution given by its quantiles [n, K] at ``NODES``.

    CRPS = 2 ∫₀¹ (τ − 1(y < q_τ)) (y − q_τ) dτ, in the unit of y (Gneiting, Raftery 2007); for a certain prediction it is the
    absolute error.
    """
    error = y[:, None] - quantiles
    return (error * (NODES - (error < 0))) @ _WEIGHTS  # the nodes' weights sum to 2


def mean_over_tasks(total: np.ndarray, count: np.ndarray, task: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of all rows and its standard error over tasks.

    Parameters
    ----------
    total : [R] or [R, K]
        Sums over the rows of R (parts of) tasks.
    count : [R] or [R, K]
        Their numbers of rows; 0 is ordinary.
    task : int [R]
        The task of each; one that comes twice counts as one.

    Returns
    -------
    mean, se : scalars or [K]
        NaN where there is no row; se also where there is one task only.
    """
    _, code = np.unique(task, return_inverse=True)
    total, count = (_by_task(values, code) for values in (total, np.broadcast_to(count.T, total.T.shape).T))
    n_tasks, n_rows = (count > 0).sum(axis=0), count.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total.sum(axis=0) / n_rows
        squares = ((total - mean * count) ** 2).sum(axis=0)
        return mean, np.sqrt(np.where(n_tasks > 1, n_tasks / (n_tasks - 1.0), np.nan) * squares) / n_rows


def root(mean: np.ndarray, se: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The root of a mean, and its standard error."""
    error = np.sqrt(mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        return error, np.where(error > 0, se / (2 * error), se)


def _by_task(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    sums = np.zeros((code.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(sums, code, values)
    return sums
