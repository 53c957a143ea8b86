"""The closed form of `bayes` for many ragged tasks of numbers, compiled, without padding.

It is the same posterior, and `bayes` says what it means; here Λ = I + ZᵀZ = UᵀU is factored, which double precision bears where
single precision needs the slower way of `bayes.adapt`. The root that both keep is U⁻¹. Tasks of about the same size are adapted
side by side, each in a lane of its own, the last axis, so that one instruction serves several.
"""

import numba
import numpy as np

from upstairs.compiled import FAST

__all__ = ["adapt_ragged", "predict_ragged"]

LANES = 16


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def adapt_ragged(parts, y, offsets, order, rho, noise, level_sum, root, a, b, surprise):  # pragma: no cover (compiled)
    """Condition T tasks on their support rows with ``parts`` (f_w, f_b, z) [n, 2 + r] and targets y [n].

    ``order`` [T] names the tasks by size. What is found goes into level_sum [T], root [T, r, r] (zeros before), a [T, r],
    b [T, r] and surprise [T].
    """
    r = parts.shape[1] - 2
    U, right = np.empty((r, r, LANES)), np.empty((r, 2, LANES))
    z, row, sums = np.empty((r, LANES)), np.empty((2, LANES)), np.empty((3, LANES))
    first = 0
    while first < len(order):
        last = _end_of_likes(offsets, order, first)
        tasks = order[first:last]
        _add_rows(parts, y, offsets, tasks, rho, U, right, sums, z, row)
        _factor(U, right, len(tasks))
        for lane, t in enumerate(tasks):
            n, level, e_sum, Q = offsets[t + 1] - offsets[t], sums[0, lane], sums[1, lane], sums[2, lane]
            c = (1 - rho) * level / max(n, 1)
            # (e − c 1)ᵀ(I + ZZᵀ)⁻¹(e − c 1), by Woodbury
            Q += c * c * n - 2 * c * e_sum
            for j in range(r):
                Q -= (right[j, 0, lane] - c * right[j, 1, lane]) ** 2
            level_sum[t], surprise[t] = level, max(Q, 0.0) / noise
        _invert(U, z[0], len(tasks))
        for lane, t in enumerate(tasks):
            for i in range(r):
                for_a = for_b = 0.0
                for j in range(i, r):
                    root[t, i, j] = U[i, j, lane]
                    for_a += U[i, j, lane] * right[j, 0, lane]
                    for_b += U[i, j, lane] * right[j, 1, lane]
                a[t, i], b[t, i] = for_a, for_b
        first = last


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def predict_ragged(parts, offsets, rho, noise, nu, shots, level_sum, root, a, b, surprise, latent):  # pragma: no cover
    """Mean, variance, spread² and degrees of freedom, into ``latent`` [4, n], of the query rows of T tasks."""
    r = parts.shape[1] - 2
    # whole rows of the root in its own precision, though half are zeros: whole vectors are quicker
    w = np.empty(r, root.dtype)
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
                z = parts[i, 2 + j]
                mean += z * (a[t, j] - c * b[t, j])
                for k in range(r):
                    w[k] += z * root[t, j, k]
            v = 1.0
            for k in range(r):
                v += np.float64(w[k]) ** 2
            v *= noise
            latent[0, i], latent[1, i], latent[2, i], latent[3, i] = mean, v, v * odd, dof


@numba.njit(inline="always")
def _end_of_likes(offsets, order, first):  # pragma: no cover (compiled)
    """Where the tasks end that go with the first: others would wait for the longest of them."""
    most, last = 2 * (offsets[order[first] + 1] - offsets[order[first]]) + 4, first + 1
    while last < min(first + LANES, len(order)) and offsets[order[last] + 1] - offsets[order[last]] <= most:
        last += 1
    return last


@numba.njit(inline="always")
def _add_rows(parts, y, offsets, tasks, rho, U, right, sums, z, row):  # pragma: no cover (compiled)
    """Λ into the upper triangle of U, (Zᵀe, Zᵀ1) into right, Σ f_b, Σ e and Σ e² into sums."""
    r, width, longest = len(U), len(tasks), tasks[-1]
    U[:], right[:], sums[:] = 0.0, 0.0, 0.0
    for j in range(r):
        U[j, j] = 1.0
    for i in range(offsets[longest + 1] - offsets[longest]):
        for lane, t in enumerate(tasks):
            at = offsets[t] + i
            if at < offsets[t + 1]:
                f_b = np.float64(parts[at, 1])
                e = y[at] - parts[at, 0] - rho * f_b
                sums[0, lane] += f_b
                sums[1, lane] += e
                sums[2, lane] += e * e
                row[0, lane], row[1, lane] = e, 1.0
                for j in range(r):
                    z[j, lane] = parts[at, 2 + j]
            else:
                row[:, lane], z[:, lane] = 0.0, 0.0
        for j in range(r):
            for lane in range(width):
                right[j, 0, lane] += z[j, lane] * row[0, lane]
                right[j, 1, lane] += z[j, lane] * row[1, lane]
            for k in range(j, r):
                for lane in range(width):
                    U[j, k, lane] += z[j, lane] * z[k, lane]


@numba.njit(inline="always")
def _factor(U, right, width):  # pragma: no cover (compiled)
    """Λ = UᵀU in place, with 1 / U_ii on the diagonal, and U⁻ᵀright."""
    r = len(U)
    for i in range(r):
        for k in range(i):
            for j in range(i, r):
                for lane in range(width):
                    U[i, j, lane] -= U[k, i, lane] * U[k, j, lane]
            for lane in range(width):
                right[i, 0, lane] -= U[k, i, lane] * right[k, 0, lane]
                right[i, 1, lane] -= U[k, i, lane] * right[k, 1, lane]
        for lane in range(width):
            U[i, i, lane] = 1.0 / np.sqrt(U[i, i, lane])
            right[i, 0, lane] *= U[i, i, lane]
            right[i, 1, lane] *= U[i, i, lane]
        for j in range(i + 1, r):
            for lane in range(width):
                U[i, j, lane] *= U[i, i, lane]


@numba.njit(inline="always")
def _invert(U, total, width):  # pragma: no cover (compiled)
    """U⁻¹ in place, from the last row up."""
    r = len(U)
    for i in range(r - 1, -1, -1):
        for j in range(r - 1, i, -1):
            for lane in range(width):
                total[lane] = 0.0
            for k in range(i + 1, j + 1):
                for lane in range(width):
                    total[lane] += U[i, k, lane] * U[k, j, lane]
            for lane in range(width):
                U[i, j, lane] = -total[lane] * U[i, i, lane]
