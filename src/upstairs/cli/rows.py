"""The rows of a file or store as features, target and task, for a fit or for a fitted model."""

import shlex
import warnings
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.cleaning import without_empty_rows
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.files import check_columns, plain_column, read_table, task_names
from upstairs.store import Cluster, TaskStore, is_store, open_store
from upstairs.target_kind import choose_kind
from upstairs.wording import rows_in_words

__all__ = [
    "Drop",
    "Rows",
    "check_nothing_given",
    "check_order",
    "given_of",
    "open_rows",
    "read_rows",
    "target_name",
    "text_columns",
    "with_task",
    "with_task_and_target",
]


FEWEST_COUNTED = 20
"""Rows: a file of fewer may hold 1, 2, 3 for reasons of its own."""


class Drop(NamedTuple):
    """Whether to leave out rows that lack their target or task; else they are an error."""

    drop_missing_target: bool = False
    drop_missing_task: bool = False


class Rows(NamedTuple):
    """Rows to learn from.

    Attributes
    ----------
    X : table [n, p], or TaskStore
    y, groups : array [n]
        None for a store, which brings its own.
    task, target : str
        Their columns.
    columns : list of str
        The features.
    n_tasks, n_rows : int
    classify : bool
    reason : str
        Why classes or numbers, to be said to the user.
    n_dropped : int
        Rows left out because they have no target or no task.
    """

    X: Any
    y: pa.ChunkedArray | None
    groups: pa.ChunkedArray | None
    task: str
    target: str
    columns: list[str]
    n_tasks: int
    n_rows: int
    classify: bool
    reason: str
    n_dropped: int


def read_rows(
    path: PurePath,
    task: str | None,
    target: str | None,
    ignore: Sequence[str] | None,
    drop: Drop,
    classify: bool | None,
    csv: Csv,
    memory: str,
    cluster: Cluster = Cluster(),  # noqa: B008
) -> Rows:
    """Read the rows of a file, whose columns that are neither task, target nor ignored are the features; or open a store."""
    if is_store(path):
        given = {"task": task, "target": target, "ignore": ignore or None, **given_of(drop), **given_of(csv)}
        return _stored_rows(open_rows(path, memory, {**given, "classify/--regress": classify}, cluster))
    if task is None or target is None:
        raise UpstairsError(
            f"{path} needs --task and --target, the columns of each row's task and of what is to be predicted; only a store "
            "brings its own."
        )
    table = read_table(path, [task], csv)
    check_columns(table, [task, target, *(ignore or [])], path)
    if task == target:
        raise UpstairsError(f"{task!r} is given as task and as target; they must be two columns.")
    n_rows = table.num_rows
    features = [name for name in table.column_names if name not in {task, target, *(ignore or [])}]
    _tell_row_numbers(table.select(features), path)
    table = with_task_and_target(table, task, target, path, drop)
    if not features:
        raise UpstairsError(f"{path} has no columns left to predict {target!r} from.")
    y, groups = plain_column(table[target]), task_names(table[task], task, path)
    classify, reason = choose_kind(y, target, classify)
    n_tasks, n_dropped = len(groups.unique()), n_rows - table.num_rows
    return Rows(table.select(features), y, groups, task, target, features, n_tasks, table.num_rows, classify, reason, n_dropped)


def open_rows(
    path: PurePath, memory: str, given: dict[str, Any], cluster: Cluster = Cluster()  # noqa: B008
) -> TaskStore:  # fmt: skip
    """A store with a target; options that are for files must not be ``given``."""
    check_nothing_given(path, given)
    store = open_store(path, memory, **cluster._asdict())
    if store.target_name is None:
        raise UpstairsError(f"{path} holds no target: pack it with --target.")
    return store


def given_of(options: Drop | Csv) -> dict[str, Any]:
    """Those of the options that say something, by their names on the command line."""
    return {name.replace("_", "-"): value for name, value in options._asdict().items() if value}


def check_nothing_given(path: PurePath, given: dict[str, Any]) -> None:
    """An UpstairsError if any of these options, which are for files, was given with a store."""
    for option, value in given.items():
        if value is not None:
            raise UpstairsError(f"--{option} is for files, but {path} is a store, and stays as it was packed. Leave it out.")


def _stored_rows(store: TaskStore) -> Rows:
    columns, classify = list(store.columns.names), store.classes is not None
    names = store.task_name, store.target_name, columns
    return Rows(store, None, None, *names, store.n_tasks, store.n_rows, classify, "as it was packed", 0)


def _tell_row_numbers(features: pa.Table, path: PurePath) -> None:
    """A warning of each column that counts the rows: it says where in the file a task stood, and nothing of new rows."""
    for name, column in zip(features.column_names, features.columns, strict=True):
        if _counts_rows(column):
            warnings.warn(
                f"{name!r} counts the rows of {path}; new rows have no such number. Leave it out with --ignore "
                f"{shlex.quote(name)}.",
                UpstairsWarning,
                stacklevel=3,
            )


def _counts_rows(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_integer(column.type) or len(column) < FEWEST_COUNTED or column[0].as_py() not in (0, 1):
        return False
    return np.array_equal(column.to_numpy(), np.arange(len(column)) + column[0].as_py())


def with_task_and_target(table: pa.Table, task: str, target: str, path: PurePath, drop: Drop) -> pa.Table:
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


def with_task(table: pa.Table, task: str, path: PurePath) -> pa.Table:
    """The rows that name their task, with a warning if there are others."""
    if n_missing := table[task].null_count:
        warnings.warn(
            f"{path} has no value of {task!r} in {rows_in_words(n_missing)}, left out.", UpstairsWarning, stacklevel=2
        )
    return table.filter(pc.is_valid(table[task])) if n_missing else table


def check_order(order: str | None, task: str | None, target: str | None) -> None:
    """What gives the rows of a task their order is neither of these."""
    if order is not None and order in (task, target):
        what = "task" if order == task else "target"
        raise UpstairsError(f"--order names {order!r}, which is the {what}; it must hold times.")


def text_columns(meta: Any, task: str | None) -> list[str]:
    """Columns of a CSV file that must be read as text whatever they look like, because they were text in fit."""
    text = [column.name for column in meta.columns_.columns if column.kind == "category"]
    if "classes_" in vars(meta) and meta.classes_.dtype.kind in "OU":
        text.append(meta.names_.target or "")
    return [*text, task or meta.names_.task or ""]


def target_name(meta: Any) -> str:
    """The target column of a loaded model."""
    if meta.names_.target is None:
        raise UpstairsError("This model doesn't know the name of its target column: save it with target_name=....")
    return meta.names_.target
