"""Coordinates of the dual, one row after the other: for losses with a far limit, whose machines rest on few rows.

A coordinate has a closed form (Hsieh et al. 2008, equation 9; Ho & Lin 2012, algorithm 4), and θ and v_t move with it. One
thread goes through the tasks, in random order: θ ties them together, and B blocks side by side, each with a θ of its own whose
moves count B-fold so that the dual still rises (Ma et al. 2015), need B times the sweeps. One task alone sees its support
through its kernel C φᵀMφ′, or through its features where they are fewer.
"""

import numba
import numpy as np

from upstairs.compiled import FAST, read_only
from upstairs.svm.problem import Joint, Solution

__all__ = ["MOST_SWEEPS", "SMALLEST_MOVE", "adapt_by_coordinates", "descend_coordinates", "limits", "pass_rows"]

LOOK_EVERY = 5
"""Sweeps between two looks at the duality gap, which cost half a sweep each."""
PASSES = 2
"""Over a task's rows before the next task has its turn."""
MOST_SWEEPS = 2000
SMALLEST_MOVE = 1e-10


def descend_coordinates(joint: Joint, theta: np.ndarray, slope: np.ndarray, tolerance: float, seed: int) -> Solution:
    """From θ [q] and slopes s [n], which move in place, to a relative duality gap."""
    phi, y, offsets, relevance = map(read_only, (joint.phi[:], joint.y[:], joint.offsets, joint.relevance))
    rng, cost, loss, lam, C = np.random.default_rng(seed), joint.cost, joint.loss, joint.lam, joint.C
    low, high = map(read_only, limits(y, loss.hinge, loss.squared))
    fixed = (low, high, loss.tube, float(loss.squared), cost, C * relevance)
    total, gap, sweep = np.inf, np.inf, 0
    while gap > tolerance and sweep < MOST_SWEEPS:
        for _ in range(LOOK_EVERY):
            _sweep(phi, y, offsets, rng.permutation(len(cost)), *fixed, theta, slope)
        sweep += LOOK_EVERY
        primal, dual, total = _objectives(
            phi, y, offsets, loss.hinge, loss.squared, loss.tube, cost, C, relevance, theta, slope
        )
        gap = (primal - dual) / max(abs(primal), 1e-300)
    some = np.flatnonzero(slope)  # the support vectors alone; θ itself has moved with rounding
    theta = (np.repeat(cost, np.diff(offsets)) * slope)[some] @ phi[some].astype(np.float64)
    return Solution(theta, slope, lam, total / max(lam, 1e-300), gap, sweep)


def adapt_by_coordinates(phi, y, f, offsets, loss, C, relevance) -> tuple[np.ndarray, np.ndarray]:
    """v [T, q] and slopes s [n] of tasks' machines around predictions f = θᵀφ [n], with C [T] of their own."""
    v, slope = np.zeros((len(offsets) - 1, phi.shape[1])), np.zeros(len(y))
    phi, y, f, offsets, C, relevance = map(read_only, (phi, y, f, offsets, C, relevance))
    low, high = map(read_only, limits(y, loss.hinge, loss.squared))
    _adapt(phi, y, f, offsets, low, high, C, relevance, loss.tube, float(loss.squared), v, slope)
    return v, slope


@numba.njit(cache=True, nogil=True)
def limits(y, hinge, squared):  # pragma: no cover (compiled)
    """The least and the largest s of each row [n]."""
    far = np.inf if squared else 1.0
    low, high = np.full(len(y), -far), np.full(len(y), far)
    if hinge:
        low[y > 0], high[y <= 0] = 0.0, 0.0
    return low, high


@numba.njit(inline="always", fastmath=FAST)
def _new_slope(s, error, curvature, low, high, tube, squared):  # pragma: no cover (compiled)
    """The best s of a row with y − f = ``error``, when each unit of s moves f by ``curvature``."""
    h = curvature + squared
    z, k = s + (error - squared * s) / h, tube / h
    z = z - k if z > k else (z + k if z < -k else 0.0)
    return min(max(z, low), high)


@numba.njit(inline="always", fastmath=FAST)
def pass_rows(phi, y, start, stop, low, high, tube, squared, step, w, slope):  # pragma: no cover (compiled)
    """Each row of a task once; w [q] moves by ``step`` [q] times φ for each unit of s. Returns the largest move."""
    q, largest = len(w), 0.0
    for i in range(start, stop):
        f, curvature = 0.0, 0.0
        for j in range(q):
            f += w[j] * phi[i, j]
            curvature += step[j] * phi[i, j] * phi[i, j]
        if curvature + squared <= 0.0:
            continue
        s = _new_slope(slope[i], y[i] - f, curvature, low[i], high[i], tube, squared)
        d = s - slope[i]
        if d != 0.0:
            slope[i] = s
            largest = max(largest, abs(d) * np.sqrt(curvature + squared))
            for j in range(q):
                w[j] += d * step[j] * phi[i, j]
    return largest


