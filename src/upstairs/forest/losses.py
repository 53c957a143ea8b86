"""The three losses of the shared mean: level removed for numbers, level removed for two classes, and plain pooled ones.

A task's level is a nuisance for the effect of x *within* tasks. For numbers it is integrated out (random-intercept GLS) at
fixed variance components; for two classes a task offset o_t ~ N(0, 1) moves by one Newton step a round. Held-out errors are
those of a row whose level the *other* rows of its task tell: leave-one-out for numbers, a one-step jackknife for classes.
"""

import numpy as np
from scipy.special import expit

from upstairs.forest.boosting import Loss
from upstairs.levels import leave_one_out, newton_offsets, shrunk_levels, task_sums

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

    def gradient(_, F, rows, offsets):
        r = u[rows] - F
        level, _ = shrunk_levels(r, offsets, w, b)
        return np.repeat(level, np.diff(offsets)) - r, np.ones(len(r))

    def held_out(_, F, rows, offsets):
        return float((leave_one_out(u[rows] - F, offsets, w, b) ** 2).mean())

    return Loss(_nothing, gradient, held_out)


def pooled_loss(u: np.ndarray) -> Loss:
    """Squared error of u [n]."""

    def gradient(_, F, rows, offsets):
        return F - u[rows], np.ones(len(rows))

    def held_out(_, F, rows, offsets):
        return float(((u[rows] - F) ** 2).mean())

    return Loss(_nothing, gradient, held_out)


def within_class_loss(y: np.ndarray) -> Loss:
    """Log loss of y [n] in {0, 1} about a task offset."""

    def start(rows, offsets):
        return np.zeros(len(offsets) - 1)

    def gradient(kept, F, rows, offsets):
        kept[:] = newton_offsets(y[rows], F, offsets, kept, steps=1)
        p = expit(F + np.repeat(kept, np.diff(offsets)))
        return p - y[rows], p * (1 - p)

    def held_out(kept, F, rows, offsets):
        kept[:] = newton_offsets(y[rows], F, offsets, kept, steps=1)
        return float(log_loss(y[rows], jackknife_logit(y[rows], F, offsets, kept, 1.0)).mean())

    return Loss(start, gradient, held_out)


def pooled_class_loss(y: np.ndarray) -> Loss:
    """Log loss of y [n] in {0, 1}."""

    def gradient(_, F, rows, offsets):
        p = expit(F)
        return p - y[rows], p * (1 - p)

    def held_out(_, F, rows, offsets):
        return float(log_loss(y[rows], F).mean())

    return Loss(_nothing, gradient, held_out)


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


def _nothing(rows, offsets) -> None:
    return None
