"""Which rows to label next: those from which one learns most about all the others.

Responses of rows to each other give the covariance K of what isn't known of the task, and the noise w (`influence`).
Labelling j leaves K − K_·j K_j· / (K_jj + w_j), and lowers the sum of the variances by Σ_q K_qj² / (K_jj + w_j). The row with
the most is taken, K updated, and so on: it doesn't take the labels to know how much they will tell (Seo et al. 2000).

References
----------
Cohn, Ghahramani, Jordan (1996), Active learning with statistical models, J. Artif. Intell. Res. 4.
Seo, Wallat, Graepel, Obermayer (2000), Gaussian process regression: active data selection and test point rejection, IJCNN.
"""

from typing import Any

import numpy as np

from upstairs.influence import LARGEST, responses
from upstairs.tasks import Tasks

__all__ = ["suggest"]

MOST_CANDIDATES = 300
MOST_SUPPORT = 150


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
    response, noise = responses(meta, support, Z)
    own = np.clip(response.diagonal(axis1=1, axis2=2), 0, LARGEST)
    variance = noise * own / (1 - own)
    return np.stack([_covariance(*parts) for parts in zip(response, variance, noise, strict=True)]), noise


def _covariance(response: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The covariance [m, m] nearest to what the responses say, which are no covariance where the learner isn't Gaussian."""
    covariance = response * (variance + noise)
    np.fill_diagonal(covariance, variance)
    most = np.sqrt(np.outer(variance, variance))
    eigenvalue, U = np.linalg.eigh(np.clip((covariance + covariance.T) / 2, -most, most))
    return (U * np.maximum(eigenvalue, 0)) @ U.T
