"""Predictions split into what is shared and what the task's support said: exact sums, nothing refitted.

The shared mean is split by column with TreeSHAP (Lundberg et al. 2020), through LightGBM, and exactly for its linear start.
The deviation is linear in the weights ω_i = α_i − (1 − ρ) φ̄_q β_i of the support rows, so that with ψ̃ = (1, f̃_w, f̃_b, z)
each component of the kernel gives a term of its own:

    level    (1 − ρ)(φ̄_q − φ_q) + Σ_i ω_i (θ_0 + Σ_r a_r0 a_rᵀψ̃_i)
    scale    the same for the slopes on f̃_w and f̃_b,   slopes: for those on columns, and category effects
    local    bumps and shared leaves of the task-effect trees
"""

import numpy as np

from upstairs.design import by_column, design_matrix
from upstairs.forest.deviation import Deviation
from upstairs.forest.kernel import NEGLIGIBLE, FeatureMap, Prior, Rows, with_constant
from upstairs.forest.shared_mean import SharedMean
from upstairs.prediction import Explanation
from upstairs.trees import contributions

__all__ = ["explain_deviation", "explain_mean"]


def explain_mean(mean: SharedMean, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f_w + f_b of an unseen task for rows X [n, p]: a constant [n], and a share of each column [n, p]."""
    n_folds, design = len(mean.coef), mean.design
    total = np.zeros((len(X), X.shape[1] + 1))
    for booster in mean.boosters:
        share = 1 - mean.share * (booster.group % 2 == 0)
        total += share * booster.weight / n_folds * contributions(booster.text, X)
    linear = design_matrix(design, X) * ([1 - mean.share, 1] @ mean.coef.mean(axis=0))
    base, shared = total[:, -1] + linear[:, 0], total[:, :-1]
    return base, shared + by_column(design, linear, X.shape[1])


def explain_deviation(
    prior: Prior, features: FeatureMap, deviation: Deviation, rows: Rows, base: np.ndarray, shared: np.ndarray
) -> Explanation:
    """Add the deviation of the first task from what is shared, for its query rows [n]."""
    s = int(deviation.offsets[1]) if len(deviation.offsets) > 2 else 0
    support = Rows(*(field[:s] for field in deviation.rows))
    mixed = (1 - prior.rho) * (deviation.phi_sum[0] * (s > 0) + rows.f_b) / (s + 1)
    weight = deviation.alpha[:s] - mixed[:, None] * deviation.beta[:s]

    # terms of level and slopes [n, 3 + J]: what each entry of (1, l) of the query brings, through every direction
    full, support_full = with_constant(rows.linear), with_constant(support.linear)
    along = weight @ (support_full @ prior.slopes.T)
    linear = full * ((weight @ support_full) * prior.linear + along @ prior.slopes)
    slopes = np.zeros_like(shared)
    np.add.at(slopes.T, features.numbers, linear[:, 3:].T)
    kernel = full * prior.linear @ support_full.T + (full @ prior.slopes.T) @ (support_full @ prior.slopes.T).T
    for c, column in enumerate(features.categories):
        same = prior.category[c] * (rows.category[:, None, c] == support.category[None, :, c])
        slopes[:, column] += (same * weight).sum(axis=1)
        kernel += same
    near = _near(prior, features, support, rows)
    mixing = (1 - prior.rho) * (support.f_b - rows.f_b[:, None]) / (s + 1)
    level = linear[:, 0] + mixing.sum(axis=1)
    local = (near * weight).sum(axis=1)
    return Explanation(base, shared, level, linear[:, 1:3].sum(axis=1), slopes, local, (kernel + near) * weight + mixing, True)


def _near(prior: Prior, features: FeatureMap, support: Rows, rows: Rows) -> np.ndarray:
    """Bumps and shared leaves [n, s]."""
    near = np.zeros((len(rows.f_w), len(support.f_w)))
    for weight, column in zip(prior.bump, features.bumps, strict=True):
        gap = rows.linear[:, None, column].astype(float) - support.linear[None, :, column]
        near += (weight > NEGLIGIBLE) * weight * np.exp(-2 * gap**2)
    if rows.leaf.shape[1] and prior.leaf > NEGLIGIBLE:
        near += prior.leaf * (rows.leaf[:, None] == support.leaf[None]).mean(axis=2)
    return near
