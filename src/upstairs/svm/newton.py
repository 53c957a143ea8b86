"""Newton's method for machines with a squared loss: one task's machine exactly, and θ in a handful of steps.

A task's rows with a loss at the solution, its active set A, solve a linear system; what they leave says which rows are active
next, until the set stays as it is (Keerthi & DeCoste 2005). With r = y − θᵀφ, ψ = √(CM) φ and K = ΨΨᵀ,

    (K_AA + I) s_A = r_A − tube sign(r_A),   or, with fewer features than rows,   (I + Ψ_AᵀΨ_A) a = Ψ_Aᵀ(r_A − tube sign(r_A))

With every L_t at its minimum, F(θ) = ½‖θ‖² + Σ_t c_t n_t L_t(θ) has the gradient θ − Σ c_t s_ti φ_ti, a duality gap of half its
square, and, where the active sets stay, the Hessian I + Σ_t c_t Φ_Aᵀ(I + K_AA)⁻¹Φ_A.
"""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from scipy import linalg

from upstairs.compiled import FAST, read_only
from upstairs.gaussian import cholesky, solve
from upstairs.svm.coordinate_descent import MOST_SWEEPS, SMALLEST_MOVE, pass_rows

__all__ = ["adapt_exactly", "descend_newton"]

MOST_CHANGES = 50
"""Of an active set; after so many, coordinates are descended."""
ROWS_A_BLOCK = 20_000
MOST_STEPS, SHORTEST_STEP, ENOUGH = 100, 1e-4, 1e-4


def adapt_exactly(
    phi, y, f, offsets, loss, low, high, C, relevance
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """v [T, q] and slopes s [n] of tasks' machines around predictions f = θᵀφ [n], with C [T] of their own."""
    v, slope = np.zeros((len(offsets) - 1, phi.shape[1])), np.zeros(len(y))
    phi, y, f, offsets, low, high, C, relevance, cost = map(
        read_only, (phi, y, f, offsets, low, high, C, relevance, np.ones(len(C)))
    )
    _machines(phi, y, f, offsets, low, high, C, relevance, cost, 0, len(C), loss.hinge, loss.tube, slope, v, False)
    return v, slope


def descend_newton(
    phi, y, offsets, cost, loss, low, high, C, relevance, theta, slope, tolerance
) -> tuple[np.ndarray, float, float, int]:  # fmt: skip
    """From θ [q] and slopes s [n] to a relative duality gap; slopes, Σ_t c_t n_t L_t, the gap, and the steps taken."""
    phi, y, offsets, low, high, C, relevance, cost = map(
        read_only, (phi, y, offsets, low, high, np.full(len(cost), C), relevance, cost)
    )
    no_v = np.empty((0, 0))
    edges = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], ROWS_A_BLOCK)), len(cost)))
    blocks = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))

    with ThreadPoolExecutor() as threads:
        each = threads.map if len(blocks) > 1 else map

        def look(theta: np.ndarray, slope: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray, np.ndarray]:
            """F, its part that is loss, gradient, Hessian and slopes, found from those of a neighbour."""
            slope, f = slope.copy(), np.empty(len(y))

            def machines(block: tuple[int, int]) -> tuple[float, np.ndarray, np.ndarray]:
                rows = slice(*offsets[list(block)])
                f[rows] = phi[rows] @ theta  # in float64: a copy of all rows would take twice their memory
                return _machines(
                    phi, y, read_only(f), offsets, low, high, C, relevance, cost,
                    *block, loss.hinge, loss.tube, slope, no_v, True,
                )  # fmt: skip

            total, pulled, hessian = (sum(field) for field in zip(*each(machines, blocks), strict=True))
            return theta @ theta / 2 + total, total, theta - pulled, hessian + np.eye(len(theta)), slope

        value, total, gradient, hessian, slope = look(theta, slope)
        for step in range(MOST_STEPS):  # noqa: B007 (it is returned)
            if gradient @ gradient / 2 <= tolerance * value:
                break
            move, length = linalg.solve(hessian, -gradient, assume_a="pos", lower=False), 1.0
            while True:
                new = look(theta + length * move, slope)
                if new[0] <= value + ENOUGH * length * (gradient @ move) or length < SHORTEST_STEP:
                    break
                length /= 2
            theta = theta + length * move
            value, total, gradient, hessian, slope = new
    return slope, total, gradient @ gradient / 2 / max(value, 1e-300), step


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _machines(
    phi, y, f, offsets, low, high, C, relevance, cost, first, last, hinge, tube, slope, v, outer
):  # fmt: skip  # pragma: no cover (compiled)
    """Machines of tasks first to last, from active sets as in ``slope``; it and ``v`` are filled. If ``outer``: Σ c n L,
    Σ c s φ and the Hessian's part."""
    q = phi.shape[1]
    n_most = 0
    for t in range(first, last):
        n_most = max(n_most, offsets[t + 1] - offsets[t])
    size = min(n_most, q)
    total, pulled, hessian = 0.0, np.zeros(q), np.zeros((q, q))
    psi, residual, error, sign = np.empty((n_most, q)), np.empty(n_most), np.empty(n_most), np.empty(n_most)
    K, A, right = np.empty((size, size)), np.empty((size, size)), np.empty(size)
    root, sums, ones = np.empty(q), np.empty(q), np.ones(q)
    for t in range(first, last):
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
            psi, K, n, residual, y[start:], hinge, tube, low[start:], high[start:], sign, s, error, A, right, sums, ones
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
                _add_rows(phi, start, n, K, sign, cost[t], A, psi, hessian)
            else:
                _add_features(phi, start, n, sign, cost[t], root, A, K, hessian)
        else:
            for j in range(q):
                v[t, j] = root[j] * sums[j]
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
    psi, K, n, residual, y, hinge, tube, low, high, sign, s, error, A, right, w, ones
):  # fmt: skip  # pragma: no cover (compiled)
    """s [n] and ``sign``, that of each active row, from the signs given."""
    changed = True
    for _ in range(MOST_CHANGES):
        if n <= psi.shape[1]:
            _solve_rows(K, n, residual, sign, tube, A, right, s, error)
        else:
            _solve_features(psi, n, residual, sign, tube, A, right, s, error)
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
        s[:], w[:] = 0.0, 0.0
        for _ in range(MOST_SWEEPS):
            if pass_rows(psi, residual, 0, n, low, high, tube, 1.0, ones, w, s) < SMALLEST_MOVE:
                break
        for i in range(n):
            sign[i] = np.sign(s[i])


