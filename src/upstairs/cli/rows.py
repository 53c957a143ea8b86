"""The rows of a file as features, target and task."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError
from upstairs.files import check_columns, read_table
from upstairs.target_kind import choose_kind

__all__ = ["Rows", "read_rows", "task_names"]


class Rows(NamedTuple):
    """Rows to learn from.

    Attributes
    ----------
    X : table [n, p]
    y, groups : array [n]
    classify : bool
    reason : str
        Why classes or numbers, to be said to the user.
    n_dropped : int
        Rows left out because they have no target.
    """

    X: pa.Table
    y: pa.ChunkedArray
    groups: pa.ChunkedArray
    classify: bool
    reason: str
    n_dropped: int

    @property
    def n_tasks(self) -> int:
        return len(self.groups.unique())


def read_rows(
    path: Path, task: str, target: str, ignore: Sequence[str] | None, drop_missing_target: bool, classify: bool | None
) -> Rows:
    """Read the rows of a file; the columns that are neither task, target nor ignored are the features."""
    table = read_table(path, text=[task])
    check_columns(table, [task, target, *(ignore or [])], path)
    if task == target:
        raise UpstairsError(f"{task!r} is given as task and as target; they must be two columns.")
    n_rows = table.num_rows
    missing = pc.is_null(table[target], nan_is_null=True)
    if n_missing := pc.sum(missing).as_py():
        if not drop_missing_target:
            raise UpstairsError(
                f"{path} has no value of {target!r} in {n_missing:,} of its {n_rows:,} rows. "
                "Fill them in, or leave those rows out with --drop-missing-target."
            )
        table = table.filter(pc.invert(missing))
    if table.num_rows == 0:
        raise UpstairsError(f"{path} has no row with a value of {target!r}.")
    features = [name for name in table.column_names if name not in {task, target, *(ignore or [])}]
    if not features:
        raise UpstairsError(f"{path} has no columns left to predict {target!r} from.")
    y = _plain(table[target])
    classify, reason = choose_kind(y, target, classify)
    return Rows(table.select(features), y, task_names(table, task, path), classify, reason, n_rows - table.num_rows)


def task_names(table: pa.Table, task: str, path: Path) -> pa.ChunkedArray:
    """The task of each row as text, so that numbers in one file and text in another name the same tasks."""
    if n_missing := table[task].null_count:
        raise UpstairsError(
            f"{path} has no value of {task!r} in {n_missing:,} of its {table.num_rows:,} rows. Name their tasks, or drop them."
        )
    return _plain(table[task]).cast(pa.string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories as their text, decimals as numbers."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
