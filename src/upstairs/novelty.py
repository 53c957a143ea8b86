"""Is this task like the others? How surprising its support rows are, beside those of tasks known from the fit.

The rows of a task are put in a random order, and from the first k of them the others are predicted. D_k is their mean log
density, over a few orders:

    z_k = (D_k − mean D_k of known tasks) / sd,    surprise = log mean_k exp(−z_k),    k = 0, 1, 2, 5, 10 below the shots
    p = (1 + T · share of known tasks at least as surprising) / (T + 1)

The sum of D_k over all k is the log marginal likelihood (Fong, Holmes 2020), and each k sees what the others miss: a level
that is far off shows at k = 0 only, since one row is enough to adapt to it; slopes that run the other way at k = 1 and 2; noise
at any. Leaving one row out alone is blind to the first two. A known task is predicted by the fold model that never saw it.

The surprise of known tasks is learned at 1, 2, 5, 10 and 20 shots; between these it is linear in log(1 + shots). Orders sort
rows by a hash of what they hold, so that they are as good as random, and p is the same however rows came.

p is no smaller than 1 / (T + 1), and of the known tasks themselves it is a mere rank. How far one of these stands out is told
by a *chance*: beyond the 90 % quantile of the surprise the tail is taken to be that of t², t of Student with T / 4 degrees of
freedom, on the scale that the median and the 90 % quantile give, which a few odd tasks don't change. Log densities are squares,
and a scale that is told by few tasks makes their tail heavier.
Of T tasks with chances c in ascending order those up to the last with c_k ≤ q k / T are called odd (Benjamini, Hochberg 1995):
no more than a share q of them is so by chance, or twice that, since the tail is an estimate (benchmarks/novelty.py).

References
----------
Fong, Holmes (2020), On the marginal likelihood and cross-validation, Biometrika 107, proposition 2.
Vovk, Gammerman, Shafer (2005), Algorithmic learning in a random world, chapter 2.
Benjamini, Hochberg (1995), Controlling the false discovery rate, Journal of the Royal Statistical Society B 57.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from upstairs.adaptation import adapt, predict
from upstairs.calibration import between_buckets
from upstairs.episodes import SHOTS
from upstairs.errors import UpstairsError
from upstairs.prediction import log_likelihood
from upstairs.tasks import Tasks

__all__ = ["Reference", "Surprise", "count_odd", "learn_reference", "p_values", "surprises"]

STEPS = np.array([0, 1, 2, 5, 10])
N_ORDERS = 3
FEWEST_TASKS = 20
"""Known tasks with enough rows that a number of shots takes to be learned at, where there are so many."""
FEWEST_EPISODES, MOST_EPISODES = 500, 1000
LEVELS = np.linspace(0, 1, 401)
TAIL = (0.5, 0.9)
"""Quantiles of the surprise from which its tail is told."""
TASKS_A_DEGREE = 4
"""Known tasks that make one degree of freedom of that tail."""
LEAST_CHANCE = 1e-12
FAR = 4
"""Distances of the 5 % quantile from the median."""


class Reference(NamedTuple):
    """How surprising known tasks are.

    Attributes
    ----------
    shots : float64 [B]
        The buckets that were learned at.
    n_tasks : int64 [B]
        Known tasks with so many rows.
    mean, sd : float64 [B, K]
        Of D_k, for each k of ``STEPS``, without what is far below; what a bucket lacks is taken from the next.
    quantiles : float64 [B, Q]
        Of the surprise.
    """

    shots: np.ndarray
    n_tasks: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray


def learn_reference(meta: Any) -> Reference:
    """The surprise of the known tasks of a fitted meta-model."""
    tasks, rng = meta.known_, np.random.default_rng(0)
    if tasks.n_tasks < 2:
        raise UpstairsError(
            f"Whether a task is like the known ones can't be said, since this model holds {tasks.n_tasks} of them. "
            "It takes two or more, and save(..., known_tasks=True) where the model was saved by an older upstairs."
        )
    enough = [s for s in SHOTS if (tasks.sizes >= s).sum() >= min(FEWEST_TASKS, tasks.n_tasks)]
    n_tasks, densities = [], []
    for s in enough or [int(np.sort(tasks.sizes)[-2])]:
        able = np.flatnonzero(tasks.sizes >= s)
        n_episodes = int(np.clip(len(able), FEWEST_EPISODES, MOST_EPISODES))
        drawn = np.concatenate([rng.permutation(able) for _ in range(-(-n_episodes // len(able)))])[:n_episodes]
        densities.append(_mean_log_densities(meta, tasks.take(drawn).thin(s, rng), meta.state_.fold[drawn]))
        n_tasks.append(len(able))
    shots = np.array(enough or [s], float)
    mean, sd = np.zeros((len(shots), len(STEPS))), np.ones((len(shots), len(STEPS)))
    for b in reversed(range(len(shots))):
        there = shots[b] > STEPS
        mean[b], sd[b] = (mean[b + 1], sd[b + 1]) if b + 1 < len(shots) else (mean[b], sd[b])
        mean[b, there], sd[b, there] = _mean_and_sd(densities[b][:, there])
    surprises = [_surprise((d - m) / v, s > STEPS) for d, m, v, s in zip(densities, mean, sd, shots, strict=True)]
    return Reference(shots, np.array(n_tasks), mean, sd, np.stack([np.quantile(some, LEVELS) for some in surprises]))


class Surprise(NamedTuple):
    """How surprising T tasks are.

    Attributes
    ----------
    p_value : float64 [T]
        1 where there are no rows.
    chance : float64 [T]
        The share of ordinary tasks at least as surprising, carried on beyond those that are known.
    seen : int64 [T]
        The number of rows after which the others surprised most.
    """

    p_value: np.ndarray
    chance: np.ndarray
    seen: np.ndarray


def p_values(meta: Any, reference: Reference, support: Tasks) -> np.ndarray:
    """The p-value [T] of each support, under the hypothesis that its task is like the known ones; 1 where there are no rows."""
    return surprises(meta, reference, support).p_value


def surprises(meta: Any, reference: Reference, support: Tasks, fold: np.ndarray | None = None) -> Surprise:
    """How surprising each support is, to the part of the model that never saw a known task where ``fold`` [T] names it."""
    support = _thin(support, int(reference.shots[-1]))
    shots = support.sizes
    density = _mean_log_densities(meta, support, np.full(len(shots), -1) if fold is None else fold)
    mean, sd, quantiles = (
        np.column_stack([between_buckets(reference.shots, column, shots) for column in part.T])
        for part in (reference.mean, reference.sd, reference.quantiles)
    )
    bucket = np.maximum(np.searchsorted(reference.shots, shots, side="right") - 1, 0)
    there = np.minimum(reference.shots[bucket], np.maximum(shots, 1))[:, None] > STEPS
    z = (density - mean) / sd
    surprise = _surprise(z, there)
    share = np.array([1 - np.interp(one, row, LEVELS) for one, row in zip(surprise, quantiles, strict=True)])
    n_tasks = reference.n_tasks[bucket]
    low, high = (quantiles[:, round(level * (len(LEVELS) - 1))] for level in TAIL)
    tail = stats.f(1, np.maximum(n_tasks / TASKS_A_DEGREE, 2))
    low_square, high_square = map(tail.ppf, TAIL)
    square = high_square + (surprise - high) / np.maximum(high - low, 1e-9) * (high_square - low_square)
    chance = np.where(surprise > high, np.maximum(tail.sf(square), LEAST_CHANCE), share)
    return Surprise(
        np.where(shots > 0, (1 + n_tasks * share) / (n_tasks + 1), 1.0),
        np.where(shots > 0, chance, 1.0),
        STEPS[np.where(there, z, np.inf).argmin(axis=1)],
    )


def count_odd(chance: np.ndarray, false_share: float = 0.05) -> int:
    """How many of the tasks with the smallest chances [T] are called odd."""
    below = np.flatnonzero(np.sort(chance) <= false_share * np.arange(1, len(chance) + 1) / len(chance))
    return int(below[-1]) + 1 if len(below) else 0


def _mean_and_sd(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column, without what lies so far below that it would hide the other odd tasks."""
    low, middle = np.quantile(density, [0.05, 0.5], axis=0)
    kept = np.where(density >= middle - FAR * (middle - low), density, np.nan)
    return np.nanmean(kept, axis=0), np.maximum(np.nanstd(kept, axis=0), 1e-9)


