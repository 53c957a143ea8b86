"""Queries of episodes predicted at every number of shots, and the way back from their errors to the prior's parameters.

With g = ∂L/∂μ_q, h = σ² ∂L/∂v_q, α_q = A⁻¹[residual of q] and B = A⁻¹ K_Sq (see `forest.prior`),

    ∂L/∂k_iq = Σ_q g α_i − 2 h B_i,    ∂L/∂k_ij = Σ_q h B_i B_j − g B_j α_i,    ∂L/∂k_qq = h.

Both ways go episode by episode through a few small arrays, which stay in the processor's cache.
"""

from typing import NamedTuple

import numba
import numpy as np

from upstairs.compiled import FAST
from upstairs.episodes import SHOTS, Episodes
from upstairs.forest.kernel import FeatureMap, Prior, Rows, bump
from upstairs.gaussian import condition, solve_many

__all__ = ["EpisodeData", "alike_weights", "gather", "gradient_of", "predict_queries"]

WHOLE = 65535


class EpisodeData(NamedTuple):
    """Rows of E episodes, of which the first S are support and the next Q query, padded.

    ``target``, ``f_w``, ``phi`` float64 [E, S + Q] · ``linear`` float32 [E, 2 + J, S + Q] · ``n_support`` int64 [E]
    ``alike`` uint16 [E, C + R + 1, S, S + Q]: the kernel's components that are not linear (categories, bumps, same leaves), of
    which 65535 stands for 1: small, and exact enough (in 255 steps K + I is no longer positive where a θ is in the hundreds).
    ``used`` bool [E, B, Q]: is the query there, and does the support tell this bucket of shots from the one before it?
    """

    target: np.ndarray
    f_w: np.ndarray
    phi: np.ndarray
    linear: np.ndarray
    alike: np.ndarray
    n_support: np.ndarray
    used: np.ndarray


class Kept(NamedTuple):
    """What the way forward leaves for the way back: A⁻¹ K_Sq [E, B, S, Q], α and β [E, B, S], and k_qᵀβ [E, B, Q]."""

    solved: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    drawn: np.ndarray


def gather(rows: Rows, target: np.ndarray, episodes: Episodes, features: FeatureMap) -> EpisodeData:
    """Copy the rows of each episode side by side."""
    index = np.maximum(np.concatenate([episodes.support, episodes.query], axis=1), 0)
    S, bumps = episodes.support.shape[1], features.bumps
    alike = np.empty((len(index), rows.category.shape[1] + len(bumps) + 1, S, index.shape[1]), np.uint16)
    _compare(rows.linear, rows.category, rows.leaf, bumps, index, alike)
    live = episodes.shots[:, None] > np.array((0, *SHOTS[:-1]))
    linear = np.ascontiguousarray(rows.linear[index].transpose(0, 2, 1))
    return EpisodeData(
        target[index], rows.f_w[index], rows.f_b[index], linear, alike,
        episodes.shots, live[:, :, None] & (episodes.query >= 0)[:, None],
    )  # fmt: skip


def alike_weights(prior: Prior) -> np.ndarray:
    """Variances of the components that ``alike`` holds."""
    return np.concatenate([prior.category, prior.bump, [prior.leaf]])


def predict_queries(prior: Prior, data: EpisodeData, classify: bool) -> tuple[np.ndarray, np.ndarray, Kept]:
    """Mean and variance / σ² of each query [E, B, Q], and what `gradient_of` needs."""
    (E, B, Q), S = data.used.shape, data.alike.shape[2]
    mean, variance, weights = np.zeros((E, B, Q)), np.ones((E, B, Q)), alike_weights(prior)
    kept = Kept(np.empty((E, B, S, Q)), np.empty((E, B, S)), np.empty((E, B, S)), np.zeros((E, B, Q)))
    _forward(
        data.target, data.f_w, data.phi, data.linear, data.alike, data.n_support, np.array(SHOTS),
        np.sqrt(prior.linear), prior.slopes, weights / WHOLE, weights.sum() + (0.0 if classify else 1.0), prior.rho, classify,
        mean, variance, *kept,
    )  # fmt: skip
    return mean, np.maximum(variance, 1e-9), kept


