"""Files larger than memory -> a task store, in two passes over the rows and one external sort.

1. survey     what the columns hold: kinds, categories, means and deviations in float64 (`survey`)
2. encode     each row to float32 by `table.Columns`, as a table in memory would be
   sort       by task, on disk where memory ends (`sorting`)
   write      row by row, with checksums, under a temporary name; then synced and renamed (`writing`)
"""

import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.frames import listed
from upstairs.packing.merging import merge
from upstairs.packing.progress import Tell, show_progress
from upstairs.packing.sorting import LEAST_MEMORY, Encoded, sorted_rows
from upstairs.packing.source import Source, kind_in_words
from upstairs.packing.survey import Survey, check_tasks, id_type, survey
from upstairs.packing.writing import StoreWriter, new_store
from upstairs.remote import place
from upstairs.store import TaskStore, open_store, parse_memory
from upstairs.table import ROWS, Columns, read_target
from upstairs.target import check_labels, check_numbers

__all__ = ["pack"]

VALUES = 2**22
"""Values that are encoded at once."""


class _Names(NamedTuple):
    task: str
    target: str | None
    features: tuple[str, ...]


def pack(
    source: Any,
    path: str | os.PathLike,
    *,
    task: str | None = None,
    target: str | None = None,
    memory: str | int = "2GB",
    ignore: Sequence[str] = (),
    classify: bool | None = None,
    drop_missing_target: bool = False,
    drop_missing_task: bool = False,
    like: Any = None,
    append: bool = False,
    progress: bool | None = None,
) -> TaskStore:
    """Pack files of rows, in any order and of any size, into a task store on disk.

    Parameters
    ----------
    source : path, pattern, or list of paths
        Parquet, CSV or Arrow files: one, a folder of them (also partitioned, ``store=12/part-0.parquet``), or a pattern; also
        in an object store (``s3://bucket/rows/*.parquet``).
    path : str or path
        The store's folder, which appears whole or not at all; an older store of that name is replaced.
    task : str
        Column that names each row's task: whole numbers, text or dates, none missing.
    target : str, optional
        Column to be predicted. Without it the rows are only to be predicted.
    memory : str or int, default="2GB"
        What this process may take in all; at least 400MB. What doesn't fit goes to disk, beside the store.
    ignore : sequence of str
        Columns to leave out.
    classify : bool, optional
        Classes or numbers; without it classes where the target holds text, true and false, or no more than two whole numbers.
    drop_missing_target, drop_missing_task : bool, default=False
        Leave out rows without a target, or without a task.
    like : fitted meta-model or TaskStore, optional
        Encode by its columns instead of learning them anew: what is adapted to by that model has to be.
    append : bool, default=False
        Add the rows to the store at ``path``, encoded by its columns: rows of new tasks, or more rows of old ones.
    progress : bool, optional
        Show how far it is, from the third second on; by default where stderr is a terminal.

    Returns
    -------
    store : TaskStore

    Raises
    ------
    UpstairsError
        A sentence that names the file and the column or row that can't be used. The store is then as it was before.

    Notes
    -----
    The same rows, in the order of the files, are the same numbers as in memory, bit for bit. Rows of a task keep their order.
    Beside the store itself, the disk has to hold about its size while rows are sorted.

    Examples
    --------
    >>> store = upstairs.pack("2024/*.parquet", "sales.tasks", task="store", target="sales")  # doctest: +SKIP
    """
    _check_duckdb()
    path, n_bytes = _on_disk(path), parse_memory(memory)
    if n_bytes < LEAST_MEMORY:
        raise UpstairsError(f"memory is {memory}, but packing takes at least {LEAST_MEMORY // 1000**2}MB.")
    old = open_store(path) if append else None
    if old is not None:
        task, target, like = task or old.task_name, target or old.target_name, old
    if task is None:
        raise UpstairsError("pack needs task, the column that names each row's task.")
    dropped = [target] if target and drop_missing_target else []
    rows = Source(source, [*dropped, *([task] if drop_missing_task else [])])
    names = _choose(rows, task, target, ignore, like)
    with show_progress(progress) as tell, new_store(path) as folder:
        known = _known(like, target, classify)
        if known is None:
            known = survey(rows, names.features, task, target, classify, n_bytes, tell)
        else:
            rows.check(names.features, kind_in_words)
        _check_room(path, known)
        _write(rows, names, known, n_bytes, folder, tell)
        if old is not None:
            merge(old, TaskStore(folder), folder, tell)
    return open_store(path)


