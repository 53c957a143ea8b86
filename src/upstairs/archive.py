"""Files that are whole or not there: a zip of named entries, written atomically, and verified before anything is allocated.

A file is written under a temporary name beside its final one, synced, and renamed; a crash at any moment leaves the old file
or the new one. On the way in, the table of contents is checked against the file's real size before an entry is read: only
plain names that we write ourselves, no encryption, and no entry that claims more bytes than it can hold. So a damaged or a
malicious file costs one clear sentence, never gigabytes.
"""

import contextlib
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from upstairs.errors import UpstairsError

__all__ = [
    "LOCK",
    "Archive",
    "check_writable",
    "damaged",
    "lock_folder",
    "os_reason",
    "sync_folder",
    "whole_file",
    "write_archive",
]

LOCK = ".lock"
_PLAIN_NAME = re.compile(r"[a-z]+\.(json|safetensors)|texts/[\w.]+\.(json|txt)")
_MOST_DEFLATION = 100
"""A text that deflates better than this is stored as it is, so that no honest file looks like a zip bomb."""

_UTF8_NAME = 0x800
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,  # also JSON and UTF-8
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,  # also recursion and "not implemented"
)


def write_archive(path: str | os.PathLike, entries: dict[str, bytes]) -> None:
    """Write the entries as one zip file, in their order; the same entries give the same bytes."""
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)  # its date is 1980, whenever it is written
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if _deflates(name, content) else zipfile.ZIP_STORED
            archive.writestr(entry, content)


class Archive:
    """A zip file that `write_archive` wrote, opened for reading (a context manager).

    Raises
    ------
    UpstairsError
        Where the file is missing, is no such zip file, or its table of contents can't be true.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            self._file = open(path, "rb")  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise UpstairsError(f"{self.path} can't be read: {os_reason(error)}.") from None
        try:
            with damaged(self.path):
                self._zip = zipfile.ZipFile(self._file)
                self._check(os.fstat(self._file.fileno()).st_size)
        except UpstairsError:
            self._file.close()
            raise

    def read(self, name: str) -> bytes:
        """The content of one entry; its checksum in the zip has been verified."""
        with damaged(self.path):
            return self._zip.read(name)

    def names(self) -> set[str]:
        return set(self._zip.namelist())

    def size(self, name: str) -> int:
        """Bytes of an entry's content; it raises where the entry is missing."""
        with damaged(self.path):
            return self._zip.getinfo(name).file_size

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_) -> None:
        self._zip.close()
        self._file.close()

    def _check(self, file_size: int) -> None:
        entries = self._zip.infolist()
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("an entry occurs twice")
        if sum(entry.compress_size for entry in entries) > file_size:
            raise ValueError("its entries claim more bytes than the file has")
        for entry in entries:
            if not _PLAIN_NAME.fullmatch(entry.filename):
                raise ValueError(f"an entry is named {entry.filename!r}")
            if entry.flag_bits & ~_UTF8_NAME or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{entry.filename} is packed in an unknown way")
            grows = _MOST_DEFLATION if entry.compress_type == zipfile.ZIP_DEFLATED else 1
            if entry.file_size > grows * entry.compress_size:
                raise ValueError(f"{entry.filename} claims {entry.file_size:,} bytes, more than it can hold")


@contextlib.contextmanager
def damaged(path: str | os.PathLike) -> Iterator[None]:
    """Whatever goes wrong while a file is being decoded means that the file is damaged: one UpstairsError that names it."""
    try:
        yield
    except UpstairsError:
        raise
    except _DAMAGE as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error) or repr(error)
        raise UpstairsError(
            f"{path} is damaged, or was not saved by upstairs ({reason}). Copy it from where it was made, or save it again."
        ) from error


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file to write to, which appears under its name, complete and on disk, when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UpstairsError(f"{path} can't be written: {os_reason(error)}.") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path: str | os.PathLike) -> None:
    """An UpstairsError now rather than after an hour of work, if a file can't be written there."""
    path = Path(path)
    if path.is_dir():
        raise UpstairsError(f"{path} can't be written: it is a folder. Give the name of a file.")
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        open(probe, "xb").close()
        probe.unlink()
    except OSError as error:
        raise UpstairsError(f"{path} can't be written: {os_reason(error)}.") from None


def lock_folder(folder: Path) -> IO[bytes] | None:
    """A file in it that is locked until it is closed, or its process ends; None where another process holds it."""
    file = open(folder / LOCK, "ab")  # noqa: SIM115
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open can't be removed anyway
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _deflates(name: str, content: bytes) -> bool:
    if not name.startswith("texts/"):
        return False
    deflated = len(zlib.compress(content))
    return deflated < len(content) < _MOST_DEFLATION * deflated


def sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def os_reason(error: OSError) -> str:
    """Why, in the words of a sentence."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    return (error.strerror or str(error)).lower()
