"""The closed form of `bayes` for many ragged tasks of numbers, in one compiled loop without padding.

It is the same posterior, and `bayes` says what it means; here Λ = I + ZᵀZ = UᵀU is factored, which double precision bears where
single precision needs the slower way of `bayes.adapt`. The root that both keep is U⁻¹.
"""

import numba
import numpy as np

from upstairs.compiled import FAST
from upstairs.gaussian import cholesky, solve_half

__all__ = ["adapt_ragged", "predict_ragged"]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def adapt_ragged(parts, y, offsets, rho, noise, level_sum, root, a, b, surprise):  # pragma: no cover (compiled)
    """Condition T tasks on their support rows with ``parts`` (f_w, f_b, z) [n, 2 + r] and targets y [n].

    What is found goes into level_sum [T], root [T, r, r] (zeros before), a [T, r], b [T, r] and surprise [T].
    """
    r = parts.shape[1] - 2
    U, X, z, ze, z1 = np.empty((r, r)), np.empty((r, r)), np.empty(r), np.empty(r), np.empty(r)
    for t in range(len(offsets) - 1):
        first, last = offsets[t], offsets[t + 1]
        U[:], ze[:], z1[:] = 0.0, 0.0, 0.0
        for j in range(r):
            U[j, j] = 1.0
        level = e_sum = e_square = 0.0
        for i in range(first, last):
            f_b = np.float64(parts[i, 1])
            e = y[i] - parts[i, 0] - rho * f_b
            level, e_sum, e_square = level + f_b, e_sum + e, e_square + e * e
            for j in range(r):
                z[j] = parts[i, 2 + j]
            for j in range(r):
                own = z[j]
                ze[j] += own * e
                z1[j] += own
                for k in range(j, r):
                    U[j, k] += own * z[k]
        cholesky(U, r)
        solve_half(U, r, ze)
        solve_half(U, r, z1)
        n = last - first
        c = (1 - rho) * level / max(n, 1)
        # (e − c 1)ᵀ(I + ZZᵀ)⁻¹(e − c 1), by Woodbury
        Q = e_square - 2 * c * e_sum + c * c * n
        for i in range(r - 1, -1, -1):
            Q -= (ze[i] - c * z1[i]) ** 2
            scale = 1.0 / U[i, i]
            for j in range(i + 1, r):
                X[i, j] = 0.0
            for k in range(i + 1, r):
                u = U[i, k] * scale
                for j in range(k, r):
                    X[i, j] -= u * X[k, j]
            X[i, i] = scale
            for_a = for_b = 0.0
            for j in range(i, r):
                root[t, i, j] = X[i, j]
                for_a += X[i, j] * ze[j]
                for_b += X[i, j] * z1[j]
            a[t, i], b[t, i] = for_a, for_b
        level_sum[t], surprise[t] = level, max(Q, 0.0) / noise


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def predict_ragged(parts, offsets, rho, noise, nu, shots, level_sum, root, a, b, surprise, latent):  # pragma: no cover
    """Mean, variance, spread² and degrees of freedom, into ``latent`` [4, n], of the query rows of T tasks."""
    r = parts.shape[1] - 2
    w = np.empty(r)
    for t in range(len(offsets) - 1):
        n = shots[t]
        dof = nu + n
        odd = (nu + surprise[t]) / dof
        for i in range(offsets[t], offsets[t + 1]):
            f_b = np.float64(parts[i, 1])
            c = (1 - rho) * (level_sum[t] + f_b) / (n + 1)
            mean = parts[i, 0] + rho * f_b + c
            w[:] = 0.0
            for j in range(r):
                z = np.float64(parts[i, 2 + j])
                mean += z * (a[t, j] - c * b[t, j])
                for k in range(j, r):
                    w[k] += z * root[t, j, k]
            v = 1.0
            for k in range(r):
                v += w[k] * w[k]
            v *= noise
            latent[0, i], latent[1, i], latent[2, i], latent[3, i] = mean, v, v * odd, dof
