"""The prior of the deviation, learned on episodes: what support rows of a task should change in the prediction of its others.

    r_t(x) = prior mean + g_t(x) + ε,   ε ~ N(0, σ²),   g_t ~ GP(0, σ² k)

Level mixing: differences of f_b inside a task carry no information once its level is seen. With
φ̄_q = (Σ_{i∈S} φ_i + φ_q) / (s + 1), the prior mean of any row when q is asked is ρ φ + (1 − ρ) φ̄_q, so that

    μ_q = f_w(q) + ρ φ_q + (1 − ρ) φ̄_q + k_qᵀ A⁻¹ [r_S − ρ φ_S − (1 − ρ) φ̄_q 1],    A = K_SS + I
    v_q = σ² (1 + k_qq − k_qᵀ A⁻¹ k_q)

and the parameters (log θ, logit ρ, log σ²) minimise, over buckets b of support size with errors e of the queries,

    L = mean_b [ ¾·½ log MSE_b + ¼·½ mean(log v + e²/v) ] + penalty · Σ_{p>0} log(1 + θ_p / 0.01)

(for two classes: the mean log loss at sigmoid(μ / √(1 + π v / 8)), with σ² = 1 and the Laplace posterior of `upstairs.gaussian`)
by L-BFGS-B with the exact gradient: with g = ∂L/∂μ_q, h = σ² ∂L/∂v_q, α_q = A⁻¹[residual of q] and B = A⁻¹ K_Sq,

    ∂L/∂θ_p = Σ_q g_q k_p,qᵀ α_q − Σ_q g_q B_qᵀ K_p α_q + Σ_q h_q (k_p,qq − 2 k_p,qᵀ B_q + B_qᵀ K_p B_q).

A component that does not pay goes to the floor by itself; there is no selection step.
"""

from typing import NamedTuple

import numba
import numpy as np
from scipy import optimize
from scipy.special import expit

from upstairs.episodes import SHOTS, Episodes
from upstairs.forest.kernel import FeatureMap, Rows
from upstairs.gaussian import condition_classes, condition_numbers, solve

__all__ = ["Prior", "learn_prior"]

PENALTY, CLASS_PENALTY = 2e-4, 6e-5
SQUARED_SHARE = 0.7
MOST_STEPS = 80
LEAST_THETA, MOST_THETA, MOST_CLASS_THETA = 1e-5, 1e3, 8.0
TABLE = np.exp(-2 * (np.arange(1024) + 0.5) / 128).astype(np.float32)
"""exp(−2 d²) at the squared distance d² in steps of 1/128: exact enough to learn θ, and ten times faster."""


class Prior(NamedTuple):
    """theta : float64 [P], relative to ``sigma2``; rho : level mixing; sigma2 : noise variance."""

    theta: np.ndarray
    rho: float
    sigma2: float


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
    rows: Rows, target: np.ndarray, episodes: Episodes, features: FeatureMap, start: Prior, classify: bool
) -> Prior:
    """Minimise L over the episodes, for rows [n] and their targets [n] (u, or 0 and 1)."""
    data = gather(rows, target, episodes)
    most = MOST_CLASS_THETA if classify else MOST_THETA
    x0 = np.concatenate([np.log(np.clip(start.theta, LEAST_THETA, most)), [0.0, np.log(start.sigma2)]])
    bounds = [(np.log(LEAST_THETA), np.log(most))] * len(start.theta) + [(-6, 6), (x0[-1] - 4, x0[-1] + 4)]
    objective = _class_objective if classify else _number_objective
    result = optimize.minimize(
        objective, x0, args=(data, features.bumps), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MOST_STEPS}
    )
    return Prior(np.exp(result.x[:-2]), float(expit(result.x[-2])), float(np.exp(result.x[-1])))


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


def _number_objective(x: np.ndarray, data: EpisodeData, bumps: np.ndarray) -> tuple[float, np.ndarray]:
    """L and its gradient at x = (log θ, logit ρ, log σ²)."""
    theta, rho, sigma2 = np.exp(x[:-2]), expit(x[-2]), np.exp(x[-1])
    mean, variance, share, kept = _predict_queries(data, bumps, theta, rho, classify=False)
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
    gradient = _backward_all(data, bumps, theta, rho, d_mean, d_variance * sigma2, kept)
    return _finish(x, value, gradient, (d_variance * variance).sum(), PENALTY)


