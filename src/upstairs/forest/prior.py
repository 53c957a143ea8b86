"""The prior of the deviation, learned on episodes: what support rows of a task should change in the prediction of its others.

    r_t(x) = prior mean + g_t(x) + ε,   ε ~ N(0, σ² n(x)),   g_t ~ GP(0, σ² k)        (k, n: `forest.kernel`)

Level mixing: differences of f_b inside a task carry no information once its level is seen. With
φ̄_q = (Σ_{i∈S} φ_i + φ_q) / (s + 1), the prior mean of any row when q is asked is ρ φ + (1 − ρ) φ̄_q, so that

    μ_q = f_w(q) + ρ φ_q + (1 − ρ) φ̄_q + k_qᵀ A⁻¹ [r_S − ρ φ_S − (1 − ρ) φ̄_q 1],    A = K_SS + N
    v_q = σ² (n_q + k_qq − k_qᵀ A⁻¹ k_q)

and the parameters minimise, over buckets b of support size with errors e of the queries,

    L = mean_b [ 0.7·½ log MSE_b + 0.3·½ mean(log v + e²/v) ] + penalty

(for two classes: the mean log loss at sigmoid(μ / √(1 + π v / 8)), with σ² = 1 and the Laplace posterior of `upstairs.gaussian`)
by L-BFGS-B with the exact gradient. With g = ∂L/∂μ_q, h = σ² ∂L/∂v_q, α_q = A⁻¹[residual of q] and B = A⁻¹ K_Sq,

    ∂L/∂k_iq = Σ_q g α_i − 2 h B_i,    ∂L/∂k_ij = Σ_q h B_i B_j − g B_j α_i,    ∂L/∂k_qq = h.

A component that does not pay goes to its floor by itself; there is no selection step.
"""

from typing import NamedTuple

import numba
import numpy as np
from scipy import optimize
from scipy.special import expit

from upstairs.episodes import SHOTS, Episodes
from upstairs.forest.kernel import FeatureMap, Prior, Rows, noise_of, project
from upstairs.gaussian import condition_classes, condition_numbers, solve

__all__ = ["learn_prior"]

PENALTY, CLASS_PENALTY = 2e-4, 6e-5
SLOPE_PENALTY, NOISE_PENALTY, LENGTH_PENALTY = 2e-3, 2e-3, 2e-3
SQUARED_SHARE = 0.7
import os
MOST_STEPS = int(os.environ.get("MS","80"))
LEAST_THETA, MOST_THETA, MOST_CLASS_THETA = 1e-5, 1e3, 8.0
LENGTH, LENGTHS = 0.5, (0.05, 4.0)
TABLE_STEP = 1 / 128
TABLE = np.exp(-np.arange(1026) * TABLE_STEP)
"""exp(−t) in steps of t, interpolated: several times faster than exp."""


class EpisodeData(NamedTuple):
    """Rows of E episodes, of which the first S are support and the next Q query, padded.

    ``target``, ``f_w``, ``phi`` [E, S + Q] · ``linear`` [E, S + Q, 2 + J] · ``category`` [E, S + Q, C]
    · ``leaf_kernel`` [E, S, S + Q] · ``n_support``, ``n_query`` [E]
    """

    target: np.ndarray
    f_w: np.ndarray
    phi: np.ndarray
    linear: np.ndarray
    category: np.ndarray
    leaf_kernel: np.ndarray
    n_support: np.ndarray
    n_query: np.ndarray


def learn_prior(
    rows: Rows, target: np.ndarray, episodes: Episodes, features: FeatureMap, level: float, sigma2: float, classify: bool,
    rng: np.random.Generator,
) -> Prior:  # fmt: skip
    """Minimise L over the episodes, for rows [n] and their targets [n] (u, or 0 and 1), from a first guess of the variances."""
    data = gather(rows, target, episodes)
    most = MOST_CLASS_THETA if classify else MOST_THETA
    start = _first_guess(features, float(np.clip(level, 0.01, min(100.0, most))), sigma2, rng)
    bounds = _bounds(start, most, classify)
    objective = _class_objective if classify else _number_objective
    result = optimize.minimize(
        lambda x: objective(_unpack(x, start), data, features.bumps),
        _pack(start), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MOST_STEPS},
    )  # fmt: skip
    return _unpack(result.x, start)


