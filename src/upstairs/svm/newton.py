"""Newton's method for machines with a squared loss: one task's machine exactly, and θ in a handful of steps.

A task's rows with a loss at the solution, its active set A, solve a linear system; what they leave says which rows are active
next, until the set stays as it is (Keerthi & DeCoste 2005). With r = y − θᵀφ, ψ = √(CM) φ and K = ΨΨᵀ,

    (K_AA + I) s_A = r_A − tube sign(r_A),   or, with fewer features than rows,   (I + Ψ_AᵀΨ_A) a = Ψ_Aᵀ(r_A − tube sign(r_A))

With every L_t at its minimum, F(θ) = ½‖θ‖² + Σ_t c_t n_t L_t(θ) has the gradient θ − Σ c_t s_ti φ_ti, a duality gap of half its
square, and, where the active sets stay, the Hessian I + Σ_t c_t Φ_Aᵀ(I + K_AA)⁻¹Φ_A.

Tasks go by in blocks, whose features needn't be there before. Of many tasks a sample is solved first, so that two or three
passes over all of them are left.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from scipy import linalg

from upstairs.compiled import FAST, read_only
from upstairs.gaussian import cholesky, solve
from upstairs.svm.coordinate_descent import MOST_SWEEPS, SMALLEST_MOVE, pass_rows
from upstairs.svm.problem import Joint, Solution
from upstairs.svm.rows import ROWS_A_BLOCK, Made

__all__ = ["adapt_exactly", "descend_newton"]

MOST_CHANGES = 50
"""Of an active set; after so many, coordinates are descended."""
WHITENED = 256
"""Rows, and more, that the Hessian is made of at once."""
MOST_STEPS, SHORTEST_STEP, ENOUGH = 100, 1e-4, 1e-4
MOST_SAMPLED, FEWEST_SAMPLED = 100_000, 1_000
"""Rows of the sample, and the tasks that have to be among them."""


class Look(NamedTuple):
    """At one θ: F, its part that is loss, the gradient and the Hessian."""

    value: float
    total: float
    gradient: np.ndarray
    hessian: np.ndarray

    @property
    def gap(self) -> float:
        return float(self.gradient @ self.gradient) / 2


def adapt_exactly(phi, y, f, offsets, loss, C, relevance) -> tuple[np.ndarray, np.ndarray]:
    """v [T, q] and slopes s [n] of tasks' machines around predictions f = θᵀφ [n], with C [T] of their own."""
    v, slope = np.zeros((len(offsets) - 1, phi.shape[1])), np.zeros(len(y))
    phi, y, f, offsets, C, relevance, cost = map(read_only, (phi, y, f, offsets, C, relevance, np.ones(len(C))))
    _machines(phi, y, f, offsets, C, relevance, cost, loss.hinge, loss.tube, slope, v, False)
    return v, slope


def descend_newton(joint: Joint, theta: np.ndarray, slope: np.ndarray, tolerance: float, seed: int) -> Solution:
    """From θ [q], and slopes s [n] whose active sets are near and which move in place, to a relative duality gap."""
    sample = _sample(joint, seed)
    if sample is not None:
        theta = _descend(sample, theta, np.zeros(sample.offsets[-1]), tolerance).theta
    return _descend(joint, theta, slope, tolerance)


def _sample(joint: Joint, seed: int) -> Joint | None:
    """Some tasks that stand for all, where that saves something."""
    if joint.offsets[-1] <= 2 * MOST_SAMPLED:
        return None
    order = np.random.default_rng(seed).permutation(len(joint.offsets) - 1)
    few = order[: np.searchsorted(np.cumsum(np.diff(joint.offsets)[order]), MOST_SAMPLED)]
    return joint.sample(np.sort(few)) if len(few) >= FEWEST_SAMPLED else None


def _descend(joint: Joint, theta: np.ndarray, slope: np.ndarray, tolerance: float) -> Solution:
    with ThreadPoolExecutor() as threads:
        look = _looker(joint, slope, threads)
        here = look(theta)
        for step in range(MOST_STEPS):  # noqa: B007 (it is returned)
            if here.gap <= tolerance * here.value:
                break
            move, length = linalg.solve(here.hessian, -here.gradient, assume_a="pos", lower=False), 1.0
            while True:
                new = look(theta + length * move)
                if new.value <= here.value + ENOUGH * length * (here.gradient @ move) or length < SHORTEST_STEP:
                    break
                length /= 2
            theta, here = theta + length * move, new
    # the gradient is what θ differs by from Σ c s φ
    theta, gap = theta - here.gradient, here.gap / max(here.value, 1e-300)
    return Solution(theta, slope, joint.lam, here.total / max(joint.lam, 1e-300), gap, step)