@numba.njit(inline="always", fastmath=FAST)
def _weigh(phi, start, stop, slope, w):  # pragma: no cover (compiled)
    """w [q] becomes Σ s φ of a task's rows."""
    w[:] = 0.0
    for i in range(start, stop):
        if slope[i] != 0.0:
            for j in range(len(w)):
                w[j] += slope[i] * phi[i, j]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _sweep(phi, y, offsets, order, low, high, tube, squared, cost, CM, theta, slope):  # pragma: no cover (compiled)
    """The tasks in ``order``, each row twice; ``theta`` and ``slope`` move in place."""
    q = phi.shape[1]
    w, first, step = np.empty(q), np.empty(q), np.empty(q)
    for t in order:
        start, stop = offsets[t], offsets[t + 1]
        _weigh(phi, start, stop, slope, w)
        for j in range(q):
            w[j] = theta[j] + CM[j] * w[j]
            first[j], step[j] = w[j], cost[t] + CM[j]
        for _ in range(PASSES):
            pass_rows(phi, y, start, stop, low, high, tube, squared, step, w, slope)
        for j in range(q):
            theta[j] += cost[t] * (w[j] - first[j]) / step[j]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _objectives(
    phi, y, offsets, hinge, squared, tube, cost, C, relevance, theta, slope
):  # fmt: skip  # pragma: no cover (compiled)
    """Primal, dual, and Σ_t c_t n_t L_t(θ), all at the v_t that belong to ``slope``."""
    q = phi.shape[1]
    w = np.empty(q)
    prior = 0.5 * (theta * theta).sum()
    total, gained = 0.0, 0.0
    for t in range(len(offsets) - 1):
        _weigh(phi, offsets[t], offsets[t + 1], slope, w)
        own, loss, gain = 0.0, 0.0, 0.0
        for j in range(q):
            own += 0.5 * C * relevance[j] * w[j] * w[j]
            w[j] = theta[j] + C * relevance[j] * w[j]
        for i in range(offsets[t], offsets[t + 1]):
            f = 0.0
            for j in range(q):
                f += w[j] * phi[i, j]
            e = max(0.0, 1.0 - y[i] * f) if hinge else max(0.0, abs(y[i] - f) - tube)
            loss += 0.5 * e * e if squared else e
            gain += slope[i] * y[i] - tube * abs(slope[i])
            if squared:
                gain -= 0.5 * slope[i] * slope[i]
        total += cost[t] * (own + loss)
        gained += cost[t] * (gain - own)
    return prior + total, gained - prior, total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _adapt(phi, y, f, offsets, low, high, C, relevance, tube, squared, v, slope):  # pragma: no cover (compiled)
    """Few rows are seen through their kernel, many through their features: whichever is smaller."""
    q = phi.shape[1]
    step, left = np.empty(q), y - f
    for t in range(len(offsets) - 1):
        start, stop = offsets[t], offsets[t + 1]
        for j in range(q):
            step[j] = C[t] * relevance[j]
        if stop - start <= q:
            _adapt_kernel(phi, left, start, stop, low, high, tube, squared, step, slope)
        else:
            w = np.zeros(q)
            for _ in range(MOST_SWEEPS):
                if pass_rows(phi, left, start, stop, low, high, tube, squared, step, w, slope) < SMALLEST_MOVE:
                    break
        _weigh(phi, start, stop, slope, v[t])
        for j in range(q):
            v[t, j] *= step[j]


@numba.njit(inline="always", fastmath=FAST)
def _adapt_kernel(phi, left, start, stop, low, high, tube, squared, step, slope):  # pragma: no cover (compiled)
    n = stop - start
    K, error = np.empty((n, n)), np.empty(n)
    for i in range(n):
        error[i] = left[start + i]
        for k in range(i, n):
            total = 0.0
            for j in range(len(step)):
                total += phi[start + i, j] * step[j] * phi[start + k, j]
            K[i, k] = K[k, i] = total
    for _ in range(MOST_SWEEPS):
        largest = 0.0
        for i in range(n):
            r = start + i
            if K[i, i] + squared <= 0.0:
                continue
            s = _new_slope(slope[r], error[i], K[i, i], low[r], high[r], tube, squared)
            d = s - slope[r]
            if d != 0.0:
                slope[r] = s
                largest = max(largest, abs(d) * np.sqrt(K[i, i] + squared))
                for k in range(n):
                    error[k] -= d * K[i, k]
        if largest < SMALLEST_MOVE:
            break
