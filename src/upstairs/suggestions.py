"""Which rows to label next: those from which one learns most about all the others.

A learner's posterior covariance, seen from outside. If row j were labelled and came out one standard deviation of its noise
higher, the prediction of row q would move by R_qj; of a Gaussian posterior with covariance K and noise variance w_j

    R_qj = K_qj / (K_jj + w_j),    so that    K_jj = w_j R_jj / (1 − R_jj),    K_qj = R_qj (K_jj + w_j)

One batched adaptation to the support and each candidate in turn gives R, and so K, of every learner; where it isn't Gaussian
this is its linear approximation. Numbers: w = 1. Classes: R from giving row j to a class and to the others, w = p (1 − p).

Labelling j leaves K − K_·j K_j· / (K_jj + w_j), and lowers the sum of the variances by Σ_q K_qj² / (K_jj + w_j). The row with
the most is taken, K updated, and so on: it doesn't take the labels to know how much they will tell (Seo et al. 2000).

References
----------
Cohn, Ghahramani, Jordan (1996), Active learning with statistical models, J. Artif. Intell. Res. 4.
Seo, Wallat, Graepel, Obermayer (2000), Gaussian process regression: active data selection and test point rejection, IJCNN.
"""

from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.prediction import ClassPrediction
from upstairs.target import back_quantile
from upstairs.tasks import Tasks

__all__ = ["suggest"]

MOST_CANDIDATES = 300
MOST_SUPPORT = 150
LARGEST_RESPONSE = 0.999


def suggest(meta: Any, support: Tasks, Z: np.ndarray, n: int) -> np.ndarray:
    """The n of the candidates Z [m, p] to label next for one task, int64 [n], the most telling first."""
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(Z))[: max(MOST_CANDIDATES, n)])
    covariances, noises = _posterior(meta, support.thin(MOST_SUPPORT, rng), Z[some])
    chosen: list[int] = []
    for _ in range(n):
        total = np.maximum(covariances.diagonal(axis1=1, axis2=2), 0) + noises
        gain = ((covariances**2).sum(axis=1) / total).sum(axis=0)
        gain[chosen] = -np.inf
        j = int(gain.argmax())
        chosen.append(j)
        column = covariances[:, :, j]
        covariances = covariances - column[:, :, None] * column[:, None, :] / total[:, j, None, None]
    return some[chosen]


def _posterior(meta: Any, support: Tasks, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance [C, m, m] and noise [C, m] of candidates Z [m, p]; C is 1 for numbers."""
    now, _ = predict(adapt(meta, support), Z, np.zeros(len(Z), int))
    if isinstance(now, ClassPrediction):
        answers = [np.exp(_after(meta, support, Z, np.full(len(Z), c)).log_proba) for c in range(now.log_proba.shape[1])]
        given = np.stack(answers)  # [label, candidate, query, class]
        others = (given.sum(axis=0) - given) / (len(given) - 1)
        response = np.stack([(given[c] - others[c])[..., c].T for c in range(len(given))])
        probability = np.exp(now.log_proba).T
        noise = probability * (1 - probability)
    else:
        up = back_quantile(meta.state_.scale, now.center + now.spread)
        moved = _after(meta, support, Z, up).center - now.center
        response, noise = (moved / now.spread[:, None]).T[None], np.ones((1, len(Z)))
    own = np.clip(response.diagonal(axis1=1, axis2=2), 0, LARGEST_RESPONSE)
    variance = noise * own / (1 - own)
    return np.stack([_covariance(*parts) for parts in zip(response, variance, noise, strict=True)]), noise


def _covariance(response: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The covariance [m, m] nearest to what the responses say, which are no covariance where the learner isn't Gaussian."""
    covariance = response * (variance + noise)
    np.fill_diagonal(covariance, variance)
    most = np.sqrt(np.outer(variance, variance))
    eigenvalue, U = np.linalg.eigh(np.clip((covariance + covariance.T) / 2, -most, most))
    return (U * np.maximum(eigenvalue, 0)) @ U.T


def _after(meta: Any, support: Tasks, Z: np.ndarray, y: np.ndarray):
    """What is predicted for each of Z [m, p] after the support and candidate j with the label ``y[j]``: fields [m (j), m, ...]."""
    m = len(Z)
    one_each = Tasks(Z, y.astype(float), np.arange(m + 1), np.zeros(m, int), support.levels)
    adaptation = adapt(meta, support.take(np.zeros(m, int)).join(one_each))
    prediction, _ = predict(adaptation, np.tile(Z, (m, 1)), np.repeat(np.arange(m), m))
    return type(prediction)(*(field.reshape(m, m, *field.shape[1:]) for field in prediction))
