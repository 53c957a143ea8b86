"""One task's machine with a squared loss, exactly.

A task's rows with a loss at the solution, its active set A, solve a linear system; what they leave says which rows are active
next, until the set stays as it is (Keerthi & DeCoste 2005). With r = y − θᵀφ, ψ = √(CM) φ and K = ΨΨᵀ,

    (K_AA + I) s_A = r_A − tube sign(r_A),   or, with fewer features than rows,   (I + Ψ_AᵀΨ_A) a = Ψ_Aᵀ(r_A − tube sign(r_A))

Where the active set stays, θ sees the task's loss with the Hessian Φ_Aᵀ(I + K_AA)⁻¹Φ_A.
"""

import numba
import numpy as np

from upstairs.compiled import FAST, read_only
from upstairs.gaussian import factor, solve, whiten
from upstairs.svm.coordinate_descent import MOST_SWEEPS, SMALLEST_MOVE, limits, pass_rows

__all__ = ["adapt_exactly", "machines"]

MOST_CHANGES = 50
"""Of an active set; after so many, coordinates are descended."""
WHITENED = 256
"""Rows, and more, that the Hessian is made of at once."""


def adapt_exactly(phi, y, f, offsets, loss, C, relevance) -> tuple[np.ndarray, np.ndarray]:
    """v [T, q] and slopes s [n] of tasks' machines around predictions f = θᵀφ [n], with C [T] of their own."""
    v, slope = np.zeros((len(offsets) - 1, phi.shape[1])), np.zeros(len(y))
    phi, y, f, offsets, C, relevance, cost = map(read_only, (phi, y, f, offsets, C, relevance, np.ones(len(C))))
    machines(phi, y, f, offsets, C, relevance, cost, loss.hinge, loss.tube, slope, v, False)
    return v, slope


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def machines(
    phi, y, f, offsets, C, relevance, cost, hinge, tube, slope, v, outer
):  # fmt: skip  # pragma: no cover (compiled)
    """Machines of all tasks, from active sets as in ``slope``, which is filled. If ``outer``: Σ c n L, Σ c s φ and
    the Hessian's part; else ``v`` is filled."""
    q = phi.shape[1]
    n_most = 0
    for t in range(len(cost)):
        n_most = max(n_most, offsets[t + 1] - offsets[t])
    size = min(n_most, q)
    total, pulled, hessian = 0.0, np.zeros(q), np.zeros((q, q))
    psi, residual, error, sign = np.empty((n_most, q)), np.empty(n_most), np.empty(n_most), np.empty(n_most)
    K, A, right = np.empty((size, size)), np.empty((size, size)), np.empty(size)
    root, sums, ones = np.empty(q), np.empty(q), np.ones(q)
    m, W, H = 0, np.empty((q + WHITENED if outer else 0, q)), np.empty((q, q))
    for t in range(len(cost)):
        start, n = offsets[t], offsets[t + 1] - offsets[t]
        if n == 0:
            continue
        for j in range(q):
            root[j] = np.sqrt(C[t] * relevance[j])
        for i in range(n):
            residual[i] = y[start + i] - f[start + i]
            sign[i] = np.sign(slope[start + i])
        s = slope[start : start + n]
        _scale(phi, start, n, root, psi, K)
        _settle(
            phi, start, psi, K, n, residual, y[start:], hinge, tube, root, sign, s, error, A, H, right, sums, ones
        )  # fmt: skip
        sums[:] = 0.0
        for i in range(n):
            if s[i] != 0.0:
                total += cost[t] * 0.5 * s[i] * s[i]
                for j in range(q):
                    sums[j] += s[i] * psi[i, j]
        if outer:
            for j in range(q):
                total += cost[t] * 0.5 * sums[j] * sums[j]
            for i in range(n):
                if s[i] != 0.0:
                    for j in range(q):
                        pulled[j] += cost[t] * s[i] * phi[start + i, j]
            if n <= q:
                if m + n > len(W):
                    _add_products(W[:m], 1.0, H, hessian)
                    m = 0
                m += _whitened_rows(phi, start, n, K, sign, cost[t], A, W[m:])
            else:
                _add_features(H, A, cost[t], root, psi[:q], hessian)
        else:
            for j in range(q):
                v[t, j] = root[j] * sums[j]
    _add_products(W[:m], 1.0, H, hessian)
    return total, pulled, hessian


@numba.njit(inline="always", fastmath=FAST)
def _scale(phi, start, n, root, psi, K):  # pragma: no cover (compiled)
    """ψ of a task's rows, and K where they are few."""
    q = phi.shape[1]
    for i in range(n):
        for j in range(q):
            psi[i, j] = root[j] * phi[start + i, j]
    if n <= q:
        for i in range(n):
            for k in range(i, n):
                d = 0.0
                for j in range(q):
                    d += psi[i, j] * psi[k, j]
                K[i, k] = K[k, i] = d


