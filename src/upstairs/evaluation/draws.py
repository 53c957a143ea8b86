"""Which rows of a task are support and which are query, drawn once for all learners and folds.

The rows of a task are put in order: at random, or in time. The first half may be support, the second half is query (at most 200
rows), the same for every number of shots. Supports are nested. At random, s shots are the first s of their half; in time they
are the s rows right before the query, so that no query ever precedes a support row. A task of 8 rows gives at most 4.

The last fifth of each task's rows, all of them query, are the rows on which a known task is compared with itself as
an unseen one.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsError
from upstairs.frames import open_table, read_vector, vector_name
from upstairs.tasks import group_rows

__all__ = ["SHOTS", "Draw", "check_shots", "draw_rows", "read_order"]

SHOTS = (0, 1, 2, 5, 10, 20)
MOST_QUERY = 200
HELD_SHARE = 5
"""One in so many rows of a task can be compared with the task known and unseen."""


class Draw(NamedTuple):
    """The part of each row; which rows of the table they are needs no copy.

    Attributes
    ----------
    ids : [T]
        Names of the tasks.
    task : int64 [n]
        The task of each row.
    rank : int64 [n]
        0 for the row that the first shot shows; beyond every number of shots for rows that are never support.
    query, held : bool [n]
        Query rows, and those among them on which a known task is compared with itself as unseen.
    """

    ids: np.ndarray
    task: np.ndarray
    rank: np.ndarray
    query: np.ndarray
    held: np.ndarray

    def name(self, task: int) -> object:
        """A task's name, as messages show it."""
        return self.ids[task : task + 1].tolist()[0]

    def support(self, shots: int) -> np.ndarray:
        """Whether each row is support at this number of shots, bool [n]."""
        return self.rank < shots


def draw_rows(groups: np.ndarray, order: np.ndarray | None, rng: np.random.Generator) -> Draw:
    """Put the rows of each task in order; ``order`` [n] as `read_order` gives it, or None for a random one."""
    ids, task = np.unique(groups, return_inverse=True)
    by_task, offsets = group_rows(task, len(ids))
    key = rng.random(len(task)) if order is None else order[by_task]  # the same draw, however the tasks' rows are mixed
    rows = by_task[np.lexsort((key, task[by_task]))]
    size = np.diff(offsets)[task[rows]]
    place = np.arange(len(rows)) - offsets[task[rows]]
    n_support = size // 2
    shown = place if order is None else n_support - 1 - place
    never = np.iinfo(np.int64).max
    rank, query, held = np.empty(len(rows), np.int64), np.empty(len(rows), bool), np.empty(len(rows), bool)
    rank[rows] = np.where(place < n_support, shown, never)
    query[rows] = is_query = (place >= n_support) & (place < n_support + MOST_QUERY)
    held[rows] = is_query & (place >= size - size // HELD_SHARE)
    return Draw(ids, task, rank, query, held)


def check_shots(shots: Any, draw: Draw) -> tuple[tuple[int, ...], list[int]]:
    """The numbers of shots in ascending order, and those of the default that no task can give; others are an error."""
    try:
        numbers = sorted({int(s) for s in np.atleast_1d(np.asarray(shots)).tolist() if int(s) == s})
    except (TypeError, ValueError):
        numbers = []
    if not numbers or numbers[0] < 0 or len(numbers) != len(set(np.atleast_1d(np.asarray(shots)).tolist())):
        raise UpstairsError(f"shots must be whole numbers of rows, as (0, 1, 5, 20), but is {shots!r}.")
    sizes = np.bincount(draw.task)
    too_many = [s for s in numbers if s > sizes.max() // 2]
    if too_many and tuple(numbers) != SHOTS:
        raise UpstairsError(
            f"shots={too_many[0]} is more than any task can give: the largest, {draw.name(int(sizes.argmax()))!r}, has "
            f"{sizes.max()} rows, half of which may be support. Ask for at most {sizes.max() // 2}."
        )
    return tuple(s for s in numbers if s not in too_many), too_many


def read_order(order: Any, X: Any, groups: np.ndarray) -> np.ndarray | None:
    """When each row was, as whole numbers [n] that sort as the times do, or None for no order.

    Parameters
    ----------
    order : str, array-like [n] or None
        Name of a column of X, or the times themselves: numbers or dates, none missing, none twice in a task.
    """
    if order is None:
        return None
    name = "order"
    if isinstance(order, str):
        table = open_table(X)
        if order not in table.names:
            raise UpstairsError(f"order={order!r} is no column of X; its columns are {', '.join(map(repr, table.names))}.")
        name = f"Column {order!r}"
        order = pa.table({order: table.column(table.names.index(order))})
    elif vector_name(order):
        name = f"Column {vector_name(order)!r}"
    times, missing = read_vector(order, len(groups), name)
    if missing.any():
        raise UpstairsError(
            f"{name} is missing in {missing.sum()} of {len(times)} rows, the first of them row {missing.argmax()}, but the "
            "order of support and query needs a time for every row. Drop these rows."
        )
    if times.dtype.kind not in "biufM":
        raise UpstairsError(
            f"{name} holds {times[:1].tolist()[0]!r} in row 0, but must hold numbers or dates, which can be put in order."
        )
    moments, code = np.unique(times, return_inverse=True)
    _, task = np.unique(groups, return_inverse=True)
    together = task * len(moments) + code
    _, first, count = np.unique(together, return_index=True, return_counts=True)
    if (count > 1).any():
        row = first[count > 1].min()
        own = groups[row : row + 1].tolist()[0]
        raise UpstairsError(
            f"{name} holds {moments[code[row]]} more than once in task {own!r}, so that which row came first can't be told. "
            "Give every row of a task its own time, or leave order out."
        )
    return code
