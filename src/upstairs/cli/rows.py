"""The rows of a file as features, target and task, for a fit or for a fitted model."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError
from upstairs.files import check_columns, read_table
from upstairs.target_kind import choose_kind

__all__ = ["Rows", "read_rows", "target_name", "task_ids", "task_names", "text_columns", "with_target"]


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
    path: PurePath, task: str, target: str, ignore: Sequence[str] | None, drop_missing_target: bool, classify: bool | None
) -> Rows:
    """Read the rows of a file; the columns that are neither task, target nor ignored are the features."""
    table = read_table(path, text=[task])
    check_columns(table, [task, target, *(ignore or [])], path)
    if task == target:
        raise UpstairsError(f"{task!r} is given as task and as target; they must be two columns.")
    n_rows = table.num_rows
    table = with_target(table, target, path, drop_missing_target)
    features = [name for name in table.column_names if name not in {task, target, *(ignore or [])}]
    if not features:
        raise UpstairsError(f"{path} has no columns left to predict {target!r} from.")
    y = _plain(table[target])
    classify, reason = choose_kind(y, target, classify)
    return Rows(table.select(features), y, task_names(table, task, path), classify, reason, n_rows - table.num_rows)


def with_target(table: pa.Table, target: str, path: PurePath, drop_missing_target: bool) -> pa.Table:
    """The rows that have a target; unless the others shall be dropped, there may be none."""
    missing = pc.is_null(table[target], nan_is_null=True)
    if n_missing := pc.sum(missing).as_py():
        if not drop_missing_target:
            raise UpstairsError(
                f"{path} has no value of {target!r} in {n_missing:,} of its {table.num_rows:,} rows. "
                "Fill them in, or leave those rows out with --drop-missing-target."
            )
        table = table.filter(pc.invert(missing))
    if table.num_rows == 0:
        raise UpstairsError(f"{path} has no row with a value of {target!r}.")
    return table


def task_names(table: pa.Table, task: str, path: PurePath) -> pa.ChunkedArray:
    """The task of each row as text, so that numbers in one file and text in another name the same tasks."""
    if n_missing := table[task].null_count:
        raise UpstairsError(
            f"{path} has no value of {task!r} in {n_missing:,} of its {table.num_rows:,} rows. Name their tasks, or drop them."
        )
    return _plain(table[task]).cast(pa.string())


def text_columns(meta: Any, task: str | None) -> list[str]:
    """Columns of a CSV file that must be read as text whatever they look like, because they were text in fit."""
    text = [column.name for column in meta.columns_.columns if column.kind == "category"]
    if "classes_" in vars(meta) and meta.classes_.dtype.kind in "OU":
        text.append(meta.names_.target or "")
    return [*text, task or meta.names_.task or ""]


def task_ids(meta: Any, table: pa.Table, name: str, path: PurePath) -> np.ndarray:
    """The task of each row, as the fit named them: the command line's tasks are text, those of Python may be numbers."""
    names = task_names(table, name, path)
    if meta.known_.ids.dtype.kind not in "iu":
        return np.asarray(names)
    try:
        return np.asarray(names.cast(pa.int64()))
    except pa.ArrowInvalid:
        odd = next(value for value in names.to_pylist() if not value.lstrip("-").isdecimal())
        raise UpstairsError(f"The tasks of this model are whole numbers, but {path} names one {odd!r}.") from None


def target_name(meta: Any) -> str:
    """The target column of a loaded model."""
    if meta.names_.target is None:
        raise UpstairsError("This model doesn't know the name of its target column: save it with target_name=....")
    return meta.names_.target


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories as their text, decimals as numbers."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