@numba.njit(inline="always", fastmath=FAST)
def _solve_rows(K, n, residual, sign, tube, A, right, s, error):  # pragma: no cover (compiled)
    """s of the active rows through their kernel, and what all rows are left with."""
    _active_system(K, n, sign, A)
    m = 0
    for i in range(n):
        if sign[i] != 0.0:
            right[m] = residual[i] - tube * sign[i]
            m += 1
    cholesky(A, m)
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
def _solve_features(psi, n, residual, sign, tube, A, right, s, error):  # pragma: no cover (compiled)
    """The same through the features."""
    q = psi.shape[1]
    active = _active_rows(psi, 0, n, sign)
    np.dot(active.T, active, A)
    right[:] = 0.0
    for i in range(n):
        if sign[i] != 0.0:
            for j in range(q):
                right[j] += (residual[i] - tube * sign[i]) * psi[i, j]
    for j in range(q):
        A[j, j] += 1.0
    cholesky(A, q)
    solve(A, q, right)
    for i in range(n):
        error[i] = residual[i]
        for j in range(q):
            error[i] -= psi[i, j] * right[j]
        s[i] = error[i] - tube * sign[i] if sign[i] != 0.0 else 0.0


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
def _add_rows(phi, start, n, K, sign, cost, A, W, hessian):  # pragma: no cover (compiled)
    """c Φ_Aᵀ(I + K_AA)⁻¹Φ_A to the upper triangle of the Hessian; W is scratch."""
    q = phi.shape[1]
    _active_system(K, n, sign, A)
    m = 0
    for i in range(n):
        if sign[i] != 0.0:
            for j in range(q):
                W[m, j] = phi[start + i, j]
            m += 1
    _add_whitened(A, m, W, cost, hessian)


@numba.njit(inline="always", fastmath=FAST)
def _add_features(phi, start, n, sign, cost, root, A, H, hessian):  # pragma: no cover (compiled)
    """The same as c (H − B(I + ΨᵀΨ)⁻¹Bᵀ), H = Φ_AᵀΦ_A and B = Φ_AᵀΨ_A."""
    q = phi.shape[1]
    active = _active_rows(phi, start, n, sign)
    np.dot(active.T, active, H)
    for j in range(q):
        for k in range(j, q):
            hessian[j, k] += cost * H[j, k]
            A[j, k] = root[j] * root[k] * H[j, k]
        A[j, j] += 1.0
    for j in range(q):
        for k in range(q):
            H[j, k] *= root[j]
    _add_whitened(A, q, H, -cost, hessian)


@numba.njit(inline="always", fastmath=FAST)
def _add_whitened(A, m, W, cost, hessian):  # pragma: no cover (compiled)
    """c WᵀA⁻¹W to the upper triangle of the Hessian, for the leading m rows; A and W are used up."""
    q = W.shape[1]
    cholesky(A, m)
    for i in range(m):
        for j in range(q):
            W[i, j] /= A[i, i]
        for k in range(i + 1, m):
            for j in range(q):
                W[k, j] -= A[i, k] * W[i, j]
    for i in range(m):
        for j in range(q):
            c = cost * W[i, j]
            for k in range(j, q):
                hessian[j, k] += c * W[i, k]
