"""Predictions of more rows than memory holds: shard by shard into a folder of Parquet files, each written exactly once.

    predictions/
      _manifest.json       what is predicted, by which model, in how many shards; rows by source once all are there
      part-00000.parquet   the rows of the first shard, with the answers beside them
      ...

A shard is a few row groups of a file, a file of another kind, or a few thousand tasks of a store. Each is written under a
temporary name, synced, and renamed (in an object store, put in one piece); a rerun does the missing ones only. The same inputs
make the same shards, so a run that was interrupted, or spread over many processes, leaves the same rows as one that wasn't.
"""

import contextlib
import functools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from upstairs.answer_columns import answer_columns
from upstairs.archive import LOCK, lock_folder, os_reason
from upstairs.engine.shards import map_shards
from upstairs.errors import UpstairsError
from upstairs.files import task_ids
from upstairs.packing.source import Piece, Source, kind_in_words, read_piece
from upstairs.persistence import load, save
from upstairs.remote import Place, Remote, local_copy, place, readable, whole_object
from upstairs.store import TaskStore, checksum, is_store, open_store

__all__ = ["predict_files"]

MANIFEST, MODEL = "_manifest.json", "_model.upstairs"
BATCH = 2**15
"""Rows that are predicted at once."""


class Job(NamedTuple):
    """All that a worker needs beside its shard; it opens the rest itself."""

    model: str
    source: Any
    support: str | None
    task: str | None
    interval: float
    folder: str
    rows: int


class Shard(NamedTuple):
    """Which rows: a piece of a file, or tasks from start to stop of a store. So a worker looks at its own file only."""

    number: int
    where: Piece | tuple[int, int]


def predict_files(
    model: Any,
    source: Any,
    folder: str | os.PathLike,
    *,
    support: TaskStore | str | os.PathLike | None = None,
    task: str | None = None,
    interval: float = 0.9,
    shard_rows: int = 2**17,
    engine: str = "local",
    n_jobs: int = 1,
    address: str | None = None,
) -> dict[str, Any]:
    """Predict rows of files or of a store, of any number, into a folder of Parquet files.

    Parameters
    ----------
    model : fitted meta-model, or path of a saved one
    source : path, pattern or list of paths; or TaskStore
        Rows to predict, as `pack` takes them. They keep their order and their columns, beside which the answers stand. Of a
        store, which holds encoded rows, the answers stand beside task, target (or row number).
    folder : str or path
        Of this machine or of an object store (``s3://bucket/predictions``). Where it is there already, by the same model from
        the same rows, what is missing is added.
    support : TaskStore or its path, optional
        Rows of tasks with their targets, to adapt to; packed with ``like=model``.
    task : str, optional
        Column of the task, if not the one that the model was saved with.
    interval : float, default=0.9
        Probability that the interval covers the truth.
    shard_rows : int, default=131_072
        Rows of each file that is written, where row groups and tasks allow.
    engine, n_jobs, address
        Where the work is done: see `map_shards`.

    Returns
    -------
    findings : dict
        ``rows``, ``shards``, ``shards_done_now`` and ``rows_by_source``.

    Raises
    ------
    UpstairsError
        Where a file, column or row can't be used, or the folder holds something else.

    Notes
    -----
    Rows of a task that are neighbours in the files are adapted to once; where they lie apart, once in each batch of rows.

    Examples
    --------
    >>> upstairs.predict_files("stores.upstairs", "2025/*.parquet", "predictions", n_jobs=8)  # doctest: +SKIP
    """
    if not 0 < interval < 1:
        raise UpstairsError(f"interval must lie between 0 and 1, as 0.9 does, but is {interval}.")
    folder = place(folder)
    plan: dict[str, Any] = {
        "interval": interval,
        "task": task,
        "support": _stamp(support),
        "source": _stamp(source),
        "shard_rows": shard_rows,
    }
    with _held(folder):
        path, plan["model"] = _place_model(model, folder)
        job = Job(path, _named(source), None if support is None else _named(support), task, interval, str(folder), shard_rows)
        if job.support is not None:
            _meta(path).adapt_tasks(_store(job.support))  # whatever is wrong with it is said here
        shards = [Shard(number, where) for number, where in enumerate(_pieces(job))]
        _check_plan(folder, plan)
        there = _names(folder)
        work = map_shards(
            functools.partial(_predict_shard, job), shards, engine=engine, n_jobs=n_jobs, address=address,
            is_done=lambda shard: _part(shard.number) in there,
        )  # fmt: skip
        done_now = sum(1 for _ in work)
        findings = _findings(folder, len(shards))
        _write_json(folder / MANIFEST, {**plan, **findings})
    return {**findings, "shards_done_now": done_now}


