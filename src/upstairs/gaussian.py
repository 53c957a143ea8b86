"""Closed-form posteriors of Gaussian processes over few rows, compiled: the algebra under every adaptation.

Each function works on the leading n × n block of its arrays and allocates nothing, so that a loop over many tasks calls it
with the same scratch arrays.

`condition_numbers` and `condition_classes` leave the same three things behind, so that one formula predicts for both: the
factor L of A, the weights ``alpha`` = A⁻¹ (target − prior mean), and ``beta`` = A⁻¹ 1, where A = K + I for numbers (K relative
to the noise variance) and A = K + W⁻¹ for two classes, W the curvature of the log likelihood at the posterior mode
(Rasmussen & Williams 2006, algorithms 2.1 and 3.1).
"""

import numba
import numpy as np

__all__ = ["FAST", "cholesky", "condition", "condition_classes", "condition_numbers", "solve", "solve_lower", "solve_many"]

NEWTON_STEPS, LONGEST_STEP, LEAST_CURVATURE = 8, 4.0, 1e-3
FAST = {"contract", "reassoc", "nsz"}


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def condition_numbers(K, n, residual, L, alpha, beta):  # pragma: no cover (compiled)
    """Condition on residuals [n] from the prior mean."""
    for i in range(n):
        for j in range(i + 1):
            L[i, j] = K[i, j]
        L[i, i] += 1.0
        alpha[i], beta[i] = residual[i], 1.0
    cholesky(L, n)
    solve(L, n, alpha)
    solve(L, n, beta)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def condition_classes(K, n, prior_logit, y, L, alpha, beta):  # pragma: no cover (compiled)
    """Condition on y [n] in {0, 1} by Newton steps to the mode, where alpha = y − p."""
    f, z = np.zeros(n), np.empty(n)
    for step in range(NEWTON_STEPS + 1):
        for i in range(n):
            p = 1.0 / (1.0 + np.exp(-(prior_logit[i] + f[i])))
            curvature = max(p * (1 - p), LEAST_CURVATURE)
            for j in range(i + 1):
                L[i, j] = K[i, j]
            L[i, i] += 1.0 / curvature
            alpha[i], beta[i], z[i] = y[i] - p, 1.0, f[i] + (y[i] - p) / curvature
        cholesky(L, n)
        if step == NEWTON_STEPS:
            break
        solve(L, n, z)
        largest = 0.0
        for i in range(n):
            new = 0.0
            for j in range(n):
                new += K[max(i, j), min(i, j)] * z[j]
            move = min(max(new - f[i], -LONGEST_STEP), LONGEST_STEP)
            f[i] += move
            largest = max(largest, abs(move))
        if largest < 1e-9:
            break
    solve(L, n, beta)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def condition(K, n, prior, level, y, classify, L, alpha, beta):  # pragma: no cover (compiled)
    """Condition on y [n], numbers or classes, such that alpha − level' · beta are the weights about any prior + level'.

    For numbers that is exact; for classes the mode is sought at the given level and other levels are of first order.
    """
    if classify:
        condition_classes(K, n, prior + level, y, L, alpha, beta)
        for i in range(n):
            alpha[i] += level * beta[i]
    else:
        condition_numbers(K, n, y - prior, L, alpha, beta)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def cholesky(A, n):  # pragma: no cover (compiled)
    """A = LLᵀ in place: afterwards the lower triangle of A [n, n] holds L."""
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for k in range(j):
                total -= A[i, k] * A[j, k]
            A[i, j] = np.sqrt(max(total, 1e-12)) if i == j else total / A[j, j]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def solve_lower(L, n, b):  # pragma: no cover (compiled)
    """b [n] becomes L⁻¹b."""
    for i in range(n):
        total = b[i]
        for k in range(i):
            total -= L[i, k] * b[k]
        b[i] = total / L[i, i]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def solve(L, n, b):  # pragma: no cover (compiled)
    """b [n] becomes (LLᵀ)⁻¹b."""
    solve_lower(L, n, b)
    for i in range(n - 1, -1, -1):
        b[i] /= L[i, i]
        for k in range(i):
            b[k] -= L[i, k] * b[i]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def solve_many(L, n, B):  # pragma: no cover (compiled)
    """B [n, m] becomes (LLᵀ)⁻¹B; the columns move together, which the processor likes."""
    m = B.shape[1]
    for i in range(n):
        for k in range(i):
            for j in range(m):
                B[i, j] -= L[i, k] * B[k, j]
        for j in range(m):
            B[i, j] /= L[i, i]
    for i in range(n - 1, -1, -1):
        for j in range(m):
            B[i, j] /= L[i, i]
        for k in range(i):
            for j in range(m):
                B[k, j] -= L[i, k] * B[i, j]