def gather(rows: Rows, target: np.ndarray, episodes: Episodes) -> EpisodeData:
    """Copy the rows of each episode side by side."""
    index = np.maximum(np.concatenate([episodes.support, episodes.query], axis=1), 0)
    leaf_kernel = np.zeros((len(index), episodes.support.shape[1], index.shape[1]), np.float32)
    _count_same_leaves(rows.leaf, index, leaf_kernel)
    return EpisodeData(
        target[index],
        rows.f_w[index],
        rows.f_b[index],
        rows.linear[index],
        rows.category[index],
        leaf_kernel,
        episodes.shots,
        (episodes.query >= 0).sum(axis=1),
    )


def _first_guess(features: FeatureMap, level: float, sigma2: float, rng: np.random.Generator) -> Prior:
    n_linear = 3 + len(features.numbers)
    linear = np.full(n_linear, 0.02)
    linear[0] = level
    return Prior(
        linear,
        0.05 * rng.normal(size=(2, n_linear)),
        np.full(len(features.categories), 0.02),
        np.full(len(features.bumps), 0.02),
        np.full(len(features.bumps), LENGTH),
        0.02,
        np.zeros(n_linear - 1),
        0.5,
        sigma2,
    )


def _pack(prior: Prior) -> np.ndarray:
    """Parameters without bounds of their own: log variances and lengths, slopes and noise as they are, logit ρ."""
    positive = [prior.linear, prior.category, prior.bump, [prior.leaf], prior.length]
    logit_rho = np.log(prior.rho / (1 - prior.rho))
    return np.concatenate([np.log(np.concatenate(positive)), prior.slopes.ravel(), prior.noise, [logit_rho, np.log(prior.sigma2)]])


def _unpack(x: np.ndarray, like: Prior) -> Prior:
    sizes = [len(like.linear), len(like.category), len(like.bump), 1, len(like.length), like.slopes.size, len(like.noise)]
    linear, category, bump, leaf, length, slopes, noise, rest = np.split(x, np.cumsum(sizes))
    return Prior(
        np.exp(linear), slopes.reshape(like.slopes.shape), np.exp(category), np.exp(bump), np.exp(length),
        float(np.exp(leaf[0])), noise, float(expit(rest[0])), float(np.exp(rest[1])),
    )  # fmt: skip


import os
XP = os.environ.get("XP", "sln")


def _bounds(start: Prior, most: float, classify: bool) -> list[tuple[float, float]]:
    theta = (np.log(LEAST_THETA), np.log(most))
    length = tuple(np.log(LENGTHS)) if "l" in XP else (np.log(LENGTH),) * 2
    n_theta = len(start.linear) + len(start.category) + len(start.bump) + 1
    middle = np.log(start.sigma2)
    return (
        [theta] * n_theta
        + [length] * len(start.length)
        + [(-np.sqrt(most), np.sqrt(most)) if "s" in XP else (0, 0)] * start.slopes.size
        + [(0, 0) if classify or "n" not in XP else (-2, 2)] * len(start.noise)
        + [(-6, 6), (middle, middle) if classify else (middle - 4, middle + 4)]
    )


def _number_objective(prior: Prior, data: EpisodeData, bumps: np.ndarray) -> tuple[float, np.ndarray]:
    """L and its gradient in the packed parameters."""
    sigma2 = prior.sigma2
    mean, variance, share, kept = _predict_queries(prior, data, bumps, classify=False)
    error, variance = _queries(data, data.target) - mean, variance * sigma2
    n_buckets = share.sum()
    mse = np.maximum((error**2 * share).sum(axis=(0, 2)), 1e-12)
    nll = ((np.log(variance) + error**2 / variance) * share).sum()
    live = share.any(axis=(0, 2))
    value = (SQUARED_SHARE * np.log(mse[live]).sum() + (1 - SQUARED_SHARE) * nll) / 2 / n_buckets

    # g = ∂L/∂μ_q = −∂L/∂e_q, and ∂L/∂v_q
    share = share / n_buckets
    d_mean = -share * error * (SQUARED_SHARE / mse[None, :, None] + (1 - SQUARED_SHARE) / variance)
    d_variance = share * (1 - SQUARED_SHARE) / 2 * (1 / variance - error**2 / variance**2)
    gradient = _backward_all(prior, data, bumps, d_mean, d_variance * sigma2, kept, classify=False)
    gradient[-1] = (d_variance * variance).sum()
    return _add_penalty(prior, value, gradient, PENALTY)


