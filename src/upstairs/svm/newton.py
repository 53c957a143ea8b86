"""Newton's method for θ where the loss is squared.

With every L_t at its minimum (`active_sets`), F(θ) = ½‖θ‖² + Σ_t c_t n_t L_t(θ) has the gradient θ − Σ c_t s_ti φ_ti, a duality
gap of half its square, and, where the active sets stay, the Hessian I + Σ_t c_t Φ_Aᵀ(I + K_AA)⁻¹Φ_A.

Tasks go by in blocks, whose features needn't be there before: here by threads, or on the cluster of their store. Of many tasks
a sample is solved first, so that two or three passes over all of them are left.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import linalg

from upstairs.compiled import read_only
from upstairs.engine.shards import connection, map_shards
from upstairs.places import Place, store_of
from upstairs.store import Cluster
from upstairs.svm.active_sets import machines
from upstairs.svm.problem import Joint, Solution
from upstairs.svm.rows import ROWS_A_BLOCK, Made

__all__ = ["descend_newton"]

MOST_STEPS, SHORTEST_STEP, ENOUGH = 100, 1e-4, 1e-4
MOST_SAMPLED, FEWEST_SAMPLED = 100_000, 1_000
"""Rows of the sample, and the tasks that have to be among them."""


Part = tuple[float, np.ndarray, np.ndarray]
"""What a block of tasks adds to the loss, to Σ c s φ and to the Hessian."""


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
    cluster = _cluster_of(joint)
    with ThreadPoolExecutor() as threads, connection(**cluster._asdict()):
        look = _looker(joint, slope, threads, cluster)
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


def _cluster_of(joint: Joint) -> Cluster:
    """Who goes through the rows: the cluster of the store that they lie in."""
    store = store_of(joint.phi.source) if isinstance(joint.phi, Made) else None
    return Cluster() if store is None else store.cluster


def _looker(joint: Joint, slope: np.ndarray, threads: ThreadPoolExecutor, cluster: Cluster) -> Callable[[np.ndarray], Look]:
    """What looks at a θ; ``slope`` moves in place, from active sets to the next ones."""
    offsets, n_tasks = joint.offsets, len(joint.offsets) - 1
    edges = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], ROWS_A_BLOCK)), n_tasks))
    blocks = list(itertools.pairwise(edges.tolist()))
    each = threads.map if len(blocks) > 1 else map

    def look(theta: np.ndarray) -> Look:
        def look_here(block: tuple[int, int]) -> Part:
            return _look_at(joint, theta, slope[slice(*offsets[list(block)])], block)

        here = cluster.engine == "local"
        parts = each(look_here, blocks) if here else _look_elsewhere(joint, theta, slope, blocks, cluster)
        total, pulled, hessian = 0.0, np.zeros(len(theta)), np.eye(len(theta))
        for part in parts:  # a block's Hessian is let go of before the next ones come
            total += part[0]
            pulled += part[1]
            hessian += part[2]
        _let_go(joint)
        return Look(theta @ theta / 2 + total, total, theta - pulled, hessian)

    return look


def _look_at(joint: Joint, theta: np.ndarray, slope: np.ndarray, block: tuple[int, int]) -> Part:
    """At the tasks of a block, whose slopes move in place."""
    offsets = joint.offsets[block[0] : block[1] + 1]
    rows, cost = slice(offsets[0], offsets[-1]), joint.cost_of(np.diff(offsets))
    features = joint.phi[rows]
    X, y, f, starts, strength, relevance, costs = map(
        read_only,
        (features, joint.y[rows], features @ theta, offsets - rows.start, np.full(len(cost), joint.C), joint.relevance, cost),
    )
    loss = joint.loss
    return machines(X, y, f, starts, strength, relevance, costs, loss.hinge, loss.tube, slope, np.empty((0, 0)), True)


def _look_elsewhere(
    joint: Joint, theta: np.ndarray, slope: np.ndarray, blocks: list[tuple[int, int]], cluster: Cluster
) -> Iterator[Part]:
    """The same parts, in the order of the blocks, from workers who open the store themselves."""
    function = partial(_look_from_afar, joint._replace(offsets=np.empty(0, int)), Place.of(joint.offsets), theta)
    ended: dict[tuple[int, int], Part] = {}
    place = 0
    for block, (part, moved) in map_shards(function, blocks, **cluster._asdict()):
        slope[slice(*joint.offsets[list(block)])] = moved
        ended[block] = part
        while place < len(blocks) and blocks[place] in ended:  # sums have the bits of their order
            yield ended.pop(blocks[place])
            place += 1


def _look_from_afar(
    joint: Joint, offsets: np.ndarray | Place, theta: np.ndarray, block: tuple[int, int]
) -> tuple[Part, np.ndarray]:
    """A part and the slopes of its rows, which are found from nothing: the worker doesn't know those of the last look."""
    joint = joint._replace(offsets=Place.look(offsets))
    slope = np.zeros(joint.offsets[block[1]] - joint.offsets[block[0]])
    part = _look_at(joint, theta, slope, block)
    _let_go(joint)
    return part, slope


def _let_go(joint: Joint) -> None:
    for matrix in (joint.phi, joint.y):
        if isinstance(matrix, Made):
            matrix.let_go()
