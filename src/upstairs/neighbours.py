"""Which known tasks is this one like, and how: tasks laid out by what their support rows changed.

A task is drawn as its *deviation* on probe rows, the same for all tasks: its predictions less the zero-shot ones, on the
learner's own scale (u, or the log probability of each class less their mean). The distance of two tasks is the root mean
square, over probe rows, of the difference of their deviations in units of what is uncertain about both of them, √(s_a² + s_b²).
The map shows the known tasks along the two directions in which deviations differ most (principal components).

How two tasks are alike is told by the parts of their explanations (level, effect of each column, local): they are most alike
in the part with the largest mean product of both, and differ most in that with the largest mean square of the difference.
"""

from typing import Any, NamedTuple

import numpy as np

from upstairs.adaptation import adapt, explain, predict
from upstairs.errors import UpstairsError
from upstairs.prediction import ClassPrediction, Explanation
from upstairs.table import Columns
from upstairs.tasks import Tasks

__all__ = ["Neighbours", "TaskMap", "map_tasks", "name_parts", "nearest"]

N_PROBES, N_EXPLAINED = 64, 16
BLOCK = 256
"""Tasks that are asked about all probe rows at once."""
NOTHING = 1e-9


class Neighbours(NamedTuple):
    """The k nearest of the known tasks, the nearest first.

    Attributes
    ----------
    position : int64 [k]
        Among the known tasks.
    distance : float64 [k]
    alike, different : list of k int
        The part, as `name_parts` names them; -1 where there is none.
    """

    position: np.ndarray
    distance: np.ndarray
    alike: list[int]
    different: list[int]


class TaskMap(NamedTuple):
    """Known tasks in two dimensions.

    Attributes
    ----------
    which : int64 [m]
        Among the known tasks.
    positions : float64 [m, 2]
    shares : (float, float)
        Share of all differences between deviations that lies along each direction.
    """

    which: np.ndarray
    positions: np.ndarray
    shares: tuple[float, float]


def nearest(meta: Any, support: Tasks, k: int) -> Neighbours:
    """The known tasks nearest to the single task of a support."""
    known, probes = meta.known_, _probes(meta)
    deviation, spread = _deviations(meta, known, meta.state_.fold, probes)
    own, own_spread = _deviations(meta, support, np.array([-1]), probes)
    gap = (deviation - own) ** 2 / (spread**2 + own_spread**2)
    distance = np.sqrt(gap.mean(axis=(1, 2)))
    first = np.argsort(distance, kind="stable")[:k]
    rows = probes[:N_EXPLAINED]
    mine = _own_parts(explain(meta, adapt(meta, support), rows))
    alike, different = [], []
    for t in first:
        theirs = _own_parts(explain(meta, adapt(meta, known.take(np.array([t])), meta.state_.fold[[t]]), rows))
        together, apart = (mine * theirs).mean(axis=(0, 1)), ((mine - theirs) ** 2).mean(axis=(0, 1))
        alike.append(int(together.argmax()) if together.max() > NOTHING else -1)
        different.append(int(apart.argmax()) if apart.max() > NOTHING else -1)
    return Neighbours(first, distance[first], alike, different)


def name_parts(columns: Columns) -> list[str | None]:
    """The parts of a task's own model by number; None for -1."""
    return ["level", "scale", "local", *(feature.name for feature in columns.features), None]


def map_tasks(meta: Any, most: int | None = None, seed: int = 0) -> TaskMap:
    """Known tasks along the first two principal components of their deviations: all, or so many of them drawn at random."""
    if meta.known_.n_tasks == 0:
        raise UpstairsError("This model holds no known tasks, so there is nothing to map: save it with known_tasks=True.")
    which = np.sort(np.random.default_rng(seed).permutation(meta.known_.n_tasks)[:most])
    deviation, spread = _deviations(meta, meta.known_.take(which), meta.state_.fold[which], _probes(meta))
    points = (deviation / spread.mean()).reshape(len(deviation), -1) / np.sqrt(deviation[0].size)
    U, size, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    positions, shares = np.zeros((len(points), 2)), np.zeros(2)
    kept = min(2, len(size))
    positions[:, :kept] = U[:, :kept] * size[:kept]
    shares[:kept] = size[:kept] ** 2 / max((size**2).sum(), NOTHING)
    sign = np.sign(positions[np.abs(positions).argmax(axis=0), [0, 1]])  # a component has no sign of its own
    return TaskMap(which, positions * np.where(sign == 0, 1, sign), (float(shares[0]), float(shares[1])))


def _probes(meta: Any) -> np.ndarray:
    """Rows [m, p] of known tasks, as evenly over these as may be."""
    known = meta.known_
    if known.n_tasks == 0:
        raise UpstairsError("This model holds no known tasks to compare with: save it with known_tasks=True.")
    rng = np.random.default_rng(0)
    one_each = known.thin(-(-N_PROBES // known.n_tasks), rng).X
    return one_each[rng.permutation(len(one_each))[:N_PROBES]]


def _deviations(meta: Any, tasks: Tasks, fold: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions less zero-shot ones, and standard deviations: both [T, m, C], C is 1 for numbers."""
    folds, model = np.unique(fold, return_inverse=True)
    nothing = tasks.nothing().take(np.zeros(len(folds), int))
    after, spread = _latents(meta, tasks, fold, probes)
    before, _ = _latents(meta, nothing, folds, probes)
    return after - before[model], spread


def _latents(meta: Any, tasks: Tasks, fold: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    adaptation, latents, spreads = adapt(meta, tasks, fold), [], []
    for start in range(0, tasks.n_tasks, BLOCK):
        asked = np.arange(start, min(start + BLOCK, tasks.n_tasks))
        prediction, _ = predict(adaptation, np.tile(probes, (len(asked), 1)), np.repeat(asked, len(probes)))
        shape = (len(asked), len(probes), -1)
        if isinstance(prediction, ClassPrediction):
            latents.append((prediction.log_proba - prediction.log_proba.mean(axis=1, keepdims=True)).reshape(shape))
            spreads.append(np.ones((len(asked), 1, 1)))
        else:
            latents.append(prediction.center.reshape(shape))
            spreads.append(prediction.spread.reshape(shape))
    return np.concatenate(latents), np.concatenate(spreads)


def _own_parts(explained: Explanation | dict[Any, Explanation]) -> np.ndarray:
    """What is the task's own [C, n, 3 + p]: level, scale, local, and the slope of each column."""
    several = explained.values() if isinstance(explained, dict) else [explained]
    return np.stack([np.column_stack([one.level, one.scale, one.local, one.slopes]) for one in several])