def _looker(joint: Joint, slope: np.ndarray, threads: ThreadPoolExecutor) -> Callable[[np.ndarray], Look]:
    """What looks at a θ; ``slope`` moves in place, from active sets to the next ones."""
    phi, y, offsets, loss, relevance, _, C = joint
    cost, relevance, no_v = joint.cost, read_only(relevance), np.empty((0, 0))
    edges = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], ROWS_A_BLOCK)), len(cost)))
    blocks = list(itertools.pairwise(edges.tolist()))
    each = threads.map if len(blocks) > 1 else map

    def look(theta: np.ndarray) -> Look:
        def machines(block: tuple[int, int]) -> tuple[float, np.ndarray, np.ndarray]:
            tasks, rows = slice(*block), slice(*offsets[list(block)])
            features = phi[rows]
            X, targets, f, starts, strength, costs = map(
                read_only,
                (
                    features, y[rows], features @ theta, offsets[block[0] : block[1] + 1] - rows.start,
                    np.full(block[1] - block[0], C), cost[tasks],
                ),
            )  # fmt: skip
            return _machines(X, targets, f, starts, strength, relevance, costs, loss.hinge, loss.tube, slope[rows], no_v, True)

        total, pulled, hessian = 0.0, np.zeros(len(theta)), np.eye(len(theta))
        for part in each(machines, blocks):  # a block's Hessian is let go of before the next ones come
            total += part[0]
            pulled += part[1]
            hessian += part[2]
        for matrix in (phi, y):
            if isinstance(matrix, Made):
                matrix.let_go()
        return Look(theta @ theta / 2 + total, total, theta - pulled, hessian)

    return look


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _machines(
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
            psi, K, n, residual, y[start:], hinge, tube, sign, s, error, A, right, sums, ones
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
                    _add_products(W[:m], H, hessian)
                    m = 0
                m += _whitened_rows(phi, start, n, K, sign, cost[t], A, W[m:])
            else:
                _add_features(phi, start, n, sign, cost[t], root, A, H, hessian)
        else:
            for j in range(q):
                v[t, j] = root[j] * sums[j]
    _add_products(W[:m], H, hessian)
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
    psi, K, n, residual, y, hinge, tube, sign, s, error, A, right, w, ones
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
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        for i in range(n):
            if hinge and y[i] > 0.0:
                low[i] = 0.0
            elif hinge:
                high[i] = 0.0
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
    _whiten(A, m, W)
    return m


@numba.njit(inline="always", fastmath=FAST)
def _add_products(W, H, hessian):  # pragma: no cover (compiled)
    """WᵀW to the Hessian, by way of H."""
    np.dot(W.T, W, H)
    for j in range(len(H)):
        for k in range(len(H)):
            hessian[j, k] += H[j, k]


@numba.njit(inline="always", fastmath=FAST)
def _add_features(phi, start, n, sign, cost, root, A, H, hessian):  # pragma: no cover (compiled)
    """The Hessian's part as c (H − B(I + ΨᵀΨ)⁻¹Bᵀ), H = Φ_AᵀΦ_A and B = Φ_AᵀΨ_A."""
    q = phi.shape[1]
    active = _active_rows(phi, start, n, sign)
    np.dot(active.T, active, H)
    for j in range(q):
        for k in range(q):
            hessian[j, k] += cost * H[j, k]
            A[j, k] = root[j] * root[k] * H[j, k]
        A[j, j] += 1.0
    for j in range(q):
        for k in range(q):
            H[j, k] *= root[j]
    _whiten(A, q, H)
    np.dot(H.T, H, A)
    for j in range(q):
        for k in range(q):
            hessian[j, k] -= cost * A[j, k]


@numba.njit(inline="always", fastmath=FAST)
def _whiten(A, m, W):  # pragma: no cover (compiled)
    """The first m rows of W become A^−½W; A is used up."""
    q = W.shape[1]
    cholesky(A, m)
    for i in range(m):
        for j in range(q):
            W[i, j] /= A[i, i]
        for k in range(i + 1, m):
            for j in range(q):
                W[k, j] -= A[i, k] * W[i, j]