def _predict_shard(job: Job, shard: Shard) -> int:
    """Write one shard's file; the number of its rows."""
    meta, where = _meta(job.model), shard.where
    models = None if job.support is None else meta.adapt_tasks(_store(job.support))
    counts: Counter[str] = Counter()
    blocks = _file_blocks(meta, models, job, where) if isinstance(where, Piece) else _store_blocks(meta, models, job, *where)
    with whole_object(place(job.folder) / _part(shard.number)) as file:
        writer = None
        for table, sources in blocks:
            counts.update(sources)
            if writer is None:
                writer = pa.parquet.ParquetWriter(file, table.schema)
            writer.write_table(table.cast(writer.schema))
        if writer is None:
            raise UpstairsError(f"{where.path if isinstance(where, Piece) else job.source} has no rows.")
        writer.add_key_value_metadata({"upstairs": json.dumps(counts)})
        writer.close()
    if models is not None:
        models.support.let_go()
    return counts.total()


def _file_blocks(meta: Any, models: Any, job: Job, piece: Piece) -> Iterator[tuple[pa.Table, dict]]:
    """Rows of a piece of a file, with answers."""
    names = list(meta.columns_.names)
    name = _task_name(meta, job)
    for table in read_piece(piece, BATCH, _text(meta, name)):
        groups = task_ids(meta.known_.ids, table[name], name, piece.path) if name in table.column_names else None
        answers, counts = answer_columns(meta, models, table.select(names), groups, job.interval)
        yield _beside(table.drop_columns([one for one in answers.column_names if one in table.column_names]), answers), counts


def _store_blocks(meta: Any, models: Any, job: Job, start: int, stop: int) -> Iterator[tuple[pa.Table, dict]]:
    """Rows of some tasks of a store, with answers."""
    store = _store(job.source)
    for first, last in _cuts(store, start, stop, BATCH):
        tasks = store.tasks(slice(first, last))
        groups = np.repeat(tasks.ids, tasks.sizes)
        y = tasks.y.astype(np.int64) if store.target_name is None else tasks.y
        y = y if store.classes is None else store.classes[y.astype(int)]
        for row in range(0, len(y), BATCH):  # a single task may hold more rows than are predicted at once
            some = slice(row, row + BATCH)
            columns = pa.table({store.task_name: pa.array(groups[some]), store.target_name or "row": pa.array(y[some])})
            answers, counts = answer_columns(meta, models, np.asarray(tasks.X[some]), groups[some], job.interval)
            yield _beside(columns, answers), counts
    store.let_go()


def _named(source: Any) -> Any:
    """A source by its paths, which workers understand."""
    if isinstance(source, TaskStore):
        return str(source.path.resolve())
    return tuple(str(path) for path in source) if isinstance(source, list | tuple) else str(source)


def _beside(columns: pa.Table, answers: pa.Table) -> pa.Table:
    for name in answers.column_names:
        columns = columns.append_column(name, answers[name])
    return columns


@functools.lru_cache(maxsize=2)
def _meta(model: str) -> Any:
    with local_copy(place(model)) as file:
        return load(file)


@functools.lru_cache(maxsize=4)
def _store(path: str) -> TaskStore:
    return open_store(path)


def _source(job: Job) -> Source:
    """The files, all of which hold the columns of the model."""
    meta = _meta(job.model)
    name = _task_name(meta, job)
    source = Source(list(job.source) if isinstance(job.source, tuple) else job.source, text=_text(meta, name))
    source.check(meta.columns_.names, kind_in_words)
    if job.task is not None or job.support is not None:
        if name is None:
            raise UpstairsError("This model doesn't know the name of its task column: give task.")
        source.check([name], lambda held, name: "a column")
    return source


def _text(meta: Any, task: str | None) -> list[str]:
    """Columns of CSV files that hold text, whatever they look like, because they were text in the fit."""
    text = [column.name for column in meta.columns_.columns if column.kind == "category"]
    return [*text, *([task] if task and meta.known_.ids.dtype.kind == "O" else [])]


