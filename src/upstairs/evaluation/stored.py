"""The rows of a task store as a table in memory: all, or as many as a fit from it would learn from, and how many these are."""

import numpy as np
import pyarrow as pa

from upstairs.contract import MOST_KNOWN_ROWS
from upstairs.store import TaskStore
from upstairs.wording import noun_of

__all__ = ["read_store"]


def read_store(store: TaskStore, seed: int) -> tuple[pa.Table, list[str]]:
    """Rows of its tasks, with their names and target (see `TaskStore.decode`), and what must be said of those left out."""
    few, _ = store.sample(MOST_KNOWN_ROWS, np.random.default_rng(seed))
    if len(few.y) == store.n_rows:
        return store.decode(few), []
    many = noun_of(store.task_name).many
    share = f"all {many}" if few.n_tasks == store.n_tasks else f"{few.n_tasks:,} of its {store.n_tasks:,} {many}"
    return store.decode(few), [
        f"Of the {store.n_rows:,} rows in {store.path.name} {len(few.y):,} were looked at, drawn at random from {share}: more "
        f"would take more than the {store.memory / 1e6:,.4g} MB that the store was opened with."
    ]
