"""The prior of the deviation, learned on episodes: what support rows of a task should change in the prediction of its others.

    r_t(x) = prior mean + g_t(x) + ε,   ε ~ N(0, σ²),   g_t ~ GP(0, σ² k)        (k: `forest.kernel`)

Level mixing: differences of f_b inside a task carry no information once its level is seen. With
φ̄_q = (Σ_{i∈S} φ_i + φ_q) / (s + 1), the prior mean of any row when q is asked is ρ φ + (1 − ρ) φ̄_q, so that

    μ_q = f_w(q) + ρ φ_q + (1 − ρ) φ̄_q + k_qᵀ A⁻¹ [r_S − ρ φ_S − (1 − ρ) φ̄_q 1],    A = K_SS + I
    v_q = σ² (1 + k_qq − k_qᵀ A⁻¹ k_q)

and the parameters minimise, over buckets b of support size with errors e of the queries,

    L = mean_b [ 0.7·½ log MSE_b + 0.3·½ mean(log v + e²/v) ] + penalty

(for two classes: the mean log loss at sigmoid(μ / √(1 + π v / 8)), with σ² = 1 and the posterior of `upstairs.gaussian`)
by L-BFGS-B with the exact gradient. With g = ∂L/∂μ_q, h = σ² ∂L/∂v_q, α_q = A⁻¹[residual of q] and B = A⁻¹ K_Sq,

    ∂L/∂k_iq = Σ_q g α_i − 2 h B_i,    ∂L/∂k_ij = Σ_q h B_i B_j − g B_j α_i,    ∂L/∂k_qq = h.

A component that does not pay goes to its floor by itself; there is no selection step.
"""

from typing import NamedTuple

import numba
import numpy as np
from scipy import optimize
from scipy.special import expit, logit

from upstairs.episodes import SHOTS, Episodes
from upstairs.forest.kernel import FeatureMap, Prior, Rows, project, with_constant
from upstairs.gaussian import FAST, condition, solve_many

__all__ = ["learn_prior"]

PENALTY, CLASS_PENALTY = 2e-4, 6e-5
SLOPE_PENALTY = 2e-3
SQUARED_SHARE = 0.7
WHOLE = 65535
WARM_UP_EPISODES, MOST_STEPS, TOLERANCE = 300, (120, 40), 1e-5
LEAST_THETA, MOST_THETA, MOST_CLASS_THETA = 1e-5, 1e3, 8.0


class EpisodeData(NamedTuple):
    """Rows of E episodes, of which the first S are support and the next Q query, padded.

    ``target``, ``f_w``, ``phi`` float64 [E, S + Q] · ``linear`` float32 [E, S + Q, 2 + J] · ``n_support``, ``n_query`` [E]
    ``alike`` uint16 [E, C + R + 1, S, S + Q]: the kernel's components that are not linear (categories, bumps, same leaves), of
    which 65535 stands for 1: small, and exact enough (in 255 steps K + I is no longer positive where a θ is in the hundreds).
    """

    target: np.ndarray
    f_w: np.ndarray
    phi: np.ndarray
    linear: np.ndarray
    alike: np.ndarray
    n_support: np.ndarray
    n_query: np.ndarray


def learn_prior(
    rows: Rows, target: np.ndarray, episodes: Episodes, features: FeatureMap, level: float, sigma2: float, classify: bool,
    rng: np.random.Generator,
) -> Prior:  # fmt: skip
    """Minimise L over the episodes, for rows [n] and their targets [n] (u, or 0 and 1), from a first guess of the variances."""
    most = MOST_CLASS_THETA if classify else MOST_THETA
    start = _first_guess(features, float(np.clip(level, 0.01, min(100.0, most))), sigma2, rng)
    if not episodes.shots.any():
        return start  # no task has two rows: nothing says how the rows of one move together
    bounds = _bounds(start, most, classify)
    objective = _class_objective if classify else _number_objective
    data = gather(rows, target, episodes, features)
    few = EpisodeData(*(field[:WARM_UP_EPISODES] for field in data))
    x = _pack(start)
    # most of the way on few episodes: a step costs a fifth there
    for some, steps in zip((few, data), MOST_STEPS, strict=True):
        x = optimize.minimize(
            lambda x, some=some: objective(_unpack(x, start), some),
            x, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps, "ftol": TOLERANCE},
        ).x  # fmt: skip
    return _unpack(x, start)


