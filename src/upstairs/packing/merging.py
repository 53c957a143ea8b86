"""Two task stores of the same columns become one: rows of a task in both stand one after the other, the older first.

Both are sorted already, so this is one pass over them, at the speed of the disk; nothing is sorted or encoded again.
"""

from pathlib import Path

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.packing.progress import Tell
from upstairs.packing.writing import StoreWriter
from upstairs.store import TaskStore
from upstairs.tasks import Tasks

__all__ = ["merge"]

STEP = 2**12
"""Tasks of both stores that are put together at once."""


def merge(old: TaskStore, new: TaskStore, folder: Path, tell: Tell) -> None:
    """Write the rows of both stores into ``folder``, where the new one lies, and put the result in its place."""
    if old.ids.dtype.kind != new.ids.dtype.kind:
        kinds = {"i": "whole numbers", "u": "whole numbers", "O": "text", "M": "dates"}
        a, b = (kinds.get(store.ids.dtype.kind, str(store.ids.dtype)) for store in (old, new))
        raise UpstairsError(f"The tasks of {old.path} are named by {a}, those of the new rows by {b}.")
    writer = StoreWriter(folder, old.columns, old.ids.dtype)
    try:
        for a, b in _ranges(old.ids, new.ids):
            rows = _together(old.tasks(slice(*a)), new.tasks(slice(*b)))
            for start in range(0, len(rows[1]), 2**16):
                stop = start + 2**16
                writer.write(np.ascontiguousarray(rows[0][start:stop]), rows[1][start:stop], rows[2][start:stop])
            tell("Merging", len(rows[1]))
        (folder / "manifest.json").unlink()
        writer.finish(old.task_name, old.target_name, old.classes)
    except BaseException:
        writer.abandon()
        raise


def _ranges(old: np.ndarray, new: np.ndarray):
    """Tasks [a, a') of the one and [b, b') of the other that hold the same range of ids, from the first to the last."""
    a = b = 0
    while a < len(old) or b < len(new):
        ends = [ids[min(at + STEP, len(ids)) - 1] for ids, at in ((old, a), (new, b)) if at < len(ids)]
        last = min(ends)
        a_stop, b_stop = (int(np.searchsorted(ids, last, side="right")) for ids in (old, new))
        yield (a, a_stop), (b, b_stop)
        a, b = a_stop, b_stop


def _together(old: Tasks, new: Tasks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and task of all rows, sorted by task, those of the older store first."""
    tasks = np.concatenate([np.repeat(old.ids, old.sizes), np.repeat(new.ids, new.sizes)])
    if not new.n_tasks or not old.n_tasks:
        some = old if old.n_tasks else new
        return some.X, some.y, tasks
    order = np.argsort(tasks, kind="stable")
    return np.concatenate([old.X, new.X])[order], np.concatenate([old.y, new.y])[order], tasks[order]