@numba.njit(inline="always", fastmath=FAST)
def _settle(
    phi, start, psi, K, n, residual, y, hinge, tube, root, sign, s, error, A, H, right, w, ones
):  # fmt: skip  # pragma: no cover (compiled)
    """s [n] and ``sign``, that of each active row, from the signs given."""
    changed = True
    for _ in range(MOST_CHANGES):
        if n <= psi.shape[1]:
            _solve_rows(K, n, residual, sign, tube, A, right, s, error)
        else:
            _solve_features(phi, start, psi, n, residual, sign, tube, root, A, H, right, s, error)
        changed = False
        for i in range(n):
            now = 0.0
            if hinge and error[i] * y[i] > 0.0:
                now = y[i]
            elif not hinge and abs(error[i]) > tube:
                now = 1.0 if error[i] > 0.0 else -1.0
            changed |= now != sign[i]
            sign[i] = now
        if not changed:
            break
    if changed:
        # active sets went round in circles: slower, and sure
        low, high = limits(y[:n], hinge, True)
        s[:], w[:] = 0.0, 0.0
        for _ in range(MOST_SWEEPS):
            if pass_rows(psi, residual, 0, n, low, high, tube, 1.0, ones, w, s) < SMALLEST_MOVE:
                break
        for i in range(n):
            sign[i] = np.sign(s[i])
        if n > psi.shape[1]:
            _feature_system(phi, start, n, sign, root, A, H)


@numba.njit(inline="always", fastmath=FAST)
def _solve_rows(K, n, residual, sign, tube, A, right, s, error):  # pragma: no cover (compiled)
    """s of the active rows through their kernel, and what all rows are left with."""
    _active_system(K, n, sign, A)
    m = 0
    for i in range(n):
        if sign[i] != 0.0:
            right[m] = residual[i] - tube * sign[i]
            m += 1
    factor(A, m)
    solve(A, m, right)
    m = 0
    for i in range(n):
        s[i] = 0.0
        if sign[i] != 0.0:
            s[i] = right[m]
            m += 1
    for i in range(n):
        error[i] = residual[i]
        for k in range(n):
            error[i] -= K[i, k] * s[k]


@numba.njit(inline="always", fastmath=FAST)
def _active_system(K, n, sign, A):  # pragma: no cover (compiled)
    """A, upper triangle, becomes K_AA + I."""
    a = 0
    for i in range(n):
        if sign[i] != 0.0:
            b = a
            for k in range(i, n):
                if sign[k] != 0.0:
                    A[a, b] = K[i, k]
                    b += 1
            A[a, a] += 1.0
            a += 1


@numba.njit(inline="always", fastmath=FAST)
def _solve_features(
    phi, start, psi, n, residual, sign, tube, root, A, H, right, s, error
):  # fmt: skip  # pragma: no cover (compiled)
    """The same through the features."""
    q = psi.shape[1]
    _feature_system(phi, start, n, sign, root, A, H)
    right[:] = 0.0
    for i in range(n):
        if sign[i] != 0.0:
            for j in range(q):
                right[j] += (residual[i] - tube * sign[i]) * psi[i, j]
    solve(A, q, right)
    for i in range(n):
        error[i] = residual[i]
        for j in range(q):
            error[i] -= psi[i, j] * right[j]
        s[i] = error[i] - tube * sign[i] if sign[i] != 0.0 else 0.0


@numba.njit(inline="always", fastmath=FAST)
def _feature_system(phi, start, n, sign, root, A, H):  # pragma: no cover (compiled)
    """H becomes Φ_AᵀΦ_A, and A the factor of I + Ψ_AᵀΨ_A."""
    active = _active_rows(phi, start, n, sign)
    np.dot(active.T, active, H)
    for j in range(len(H)):
        for k in range(len(H)):
            A[j, k] = root[j] * root[k] * H[j, k]
        A[j, j] += 1.0
    factor(A, len(H))


@numba.njit(inline="always", fastmath=FAST)
def _active_rows(phi, start, n, sign):  # pragma: no cover (compiled)
    """float64 [m, q]."""
    active = np.empty((n, phi.shape[1]))
    m = 0
    for i in range(n):
        if sign[i] != 0.0:
            for j in range(phi.shape[1]):
                active[m, j] = phi[start + i, j]
            m += 1
    return active[:m]


@numba.njit(inline="always", fastmath=FAST)
def _whitened_rows(phi, start, n, K, sign, cost, A, W):  # pragma: no cover (compiled)
    """√c (I + K_AA)^−½ Φ_A into the first rows of W, whose products with each other are the Hessian's part; their number."""
    q = phi.shape[1]
    _active_system(K, n, sign, A)
    m = 0
    for i in range(n):
        if sign[i] != 0.0:
            for j in range(q):
                W[m, j] = np.sqrt(cost) * phi[start + i, j]
            m += 1
    factor(A, m)
    whiten(A, m, W)
    return m


@numba.njit(inline="always", fastmath=FAST)
def _add_products(W, weight, H, hessian):  # pragma: no cover (compiled)
    """So many times WᵀW to the Hessian, by way of H."""
    np.dot(W.T, W, H)
    for j in range(len(H)):
        for k in range(len(H)):
            hessian[j, k] += weight * H[j, k]


@numba.njit(inline="always", fastmath=FAST)
def _add_features(H, A, cost, root, W, hessian):  # pragma: no cover (compiled)
    """The Hessian's part as c (H − B(I + Ψ_AᵀΨ_A)⁻¹Bᵀ), B = Φ_AᵀΨ_A, from a `_feature_system`, which is used up."""
    q = len(H)
    for j in range(q):
        for k in range(q):
            hessian[j, k] += cost * H[j, k]
            W[j, k] = H[j, k] * root[j]
    whiten(A, q, W)
    _add_products(W, -cost, H, hessian)
