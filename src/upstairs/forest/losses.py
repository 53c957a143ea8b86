"""The three losses of the shared mean: level removed for numbers, level removed for two classes, and plain pooled ones.

A task's level is a nuisance for the effect of x *within* tasks. For numbers it is integrated out (random-intercept GLS) at
fixed variance components; for two classes a task offset o_t ~ N(0, 1) moves by one Newton step a round. Held-out errors are
those of a row whose level the *other* rows of its task tell: leave-one-out for numbers, a one-step jackknife for classes.
"""

import numpy as np
from scipy.special import expit

from upstairs.forest.boosting import Loss, LossOfRows
from upstairs.levels import newton_offsets, task_sums

__all__ = [
    "jackknife_logit",
    "log_loss",
    "pooled_class_loss",
    "pooled_loss",
    "within_class_loss",
    "within_loss",
]


def within_loss(u: np.ndarray, w: float, b: float) -> Loss:
    """Squared error of u [n] about a task level with variances within w and between b."""

    def of_rows(rows, offsets):
        y, sizes = u[rows], np.diff(offsets)
        task, one = np.repeat(np.arange(len(sizes)), sizes), np.ones(len(rows))
        share, share_of_others = b / (sizes * b + w), (b / ((sizes - 1) * b + w))[task]

        def gradient(F):
            r = y - F
            return (share * np.bincount(task, r, len(sizes)))[task] - r, one

        def held_out(F):
            r = y - F
            error = r - share_of_others * (np.bincount(task, r, len(sizes))[task] - r)
            return float((error**2).mean())

        return LossOfRows(gradient, held_out)

    return of_rows


def pooled_loss(u: np.ndarray) -> Loss:
    """Squared error of u [n]."""

    def of_rows(rows, offsets):
        y, one = u[rows], np.ones(len(rows))
        return LossOfRows(lambda F: (F - y, one), lambda F: float(((y - F) ** 2).mean()))

    return of_rows


def within_class_loss(y: np.ndarray) -> Loss:
    """Log loss of y [n] in {0, 1} about a task offset."""

    def of_rows(rows, offsets):
        own, sizes, offset = y[rows], np.diff(offsets), np.zeros(len(offsets) - 1)

        def gradient(F):
            offset[:] = newton_offsets(own, F, offsets, offset, steps=1)
            p = expit(F + np.repeat(offset, sizes))
            return p - own, p * (1 - p)

        def held_out(F):
            offset[:] = newton_offsets(own, F, offsets, offset, steps=1)
            return float(log_loss(own, jackknife_logit(own, F, offsets, offset, 1.0)).mean())

        return LossOfRows(gradient, held_out)

    return of_rows


def pooled_class_loss(y: np.ndarray) -> Loss:
    """Log loss of y [n] in {0, 1}."""

    def of_rows(rows, offsets):
        own = y[rows]

        def gradient(F):
            p = expit(F)
            return p - own, p * (1 - p)

        return LossOfRows(gradient, lambda F: float(log_loss(own, F).mean()))

    return of_rows


def jackknife_logit(y: np.ndarray, F: np.ndarray, offsets: np.ndarray, o: np.ndarray, variance: float) -> np.ndarray:
    """Logit [n] of each row at the offset that the other rows of its task would give, to first order."""
    sizes = np.diff(offsets)
    logit = F + np.repeat(o, sizes)
    p = expit(logit)
    weight = p * (1 - p)
    return logit - (y - p) / (np.repeat(task_sums(weight, offsets), sizes) + 1 / variance - weight)


def log_loss(y: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Log loss [n] of y in {0, 1}."""
    return np.logaddexp(0, logit) - y * logit
