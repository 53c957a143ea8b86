"""Tasks on disk, mapped into memory: a folder that `pack` wrote, opened in no time and read where it is touched.

    rows.tasks/
      manifest.json       format, names, columns, classes, sizes and checksums; it names the folder of the arrays
      rows-5d1f03a2/
        X.npy             float32 [n, p], row by row, sorted by task
        y.npy             float64 [n], the target or class code; in a store without a target the row's number in its source
        offsets.npy       int64 [T + 1]
        ids.npy           the sorted names of the tasks [T], or the UTF-8 bytes of all of them, one after the other, and
        id_offsets.npy    where each begins [T + 1]

A learner sees the same `Tasks` as from a table in memory. Neighbouring tasks are neighbours on disk, so tasks are read fast in
blocks, and slowly one by one in random order: whoever wants random order shuffles blocks. `TaskStore.decode` makes a table of
the user's own columns of some tasks, for whatever takes tables.
"""

import bisect
import functools
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs.decoding import decode
from upstairs.engine.shards import check_engine
from upstairs.errors import UpstairsError
from upstairs.places import belongs, drop
from upstairs.table import Columns
from upstairs.tasks import Tasks, few_rows

__all__ = [
    "FORMAT",
    "HEADER",
    "MANIFEST",
    "Cluster",
    "TaskStore",
    "checksum",
    "is_store",
    "open_store",
    "parse_memory",
]

FORMAT = 1
MANIFEST = "manifest.json"
HEADER = 128
"""Bytes before the numbers in each .npy file that `pack` writes; checksums are of what follows."""

BLOCK = 4096
LEAST_LEARNED = 10_000
"""Rows that are learned from, however little memory there is."""
BYTES_A_VALUE, MORE_VALUES = 64, 100
"""What learning takes of memory for each row: so much for each column, and for so many features that learners add."""

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def open_store(
    path: str | os.PathLike, memory: str | int = "2GB", *, engine: str = "local", n_jobs: int = 1, address: str | None = None
) -> "TaskStore":
    """Open a task store.

    Parameters
    ----------
    path : str or path
        The folder that `pack` wrote.
    memory : str or int, default="2GB"
        What learning from it may take. Where all rows would take more, a random sample of the tasks is learned from.
    engine : {"local", "dask", "ray", "spark"}, default="local"
        Who goes through its rows where a learner looks at all of them again and again, as `MetaSVR` and `MetaSVC` do: threads
        of this process, or the workers of a cluster, who have to see the same path. The model is the same, bit for bit.
    n_jobs : int, default=1
        Workers of a cluster that is started here.
    address : str, optional
        Of a cluster that exists; without it one is started on this machine.

    Returns
    -------
    store : TaskStore
        Mapped: nothing is read before it is asked for.

    Raises
    ------
    UpstairsError
        Where the folder is missing, is no store, lacks bytes, or is of a newer format; where there is no such engine.

    See Also
    --------
    pack : Makes a store from files of any size.

    Examples
    --------
    >>> store = upstairs.open_store("rows.tasks")  # doctest: +SKIP
    """
    return TaskStore(path, memory, Cluster(engine, n_jobs, address))


class Cluster(NamedTuple):
    """Who goes through a store's rows: see `open_store`."""

    engine: str = "local"
    n_jobs: int = 1
    address: str | None = None


