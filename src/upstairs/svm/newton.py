"""Newton's method for θ where the loss is squared.

With every L_t at its minimum (`active_sets`), F(θ) = ½‖θ‖² + Σ_t c_t n_t L_t(θ) has the gradient θ − Σ c_t s_ti φ_ti, a duality
gap of half its square, and, where the active sets stay, the Hessian I + Σ_t c_t Φ_Aᵀ(I + K_AA)⁻¹Φ_A.

Tasks go by in blocks, whose features needn't be there before. Of many tasks a sample is solved first, so that two or three
passes over all of them are left.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import linalg

from upstairs.compiled import read_only
from upstairs.svm.active_sets import machines
from upstairs.svm.problem import Joint, Solution
from upstairs.svm.rows import ROWS_A_BLOCK, Made

__all__ = ["descend_newton"]

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
        def look_at(block: tuple[int, int]) -> tuple[float, np.ndarray, np.ndarray]:
            tasks, rows = slice(*block), slice(*offsets[list(block)])
            features = phi[rows]
            X, targets, f, starts, strength, costs = map(
                read_only,
                (
                    features, y[rows], features @ theta, offsets[block[0] : block[1] + 1] - rows.start,
                    np.full(block[1] - block[0], C), cost[tasks],
                ),
            )  # fmt: skip
            return machines(X, targets, f, starts, strength, relevance, costs, loss.hinge, loss.tube, slope[rows], no_v, True)

        total, pulled, hessian = 0.0, np.zeros(len(theta)), np.eye(len(theta))
        for part in each(look_at, blocks):  # a block's Hessian is let go of before the next ones come
            total += part[0]
            pulled += part[1]
            hessian += part[2]
        for matrix in (phi, y):
            if isinstance(matrix, Made):
                matrix.let_go()
        return Look(theta @ theta / 2 + total, total, theta - pulled, hessian)

    return look