def _class_objective(x: np.ndarray, data: EpisodeData, bumps: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss over buckets and its gradient at x = (log θ, logit ρ, 0)."""
    theta, rho = np.exp(x[:-2]), expit(x[-2])
    mean, variance, share, kept = _predict_queries(data, bumps, theta, rho, classify=True)
    share = share / share.sum()
    shrink = 1 / np.sqrt(1 + np.pi * variance / 8)
    y = _queries(data, data.target)
    value = ((np.logaddexp(0, shrink * mean) - y * shrink * mean) * share).sum()
    slope = share * (expit(shrink * mean) - y)
    d_mean, d_variance = slope * shrink, -slope * mean * shrink**3 * np.pi / 16
    return _finish(x, value, _backward_all(data, bumps, theta, rho, d_mean, d_variance, kept), 0.0, CLASS_PENALTY)


def _finish(x: np.ndarray, value: float, gradient: np.ndarray, d_log_sigma2: float, penalty: float) -> tuple[float, np.ndarray]:
    """Add the penalty, and turn the gradient in (θ, ρ) into one in (log θ, logit ρ, log σ²)."""
    theta, rho = np.exp(x[:-2]), expit(x[-2])
    d_theta = gradient[:-1] * theta
    d_theta[1:] += penalty * theta[1:] / (0.01 + theta[1:])
    value += penalty * np.log1p(theta[1:] / 0.01).sum()
    return value, np.concatenate([d_theta, [gradient[-1] * rho * (1 - rho), d_log_sigma2]])


def _queries(data: EpisodeData, values: np.ndarray) -> np.ndarray:
    """Values of the query rows [E, 1, Q]."""
    return values[:, None, data.leaf_kernel.shape[1] :]


def _predict_queries(data: EpisodeData, bumps: np.ndarray, theta: np.ndarray, rho: float, classify: bool):
    """Mean and variance / σ² of each query [E, B, Q], its share in the mean over its bucket, and what `_backward` needs."""
    E, S = data.leaf_kernel.shape[:2]
    shape = (E, len(SHOTS), data.f_w.shape[1] - S)
    mean, variance, used = np.zeros(shape), np.ones(shape), np.zeros(shape, bool)
    kept = np.zeros((E, len(SHOTS), shape[2] + 2, S))
    _posteriors(*data, bumps, TABLE, np.array(SHOTS), theta, rho, classify, mean, variance, used, kept)
    return mean, variance, used / np.maximum(used.sum(axis=(0, 2)), 1)[None, :, None], kept


def _backward_all(data: EpisodeData, bumps: np.ndarray, theta, rho, d_mean, d_variance, kept) -> np.ndarray:
    """∂L/∂θ [P] and, last, ∂L/∂ρ."""
    gradient = np.zeros(len(theta) + 1)
    _backward(*data[2:], bumps, TABLE, np.array(SHOTS), theta, rho, d_mean, d_variance, kept, gradient)
    return gradient


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
def _fill_kernel(linear, category, leaf_kernel, bumps, table, theta, n_rows, n_columns, K):  # pragma: no cover (compiled)
    """K [n_rows, n_columns] of one episode, and its diagonal over all columns in the last row of K."""
    n_linear, n_category = linear.shape[1], category.shape[1]
    first = 1 + n_linear + n_category
    for i in range(n_rows):
        for j in range(n_columns):
            total = theta[0] + theta[-1] * leaf_kernel[i, j]
            for p in range(n_linear):
                total += theta[1 + p] * linear[i, p] * linear[j, p]
            K[i, j] = total
        for c in range(n_category):
            for j in range(n_columns):
                K[i, j] += theta[1 + n_linear + c] * (category[i, c] == category[j, c])
        for b in range(len(bumps)):
            for j in range(n_columns):
                gap = linear[i, bumps[b]] - linear[j, bumps[b]]
                K[i, j] += theta[first + b] * table[min(int(gap * gap * 128), 1023)]
    constant = theta[0] + theta[1 + n_linear :].sum()
    for j in range(n_columns):
        K[-1, j] = constant
        for p in range(n_linear):
            K[-1, j] += theta[1 + p] * linear[j, p] ** 2


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _posteriors(
    target, f_w, phi, linear, category, leaf_kernel, n_support, n_query, bumps, table, shots, theta, rho, classify,
    mean, variance, used, kept,
):  # fmt: skip  # pragma: no cover (compiled)
    """μ and v/σ² of every query; kept: B_q, then α and β, for the way back."""
    S, Q = leaf_kernel.shape[1], f_w.shape[1] - leaf_kernel.shape[1]
    K, L = np.empty((S + 1, S + Q)), np.empty((S, S))
    noise = 0.0 if classify else 1.0
    for e in range(len(f_w)):
        n_columns = S + n_query[e]
        _fill_kernel(linear[e], category[e], leaf_kernel[e], bumps, table, theta, n_support[e], n_columns, K)
        prior = f_w[e] + rho * phi[e]
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if s == 0 or (b > 0 and n_support[e] <= shots[b - 1]):
                break
            phi_sum = phi[e, :s].sum()
            alpha, beta = kept[e, b, Q], kept[e, b, Q + 1]
            if classify:
                level = (1 - rho) * phi_sum / s
                # K is symmetric, but only its first S columns are filled on both sides
                condition_classes(K[:s, :s], s, prior[:s] + level, target[e], L, alpha, beta)
                for i in range(s):
                    alpha[i] += level * beta[i]
            else:
                condition_numbers(K[:s, :s], s, target[e, :s] - prior[:s], L, alpha, beta)
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
                variance[e, b, q] = noise + K[-1, column] - explained
                used[e, b, q] = True


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _backward(
    phi, linear, category, leaf_kernel, n_support, n_query, bumps, table, shots, theta, rho, d_mean, d_variance, kept, out
):  # pragma: no cover (compiled)
    """Add ∂L/∂θ to out[:-1] and ∂L/∂ρ to out[-1]; G collects ∂L/∂K of an episode over all buckets."""
    S, Q = leaf_kernel.shape[1], phi.shape[1] - leaf_kernel.shape[1]
    n_linear, n_category = linear.shape[2], category.shape[2]
    first = 1 + n_linear + n_category
    K, G, diagonal = np.empty((S + 1, S + Q)), np.empty((S, S + Q)), np.empty(S + Q)
    alpha = np.empty(S)
    for e in range(len(phi)):
        n_columns = S + n_query[e]
        _fill_kernel(linear[e], category[e], leaf_kernel[e], bumps, table, theta, n_support[e], n_columns, K)
        G[:] = 0.0
        diagonal[:] = 0.0
        for b in range(len(shots)):
            s = min(shots[b], n_support[e])
            if b > 0 and n_support[e] <= shots[b - 1]:
                break
            phi_sum = 0.0
            for i in range(s):
                phi_sum += phi[e, i]
            for q in range(n_query[e]):
                column, g, h = S + q, d_mean[e, b, q], d_variance[e, b, q]
                level = (phi_sum + phi[e, column]) / (s + 1)
                d_rho = phi[e, column] - level
                for i in range(s):
                    alpha[i] = kept[e, b, Q, i] - (1 - rho) * level * kept[e, b, Q + 1, i]
                    # ∂μ/∂ρ = −BᵀφS + φ_q − φ̄_q (1 − kᵀA⁻¹1)
                    d_rho += K[i, column] * level * kept[e, b, Q + 1, i] - kept[e, b, q, i] * phi[e, i]
                out[-1] += g * d_rho
                diagonal[column] += h
                for i in range(s):
                    B_i = kept[e, b, q, i]
                    G[i, column] += g * alpha[i] - 2 * h * B_i
                    for j in range(s):
                        G[i, j] += kept[e, b, q, j] * (h * B_i - g * alpha[i])
        for i in range(n_support[e]):
            for j in range(n_columns):
                if G[i, j] == 0.0:
                    continue
                weight = G[i, j]
                out[0] += weight
                out[len(theta) - 1] += weight * leaf_kernel[e, i, j]
                for p in range(n_linear):
                    out[1 + p] += weight * linear[e, i, p] * linear[e, j, p]
                for c in range(n_category):
                    out[1 + n_linear + c] += weight * (category[e, i, c] == category[e, j, c])
                for k in range(len(bumps)):
                    gap = linear[e, i, bumps[k]] - linear[e, j, bumps[k]]
                    out[first + k] += weight * table[min(int(gap * gap * 128), 1023)]
        for q in range(n_query[e]):
            h = diagonal[S + q]
            out[0] += h
            for p in range(n_linear):
                out[1 + p] += h * linear[e, S + q, p] ** 2
            for p in range(1 + n_linear, len(theta)):
                out[p] += h
