"""A task store while it is being written: under a temporary name, with checksums, synced, and renamed when it is whole.

A store is in one of three states: not there, there and whole, or there and whole while a newer one is being written beside it.
What a killed run leaves behind is told by its lock, which the system takes back when a process ends, and removed by the next.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from upstairs import __version__
from upstairs.archive import LOCK, lock_folder, os_reason, sync_folder
from upstairs.errors import UpstairsError
from upstairs.store import FORMAT, HEADER, MANIFEST
from upstairs.table import Columns

__all__ = ["ArrayFile", "StoreWriter", "new_store"]


class ArrayFile:
    """An .npy file that grows; its length is put into its head at the end."""

    def __init__(self, path: Path, dtype: Any, *row_shape: int):
        self.path, self.dtype, self.row_shape, self.n_bytes = path, np.dtype(dtype), row_shape, 0
        self._file = open(path, "xb")  # noqa: SIM115  closed by close
        self._digest = hashlib.sha256()
        self._file.write(b" " * HEADER)

    def write(self, values: Any) -> None:
        """Append rows: an array, or the bytes of one."""
        content: Any = values.reshape(-1).view(np.uint8) if isinstance(values, np.ndarray) else memoryview(values)
        self._file.write(content)
        self._digest.update(content)
        self.n_bytes += content.nbytes

    def close(self) -> dict[str, Any]:
        """What the manifest says of it."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.row_shape))
        shape = (self.n_bytes // row_bytes if row_bytes else 0, *self.row_shape)
        text = repr({"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}).encode()
        head = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text
        self._file.seek(0)
        self._file.write(head + b" " * (HEADER - len(head) - 1) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"bytes": HEADER + self.n_bytes, "sha256": self._digest.hexdigest()}

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # what is left to write finds no room either
            self._file.close()


class StoreWriter:
    """Writes rows that come sorted by task.

    Parameters
    ----------
    folder : Path
        Of the new store, under its temporary name.
    columns : Columns
    id_dtype : dtype
        Of the tasks' ids; object for text.
    """

    def __init__(self, folder: Path, columns: Columns, id_dtype: np.dtype):
        self.folder, self.columns, self.name = folder, columns, f"rows-{secrets.token_hex(4)}"
        data = folder / self.name
        data.mkdir()
        self.text = id_dtype.kind == "O"
        self._files = {
            "X.npy": ArrayFile(data / "X.npy", "<f4", len(columns.features)),
            "y.npy": ArrayFile(data / "y.npy", "<f8"),
            "offsets.npy": ArrayFile(data / "offsets.npy", "<i8"),
            "ids.npy": ArrayFile(data / "ids.npy", "|u1" if self.text else id_dtype.newbyteorder("<")),
        }
        if self.text:
            self._files["id_offsets.npy"] = ArrayFile(data / "id_offsets.npy", "<i8")
        self.n_rows = self.n_tasks = self._id_bytes = 0
        self._last: Any = None

    def write(self, X: Any, y: np.ndarray, tasks: np.ndarray) -> None:
        """Append rows: float32 [k, p] or its bytes, targets [k] and tasks [k], the first of which may have begun before."""
        self._files["X.npy"].write(X)
        self._files["y.npy"].write(np.ascontiguousarray(y, "<f8"))
        begins = np.append(self._last is None or tasks[0] != self._last, tasks[1:] != tasks[:-1])
        first = np.flatnonzero(begins)
        self._files["offsets.npy"].write((self.n_rows + first).astype("<i8"))
        self._write_ids(tasks[first])
        self._last = tasks[-1]
        self.n_rows += len(tasks)
        self.n_tasks += len(first)

    def finish(self, task: str, target: str | None, classes: np.ndarray | None) -> None:
        """Close the files, and write the manifest that makes a store of them."""
        self._files["offsets.npy"].write(np.array([self.n_rows], "<i8"))
        if self.text:
            self._files["id_offsets.npy"].write(np.array([self._id_bytes], "<i8"))
        manifest = {
            "upstairs": __version__,
            "format": FORMAT,
            "n_tasks": self.n_tasks,
            "n_rows": self.n_rows,
            "task": task,
            "target": target,
            "classes": None if classes is None else {"dtype": _dtype_name(classes), "labels": classes.tolist()},
            "data": self.name,
            "files": {name: file.close() for name, file in self._files.items()},
            "columns": self.columns.to_manifest(),
        }
        sync_folder(self.folder / self.name)
        with open(self.folder / MANIFEST, "x", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1, default=str)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)

    def abandon(self) -> None:
        for file in self._files.values():
            file.abandon()

    def _write_ids(self, ids: np.ndarray) -> None:
        if not self.text:
            self._files["ids.npy"].write(np.ascontiguousarray(ids, ids.dtype.newbyteorder("<")))
            return
        names = [name.encode("utf-8", "surrogatepass") for name in ids.tolist()]
        ends = self._id_bytes + np.cumsum([len(name) for name in names], dtype=np.int64)
        self._files["id_offsets.npy"].write(np.append(self._id_bytes, ends)[:-1].astype("<i8"))
        self._files["ids.npy"].write(b"".join(names))
        self._id_bytes = int(ends[-1]) if len(ends) else self._id_bytes


@contextlib.contextmanager
def new_store(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to write a store in, which takes its place when the block ends without an error."""
    if path.exists() and not (path / MANIFEST).is_file():
        raise UpstairsError(f"{path} is there and is no task store. Give the store another name.")
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.packing")
    lock = None
    try:
        _remove_leftovers(path)
        folder.mkdir()
        lock = lock_folder(folder)
        yield folder
        _publish(folder, path)
    except OSError as error:
        raise UpstairsError(f"{path} can't be written: {os_reason(error)}.") from None
    finally:
        if lock is not None:
            lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, path: Path) -> None:
    """The rename that makes it so. An older store of that name is replaced: its manifest in one step, then its rows go."""
    (folder / LOCK).unlink(missing_ok=True)
    if not path.exists():
        os.rename(folder, path)
        sync_folder(path.parent)
        return
    data = json.loads((folder / MANIFEST).read_text("utf-8"))["data"]
    os.rename(folder / data, path / data)
    sync_folder(path)
    os.replace(folder / MANIFEST, path / MANIFEST)
    sync_folder(path)
    for old in path.glob("rows-*"):
        if old.name != data:
            shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    for folder in path.parent.glob(f".{path.name}.*.packing"):
        lock = lock_folder(folder)
        if lock is not None:
            lock.close()
            shutil.rmtree(folder, ignore_errors=True)


def _dtype_name(classes: np.ndarray) -> str:
    return "object" if classes.dtype.kind in "OU" else str(classes.dtype)