def gather(rows: Rows, target: np.ndarray, episodes: Episodes, features: FeatureMap) -> EpisodeData:
    """Copy the rows of each episode side by side."""
    index = np.maximum(np.concatenate([episodes.support, episodes.query], axis=1), 0)
    S, bumps = episodes.support.shape[1], features.bumps
    alike = np.empty((len(index), rows.category.shape[1] + len(bumps) + 1, S, index.shape[1]), np.uint16)
    _compare(rows.linear, rows.category, rows.leaf, bumps, index, alike)
    return EpisodeData(
        target[index], rows.f_w[index], rows.f_b[index], rows.linear[index], alike,
        episodes.shots, (episodes.query >= 0).sum(axis=1),
    )  # fmt: skip


def _first_guess(features: FeatureMap, level: float, sigma2: float, rng: np.random.Generator) -> Prior:
    n_linear = 3 + len(features.numbers)
    linear = np.full(n_linear, 0.02)
    linear[0] = level
    return Prior(
        linear,
        0.05 * rng.normal(size=(2, n_linear)),
        np.full(len(features.categories), 0.02),
        np.full(len(features.bumps), 0.02),
        0.02,
        0.5,
        sigma2,
    )


def _pack(prior: Prior) -> np.ndarray:
    """Log variances, slopes as they are, logit ρ and log σ²."""
    variances = np.concatenate([prior.linear, _alike_weights(prior)])
    return np.concatenate([np.log(variances), prior.slopes.ravel(), [logit(prior.rho), np.log(prior.sigma2)]])


def _unpack(x: np.ndarray, like: Prior) -> Prior:
    sizes = [len(like.linear), len(like.category), len(like.bump), 1, like.slopes.size]
    linear, category, bump, leaf, slopes, rest = np.split(x, np.cumsum(sizes))
    return Prior(
        np.exp(linear), slopes.reshape(like.slopes.shape), np.exp(category), np.exp(bump),
        float(np.exp(leaf[0])), float(expit(rest[0])), float(np.exp(rest[1])),
    )  # fmt: skip


def _bounds(start: Prior, most: float, classify: bool) -> list[tuple[float, float]]:
    n_variances = len(start.linear) + len(start.category) + len(start.bump) + 1
    middle, reach = np.log(start.sigma2), 0 if classify else 4
    return (
        [(np.log(LEAST_THETA), np.log(most))] * n_variances
        + [(-np.sqrt(most), np.sqrt(most))] * start.slopes.size
        + [(-6, 6), (middle - reach, middle + reach)]
    )


def _number_objective(prior: Prior, data: EpisodeData) -> tuple[float, np.ndarray]:
    """L and its gradient in the packed parameters."""
    sigma2 = prior.sigma2
    mean, variance, share, kept = _predict_queries(prior, data, classify=False)
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
    gradient = _backward_all(prior, data, d_mean, d_variance * sigma2, kept)
    gradient[-1] = (d_variance * variance).sum()
    return _add_penalty(prior, value, gradient, PENALTY)


def _class_objective(prior: Prior, data: EpisodeData) -> tuple[float, np.ndarray]:
    """Mean log loss over buckets, and its gradient in the packed parameters."""
    mean, variance, share, kept = _predict_queries(prior, data, classify=True)
    share = share / share.sum()
    shrink = 1 / np.sqrt(1 + np.pi * variance / 8)
    y = _queries(data, data.target)
    value = ((np.logaddexp(0, shrink * mean) - y * shrink * mean) * share).sum()
    slope = share * (expit(shrink * mean) - y)
    d_mean, d_variance = slope * shrink, -slope * mean * shrink**3 * np.pi / 16
    return _add_penalty(prior, value, _backward_all(prior, data, d_mean, d_variance, kept), CLASS_PENALTY)