class TaskStore:
    """Tasks on disk, mapped into memory. Pickled, it is its path.

    Parameters
    ----------
    path : str or path
    memory : str or int, default="2GB"
        What learning from it may take.
    cluster : Cluster, optional

    Attributes
    ----------
    path : Path
    memory : int
        Bytes.
    n_tasks, n_rows : int
    columns : Columns
        What was learned of the user's columns; all rows are encoded by it.
    classes : ndarray or None
        Labels, of which y holds the codes; None for numbers.
    target_name, task_name : str
        Of the user's columns; no target's name for rows to be predicted.
    manifest : dict
    mapped : Tasks
        All of them as views of the files, named by their position: names that are text would have to be read.
    """

    def __init__(self, path: str | os.PathLike, memory: str | int = "2GB", cluster: Cluster | None = None):
        cluster = cluster or Cluster()
        check_engine(cluster.engine, cluster.n_jobs)
        self.path, self.memory, self.cluster = Path(path), parse_memory(memory), cluster
        self.manifest = _read_manifest(self.path)
        self.n_tasks, self.n_rows = self.manifest["n_tasks"], self.manifest["n_rows"]
        self.task_name, self.target_name = self.manifest["task"], self.manifest["target"]
        self.columns = Columns.from_manifest(self.manifest["columns"])
        self.classes = _classes_of(self.manifest["classes"])
        self._folder, self._maps = self.path / self.manifest["data"], list[mmap.mmap]()
        for name, entry in self.manifest["files"].items():
            there = (self._folder / name).stat().st_size if (self._folder / name).is_file() else 0
            if there != entry["bytes"]:
                raise UpstairsError(
                    f"{self._folder / name} has {there:,} bytes instead of {entry['bytes']:,}: the store is damaged. "
                    "Copy it from where it was made, or pack the files again."
                )
        X, y, offsets = (self._map(name) for name in ("X.npy", "y.npy", "offsets.npy"))  # now: a newer store may replace it
        self.mapped = Tasks(X, y, offsets, np.arange(self.n_tasks), self.columns.levels)
        self._raw_ids = self._map("ids.npy")
        self._id_offsets = self._map("id_offsets.npy") if "id_offsets.npy" in self.manifest["files"] else None

    def tasks(self, which: int | np.ndarray | slice | None = None) -> Tasks:
        """Rows of the given tasks.

        Parameters
        ----------
        which : int, slice or ndarray of int, optional
            Position of the tasks among the sorted ids. A slice (without a step), and all tasks, come as views of the file;
            others are copied.
        """
        if which is None:
            return self.mapped._replace(ids=self.ids)
        if isinstance(which, slice):
            start, stop, _ = which.indices(self.n_tasks)
            return self.mapped.between(start, stop)._replace(ids=self._ids(start, stop))
        if isinstance(which, np.ndarray):
            some = self.mapped.take(which)
            return some._replace(ids=self.names(which))
        if not -self.n_tasks <= which < self.n_tasks:
            raise IndexError(f"task {which} of {self.n_tasks}")
        at = int(which) % self.n_tasks
        return self.mapped.between(at, at + 1)._replace(ids=self._ids(at, at + 1))

    def blocks(self, size: int = BLOCK, shuffle: bool = False, rng: np.random.Generator | None = None) -> Iterator[Tasks]:
        """Stream all tasks in blocks of neighbours.

        Parameters
        ----------
        size : int, default=4096
            Tasks in a block; the last one may hold fewer.
        shuffle : bool, default=False
            Blocks in random order. The disk reads them nearly as fast as in order, single tasks thirty times slower.
        rng : Generator, optional
            Of the order; ``np.random.default_rng()`` if none is given.
        """
        starts = np.arange(0, self.n_tasks, size)
        if shuffle:
            (np.random.default_rng() if rng is None else rng).shuffle(starts)
        for start in starts.tolist():
            yield self.tasks(slice(start, start + size))

    def let_go(self) -> None:
        """Count what was read so far as nobody's memory. The system keeps it while there is room, and reads it again if asked.

        Else a process that goes through a store seems to grow by all of it, and is stopped where memory is watched.
        """
        for one in self._maps:
            drop(one)

    def sample(self, least: int, rng: np.random.Generator) -> tuple[Tasks, np.ndarray]:
        """As many rows as learning may take of memory: all; or fewer of each task, drawn at random; or, rather than fewer than
        ``least`` of each, those of a random sample of the tasks. And which of the tasks they are [T].
        """
        most = max(LEAST_LEARNED, self.memory // (BYTES_A_VALUE * (len(self.columns.features) + MORE_VALUES)))
        few, which = few_rows(self.mapped, most, rng, least=least)
        return few._replace(ids=self.names(which)), which

    def decode(self, tasks: Tasks) -> pa.Table:
        """Rows of its tasks as a table: the name of the task, the columns that were packed, and the target if there is one.

        What was a number comes back as nearly as float32 holds it, a date or time to the second.

        Examples
        --------
        >>> table = store.decode(store.tasks(0))  # doctest: +SKIP
        """
        table = decode(self.columns, tasks.X).add_column(0, self.task_name, pa.array(np.repeat(tasks.ids, tasks.sizes)))
        if self.target_name is None:
            return table
        y = tasks.y if self.classes is None else self.classes[tasks.y.astype(int)]
        return table.append_column(self.target_name, pa.array(y))

    def check_target(self, needed: str) -> None:
        """An UpstairsError unless its target holds what is needed, "numbers" or "classes"."""
        holds = "no target" if self.target_name is None else "numbers" if self.classes is None else "classes"
        if holds != needed:
            cure = {"numbers": "take a regressor, or pack it with classify=True", "classes": "take a classifier"}
            raise UpstairsError(f"{self.path} holds {holds}, not {needed}: {cure.get(holds, 'pack it with target=...')}.")

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """The user's own names of all tasks, sorted [T]. Text takes memory; numbers are mapped."""
        return self._ids(0, self.n_tasks)

    def names(self, which: np.ndarray) -> np.ndarray:
        """The user's own names of the tasks at the given positions."""
        return self._raw_ids[which] if self._id_offsets is None else self._text_ids(which)

    def locate(self, ids: Sequence | np.ndarray) -> np.ndarray:
        """Position of each of the given task ids, int64; −1 where the store has no such task. "12" and 12 are the same task."""
        ids = np.asarray(ids)
        if self._id_offsets is None:
            if ids.dtype.kind in "OU" and self._raw_ids.dtype.kind in "iu":
                ids = np.array([_whole(name) for name in ids.tolist()], object)
                return np.where(ids == None, -1, self.locate(np.where(ids == None, 0, ids).astype(np.int64)))  # noqa: E711
            if ids.dtype.kind not in "iuf" and ids.dtype.kind != self._raw_ids.dtype.kind:
                return np.full(len(ids), -1)
            at = np.searchsorted(self._raw_ids, ids).clip(max=self.n_tasks - 1)
            return np.where(self._raw_ids[at] == ids, at, -1)
        values, back = np.unique(np.array([str(name) for name in ids.tolist()], object), return_inverse=True)
        found = [self._locate_text(name.encode("utf-8", "surrogatepass")) for name in values]
        return np.array(found, np.int64)[back] if found else np.array([], np.int64)

    def verify(self) -> None:
        """Read every byte and compare checksums.

        Raises
        ------
        UpstairsError
            Names the first file that differs from what was packed.
        """
        for name, entry in self.manifest["files"].items():
            with open(self._folder / name, "rb") as file:
                file.seek(HEADER)
                if checksum(file) != entry["sha256"]:
                    raise UpstairsError(
                        f"{self._folder / name} isn't what was packed: its checksum differs. "
                        "Copy the store from where it was made, or pack the files again."
                    )

    def __reduce__(self):
        return TaskStore, (self.path.resolve(), self.memory)  # who opens it elsewhere is a worker, and has none of its own

    def __repr__(self) -> str:
        predicts = f", target={self.target_name!r}" if self.target_name else ""
        return f"TaskStore({str(self.path)!r}: {self.n_tasks:,} tasks, {self.n_rows:,} rows{predicts})"

    def _map(self, name: str) -> np.ndarray:
        memmap = np.load(self._folder / name, mmap_mode="r", allow_pickle=False)
        self._maps.append(memmap._mmap)
        belongs(memmap._mmap, self)
        return np.asarray(memmap)  # a memmap slices slowly

    def _ids(self, start: int, stop: int) -> np.ndarray:
        return self._raw_ids[start:stop] if self._id_offsets is None else self._text_ids(np.arange(start, stop))

    def _text_ids(self, which: np.ndarray) -> np.ndarray:
        raw, starts, stops = self._raw_ids, self._id_offsets[which].tolist(), self._id_offsets[which + 1].tolist()
        names = [raw[a:b].tobytes().decode("utf-8", "surrogatepass") for a, b in zip(starts, stops, strict=True)]
        return np.array(names, object)

    def _locate_text(self, name: bytes) -> int:
        raw, offsets = self._raw_ids, self._id_offsets

        def text(t: int) -> bytes:
            return raw[offsets[t] : offsets[t + 1]].tobytes()

        at = bisect.bisect_left(range(self.n_tasks), name, key=text)  # bytes of UTF-8 sort as the text does
        return at if at < self.n_tasks and text(at) == name else -1


def is_store(path: str | os.PathLike) -> bool:
    """Is there a store, whole or damaged, under this path?"""
    return (Path(path) / MANIFEST).is_file()


def parse_memory(memory: str | int) -> int:
    """Bytes of "2GB", "500 MB", "1.5GiB" or a number of bytes."""
    text = str(memory).strip().upper().replace(" ", "")
    number = text.rstrip("KMGTIB")
    try:
        return int(float(number) * UNITS[text.removeprefix(number)])
    except (ValueError, KeyError):
        raise UpstairsError(f"memory must be a size as '2GB' or '500MB', but is {memory!r}.") from None


def _whole(name: Any) -> int | None:
    try:
        return int(name)
    except (TypeError, ValueError):
        return None


def checksum(file: Any) -> str:
    """SHA-256 of what is left of a file."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict:
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        if manifest["format"] > FORMAT:
            raise UpstairsError(
                f"{path} was packed by a newer upstairs, {manifest['upstairs']} (format {manifest['format']}; "
                f"this one reads up to {FORMAT}): upgrade upstairs."
            )
        data, needed = manifest["data"], ("n_tasks", "n_rows", "task", "target", "classes", "columns", "files")
        if Path(data).name != data or any(Path(name).name != name for name in manifest["files"]):
            raise ValueError("a name in its manifest leads elsewhere")
        if missing := [name for name in needed if name not in manifest]:
            raise ValueError(f"its manifest lacks {missing[0]}")
    except (FileNotFoundError, NotADirectoryError):
        cure = "pack makes one from files." if path.exists() else "There is no such folder."
        raise UpstairsError(f"{path} is no task store. {cure}") from None
    except OSError as error:
        raise UpstairsError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None
    except UpstairsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UpstairsError(f"{path / MANIFEST} is damaged ({error}). Pack the files again.") from None
    return manifest


def _classes_of(entry: dict | None) -> np.ndarray | None:
    return None if entry is None else np.array(entry["labels"], dtype=entry["dtype"])
