"""Files in an object store, by the words of pathlib: s3://, gs://, abfs:// and hdfs:// through Arrow, others through fsspec.

A name with ``://`` in it is a `Remote`; all others stay paths of this machine (`place`). Credentials, regions and endpoints are
looked for where each provider's own tools look (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, profiles ...). What is written is gathered
first and put in one piece: an object is there whole or not at all, whatever is killed on the way.
"""

import contextlib
import fnmatch
import functools
import glob
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from upstairs.archive import check_writable, whole_file
from upstairs.errors import UpstairsError

__all__ = ["Place", "Remote", "check_place", "local_copy", "place", "readable", "whole_object"]

BUCKETS = ("s3", "gcs", "abfs")
"""Of Arrow's file systems, those in which a name's first part is a bucket and an upload appears at its end."""


class Stat(NamedTuple):
    """Of an object, under the names that os.stat gives them."""

    st_size: int
    st_mtime_ns: int


class Remote(PurePosixPath):
    """A file or folder of an object store: ``s3://bucket/folder/rows.parquet``."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def exists(self) -> bool:
        if self._info.type.name == "NotFound":
            self.check_bucket()
            return False
        return True

    def is_file(self) -> bool:
        return self._info.type.name == "File"

    def is_dir(self) -> bool:
        return self._info.type.name == "Directory"

    def stat(self) -> Stat:
        return Stat(self._info.size or 0, self._info.mtime_ns or 0)

    def resolve(self) -> "Remote":
        return self

    def rglob(self, pattern: str) -> Iterator["Remote"]:
        """All files below, whose own name matches."""
        return (path for path in self._below(recursive=True) if fnmatch.fnmatchcase(path.name, pattern))

    def iterdir(self) -> Iterator["Remote"]:
        return iter(self._below(recursive=False))

    def matching(self) -> list["Remote"]:
        """The files named like this pattern, sorted; ``**`` stands for folders of any depth."""
        fixed = next(i for i, part in enumerate(self.parts) if glob.has_magic(part))
        below = Remote(*self.parts[:fixed])._below(recursive=len(self.parts) > fixed + 1)
        return sorted(path for path in below if _matches(path.parts[fixed:], self.parts[fixed:]))

    def open(self) -> Any:
        """To read from, in any order, as Arrow does."""
        if not self.exists():
            raise UpstairsError(f"{self} doesn't exist.")
        with self._told("read"):
            return self._files.open_input_file(self._at)

    def read_bytes(self) -> bytes:
        with self.open() as file, self._told("read"):
            return file.read()

    def write_bytes(self, content: bytes) -> None:
        """Put an object; under another name first, and renamed, where a file would be seen before it is whole."""
        whole = self._at if self._files.type_name in BUCKETS else f"{self._at}.{secrets.token_hex(4)}.tmp"
        with self._told("written"):
            if whole != self._at:
                self._files.create_dir(self._at.rpartition("/")[0], recursive=True)
            file = self._files.open_output_stream(whole)
            file.write(content)  # in one piece: closing puts what was written, whatever happened in between
            file.close()
            if whole != self._at:
                self._files.move(whole, self._at)

    def unlink(self, missing_ok: bool = False) -> None:
        if self.is_file() or not missing_ok:
            with self._told("removed"):
                self._files.delete_file(self._at)

    def check_bucket(self) -> None:
        """An UpstairsError if there is none."""
        bucket = Remote(*self.parts[:2])
        with self._told("reached"):
            if self._files.type_name in BUCKETS and not bucket.is_dir():
                raise UpstairsError(f"{self} can't be reached: there is no bucket {self.parts[1]!r}.")

    def failure(self, error: Exception, done: str = "read") -> UpstairsError:
        """The one sentence about what went wrong."""
        reason = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")
        if re.search(r"NO_SUCH_BUCKET|bucket does not exist|Bucket '.*' not found", reason):
            reason = f"there is no bucket {self.parts[1]!r}"
        elif "NETWORK_CONNECTION" in reason:
            reason = f"there is no connection ({reason.rpartition('Details: ')[2]})"
        elif re.search("ACCESS_DENIED|HTTP status 403|INVALID_ACCESS_KEY|SIGNATURE", reason):
            reason = "access was denied; are there credentials, and do they allow it"
        elif isinstance(error, ImportError):
            reason = f"a package is missing ({reason})"
        return UpstairsError(f"{self} can't be {done}: {reason}.")

    @property
    def _files(self) -> Any:
        return self._place[0]

    @property
    def _at(self) -> str:
        return "/".join([self._place[1].rstrip("/"), *self.parts[2:]])

    @property
    def _place(self) -> tuple[Any, str]:
        if len(self.parts) < 2:
            raise UpstairsError(f"{self} names no bucket: s3://BUCKET/FOLDER/FILE does.")
        try:
            return _file_system(self.parts[0][:-1], self.parts[1])
        except (OSError, ValueError, ImportError) as error:
            raise self.failure(error, "reached") from None

    @property
    def _info(self) -> Any:
        with self._told("read"):
            return self._files.get_file_info(self._at)

    def _below(self, recursive: bool) -> list["Remote"]:
        """Files only, unless it is asked for what lies right below."""
        from pyarrow.fs import FileSelector, FileType

        with self._told("read"):
            found = self._files.get_file_info(FileSelector(self._at, allow_not_found=True, recursive=recursive))
        if not found:
            self.check_bucket()
        start = len(self._at) + 1
        return [self / one.path.rstrip("/")[start:] for one in found if one.type == FileType.File or not recursive]

    @contextlib.contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except UpstairsError:
            raise
        except (OSError, ValueError, ImportError) as error:
            raise self.failure(error, done) from None


Place = Path | Remote


def place(where: str | os.PathLike) -> Place:
    """A path of this machine, or of an object store."""
    text = str(where)
    if text.startswith("file://"):
        return Path(url2pathname(urlsplit(text).path))
    return Remote(text) if "://" in text or isinstance(where, Remote) else Path(where)


def readable(path: Place, mapped: bool = False) -> Any:
    """What Arrow reads a file from."""
    if isinstance(path, Remote):
        return path.open()
    import pyarrow as pa

    return pa.memory_map(str(path)) if mapped else path


@contextlib.contextmanager
def whole_object(path: Place) -> Iterator[IO[bytes]]:
    """A file to write to, which appears under its name when the block ends without an error."""
    if isinstance(path, Path):
        with whole_file(path) as file:
            yield file
        return
    content = io.BytesIO()
    yield content
    path.write_bytes(content.getvalue())


@contextlib.contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """The file itself, or a copy on this machine for as long as the block runs."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="upstairs-") as folder:
        copy = Path(folder) / path.name
        with path.open() as source, open(copy, "wb") as file, path._told("read"):
            shutil.copyfileobj(source, file, 2**20)
        yield copy


def check_place(path: Place) -> None:
    """An UpstairsError now rather than after an hour of work, if a file can't be written there."""
    if isinstance(path, Path):
        check_writable(path)
    else:
        path.check_bucket()


def _matches(names: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not names
    if wanted[0] == "**":
        return any(_matches(names[i:], wanted[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], wanted[0]) and _matches(names[1:], wanted[1:])


@functools.lru_cache(maxsize=32)
def _file_system(scheme: str, host: str) -> tuple[Any, str]:
    """Arrow's file system, and what names in it begin with."""
    import pyarrow as pa
    import pyarrow.fs

    uri = f"{scheme}://{host}"
    try:
        return pa.fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid:  # of a kind that Arrow doesn't know
        pass
    try:
        import fsspec  # an extra
    except ImportError:
        raise ImportError("pip install 'upstairs[scale]'") from None
    files, root = fsspec.core.url_to_fs(uri)
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(files)), root