def _choose(source: Source, task: str, target: str | None, ignore: Sequence[str], like: Any) -> _Names:
    """The columns, checked in every file."""
    if task == target:
        raise UpstairsError(f"{task!r} is given as task and as target; they must be two columns.")
    special = [task, *([target] if target else [])]
    source.check([task], id_type)
    if target:
        source.check([target], _target_kind)
    if like is not None:
        features = _columns_of(like).names
        if extra := [name for name in source.names if name not in {*features, *special, *ignore}]:
            message = f"{source.paths[0]} has columns that weren't there in fit, ignored: {listed(extra)}."
            warnings.warn(message, UpstairsWarning, stacklevel=3)
        return _Names(task, target, features)
    for name in ignore:
        if name not in source.names:
            source.check([name], _any_kind)
    source.check_no_others(ignore)
    features = tuple(name for name in source.names if name not in {*special, *ignore})
    if not features:
        raise UpstairsError(f"{source.paths[0]} has no columns left to predict from.")
    return _Names(task, target, features)


def _write(source: Source, names: _Names, known: Survey, memory: int, folder: Path, tell: Tell) -> None:
    spill = folder / "sort"
    rows = _encoded(source, names, known, tell)
    ordered = sorted_rows(rows, memory, spill)
    writer = None
    try:
        for task, y, X in ordered:
            writer = writer or StoreWriter(folder, known.columns, task.dtype)
            writer.write(X, y, task)
            tell("Writing", len(task))
        if writer is None or (known.n_rows >= 0 and writer.n_rows != known.n_rows):
            raise UpstairsError(f"{source.paths[0]} changed while it was packed, or holds no rows. Pack it again.")
        writer.finish(names.task, names.target, known.classes)
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    finally:
        ordered.close()
        shutil.rmtree(spill, ignore_errors=True)


def _encoded(source: Source, names: _Names, known: Survey, tell: Tell) -> Iterator[Encoded]:
    """The second pass."""
    wanted = [*names.features, names.task, *([names.target] if names.target else [])]
    for block in source.blocks(wanted, max(1, min(ROWS, VALUES // len(wanted)))):
        check_tasks(source, block, names.task)
        table = block.table
        with source.placing(block.first_row):
            X = known.columns.encode(table.select(names.features))
            y = _target(table, names.target, known, block.first_row)
        yield Encoded(_task_ids(table[names.task]), y, X)
        tell("Sorting by task", len(y))


def _target(table: pa.Table, target: str | None, known: Survey, first_row: int) -> np.ndarray:
    """Numbers, codes, or the row's own number."""
    if target is None:
        return np.arange(first_row, first_row + table.num_rows, dtype=np.float64)
    y = read_target(table[target], table.num_rows)
    return check_numbers(y) if known.classes is None else check_labels(y, known.classes)[1]


def _task_ids(column: pa.ChunkedArray) -> pa.Array:
    ids = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    words = id_type(ids.type, "")
    try:
        return ids.cast(pa.int64() if words == "whole numbers" else pa.string() if words == "text" else pa.timestamp("us"))
    except pa.ArrowInvalid:
        raise UpstairsError(f"A task is named by a number or date that is too large for 64 bits: {pc.max(ids)}.") from None


def _known(like: Any, target: str | None, classify: bool | None) -> Survey | None:
    if like is None:
        return None
    labels = like.classes if isinstance(like, TaskStore) else getattr(like, "classes_", None)
    return Survey(_columns_of(like), None if target is None else labels, -1, "as before")


def _columns_of(like: Any) -> Columns:
    columns = like.columns if isinstance(like, TaskStore) else getattr(like, "columns_", None)
    if not isinstance(columns, Columns):
        raise UpstairsError(f"like must be a fitted meta-model or a task store, but is a {type(like).__name__}.")
    return columns


def _on_disk(path: str | os.PathLike) -> Path:
    where = place(path)
    if not isinstance(where, Path):
        raise UpstairsError(f"{path} can't be a store: stores are mapped into memory, from a folder of this machine. Name one.")
    return where


def _check_room(path: Path, known: Survey) -> None:
    if known.n_rows < 0:
        return
    needed = 2 * known.n_rows * (4 * len(known.columns.features) + 16)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise UpstairsError(
            f"Packing takes about {needed / 1e9:.1f} GB on the disk of {path.parent}, where {free / 1e9:.1f} GB are free."
        )


def _target_kind(held: pa.DataType, name: str) -> str:
    if pa.types.is_boolean(held):
        return "true and false"
    return kind_in_words(held, name)


def _any_kind(held: pa.DataType, name: str) -> str:
    return "a column"


def _check_duckdb() -> None:
    if importlib.util.find_spec("duckdb") is None:
        raise UpstairsError("Packing needs DuckDB, which sorts the rows: pip install 'upstairs[scale]'.")
