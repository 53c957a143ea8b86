"""Closed-form posteriors of Gaussian processes over few rows, compiled: the algebra under every adaptation.

`condition` leaves three things behind for numbers as for two classes, so that one formula predicts for both: the factor U of
A = UᵀU, the weights ``alpha`` = A⁻¹ (target − prior mean), and ``beta`` = A⁻¹ 1, where A = K + I for numbers (K relative to the
noise variance) and A = K + W⁻¹ for two classes, W the curvature of the log likelihood at the posterior mode (Rasmussen &
Williams 2006, algorithms 2.1 and 3.1). Of K and U the upper triangles count.

Each function works on the leading n × n block of its arrays, so that a loop over many tasks calls it with the same scratch
arrays. All are inlined: callers that are compiled apart would share whichever copy a process loads first, and copies may differ
in the last digit.
"""

import numba
import numpy as np

from upstairs.compiled import FAST

__all__ = ["cholesky", "condition", "factor", "solve", "solve_half", "solve_many", "whiten"]

SMALL = 32
"""Rows and columns up to which compiled loops are faster than BLAS and LAPACK."""

NEWTON_STEPS, LONGEST_STEP, SMALLEST_STEP, LEAST_CURVATURE = 8, 4.0, 1e-6, 1e-3


@numba.njit(inline="always", fastmath=FAST)
def condition(K, n, prior, level, y, classify, U, alpha, beta):  # pragma: no cover (compiled)
    """Condition on y [n], numbers or classes, such that alpha − level' · beta are the weights about any prior + level'.

    For numbers that is exact, and one step. For classes Newton steps lead to the mode at the given level, where alpha = y − p,
    and other levels are of first order.
    """
    f, z, spread = np.zeros(n), np.empty(n), np.ones(n)
    for step in range(NEWTON_STEPS + 1):
        for i in range(n):
            alpha[i], beta[i] = y[i] - prior[i], 1.0
            if classify:
                p = 1.0 / (1.0 + np.exp(-(prior[i] + level + f[i])))
                alpha[i], spread[i] = y[i] - p, 1.0 / max(p * (1 - p), LEAST_CURVATURE)
            z[i] = f[i] + alpha[i] * spread[i]
            for j in range(i, n):
                U[i, j] = K[i, j]
            U[i, i] += spread[i]
        cholesky(U, n)
        solve(U, n, z)
        if not classify or step == NEWTON_STEPS:
            break
        largest = 0.0
        for i in range(n):
            # the new f is K A⁻¹z, and A = K + W⁻¹
            move = min(max(spread[i] * (alpha[i] - z[i]), -LONGEST_STEP), LONGEST_STEP)
            f[i] += move
            largest = max(largest, abs(move))
        if largest < SMALLEST_STEP:
            break
    solve(U, n, beta)
    for i in range(n):
        alpha[i] = alpha[i] + level * beta[i] if classify else z[i]


@numba.njit(inline="always", fastmath=FAST)
def cholesky(A, n):  # pragma: no cover (compiled)
    """A = UᵀU in place: afterwards the upper triangle of A [n, n] holds U."""
    for i in range(n):
        for k in range(i):
            a = A[k, i]
            for j in range(i, n):
                A[i, j] -= a * A[k, j]
        root = np.sqrt(max(A[i, i], 1e-12))
        for j in range(i, n):
            A[i, j] /= root
        A[i, i] = root


@numba.njit(inline="always", fastmath=FAST)
def solve_half(U, n, b):  # pragma: no cover (compiled)
    """b [n] becomes U⁻ᵀb."""
    for i in range(n):
        b[i] /= U[i, i]
        for k in range(i + 1, n):
            b[k] -= U[i, k] * b[i]


@numba.njit(inline="always", fastmath=FAST)
def solve(U, n, b):  # pragma: no cover (compiled)
    """b [n] becomes (UᵀU)⁻¹b."""
    solve_half(U, n, b)
    for i in range(n - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, n):
            total -= U[i, k] * b[k]
        b[i] = total / U[i, i]


@numba.njit(inline="always", fastmath=FAST)
def solve_many(U, n, B):  # pragma: no cover (compiled)
    """B [n, m] becomes (UᵀU)⁻¹B; the columns move together, which the processor likes."""
    m = B.shape[1]
    for i in range(n):
        for k in range(i):
            for j in range(m):
                B[i, j] -= U[k, i] * B[k, j]
        for j in range(m):
            B[i, j] /= U[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            for j in range(m):
                B[i, j] -= U[i, k] * B[k, j]
        for j in range(m):
            B[i, j] /= U[i, i]


@numba.njit(inline="always", fastmath=FAST)
def factor(A, m):  # pragma: no cover (compiled)
    """The upper triangle of A [m, m] becomes U, A = UᵀU; by LAPACK where that pays for its copies."""
    if m <= SMALL:
        cholesky(A, m)
        return
    lower = np.empty((m, m))
    for i in range(m):
        for j in range(i, m):
            lower[j, i] = A[i, j]
    lower = np.linalg.cholesky(lower)
    for i in range(m):
        for j in range(i, m):
            A[i, j] = lower[j, i]


@numba.njit(inline="always", fastmath=FAST)
def whiten(U, m, W):  # pragma: no cover (compiled)
    """The first m rows of W become U⁻ᵀW, a few at a time."""
    q = W.shape[1]
    for first in range(0, m, SMALL):
        last = min(first + SMALL, m)
        for i in range(first, last):
            for j in range(q):
                W[i, j] /= U[i, i]
            for k in range(i + 1, last):
                for j in range(q):
                    W[k, j] -= U[i, k] * W[i, j]
        if last < m:
            after = np.dot(np.ascontiguousarray(U[first:last, last:m].T), W[first:last])
            for k in range(last, m):
                for j in range(q):
                    W[k, j] -= after[k - last, j]