def _surprise(z: np.ndarray, there: np.ndarray) -> np.ndarray:
    """log mean exp(−z) [T] over the steps (columns of z) that are there."""
    there = np.broadcast_to(there, z.shape)
    return special.logsumexp(np.where(there, -z, -np.inf), axis=1) - np.log(there.sum(axis=1))


def _mean_log_densities(meta: Any, tasks: Tasks, fold: np.ndarray) -> np.ndarray:
    """D_k [T, K]; 0 where a task has no more than k rows."""
    total, count = np.zeros((2, tasks.n_tasks, len(STEPS)))
    task = tasks.task_of_row
    for salt in range(N_ORDERS):
        order = _order(tasks, salt)
        rank = np.arange(len(task)) - tasks.offsets[task]
        for j, k in enumerate(STEPS):
            first, rest = order[rank < k], order[rank >= k]
            adaptation = adapt(meta, tasks.take_rows(first, np.minimum(tasks.sizes, k)), fold)
            prediction, _ = predict(adaptation, tasks.X[rest], task[rest])
            density = log_likelihood(prediction, meta.state_.scale, tasks.y[rest])
            total[:, j] += np.bincount(task[rest], density, tasks.n_tasks)
            count[:, j] += np.bincount(task[rest], minlength=tasks.n_tasks)
    return total / np.maximum(count, 1)


def _thin(tasks: Tasks, most: int) -> Tasks:
    """At most ``most`` rows of each task, the same whatever order they came in."""
    rank = np.arange(len(tasks.y)) - tasks.offsets[tasks.task_of_row]
    return tasks.take_rows(_order(tasks, N_ORDERS)[rank < most], np.minimum(tasks.sizes, most))


def _order(tasks: Tasks, salt: int) -> np.ndarray:
    """Rows [n] by task, and within a task by a hash of the row."""
    rows = np.column_stack([(tasks.X + np.float32(0)).view(np.uint32), (tasks.y + 0.0).view(np.uint64)])
    odd = np.random.default_rng(salt).integers(2**62, size=rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    code = (rows * odd).sum(axis=1, dtype=np.uint64)
    code = (code ^ code >> np.uint64(31)) * np.uint64(0x9E3779B97F4A7C15)
    return np.lexsort((code ^ code >> np.uint64(29), tasks.task_of_row))