def _class_objective(prior: Prior, data: EpisodeData, bumps: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss over buckets, and its gradient in the packed parameters."""
    mean, variance, share, kept = _predict_queries(prior, data, bumps, classify=True)
    share = share / share.sum()
    shrink = 1 / np.sqrt(1 + np.pi * variance / 8)
    y = _queries(data, data.target)
    value = ((np.logaddexp(0, shrink * mean) - y * shrink * mean) * share).sum()
    slope = share * (expit(shrink * mean) - y)
    d_mean, d_variance = slope * shrink, -slope * mean * shrink**3 * np.pi / 16
    return _add_penalty(prior, value, _backward_all(prior, data, bumps, d_mean, d_variance, kept, classify=True), CLASS_PENALTY)


def _add_penalty(prior: Prior, value: float, gradient: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """Every variance but the level's, slopes, noise and lengths away from their first guess cost a little."""
    theta = np.concatenate([prior.linear, prior.category, prior.bump, [prior.leaf]])
    away = np.log(prior.length / LENGTH)
    cost = penalty * np.log1p(theta / 0.01)
    cost[0] = 0.0
    slope = penalty * theta / (0.01 + theta)
    slope[0] = 0.0
    value += cost.sum() + SLOPE_PENALTY * (prior.slopes**2).sum() + NOISE_PENALTY * (prior.noise**2).sum()
    value += LENGTH_PENALTY * (away**2).sum()
    gradient = gradient.copy()
    gradient[:-2] += np.concatenate(
        [slope, 2 * LENGTH_PENALTY * away, 2 * SLOPE_PENALTY * prior.slopes.ravel(), 2 * NOISE_PENALTY * prior.noise]
    )
    return value, gradient


def _queries(data: EpisodeData, values: np.ndarray) -> np.ndarray:
    """Values of the query rows [E, 1, Q]."""
    return values[:, None, data.leaf_kernel.shape[1] :]


def _predict_queries(prior: Prior, data: EpisodeData, bumps: np.ndarray, classify: bool):
    """Mean and variance / σ² of each query [E, B, Q], its share in the mean over its bucket, and what `_backward` needs."""
    E, S = data.leaf_kernel.shape[:2]
    shape = (E, len(SHOTS), data.f_w.shape[1] - S)
    mean, variance, used = np.zeros(shape), np.ones(shape), np.zeros(shape, bool)
    kept = np.zeros((E, len(SHOTS), shape[2] + 2, S))
    noise = noise_of(prior, data.linear)
    _posteriors(
        data.target, data.f_w, noise, data.phi, project(prior, data.linear), data.linear, data.category, data.leaf_kernel,
        data.n_support, data.n_query, bumps, TABLE, np.array(SHOTS), *_weights(prior), prior.rho, classify,
        mean, variance, used, kept,
    )  # fmt: skip
    return mean, variance, used / np.maximum(used.sum(axis=(0, 2)), 1)[None, :, None], kept


def _backward_all(prior: Prior, data: EpisodeData, bumps: np.ndarray, d_mean, d_variance, kept, classify: bool) -> np.ndarray:
    """The gradient in the packed parameters, but for log σ²."""
    psi = project(prior, data.linear)
    d_psi, d_noise, d_rho = np.zeros_like(psi), np.zeros(data.phi.shape), np.zeros(1)
    d_category, d_bump, d_length = (np.zeros(len(values)) for values in (prior.category, prior.bump, prior.length))
    d_leaf = np.zeros(1)
    _backward(
        data.phi, psi, data.linear, data.category, data.leaf_kernel,
        data.n_support, data.n_query, bumps, TABLE, np.array(SHOTS), *_weights(prior), prior.rho,
        d_mean, d_variance, kept, d_psi, d_noise, d_category, d_bump, d_length, d_leaf, d_rho,
    )  # fmt: skip
    n_linear = len(prior.linear)
    full = np.concatenate([np.ones((*data.phi.shape, 1)), data.linear], axis=-1)
    d_linear = np.einsum("erp,erp->p", d_psi[..., :n_linear], full) * np.sqrt(prior.linear) / 2
    d_slopes = np.einsum("erk,erp->kp", d_psi[..., n_linear:], full, optimize=True)
    exponent = data.linear @ prior.noise
    d_noise *= 0.0 if classify else noise_of(prior, data.linear) * (np.abs(exponent) < 3)
    parts = [
        d_linear, d_category * prior.category, d_bump * prior.bump, d_leaf * prior.leaf, d_length,
        d_slopes.ravel(), np.einsum("er,erp->p", d_noise, data.linear), d_rho * prior.rho * (1 - prior.rho), [0.0],
    ]  # fmt: skip
    return np.concatenate(parts)


def _weights(prior: Prior) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    return prior.category, prior.bump, prior.length, prior.leaf


@numba.njit(cache=True, nogil=True, inline="always")
def _look_up(table, t):  # pragma: no cover (compiled)
    t = min(t, 1024.0)
    k = int(t)
    return table[k] + (t - k) * (table[k + 1] - table[k])


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _count_same_leaves(leaf, index, out):  # pragma: no cover (compiled)
    M = leaf.shape[1]
    for e in range(len(index)):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                same = 0
                for m in range(M):
                    same += leaf[index[e, i], m] == leaf[index[e, j], m]
                out[e, i, j] = same / max(M, 1)


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _fill_kernel(
    psi, linear, category, leaf_kernel, bumps, table, th_category, th_bump, length, th_leaf, n_rows, n_columns, K
):  # pragma: no cover (compiled)
    """K [n_rows, n_columns] of one episode, and its diagonal over all columns in the last row of K."""
    for i in range(n_rows):
        for j in range(n_columns):
            total = th_leaf * leaf_kernel[i, j]
            for p in range(psi.shape[1]):
                total += psi[i, p] * psi[j, p]
            K[i, j] = total
        for c in range(category.shape[1]):
            for j in range(n_columns):
                K[i, j] += th_category[c] * (category[i, c] == category[j, c])
        for b in range(len(bumps)):
            sharpness = 0.5 / (length[b] ** 2 * TABLE_STEP)
            for j in range(n_columns):
                gap = linear[i, bumps[b]] - linear[j, bumps[b]]
                K[i, j] += th_bump[b] * _look_up(table, gap * gap * sharpness)
    constant = th_category.sum() + th_bump.sum() + th_leaf
    for j in range(n_columns):
        K[-1, j] = constant
        for p in range(psi.shape[1]):
            K[-1, j] += psi[j, p] ** 2


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _posteriors(
    target, f_w, noise, phi, psi, linear, category, leaf_kernel, n_support, n_query, bumps, table, shots,
    th_category, th_bump, length, th_leaf, rho, classify, mean, variance, used, kept,
):  # fmt: skip  # pragma: no cover (compiled)
    """μ and v/σ² of every query; kept: B_q, then α and β, for the way back."""
    S, Q = leaf_kernel.shape[1], f_w.shape[1] - leaf_kernel.shape[1]
    K, L = np.empty((S + 1, S + Q)), np.empty((S, S))
    for e in range(len(f_w)):
        n_columns = S + n_query[e]
        _fill_kernel(
            psi[e], linear[e], category[e], leaf_kernel[e], bumps, table, th_category, th_bump, length, th_leaf,
            n_support[e], n_columns, K,
        )  # fmt: skip
        prior = f_w[e] + rho * phi[e]
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if s == 0 or (b > 0 and n_support[e] <= shots[b - 1]):
                break
            phi_sum = phi[e, :s].sum()
            alpha, beta = kept[e, b, Q], kept[e, b, Q + 1]
            if classify:
                level = (1 - rho) * phi_sum / s
                condition_classes(K, s, prior[:s] + level, target[e], L, alpha, beta)
                for i in range(s):
                    alpha[i] += level * beta[i]
            else:
                condition_numbers(K, s, target[e, :s] - prior[:s], noise[e], L, alpha, beta)
            for q in range(n_query[e]):
                column = S + q
                mixed = (1 - rho) * (phi_sum + phi[e, column]) / (s + 1)
                m, explained = prior[column] + mixed, 0.0
                for i in range(s):
                    kept[e, b, q, i] = K[i, column]
                solve(L, s, kept[e, b, q])
                for i in range(s):
                    m += K[i, column] * (alpha[i] - mixed * beta[i])
                    explained += K[i, column] * kept[e, b, q, i]
                mean[e, b, q] = m
                variance[e, b, q] = max((0.0 if classify else noise[e, column]) + K[-1, column] - explained, 1e-9)
                used[e, b, q] = True


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _backward(
    phi, psi, linear, category, leaf_kernel, n_support, n_query, bumps, table, shots,
    th_category, th_bump, length, th_leaf, rho, d_mean, d_variance, kept,
    d_psi, d_noise, d_category, d_bump, d_length, d_leaf, d_rho,
):  # fmt: skip  # pragma: no cover (compiled)
    """Derivatives of L by ψ, the noise of each row, the other components and ρ; G collects ∂L/∂K of an episode."""
    S, Q = leaf_kernel.shape[1], phi.shape[1] - leaf_kernel.shape[1]
    K, G, alpha = np.empty((S + 1, S + Q)), np.empty((S, S + Q)), np.empty(S)
    for e in range(len(phi)):
        n_columns = S + n_query[e]
        _fill_kernel(
            psi[e], linear[e], category[e], leaf_kernel[e], bumps, table, th_category, th_bump, length, th_leaf,
            n_support[e], n_columns, K,
        )  # fmt: skip
        G[:] = 0.0
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if s == 0 or (b > 0 and n_support[e] <= shots[b - 1]):
                break
            phi_sum = phi[e, :s].sum()
            for q in range(n_query[e]):
                column, g, h = S + q, d_mean[e, b, q], d_variance[e, b, q]
                level = (phi_sum + phi[e, column]) / (s + 1)
                slope = phi[e, column] - level
                for i in range(s):
                    alpha[i] = kept[e, b, Q, i] - (1 - rho) * level * kept[e, b, Q + 1, i]
                    # ∂μ/∂ρ = φ_q − φ̄_q (1 − kᵀβ) − Bᵀφ_S
                    slope += K[i, column] * level * kept[e, b, Q + 1, i] - kept[e, b, q, i] * phi[e, i]
                d_rho[0] += g * slope
                d_noise[e, column] += h
                for i in range(s):
                    B_i = kept[e, b, q, i]
                    G[i, column] += g * alpha[i] - 2 * h * B_i
                    for j in range(s):
                        G[i, j] += kept[e, b, q, j] * (h * B_i - g * alpha[i])
        for i in range(n_support[e]):
            d_noise[e, i] += G[i, i]
            for j in range(n_columns):
                weight = G[i, j]
                d_leaf[0] += weight * leaf_kernel[e, i, j]
                for p in range(psi.shape[2]):
                    d_psi[e, i, p] += weight * psi[e, j, p]
                    d_psi[e, j, p] += weight * psi[e, i, p]
            for c in range(category.shape[2]):
                for j in range(n_columns):
                    d_category[c] += G[i, j] * (category[e, i, c] == category[e, j, c])
            for k in range(len(bumps)):
                sharpness = 0.5 / (length[k] ** 2 * TABLE_STEP)
                for j in range(n_columns):
                    gap = linear[e, i, bumps[k]] - linear[e, j, bumps[k]]
                    bump = G[i, j] * _look_up(table, gap * gap * sharpness)
                    d_bump[k] += bump
                    # ∂ exp(−d²/2ℓ²) / ∂ log ℓ = exp(−d²/2ℓ²) d²/ℓ²
                    d_length[k] += bump * th_bump[k] * gap * gap / length[k] ** 2
        for q in range(n_query[e]):
            h = d_noise[e, S + q]
            for p in range(psi.shape[2]):
                d_psi[e, S + q, p] += 2 * h * psi[e, S + q, p]
            for c in range(category.shape[2]):
                d_category[c] += h
            for k in range(len(bumps)):
                d_bump[k] += h
            d_leaf[0] += h