def _add_penalty(prior: Prior, value: float, gradient: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """Every variance but the level's, and the slopes, cost a little."""
    theta = np.concatenate([prior.linear, _alike_weights(prior)])
    theta[0] = 0.0
    value += penalty * np.log1p(theta / 0.01).sum() + SLOPE_PENALTY * (prior.slopes**2).sum()
    slope = np.concatenate([penalty * theta / (0.01 + theta), 2 * SLOPE_PENALTY * prior.slopes.ravel(), [0.0, 0.0]])
    return value, gradient + slope


def _queries(data: EpisodeData, values: np.ndarray) -> np.ndarray:
    """Values of the query rows [E, 1, Q]."""
    return values[:, None, data.alike.shape[2] :]


class Kept(NamedTuple):
    """What the way forward leaves for the way back.

    ``psi`` [E, S + Q, D] · ``kernel`` [E, S, S + Q] · ``solved`` [E, B, S, Q + 2]: A⁻¹ K_Sq, then α and β.
    """

    psi: np.ndarray
    kernel: np.ndarray
    solved: np.ndarray


def _predict_queries(prior: Prior, data: EpisodeData, classify: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, Kept]:
    """Mean and variance / σ² of each query [E, B, Q], its share in the mean over its bucket, and what `_backward` needs."""
    E, _, S, width = data.alike.shape
    Q, B = width - S, len(SHOTS)
    psi = project(prior, data.linear)
    kernel = psi[:, :S] @ psi.transpose(0, 2, 1)
    _add_alike(kernel, data.alike, _alike_weights(prior) / WHOLE)
    own = (psi[:, S:] ** 2).sum(axis=2) + _alike_weights(prior).sum() + (0.0 if classify else 1.0)
    mean, variance, used = np.zeros((E, B, Q)), np.ones((E, B, Q)), np.zeros((E, B, Q), bool)
    solved = np.zeros((E, B, S, Q + 2))
    _posteriors(
        data.target, data.f_w + prior.rho * data.phi, data.phi, kernel, own, data.n_support, data.n_query, np.array(SHOTS),
        prior.rho, classify, mean, variance, used, solved,
    )  # fmt: skip
    share = used / np.maximum(used.sum(axis=(0, 2)), 1)[None, :, None]
    return mean, np.maximum(variance, 1e-9), share, Kept(psi, kernel, solved)


def _backward_all(prior: Prior, data: EpisodeData, d_mean: np.ndarray, d_variance: np.ndarray, kept: Kept) -> np.ndarray:
    """The gradient in the packed parameters, but for log σ²."""
    S = data.alike.shape[2]
    d_kernel, d_rho = np.zeros_like(kept.kernel), np.zeros(1)
    _backward(
        data.phi, kept.kernel, kept.solved, data.n_support, data.n_query, np.array(SHOTS), prior.rho,
        d_mean, d_variance, d_kernel, d_rho,
    )  # fmt: skip
    d_own = d_variance.sum(axis=1)
    d_alike = np.zeros(data.alike.shape[1])
    _contract_alike(d_kernel, data.alike, d_alike)
    d_alike = d_alike / WHOLE + d_own.sum()

    d_psi = np.empty_like(kept.psi)
    within = d_kernel[:, :, :S]
    d_psi[:, :S] = (within + within.transpose(0, 2, 1)) @ kept.psi[:, :S] + d_kernel[:, :, S:] @ kept.psi[:, S:]
    d_psi[:, S:] = d_kernel[:, :, S:].transpose(0, 2, 1) @ kept.psi[:, :S] + 2 * d_own[:, :, None] * kept.psi[:, S:]
    full = with_constant(data.linear).reshape(-1, len(prior.linear))
    flat = d_psi.reshape(len(full), -1)
    d_linear = (flat[:, : len(prior.linear)] * full).sum(axis=0) * np.sqrt(prior.linear) / 2
    d_slopes = flat[:, len(prior.linear) :].T @ full
    return np.concatenate(
        [d_linear, d_alike * _alike_weights(prior), d_slopes.ravel(), d_rho * prior.rho * (1 - prior.rho), [0.0]]
    )


def _alike_weights(prior: Prior) -> np.ndarray:
    return np.concatenate([prior.category, prior.bump, [prior.leaf]])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _compare(linear, category, leaf, bumps, index, out):  # pragma: no cover (compiled)
    C, R, M = category.shape[1], len(bumps), leaf.shape[1]
    for e in range(len(index)):
        for i in range(out.shape[2]):
            a = index[e, i]
            for j in range(out.shape[3]):
                b = index[e, j]
                for c in range(C):
                    out[e, c, i, j] = WHOLE * (category[a, c] == category[b, c])
                for k in range(R):
                    gap = linear[a, bumps[k]] - linear[b, bumps[k]]
                    out[e, C + k, i, j] = int(WHOLE * np.exp(-2.0 * gap * gap) + 0.5)
                same = 0
                for m in range(M):
                    same += leaf[a, m] == leaf[b, m]
                out[e, C + R, i, j] = int(WHOLE * same / max(M, 1) + 0.5)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _add_alike(kernel, alike, weights):  # pragma: no cover (compiled)
    for e in range(len(kernel)):
        for c in range(alike.shape[1]):
            for i in range(alike.shape[2]):
                for j in range(alike.shape[3]):
                    kernel[e, i, j] += weights[c] * alike[e, c, i, j]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _contract_alike(d_kernel, alike, out):  # pragma: no cover (compiled)
    for e in range(len(d_kernel)):
        for c in range(alike.shape[1]):
            for i in range(alike.shape[2]):
                total = 0.0
                for j in range(alike.shape[3]):
                    total += d_kernel[e, i, j] * alike[e, c, i, j]
                out[c] += total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _posteriors(
    target, prior, phi, kernel, own, n_support, n_query, shots, rho, classify, mean, variance, used, solved
):  # pragma: no cover (compiled)
    """μ and v/σ² of every query; solved: A⁻¹ K_Sq, then α and β."""
    S, Q = kernel.shape[1], kernel.shape[2] - kernel.shape[1]
    L, alpha, beta = np.empty((S, S)), np.empty(S), np.empty(S)
    for e in range(len(phi)):
        K = kernel[e]
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if s == 0 or (b > 0 and n_support[e] <= shots[b - 1]):
                break
            phi_sum, B = phi[e, :s].sum(), solved[e, b]
            condition(K, s, prior[e, :s], (1 - rho) * phi_sum / s, target[e, :s], classify, L, alpha, beta)
            for i in range(s):
                B[i, :Q] = K[i, S:]
            solve_many(L, s, B[:, :Q])
            for i in range(s):
                B[i, Q], B[i, Q + 1] = alpha[i], beta[i]
            for q in range(n_query[e]):
                mixed = (1 - rho) * (phi_sum + phi[e, S + q]) / (s + 1)
                m, explained = prior[e, S + q] + mixed, 0.0
                for i in range(s):
                    m += K[i, S + q] * (alpha[i] - mixed * beta[i])
                    explained += K[i, S + q] * B[i, q]
                mean[e, b, q], variance[e, b, q], used[e, b, q] = m, own[e, q] - explained, True


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _backward(
    phi, kernel, solved, n_support, n_query, shots, rho, d_mean, d_variance, d_kernel, d_rho
):  # pragma: no cover (compiled)
    """∂L/∂K of each episode over all buckets, and ∂L/∂ρ."""
    S, Q = kernel.shape[1], kernel.shape[2] - kernel.shape[1]
    pull = np.empty((S, Q))
    for e in range(len(phi)):
        K, G = kernel[e], d_kernel[e]
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if s == 0 or (b > 0 and n_support[e] <= shots[b - 1]):
                break
            phi_sum, B, g, h = phi[e, :s].sum(), solved[e, b], d_mean[e, b], d_variance[e, b]
            for i in range(s):
                alpha, beta = B[i, Q], B[i, Q + 1]
                for q in range(Q):
                    level = (phi_sum + phi[e, S + q]) / (s + 1)
                    residual = alpha - (1 - rho) * level * beta
                    pull[i, q] = h[q] * B[i, q] - g[q] * residual
                    G[i, S + q] += g[q] * residual - 2 * h[q] * B[i, q]
                    # ∂μ/∂ρ = φ_q − φ̄_q (1 − kᵀβ) − Bᵀφ_S
                    d_rho[0] += g[q] * (K[i, S + q] * level * beta - B[i, q] * phi[e, i])
            for q in range(Q):
                d_rho[0] += g[q] * (phi[e, S + q] - (phi_sum + phi[e, S + q]) / (s + 1))
            for i in range(s):
                for j in range(s):
                    total = 0.0
                    for q in range(Q):
                        total += pull[i, q] * B[j, q]
                    G[i, j] += total
