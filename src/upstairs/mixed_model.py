"""Fixed effects and variances of a linear mixed model with the same columns D for both, from sums over each task's rows.

    u_t = D_t(γ + β_t) + ε_t,   β_t ~ N(0, diag θ),   ε ~ N(0, w),   V_t = D_t diag(θ) D_tᵀ + w I

γ is the generalised least squares ridge. θ and w maximise the marginal likelihood of r = u − Dγ times Π_j (1 + θ_j / w)^−a, by
the MM steps of Zhou et al. (2019), each of which raises it and none of which leaves the positive numbers:

    θ_j ← θ_j √(Σ_t |D_tjᵀ V_t⁻¹ r_t|² / (Σ_t D_tjᵀ V_t⁻¹ D_tj + 2a / (w + θ_j)))
    w ← w √((Σ_t |V_t⁻¹ r_t|² + Σ_j 2a / w) / (Σ_t tr V_t⁻¹ + Σ_j 2a / (w + θ_j)))

The prior counts for next to nothing but where tasks have fewer rows than D has columns: there many slopes that differ a little
explain all noise, and w would go to 0.

With S_t = D_tᵀD_t and B_t = (Θ^½ S_t Θ^½ + w I)⁻¹, V_t⁻¹ = (I − D_t Θ^½ B_t Θ^½ D_tᵀ) / w: nothing is as long as a task.
"""

import itertools
from typing import NamedTuple

import numpy as np

from upstairs.tasks import Tasks

__all__ = ["Sums", "fixed_effects", "maximise_posterior", "residual_sums", "sums_of"]

N_STEPS = 25
LEAST_VARIANCE = 1e-8
DOUBT = 0.5
"""a of the prior of θ / w."""


class Sums(NamedTuple):
    """What the likelihood asks of T tasks.

    Attributes
    ----------
    DD : float64 [T, q, q]
        S = DᵀD.
    Du : float64 [T, q]
    uu : float64 [T]
    n : float64 [T]
    """

    DD: np.ndarray
    Du: np.ndarray
    uu: np.ndarray
    n: np.ndarray


def sums_of(D: np.ndarray, u: np.ndarray, weight: np.ndarray, tasks: Tasks) -> Sums:
    """Sums over the rows D [n, q], u [n] of each task, with weights [n]."""
    rows = np.column_stack([D, u]) * np.sqrt(weight)[:, None]
    products = np.stack([rows[start:stop].T @ rows[start:stop] for start, stop in itertools.pairwise(tasks.offsets)])
    return Sums(products[:, :-1, :-1], products[:, :-1, -1], products[:, -1, -1], tasks.sizes.astype(float))


def residual_sums(sums: Sums, gamma: np.ndarray) -> Sums:
    """Sums of u − Dγ, with γ [T, q] of each task."""
    DDg = _times(sums.DD, gamma)
    rr = sums.uu - 2 * (gamma * sums.Du).sum(axis=1) + (gamma * DDg).sum(axis=1)
    return sums._replace(Du=sums.Du - DDg, uu=np.maximum(rr, 0))


def fixed_effects(sums: Sums, theta: np.ndarray, w: float, fold: np.ndarray, penalty: float) -> np.ndarray:
    """γ [K, q] = (Σ DᵀV⁻¹D + λ/w)⁻¹ Σ DᵀV⁻¹u over the tasks outside each fold; the constant is not penalised."""
    DVD, DVu, _ = _whitened(sums, theta, w)
    outside = (fold != np.arange(fold.max() + 1)[:, None]).astype(float)
    ridge = np.full(len(theta), penalty / w)
    ridge[0] = 1e-8
    left, right = np.tensordot(outside, DVD, axes=1) + np.diag(ridge), outside @ DVu
    return np.linalg.solve(left, right[..., None])[..., 0]


def maximise_posterior(
    residual: Sums, theta: np.ndarray, w: float, group: np.ndarray, learn_noise: bool
) -> tuple[np.ndarray, float]:
    """θ [q] and w after a number of MM steps; columns of the same group [q] share one θ."""
    shared = (group[:, None] == group).astype(float)
    first = np.unique(group, return_index=True)[1]
    for _ in range(N_STEPS):
        DVD, DVr, B = _whitened(residual, theta, w)
        doubt = 2 * DOUBT / (w + theta)
        gain, cost = shared @ (DVr**2).sum(axis=0), shared @ np.einsum("tjj->j", DVD) + doubt
        if learn_noise:
            fitted = theta * DVr  # the posterior mean of β
            gain_w = (residual.uu + (fitted * (_times(residual.DD, fitted) - 2 * residual.Du)).sum(axis=1)).sum() / w**2
            cost_w = (residual.n.sum() - B.shape[0] * B.shape[1] + w * np.einsum("tjj->", B)) / w
            gain_w, cost_w = max(gain_w, 0) + len(first) * 2 * DOUBT / w, cost_w + doubt[first].sum()
            w = max(w * np.sqrt(gain_w / cost_w), LEAST_VARIANCE)
        theta = np.maximum(theta * np.sqrt(gain / np.maximum(cost, LEAST_VARIANCE)), LEAST_VARIANCE)
    return theta, w


def _whitened(sums: Sums, theta: np.ndarray, w: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """DᵀV⁻¹D [T, q, q], DᵀV⁻¹u [T, q] and B [T, q, q]."""
    root = np.sqrt(theta)
    B = np.linalg.inv(sums.DD * root[:, None] * root + w * np.eye(len(theta)))
    explained = ((sums.DD * root) @ B) * root
    return (sums.DD - explained @ sums.DD) / w, (sums.Du - _times(explained, sums.Du)) / w, B


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("tij,tj->ti", matrices, vectors)