def _pieces(job: Job) -> list:
    """What each shard holds."""
    if _is_store(job.source):
        store = _store(job.source)
        if store.columns != _meta(job.model).columns_:
            raise UpstairsError(f"{store.path} is encoded by other columns than the model: pack it with like=model.")
        return list(_cuts(store, 0, store.n_tasks, job.rows))
    return _source(job).pieces(job.rows)


def _cuts(store: TaskStore, start: int, stop: int, rows: int) -> Iterator[tuple[int, int]]:
    """Tasks from start to stop in runs of at most so many rows, or one task."""
    offsets = store.mapped.offsets
    while start < stop:
        last = int(np.searchsorted(offsets, offsets[start] + rows, side="right")) - 1
        last = min(stop, max(start + 1, last))
        yield start, last
        start = last


def _task_name(meta: Any, job: Job) -> str | None:
    return job.task or (meta.names_.task if "names_" in vars(meta) else None)


def _is_store(source: Any) -> bool:
    return isinstance(source, TaskStore) or (isinstance(source, str | os.PathLike) and is_store(source))


def _part(shard: int) -> str:
    return f"part-{shard:05}.parquet"


@contextlib.contextmanager
def _held(folder: Place) -> Iterator[None]:
    """The folder, for this run alone; what a killed one was writing is removed."""
    if isinstance(folder, Remote):  # which knows no locks: two runs of the same plan put the same objects
        folder.check_bucket()
        _check_ours(folder)
        yield
        return
    lock = None
    try:
        _check_ours(folder)
        folder.mkdir(exist_ok=True)
        lock = lock_folder(folder)
        if lock is None:
            raise UpstairsError(f"Another run is writing to {folder}. Let it end, or give another folder.")
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        yield
    except OSError as error:
        raise UpstairsError(f"{folder} can't be written: {os_reason(error)}.") from None
    finally:
        if lock is not None:
            lock.close()
        if folder.is_dir() and not (folder / MANIFEST).is_file():  # nothing was begun
            with contextlib.suppress(OSError):
                for name in (LOCK, MODEL):
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()


def _names(folder: Place) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _check_ours(folder: Place) -> None:
    if (there := _names(folder)) and not there & {MANIFEST, MODEL, LOCK}:
        raise UpstairsError(f"{folder} is there and holds no predictions. Give the folder another name.")


def _place_model(model: Any, folder: Place) -> tuple[str, str]:
    """A file that workers can load it from, and its checksum."""
    if isinstance(model, str | os.PathLike):
        return str(place(model).resolve()), _digest(place(model))
    with tempfile.TemporaryDirectory(prefix="upstairs-") as here:
        new = Path(here) / MODEL
        save(model, new)
        digest = _digest(new)
        if not (folder / MODEL).exists():
            with whole_object(folder / MODEL) as file:
                file.write(new.read_bytes())
    return str((folder / MODEL).resolve()), digest


def _digest(path: Place) -> str:
    try:
        with local_copy(path) as copy, open(copy, "rb") as file:
            return checksum(file)
    except OSError as error:
        raise UpstairsError(f"{path} can't be read: {os_reason(error)}.") from None


def _stamp(source: Any) -> list:
    """By what inputs are told apart."""
    if source is None:
        return []
    if _is_store(source):
        store = source if isinstance(source, TaskStore) else open_store(source)
        return [[str(store.path.resolve()), store.manifest["data"]]]
    stats = [(path, path.stat()) for path in Source(source).paths]
    return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def _check_plan(folder: Place, plan: dict) -> None:
    """Write the plan, or compare it with that of the run before."""
    if (folder / MANIFEST).is_file():
        old = json.loads((folder / MANIFEST).read_bytes())
        if differing := [name for name, value in plan.items() if old.get(name) != value]:
            raise UpstairsError(
                f"{folder} holds predictions with another {', '.join(differing)}. Give another folder, or remove this one."
            )
        return
    _write_json(folder / MANIFEST, plan)


def _write_json(path: Place, content: dict) -> None:
    with whole_object(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def _findings(folder: Place, n_shards: int) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for shard in range(n_shards):
        counts.update(json.loads(pa.parquet.read_metadata(readable(folder / _part(shard))).metadata[b"upstairs"]))
    return {"rows": counts.total(), "shards": n_shards, "rows_by_source": dict(counts)}