def gradient_of(prior: Prior, data: EpisodeData, d_mean: np.ndarray, d_variance: np.ndarray, kept: Kept) -> np.ndarray:
    """∂L by log variances, slopes and logit ρ, from ∂L/∂μ_q and σ² ∂L/∂v_q [E, B, Q]."""
    d_linear, d_slopes, d_rho = np.zeros_like(prior.linear), np.zeros_like(prior.slopes), np.zeros(1)
    d_alike = np.zeros(data.alike.shape[1])
    _backward(
        data.phi, data.linear, data.alike, data.n_support, np.array(SHOTS), np.sqrt(prior.linear), prior.slopes, prior.rho,
        *kept, d_mean, d_variance, d_linear, d_slopes, d_alike, d_rho,
    )  # fmt: skip
    d_alike = (d_alike / WHOLE + d_variance.sum()) * alike_weights(prior)
    return np.concatenate([d_linear, d_alike, d_slopes.ravel(), d_rho * prior.rho * (1 - prior.rho)])


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
                    gap = np.float64(linear[a, bumps[k]] - linear[b, bumps[k]])
                    out[e, C + k, i, j] = int(WHOLE * bump(gap) + 0.5)
                same = 0
                for m in range(M):
                    same += leaf[a, m] == leaf[b, m]
                out[e, C + R, i, j] = int(WHOLE * same / max(M, 1) + 0.5)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _forward(
    target, f_w, phi, linear, alike, n_support, shots, root, slopes, weights, own, rho, classify,
    mean, variance, solved, alpha, beta, drawn,
):  # fmt: skip  # pragma: no cover (compiled)
    S, Q = alike.shape[2], mean.shape[2]
    psi, K, U = np.empty((len(root) + len(slopes), S + Q)), np.empty((S, S + Q)), np.empty((S, S))
    prior = np.empty(S + Q)
    for e in range(len(phi)):
        n = n_support[e]
        _project(linear[e], root, slopes, psi)
        _covariance(psi, alike[e], weights, n, K)
        for w in range(S + Q):
            prior[w] = f_w[e, w] + rho * phi[e, w]
        for b in range(len(shots)):
            s = min(shots[b], n)
            if s == 0 or (b > 0 and n <= shots[b - 1]):
                break
            level = (1 - rho) * phi[e, :s].mean()
            condition(K, s, prior[:s], level, target[e, :s], classify, U, alpha[e, b], beta[e, b])
            B, m, v, d = solved[e, b], mean[e, b], variance[e, b], drawn[e, b]
            for i in range(s):
                for q in range(Q):
                    B[i, q] = K[i, S + q]
            solve_many(U, s, B)
            v[:] = own
            for p in range(len(psi)):
                for q in range(Q):
                    v[q] += psi[p, S + q] ** 2
            for i in range(s):
                for q in range(Q):
                    m[q] += K[i, S + q] * alpha[e, b, i]
                    d[q] += K[i, S + q] * beta[e, b, i]
                    v[q] -= K[i, S + q] * B[i, q]
            for q in range(Q):
                m[q] += prior[S + q] + (level * s + (1 - rho) * phi[e, S + q]) / (s + 1) * (1 - d[q])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _backward(
    phi, linear, alike, n_support, shots, root, slopes, rho, solved, alpha, beta, drawn,
    d_mean, d_variance, d_linear, d_slopes, d_alike, d_rho,
):  # fmt: skip  # pragma: no cover (compiled)
    S, Q = alike.shape[2], d_mean.shape[2]
    psi, G = np.empty((len(root) + len(slopes), S + Q)), np.empty((S, S + Q))
    H, level, residual, d_own = np.empty((S, Q)), np.empty(Q), np.empty(Q), np.empty(Q)
    for e in range(len(phi)):
        n = n_support[e]
        G[:n], d_own[:] = 0.0, 0.0
        for b in range(len(shots)):
            s = min(shots[b], n)
            if s == 0 or (b > 0 and n <= shots[b - 1]):
                break
            B, g, h, phi_sum = solved[e, b], d_mean[e, b], d_variance[e, b], phi[e, :s].sum()
            for q in range(Q):
                level[q] = (phi_sum + phi[e, S + q]) / (s + 1)
                d_own[q] += h[q]
                # ∂μ/∂ρ = φ_q − φ̄_q (1 − kᵀβ) − Bᵀφ_S
                d_rho[0] += g[q] * (phi[e, S + q] - level[q] * (1 - drawn[e, b, q]))
            for i in range(s):
                a, c, moved = alpha[e, b, i], (1 - rho) * beta[e, b, i], 0.0
                for q in range(Q):  # loops that write to one array each are vectorised
                    residual[q] = g[q] * (a - level[q] * c)
                    moved += g[q] * B[i, q]
                for q in range(Q):
                    H[i, q] = h[q] * B[i, q] - residual[q]
                for q in range(Q):
                    G[i, S + q] += residual[q] - 2 * h[q] * B[i, q]
                d_rho[0] -= phi[e, i] * moved
            for i in range(s):
                for j in range(s):
                    total = 0.0
                    for q in range(Q):
                        total += H[i, q] * B[j, q]
                    G[i, j] += total
        _project(linear[e], root, slopes, psi)
        _contract(G, n, d_own, psi, linear[e], alike[e], d_linear, d_slopes, d_alike)


