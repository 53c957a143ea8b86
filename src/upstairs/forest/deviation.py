"""The posterior of a task's deviation, in closed form, for many ragged tasks in one compiled loop.

With the factor U of A = UᵀU, α = A⁻¹ (target − f_w − ρ φ)_S and β = A⁻¹ 1 (see `upstairs.gaussian`; A = K_SS + I for numbers,
K_SS + W⁻¹ for classes; the model is `forest.prior`'s):

    μ_q = f_w(q) + ρ φ_q + (1 − ρ) φ̄_q + k_qᵀ (α − (1 − ρ) φ̄_q β)
    v_q = σ² (noise + k_qq − ‖U⁻ᵀ k_q‖²)        noise: 1 for numbers, 0 for a logit

Two solves a task serve all its queries, and an empty support needs none. For classes the mode is sought at the support's own
mean level φ̄_S, and the level correction for q is of first order.
"""

from typing import NamedTuple

import numba
import numpy as np

from upstairs.compiled import FAST
from upstairs.forest.kernel import NEGLIGIBLE, Prior, Rows, compare, project
from upstairs.gaussian import condition, solve_half

__all__ = ["Deviation", "adapt_deviation", "predict_deviation"]

AT_ONCE = 256
"""Query rows of a task that are compared with its support at once: a task may ask about a million."""
Four = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Deviation(NamedTuple):
    """The deviations of T tasks with n support rows in all.

    Attributes
    ----------
    rows : Rows
        The support rows.
    offsets : int64 [T + 1]
    factor : float64 [Σ s_t²]
        U of each task, row by row; task t's begins at ``factor_at[t]``.
    factor_at : int64 [T + 1]
    alpha, beta : float64 [n]
    phi_sum : float64 [T]
        Σ φ over the support.
    surprise : float64 [T]
        Q, the support's squared distance from what the prior expects; s_t on average.
    """

    rows: Rows
    offsets: np.ndarray
    factor: np.ndarray
    factor_at: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    phi_sum: np.ndarray
    surprise: np.ndarray


def adapt_deviation(
    priors: tuple[Prior, ...], which: np.ndarray, bumps: np.ndarray, rows: Rows, target: np.ndarray, offsets: np.ndarray,
    classify: bool,
) -> Deviation:  # fmt: skip
    """Condition on support rows with targets [n]: u for numbers, 0 and 1 for classes; ``which`` [T] is each task's prior."""
    sizes = np.diff(offsets)
    factor_at = np.concatenate([[0], np.cumsum(sizes**2)])
    factor, alpha, beta = np.zeros(factor_at[-1]), np.zeros(len(target)), np.zeros(len(target))
    phi_sum, surprise = np.zeros(len(sizes)), np.zeros(len(sizes))
    weights, smooth = _weights(priors, bumps)
    _adapt(
        *_compared(priors, which, smooth, rows, offsets), rows.f_w, rows.f_b, target, which, *weights, classify,
        offsets, factor_at, factor, alpha, beta, phi_sum, surprise,
    )  # fmt: skip
    return Deviation(rows, offsets, factor, factor_at, alpha, beta, phi_sum, surprise / _noise(priors)[which])


