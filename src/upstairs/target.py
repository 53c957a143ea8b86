"""The target: labels to codes, numbers to a standard scale, a log scale where it pays, and the way back.

A regression learner works on u = (g(y) − mean) / sd, where g is the identity or log(y + shift). Predictions come back by

    E[y] = exp(m + v / 2) − shift        m, v: mean and variance of g(y); v is capped, since exp is not forgiving
    quantile(y) = g⁻¹(quantile(u))       quantiles go through a monotone g as they are

and are clipped to a plausible range: for a log target [0, 3 · max y].
"""

from typing import NamedTuple

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from upstairs.errors import UpstairsError

__all__ = [
    "Scale",
    "back_mean",
    "back_quantile",
    "back_std",
    "check_labels",
    "check_numbers",
    "forward",
    "identity_scale",
    "log_scale",
]

MOST_LOG_VARIANCE = 2.0
WIDE = 0.28
"""Standard deviations over the mean."""


class Scale(NamedTuple):
    """How y became u, so that it can go back. All fields are Python scalars."""

    log: bool
    shift: float
    mean: float
    sd: float
    low: float
    high: float


def identity_scale(y: np.ndarray) -> Scale:
    """u = (y − mean) / sd; no clipping on the way back."""
    return Scale(False, 0.0, float(y.mean()), _spread(y), -np.inf, np.inf)


def log_scale(y: np.ndarray) -> Scale | None:
    """u = (log(y + shift) − mean) / sd, or None where a log makes no sense.

    Sensible: no negative value, and a skewness above 1, or above 0 where y is wide, so that a log isn't nearly a line. The
    shift is 0 if all are positive, else the 5 % quantile of the positive ones: 1 for counts, of which many may be 0.
    """
    if y.min() < 0 or _skewness(y) <= (0 if _spread(y) > WIDE * y.mean() else 1):
        return None
    positive = y > 0
    shift = 0.0 if positive.all() else float(np.quantile(y[positive], 0.05))
    log = np.log(y + shift)
    return Scale(True, shift, float(log.mean()), _spread(log), 0.0, 3 * float(y.max()))


def forward(scale: Scale, y: np.ndarray) -> np.ndarray:
    """The user's y [n] -> u [n]. A support row outside a log's domain is moved to its edge."""
    if scale.log:
        edge = np.exp(scale.mean - 8 * scale.sd)
        y = np.log(np.maximum(y + scale.shift, edge))
    return (y - scale.mean) / scale.sd


def back_mean(scale: Scale, center: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Expected y [n] of a prediction with the given mean and variance of u."""
    m = scale.mean + scale.sd * center
    if scale.log:
        m = np.exp(m + np.minimum(scale.sd**2 * variance, MOST_LOG_VARIANCE) / 2) - scale.shift
    return np.clip(m, scale.low, scale.high)


def back_std(scale: Scale, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standard deviation of y [n], given its mean on the user's scale and the variance of u."""
    v = scale.sd**2 * variance
    if scale.log:
        return (mean + scale.shift) * np.sqrt(np.expm1(np.minimum(v, MOST_LOG_VARIANCE)))
    return np.sqrt(v)


def back_quantile(scale: Scale, u: np.ndarray) -> np.ndarray:
    """g⁻¹: a quantile of u -> the same quantile of y."""
    y = scale.mean + scale.sd * u
    if scale.log:
        y = np.exp(np.minimum(y, np.log(scale.high + scale.shift) + 1)) - scale.shift
    return np.clip(y, scale.low, scale.high)


def _spread(y: np.ndarray) -> float:
    sd = float(y.std())
    return sd if sd > 1e-12 * max(1.0, float(np.abs(y).max())) else 1.0


def _skewness(y: np.ndarray) -> float:
    z = (y - y.mean()) / _spread(y)
    return float((z**3).mean())


def check_numbers(y: np.ndarray) -> np.ndarray:
    """A regression target [n] as float64, or an UpstairsError that says which rows can't be used."""
    try:
        numbers = y.astype(np.float64)
    except (TypeError, ValueError):
        row = next(i for i, value in enumerate(y) if not _is_number(value))
        raise UpstairsError(f"y must hold numbers, but row {row} holds {y[row]!r}. For labels use a classifier.") from None
    _reject_missing(np.isnan(numbers))
    if (huge := ~(np.abs(numbers) <= 1e100)).any():
        row = int(np.flatnonzero(huge)[0])
        word = "infinity" if np.isinf(numbers[row]) else "a value too large to square"
        raise UpstairsError(f"y holds {word} in row {row}: {numbers[row]}. Drop such rows, or rescale y.")
    return numbers


def check_labels(y: np.ndarray, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted classes [C] and codes [n] (float64) of a classification target; codes among ``classes`` where they are given."""
    missing = np.array([value is None or value != value for value in y.tolist()], dtype=bool)
    _reject_missing(missing)
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise UpstairsError(f"y holds infinity in row {int(np.isinf(y).argmax())}, which is no class. Drop such rows.")
    if classes is None:
        try:
            check_classification_targets(y)
        except ValueError as error:
            words = str(error).split(". ")[0]
            raise UpstairsError(f"{words}: y holds numbers that are no labels. For numbers use a regressor.") from None
        classes = np.unique(y)
        if len(classes) < 2:
            raise UpstairsError(f"y holds one class only, {classes[0]!r}; a classifier needs at least two classes.")
    try:
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    except TypeError:  # text doesn't compare with numbers
        codes = np.zeros(len(y), int)
    if (unknown := classes[codes] != y).any():
        row = int(np.flatnonzero(unknown)[0])
        raise UpstairsError(f"y holds {y[row]!r} in row {row}, which is none of the classes seen in fit: {list(classes)}.")
    return classes, codes.astype(np.float64)


def _reject_missing(missing: np.ndarray) -> None:
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise UpstairsError(
            f"y is missing (NaN) in {missing.sum()} of {len(missing)} rows, the first of them row {row}. "
            "Drop these rows; a target can't be missing."
        )


def _is_number(value) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
