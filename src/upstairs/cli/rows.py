"""The rows of a file as features, target and task, for a fit or for a fitted model."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.cleaning import without_empty_rows
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.files import check_columns, read_table
from upstairs.target_kind import choose_kind
from upstairs.wording import rows_in_words

__all__ = [
    "Drop",
    "Rows",
    "read_rows",
    "target_name",
    "task_ids",
    "task_names",
    "text_columns",
    "with_task",
    "with_task_and_target",
]


class Drop(NamedTuple):
    """Whether to leave out rows that lack their target or task; else they are an error."""

    drop_missing_target: bool = False
    drop_missing_task: bool = False


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
        Rows left out because they have no target or no task.
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
    path: Path, task: str, target: str, ignore: Sequence[str] | None, drop: Drop, classify: bool | None, csv: Csv
) -> Rows:
    """Read the rows of a file; the columns that are neither task, target nor ignored are the features."""
    table = read_table(path, [task], csv)
    check_columns(table, [task, target, *(ignore or [])], path)
    if task == target:
        raise UpstairsError(f"{task!r} is given as task and as target; they must be two columns.")
    n_rows = table.num_rows
    table = with_task_and_target(table, task, target, path, drop)
    features = [name for name in table.column_names if name not in {task, target, *(ignore or [])}]
    if not features:
        raise UpstairsError(f"{path} has no columns left to predict {target!r} from.")
    y = _plain(table[target])
    classify, reason = choose_kind(y, target, classify)
    return Rows(table.select(features), y, task_names(table, task, path), classify, reason, n_rows - table.num_rows)


def with_task_and_target(table: pa.Table, task: str, target: str, path: Path, drop: Drop) -> pa.Table:
    """The rows that have a task and a target; unless the others shall be dropped, there may be none but empty ones."""
    table = without_empty_rows(table, path)
    for what, name, dropped in (("target", target, drop.drop_missing_target), ("task", task, drop.drop_missing_task)):
        missing = pc.is_null(table[name], nan_is_null=True)
        if n_missing := pc.sum(missing).as_py():
            if not dropped:
                raise UpstairsError(
                    f"{path} has no value of {name!r} in {n_missing:,} of its {table.num_rows:,} rows. "
                    f"Fill them in, or leave those rows out with --drop-missing-{what}."
                )
            table = table.filter(pc.invert(missing))
        if table.num_rows == 0:
            raise UpstairsError(f"{path} has no row with a value of {name!r}.")
    return table


def with_task(table: pa.Table, task: str, path: Path) -> pa.Table:
    """The rows that name their task, with a warning if there are others."""
    if n_missing := table[task].null_count:
        warnings.warn(
            f"{path} has no value of {task!r} in {rows_in_words(n_missing)}, left out.", UpstairsWarning, stacklevel=2
        )
    return table.filter(pc.is_valid(table[task])) if n_missing else table


def task_names(table: pa.Table, task: str, path: Path) -> pa.ChunkedArray:
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


def task_ids(meta: Any, table: pa.Table, name: str, path: Path) -> np.ndarray:
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
