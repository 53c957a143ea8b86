"""Fixed effects and variances of a linear mixed model with the same columns D for both, from sums over each task's rows.

    u_t = D_t(γ + β_t) + ε_t,   β_t ~ N(0, diag θ),   ε ~ N(0, w),   V_t = D_t diag(θ) D_tᵀ + w I

γ is the generalised least squares ridge. θ and w maximise the marginal likelihood of r = u − Dγ times Π_j (1 + θ_j / w)^−a, by
the MM steps of Zhou et al. (2019), each of which raises it and none of which leaves the positive numbers:

    θ_j ← θ_j √(Σ_t |D_tjᵀ V_t⁻¹ r_t|² / (Σ_t D_tjᵀ V_t⁻¹ D_tj + 2a / (w + θ_j)))
    w ← w √((Σ_t |V_t⁻¹ r_t|² + Σ_j 2a / w) / (Σ_t tr V_t⁻¹ + Σ_j 2a / (w + θ_j)))

The prior counts for next to nothing but where tasks have fewer rows than D has columns: there many slopes that differ a little
explain all noise, and w would go to 0.

Effects may also move together, β_t ~ N(0, Θ^½ R Θ^½): R maximises the same likelihood times a prior that counts as ν tasks
without correlations, ν as held-out tasks would have it, by expectation-maximisation (Laird & Ware 1982), with b_t = Θ^−½ β_t
and θ and w held fixed:

    R ← Σ_t E[b_t b_tᵀ | r_t] + ν I, brought to a diagonal of 1

With S_t = D_tᵀD_t and B_t = (Θ^½ S_t Θ^½ + w I)⁻¹, V_t⁻¹ = (I − D_t Θ^½ B_t Θ^½ D_tᵀ) / w: nothing is as long as a task.
"""

import itertools
from typing import NamedTuple

import numpy as np

from upstairs.tasks import Tasks

__all__ = ["Sums", "correlations", "fixed_effects", "maximise_posterior", "residual_sums", "sums_of"]

N_STEPS = 25
LEAST_VARIANCE = 1e-8
N_CORRELATED = 10
DOUBT = 0.5
"""a of the prior of θ / w."""
MOST_CORRELATED, LEAST_EXPLAINED, PRIOR_TASKS = 12, 1e-3, (np.inf, 100.0, 30.0, 10.0)
"""Columns whose effects may be correlated: those that explain most, of what all explain at least so much; and ν."""


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


def correlations(residual: Sums, theta: np.ndarray, w: float, fold: np.ndarray) -> np.ndarray:
    """R [q, q] for variances θ [q] and w, the identity but among a few columns; ν by the likelihood of folds [T] held out."""
    explained = theta * np.einsum("tjj->j", residual.DD)
    most = np.argsort(-explained)[:MOST_CORRELATED]
    few = np.sort(most[explained[most] > LEAST_EXPLAINED * explained.sum()])
    root, R = np.sqrt(theta[few]), np.eye(len(theta))
    S, r = residual.DD[:, few][:, :, few] * root[:, None] * root / w, residual.Du[:, few] * root / w

    likelihood = np.empty((len(PRIOR_TASKS), len(r)))
    for k in np.unique(fold):
        own, held_out = fold == k, np.eye(len(few))
        for i, n_tasks in enumerate(PRIOR_TASKS):
            held_out = _correlate(S[~own], r[~own], n_tasks, held_out)
            likelihood[i, own] = _log_likelihood(S[own], r[own], held_out)
    behind = likelihood[likelihood.sum(axis=1).argmax()] - likelihood
    enough = behind.sum(axis=1) <= behind.std(axis=1) * np.sqrt(len(r))  # the plainest within a standard error of the best
    R[np.ix_(few, few)] = _correlate(S, r, PRIOR_TASKS[enough.argmax()], np.eye(len(few)))
    return R


def _correlate(S: np.ndarray, r: np.ndarray, n_tasks: float, R: np.ndarray) -> np.ndarray:
    """R, from another one, of effects b_t with precisions S [T, q, q] and pulls r [T, q]; the prior counts as so many tasks."""
    if n_tasks == np.inf:
        return np.eye(len(R))
    for _ in range(N_CORRELATED):
        covariance = np.linalg.inv(S + np.linalg.inv(R))
        mean = _times(covariance, r)
        second = covariance.sum(axis=0) + mean.T @ mean + n_tasks * np.eye(len(R))
        R = second / np.sqrt(np.outer(np.diag(second), np.diag(second)))
    return R


def _log_likelihood(S: np.ndarray, r: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Of the rows of each task [T] behind S and r, up to what R doesn't change."""
    gained = (r * _times(np.linalg.inv(S + np.linalg.inv(R)), r)).sum(axis=1)
    return (gained - np.linalg.slogdet(np.eye(len(R)) + S @ R)[1]) / 2


def _whitened(sums: Sums, theta: np.ndarray, w: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """DᵀV⁻¹D [T, q, q], DᵀV⁻¹u [T, q] and B [T, q, q]."""
    root = np.sqrt(theta)
    B = np.linalg.inv(sums.DD * root[:, None] * root + w * np.eye(len(theta)))
    explained = ((sums.DD * root) @ B) * root
    return (sums.DD - explained @ sums.DD) / w, (sums.Du - _times(explained, sums.Du)) / w, B


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("tij,tj->ti", matrices, vectors)