def predict_deviation(
    priors: tuple[Prior, ...], which: np.ndarray, bumps: np.ndarray, deviation: Deviation, rows: Rows, offsets: np.ndarray,
    classify: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mean μ [n] and variance v [n] of query rows, of which task t has those between ``offsets[t]`` and ``offsets[t + 1]``."""
    mean, variance = np.empty(len(rows.f_w)), np.empty(len(rows.f_w))
    weights, smooth = _weights(priors, bumps)
    _predict(
        *_compared(priors, which, smooth, deviation.rows, deviation.offsets),
        *_compared(priors, which, smooth, rows, offsets), rows.f_w, rows.f_b, which, *weights, 0.0 if classify else 1.0,
        deviation.offsets, offsets, deviation.factor_at, deviation.factor, deviation.alpha, deviation.beta, deviation.phi_sum,
        mean, variance,
    )  # fmt: skip
    return mean, np.repeat(_noise(priors)[which], np.diff(offsets)) * variance


def _compared(priors: tuple[Prior, ...], which: np.ndarray, smooth: np.ndarray, rows: Rows, offsets: np.ndarray) -> Four:
    """Rows as `compare` takes them: ψ [n, 5 + J] by the prior of their task, features with bumps, categories and leaves."""
    used = np.unique(which)
    if len(used) == 1:
        psi = project(priors[used[0]], rows.linear)
    else:
        of_row = np.repeat(which, np.diff(offsets))
        psi = np.empty((len(rows.linear), rows.linear.shape[1] + 3))
        for k in used:
            psi[of_row == k] = project(priors[k], rows.linear[of_row == k])
    return psi, np.take(rows.linear, smooth, axis=1), rows.category, rows.leaf


def _weights(priors: tuple[Prior, ...], bumps: np.ndarray) -> tuple[Four, np.ndarray]:
    """Of each prior: categories [K, C], bumps [K, R'], leaves [K] and ρ [K]; and the features whose bumps count [R']."""
    each = zip(*((prior.category, prior.bump, prior.leaf, prior.rho) for prior in priors), strict=True)
    category, bump, leaf, rho = (np.array(own) for own in each)
    bump, leaf = np.where(bump > NEGLIGIBLE, bump, 0.0), np.where(leaf > NEGLIGIBLE, leaf, 0.0)
    some = bump.any(axis=0)
    return (category, np.compress(some, bump, axis=1), leaf, rho), bumps[some]


def _noise(priors: tuple[Prior, ...]) -> np.ndarray:
    return np.array([prior.sigma2 for prior in priors])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _adapt(
    psi, smooth, category, leaf, f_w, phi, target, which, th_category, th_bump, th_leaf, rhos, classify,
    offsets, factor_at,
    factor, alpha, beta, phi_sum, surprise,
):  # fmt: skip  # pragma: no cover (compiled)
    for t in range(len(offsets) - 1):
        start, s, w = offsets[t], offsets[t + 1] - offsets[t], which[t]
        rho = rhos[w]
        U = factor[factor_at[t] : factor_at[t + 1]].reshape(s, s)
        K, prior = np.empty((s, s)), np.empty(s)
        compare(
            psi, smooth, category, leaf, start, psi, smooth, category, leaf, start,
            th_category[w], th_bump[w], th_leaf[w], True, K,
        )  # fmt: skip
        for i in range(s):
            phi_sum[t] += phi[start + i]
            prior[i] = f_w[start + i] + rho * phi[start + i]
        a, c, y = alpha[start : start + s], beta[start : start + s], target[start : start + s]
        level = (1 - rho) * phi_sum[t] / max(s, 1)
        condition(K, s, prior, level, y, classify, U, a, c)
        if not classify:
            for i in range(s):
                surprise[t] += (y[i] - prior[i] - level) * (a[i] - level * c[i])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _predict(
    psi, smooth, category, leaf, q_psi, q_smooth, q_category, q_leaf, f_w, phi,
    which, th_category, th_bump, th_leaf, rhos, noise, offsets, q_offsets, factor_at,
    factor, alpha, beta, phi_sum, mean, variance,
):  # fmt: skip  # pragma: no cover (compiled)
    for t in range(len(offsets) - 1):
        start, s, w = offsets[t], offsets[t + 1] - offsets[t], which[t]
        rho = rhos[w]
        U = factor[factor_at[t] : factor_at[t + 1]].reshape(s, s)
        alike = th_category[w].sum() + th_bump[w].sum() + (th_leaf[w] if leaf.shape[1] > 0 else 0.0)
        block = np.empty((min(q_offsets[t + 1] - q_offsets[t], AT_ONCE), s))
        for first in range(q_offsets[t], q_offsets[t + 1], AT_ONCE):
            K = block[: min(q_offsets[t + 1] - first, AT_ONCE)]
            compare(
                q_psi, q_smooth, q_category, q_leaf, first, psi, smooth, category, leaf, start,
                th_category[w], th_bump[w], th_leaf[w], False, K,
            )  # fmt: skip
            for i in range(len(K)):
                q, k = first + i, K[i]
                mixed = (1 - rho) * (phi_sum[t] + phi[q]) / (s + 1)
                m, v = f_w[q] + rho * phi[q] + mixed, noise + alike
                for p in range(q_psi.shape[1]):
                    v += q_psi[q, p] * q_psi[q, p]
                for j in range(s):
                    m += k[j] * (alpha[start + j] - mixed * beta[start + j])
                solve_half(U, s, k)
                for j in range(s):
                    v -= k[j] * k[j]
                mean[q], variance[q] = m, max(v, 1e-9)
