"""Episodes: support and query rows drawn from meta-train tasks, as an unseen task would offer them."""

from typing import NamedTuple

import numba
import numpy as np

from upstairs.tasks import Tasks, offsets_of

__all__ = ["BUCKETS", "SHOTS", "Episodes", "draw_episodes", "query_tasks", "support_tasks"]

SHOTS = (1, 2, 5, 10, 20)
"""Buckets of support size that priors are learned at."""
BUCKETS = (0, *SHOTS)
"""Those that calibrations are learned at: zero-shot as well."""
FEW = 0.02
"""Of so few of the tasks, episodes are drawn without shuffling them all."""


class Episodes(NamedTuple):
    """E episodes. Supports are nested: the support of s shots is the first s columns.

    Attributes
    ----------
    task : int64 [E]
    support : int64 [E, S]
        Rows, -1 where the task has no more to give (a support takes at most half of its task).
    query : int64 [E, Q]
        Rows, padded with -1 at the end.
    """

    task: np.ndarray
    support: np.ndarray
    query: np.ndarray

    @property
    def shots(self) -> np.ndarray:
        """Support rows that each episode can give, int64 [E]."""
        return (self.support >= 0).sum(axis=1)

    def telling(self, bucket: int) -> "Episodes":
        """Those whose support tells this bucket from the one before it."""
        return self.take(self.shots > max((b for b in BUCKETS if b < bucket), default=-1))

    def take(self, which: np.ndarray) -> "Episodes":
        """The given episodes (indices or a mask)."""
        return Episodes(self.task[which], self.support[which], self.query[which])


def draw_episodes(
    offsets: np.ndarray, n_episodes: int, rng: np.random.Generator, *, among: np.ndarray | None = None,
    most_support: int = SHOTS[-1], most_query: int = 16,
) -> Episodes:  # fmt: skip
    """Draw episodes from the tasks that have at least two rows, as evenly over tasks as the number allows.

    Where no task has two rows, all episodes are zero-shot.

    Parameters
    ----------
    offsets : int64 [T + 1]
        Where each task begins.
    among : int64, optional
        The tasks to draw from; all of them if not given.
    """
    sizes = np.diff(offsets) if among is None else offsets[among + 1] - offsets[among]
    able = np.flatnonzero(sizes >= min(2, sizes.max()))
    if n_episodes < FEW * len(able):
        task = rng.choice(able, n_episodes, replace=False)
    else:
        rounds = -(-n_episodes // len(able))
        task = np.concatenate([rng.permutation(able) for _ in range(rounds)])[:n_episodes]
    sizes = sizes[task]
    task = task if among is None else among[task]
    order = _shuffled_rows(offsets[task], sizes, most_support + most_query, rng)
    n_query = np.minimum(sizes - sizes // 2, most_query)
    n_support = np.minimum(sizes // 2, most_support)
    column = np.arange(max(most_support, most_query))
    query = np.where(column[:most_query] < n_query[:, None], order[:, :most_query], -1)
    after = np.minimum(n_query[:, None] + column[:most_support], order.shape[1] - 1)
    support = np.where(column[:most_support] < n_support[:, None], np.take_along_axis(order, after, axis=1), -1)
    return Episodes(task, support, query)


def support_tasks(tasks: Tasks, episodes: Episodes, shots: int) -> Tasks:
    """The supports of the episodes as tasks of at most ``shots`` rows."""
    return _as_tasks(tasks, episodes.task, episodes.support[:, :shots])


def query_tasks(tasks: Tasks, episodes: Episodes) -> Tasks:
    """The queries of the episodes as tasks."""
    return _as_tasks(tasks, episodes.task, episodes.query)


def _as_tasks(tasks: Tasks, task: np.ndarray, rows: np.ndarray) -> Tasks:
    present = rows >= 0
    flat = rows[present]
    return Tasks(tasks.X[flat], tasks.y[flat], offsets_of(present.sum(axis=1)), tasks.ids[task], tasks.levels)


def _shuffled_rows(starts: np.ndarray, sizes: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Up to ``most`` distinct random rows of each task [E, most]; what lies beyond a task's size is rubbish."""
    rows = np.zeros((len(starts), most), dtype=np.int64)
    _shuffle(sizes, rng.random(rows.shape), rows)
    return rows + starts[:, None]


@numba.njit(cache=True, nogil=True)
def _shuffle(sizes, uniform, rows):  # pragma: no cover (compiled)
    """The first places of random orders of 0, 1, ..., size − 1, into ``rows`` [E, most].

    The shuffle of Fisher and Yates, of which only what has moved is written down, so that a large task costs no more than a
    small one.
    """
    most = rows.shape[1]
    place, moved = np.empty(most, np.int64), np.empty(most, np.int64)
    for e in range(len(rows)):
        for j in range(min(most, sizes[e])):
            drawn = j + np.int64(uniform[e, j] * (sizes[e] - j))
            here, there = j, drawn
            for i in range(j):
                here = moved[i] if place[i] == j else here
                there = moved[i] if place[i] == drawn else there
            rows[e, j] = there
            place[j], moved[j] = drawn, here
