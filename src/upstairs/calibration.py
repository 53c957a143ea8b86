"""Intervals and probabilities made honest on unseen tasks, by number of shots.

What is learned comes from episodes of tasks that the predicting model never saw. Regression: at each bucket of shots and each
coverage c, the factor by which a half-width must grow so that a share c of the rows falls inside; each *task* weighs the same,
and the quantile is taken at c (1 + 1/T), the conformal correction for T exchangeable tasks (Vovk et al. 2005). Classification:
a temperature by bucket that minimises the log loss. Between buckets both are linear in log(1 + shots).
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from upstairs.prediction import Prediction, t_quantile
from upstairs.target import Scale, forward

__all__ = [
    "Calibration",
    "between_buckets",
    "identity_calibration",
    "interval_factor",
    "learn_intervals",
    "learn_temperatures",
    "temper",
]

COVERAGES = np.array([0.5, 0.8, 0.9, 0.95])


class Calibration(NamedTuple):
    """What was learned at each bucket.

    Attributes
    ----------
    shots : float64 [B]
    factor : float64 [B, 4]
        Half-width factor at each of ``COVERAGES``; ones for a classifier.
    temperature : float64 [B]
        Logits are divided by it; ones for a regressor.
    """

    shots: np.ndarray
    factor: np.ndarray
    temperature: np.ndarray


def identity_calibration(shots: tuple[int, ...]) -> Calibration:
    """Changes nothing."""
    return Calibration(np.array(shots, float), np.ones((len(shots), len(COVERAGES))), np.ones(len(shots)))


def learn_intervals(
    shots: tuple[int, ...], predictions: list[Prediction], targets: list[np.ndarray], tasks: list[np.ndarray], scale: Scale
) -> Calibration:
    """Factors from held-out predictions: at each bucket a prediction, the true y [n] and the task [n] of each row."""
    factor = np.ones((len(shots), len(COVERAGES)))
    for b, (prediction, y, task) in enumerate(zip(predictions, targets, tasks, strict=True)):
        if len(y) == 0:
            factor[b] = factor[b - 1] if b else 1.0
            continue
        error = np.abs(forward(scale, y) - prediction.center) / prediction.spread
        n_tasks = len(np.unique(task))
        for j, coverage in enumerate(COVERAGES):
            ratio = error / t_quantile(prediction.dof, (1 + coverage) / 2)
            factor[b, j] = _task_quantile(ratio, task, min(coverage * (1 + 1 / n_tasks), 1.0))
    return Calibration(np.array(shots, float), np.clip(factor, 0.2, 20), np.ones(len(shots)))


def interval_factor(calibration: Calibration, shots: np.ndarray, coverage: float) -> np.ndarray:
    """Half-width factor [n] for the number of support rows [n] behind each prediction."""
    at_coverage = np.array([np.interp(coverage, COVERAGES, row) for row in calibration.factor])
    return between_buckets(calibration.shots, at_coverage, shots)


def learn_temperatures(shots: tuple[int, ...], log_probas: list[np.ndarray], targets: list[np.ndarray]) -> Calibration:
    """Temperatures from held-out log-probabilities [n, C] and class codes [n] at each bucket, drawn a little towards 1."""
    temperature = np.ones(len(shots))
    for b, (log_proba, y) in enumerate(zip(log_probas, targets, strict=True)):
        if len(y) == 0:
            temperature[b] = temperature[b - 1] if b else 1.0
            continue
        rows, codes = np.arange(len(y)), y.astype(int)

        def loss(log_t: float, log_proba=log_proba, rows=rows, codes=codes) -> float:
            return -_log_softmax(log_proba / np.exp(log_t))[rows, codes].sum() + 20 * log_t**2

        temperature[b] = np.exp(optimize.minimize_scalar(loss, bounds=(-1.0, 1.0), method="bounded").x)
    return Calibration(np.array(shots, float), np.ones((len(shots), len(COVERAGES))), temperature)


def temper(calibration: Calibration, shots: np.ndarray, log_proba: np.ndarray) -> np.ndarray:
    """Calibrated log-probabilities [n, C] for the number of support rows [n] behind each prediction."""
    return _log_softmax(log_proba / between_buckets(calibration.shots, calibration.temperature, shots)[:, None])


def between_buckets(buckets: np.ndarray, values: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """What was learned at each bucket [B], for any number of shots [n]: linear in log(1 + shots)."""
    return np.interp(np.log1p(shots), np.log1p(buckets), values)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return special.log_softmax(logits, axis=1)


def _task_quantile(values: np.ndarray, task: np.ndarray, level: float) -> float:
    """Quantile in which every task has the same weight, however many rows it brings."""
    _, codes, sizes = np.unique(task, return_inverse=True, return_counts=True)
    order = np.argsort(values)
    weight = np.cumsum((1.0 / sizes[codes])[order])
    return float(values[order][min(np.searchsorted(weight, level * weight[-1] * (1 - 1e-12)), len(values) - 1)])