@numba.njit(inline="always", fastmath=FAST)
def _project(linear, root, slopes, psi):  # pragma: no cover (compiled)
    """ψ [D, S + Q] as `kernel.project` has it."""
    D, width = len(root), psi.shape[1]
    psi[0] = root[0]
    for r in range(len(slopes)):
        psi[D + r] = slopes[r, 0]
    for k in range(1, D):
        for w in range(width):
            psi[k, w] = root[k] * linear[k - 1, w]
        for r in range(len(slopes)):
            for w in range(width):
                psi[D + r, w] += slopes[r, k] * linear[k - 1, w]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _covariance(psi, alike, weights, n, K):  # pragma: no cover (compiled)
    """K of n support rows with all rows."""
    for i in range(n):
        K[i] = 0.0
        for p in range(len(psi)):
            for w in range(K.shape[1]):
                K[i, w] += psi[p, i] * psi[p, w]
        for c in range(len(weights)):
            for w in range(K.shape[1]):
                K[i, w] += weights[c] * alike[c, i, w]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _contract(G, n, d_own, psi, linear, alike, d_linear, d_slopes, d_alike):  # pragma: no cover (compiled)
    """From G = ∂L/∂K of one episode to its parameters; ``d_own`` [Q] is ∂L/∂k_qq."""
    D, width, S = len(d_linear), psi.shape[1], psi.shape[1] - len(d_own)
    d_psi = np.empty(width)
    for c in range(len(d_alike)):
        for i in range(n):
            total = 0.0
            for w in range(width):
                total += G[i, w] * alike[c, i, w]
            d_alike[c] += total
    for p in range(D):  # ∂ψ / ∂ log θ = ψ / 2
        for q in range(len(d_own)):
            d_linear[p] += d_own[q] * psi[p, S + q] ** 2
        for i in range(n):
            total = 0.0
            for w in range(width):
                total += G[i, w] * psi[p, w]
            d_linear[p] += psi[p, i] * total
    for r in range(len(d_slopes)):
        along = psi[D + r]
        d_psi[:S] = 0.0
        for q in range(len(d_own)):
            d_psi[S + q] = 2 * d_own[q] * along[S + q]
        for i in range(n):
            total = 0.0
            for w in range(width):
                total += G[i, w] * along[w]
                d_psi[w] += G[i, w] * along[i]
            d_psi[i] += total
        d_slopes[r, 0] += d_psi.sum()
        for k in range(1, D):
            for w in range(width):
                d_slopes[r, k] += d_psi[w] * linear[k - 1, w]
