"""One or more files as one table whose rows come in blocks: Parquet, CSV and Arrow, in the order of their names.

Files are opened one at a time and never held. All must have the same columns, holding the same kinds of things; a folder named
``store=12`` adds the column ``store`` to the files below it. Whatever is wrong is said in one sentence with the file's name.
"""

import contextlib
import functools
import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from upstairs.cleaning import MISSING
from upstairs.dialects import find_dialect, read_header
from upstairs.errors import UpstairsError
from upstairs.files import broken_file, is_row_label, likely_names, similar_files
from upstairs.frames import PLURALS, kind_of
from upstairs.remote import Place, Remote, local_copy, place, readable

__all__ = ["Block", "Piece", "Source", "kind_in_words", "read_piece"]

SUFFIXES = (".parquet", ".csv", ".arrow", ".feather")
BATCH = 2**16
PAGE_BUFFER = 2**18
"""Bytes read at once of each column: without a buffer Arrow takes a whole column chunk of a row group, which may be large."""


class Block(NamedTuple):
    """Some rows, the number of the first among all rows of the source, and where each comes from (for messages)."""

    table: pa.Table
    first_row: int


class Piece(NamedTuple):
    """Some rows of one file, which whoever is given it reads without looking at any other.

    Attributes
    ----------
    path : str
    first, stop : int
        Row groups of a Parquet file; of any other file 0, and −1 for all of it.
    constants : tuple of (column, value)
        What the path says of its rows.
    """

    path: str
    first: int
    stop: int
    constants: tuple[tuple[str, Any], ...]


class _Part(NamedTuple):
    """A file, its schema, and what its path says of its rows."""

    path: Place
    schema: pa.Schema
    constants: dict[str, Any]


class Source:
    """The rows of files as one table.

    Parameters
    ----------
    where : path, pattern, or sequence of paths
        A file, a folder (all its files, also those in folders below it), or a pattern such as ``"2024-*.parquet"``; on this
        machine or in an object store (``s3://bucket/2024-*.parquet``).
    drop_missing : sequence of str
        Leave out rows without a value in one of these columns.
    text : sequence of str
        Columns of CSV files that hold text, whatever they look like.

    Attributes
    ----------
    names : tuple of str
    n_dropped : int
        Rows left out by the pass that ended last.
    """

    def __init__(self, where: Any, drop_missing: Sequence[str] = (), text: Sequence[str] = ()):
        paths, root = _find(where)
        self.text = tuple(text)
        self.drop_missing, self.n_dropped = drop_missing, 0
        self._parts = [_Part(path, _read_schema(path, self.text), values) for path, values in _partitions(paths, root)]
        first = self._parts[0]
        self.names = tuple([*first.schema.names, *(name for name in first.constants if name not in first.schema.names)])
        self._starts: list[tuple[int, Place]] = []
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise UpstairsError(f"{first.path} has more than one column {twice[0]!r}. Rename all but one of them.")

    @property
    def paths(self) -> list[Place]:
        return [part.path for part in self._parts]

    def check(self, names: Sequence[str], kind: Callable[[pa.DataType, str], str]) -> None:
        """An UpstairsError unless every file has these columns, and they hold what they hold in the first one."""
        for name in names:
            told: dict[str, Place] = {}
            for part in self._parts:
                try:
                    held = self._type_in(part, name)
                    if pa.types.is_null(held):
                        continue
                    told.setdefault(kind(held, name), part.path)
                except UpstairsError as error:
                    raise UpstairsError(f"{part.path}: {error}") from None
                if len(told) > 1:
                    (a, file), (b, other) = told.items()
                    raise UpstairsError(
                        f"Column {name!r} holds {a} in {file} but {b} in {other}. Make it one or the other, or leave it out."
                    )

    def check_no_others(self, ignore: Sequence[str] = ()) -> None:
        """An UpstairsError if a file has columns that the first one lacks, but for those to be ignored."""
        for part in self._parts[1:]:
            if extra := [name for name in part.schema.names if name not in {*self.names, *ignore}]:
                raise UpstairsError(
                    f"{part.path} has a column {extra[0]!r} that {self._parts[0].path} lacks. "
                    "Leave it out with ignore, or pack files of the same columns."
                )

    def blocks(self, names: Sequence[str], rows: int) -> Iterator[Block]:
        """Stream the rows in blocks of exactly so many, but for the last; blocks reach across files."""
        self._starts, self.n_dropped, total = [], 0, 0
        waiting: list[pa.Table] = []
        n_waiting = 0
        for table in self._tables(list(names)):
            waiting.append(table)
            n_waiting += table.num_rows
            while n_waiting >= rows:
                whole = pa.concat_tables(waiting, promote_options="permissive")
                yield Block(whole.slice(0, rows).combine_chunks(), total)
                waiting, n_waiting, total = [whole.slice(rows)], n_waiting - rows, total + rows
        if n_waiting:
            yield Block(pa.concat_tables(waiting, promote_options="permissive").combine_chunks(), total)

    def pieces(self, rows: int) -> list[Piece]:
        """The source cut into pieces of about so many rows: some row groups of a Parquet file, or another file whole."""
        pieces = []
        for path, schema, constants in self._parts:
            whole = Piece(str(path), 0, -1, tuple(pair for pair in constants.items() if pair[0] not in schema.names))
            if path.suffix.lower() != ".parquet":
                pieces.append(whole)
                continue
            meta = _sentence(path, functools.partial(pa.parquet.read_metadata, readable(path)))
            first, n = 0, 0
            for group in range(meta.num_row_groups):
                n += meta.row_group(group).num_rows
                if n >= rows or group == meta.num_row_groups - 1:
                    pieces.append(whole._replace(first=first, stop=group + 1))
                    first, n = group + 1, 0
        return pieces

    @contextlib.contextmanager
    def placing(self, first_row: int = 0) -> Iterator[None]:
        """Errors that name a row, counted from ``first_row`` on, name its file as well."""
        try:
            yield
        except UpstairsError as error:
            told = re.sub(r"in row (\d+)(?!\d| of)", lambda found: f"in {self.row(first_row + int(found[1]))}", str(error))
            raise UpstairsError(told) from None

    def row(self, number: int) -> str:
        """File and row, for a message, of a row that the present pass has read; rows left out aren't counted."""
        start, path = next((start, path) for start, path in reversed(self._starts) if start <= number)
        return f"row {number - start} of {path}"

    def _tables(self, names: list[str]) -> Iterator[pa.Table]:
        total = 0
        for part in self._parts:
            self._starts.append((total, part.path))
            inside = [name for name in names if name in part.schema.names]
            for table in _read(part.path, inside, self.text):
                for name in names:
                    if name not in inside:
                        table = table.append_column(name, pa.array([part.constants[name]] * table.num_rows))
                table = table.select(names)
                for name in set(self.drop_missing).intersection(names):
                    kept = table.filter(pc.invert(pc.is_null(table[name], nan_is_null=True)))
                    self.n_dropped += table.num_rows - kept.num_rows
                    table = kept
                total += table.num_rows
                yield table

    def _type_in(self, part: _Part, name: str) -> pa.DataType:
        if name in part.schema.names:
            return part.schema.field(name).type
        if name in part.constants:
            return pa.array([part.constants[name]]).type
        hint = likely_names(name, [*part.schema.names, *part.constants])
        known = "" if part.path == self._parts[0].path or name not in self.names else f", which {self._parts[0].path} has"
        raise UpstairsError(f"it has no column {name!r}{known}. {hint}")


def read_piece(piece: Piece, rows: int, text: Sequence[str] = ()) -> Iterator[pa.Table]:
    """All columns of a piece, in tables of at most so many rows."""
    path = place(piece.path)
    groups = None if piece.stop < 0 else range(piece.first, piece.stop)
    for table in _read(path, list(_read_schema(path, text).names), text, rows, groups):
        for name, value in piece.constants:
            table = table.append_column(name, pa.array([value] * table.num_rows))
        yield table


def kind_in_words(held: pa.DataType, name: str) -> str:
    """What a column of features holds, in words."""
    return PLURALS[kind_of(pa.array([], held), name)]


def _find(where: Any) -> tuple[list[Place], Place | None]:
    """The files, sorted, and the folder that partitions are named below."""
    if isinstance(where, list | tuple):
        if not where:
            raise UpstairsError("source is an empty list; name at least one file.")
        found = [_find(one) for one in where]
        return [path for paths, _ in found for path in paths], None
    if not isinstance(where, str | os.PathLike):
        raise UpstairsError(f"source is a {type(where).__name__}, but must be the path of a file or folder, or a pattern.")
    path = place(where)
    if path.is_dir():
        files: list[Place] = sorted(path.rglob("*"))
        paths = [
            file
            for file in files
            if file.suffix.lower() in SUFFIXES and not any(part[0] in "._" for part in file.relative_to(path).parts)
        ]
        if not paths:
            raise UpstairsError(f"{path} holds no files that end in {', '.join(SUFFIXES)}.")
        return paths, path
    if not path.exists() and glob.has_magic(str(where)):
        here = [] if isinstance(path, Remote) else sorted(glob.glob(str(where), recursive=True))
        paths = [*path.matching()] if isinstance(path, Remote) else [Path(name) for name in here]
        if not paths:
            raise UpstairsError(f"No file is named like {str(where)!r}.")
        return [file for one in paths for file in _find(one)[0]], None
    if not path.exists():
        raise UpstairsError(f"{path} doesn't exist{similar_files(path)}.")
    if path.suffix.lower() not in SUFFIXES:
        kind = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise UpstairsError(f"{path} {kind}, but files of rows end in {', '.join(SUFFIXES)}.")
    return [path], None


def _partitions(paths: list[Place], root: Place | None) -> list[tuple[Place, dict[str, Any]]]:
    """Each file with the values that names of folders, such as ``store=12``, give to its rows."""
    told = []
    for path in paths:
        folders = path.parent.parts if root is None else path.relative_to(root).parent.parts
        pairs = [folder.partition("=")[::2] for folder in folders if "=" in folder]
        told.append({key: unquote(value) for key, value in pairs})
    whole = {key for key in set(itertools.chain(*told)) if all(_is_whole(values.get(key, "x")) for values in told)}
    return [
        (path, {key: int(value) if key in whole else _no_default(value) for key, value in values.items()})
        for path, values in zip(paths, told, strict=True)
    ]


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and str(int(text)) == text  # 007 is a name


def _no_default(text: str) -> str | None:
    return None if text == "__HIVE_DEFAULT_PARTITION__" else text


def _read_schema(path: Place, text: Sequence[str]) -> pa.Schema:
    def look() -> pa.Schema:
        if path.suffix.lower() == ".parquet":
            return pa.parquet.read_schema(readable(path))
        if path.suffix.lower() == ".csv":
            with local_copy(path) as copy:
                _check_named_once(copy, path)
                return _csv(copy, path, text).schema
        with readable(path, mapped=True) as file, pa.ipc.open_file(file) as reader:
            return reader.schema

    schema = _sentence(path, look)
    return pa.schema([field for field in schema if not is_row_label(field.name)])


def _read(
    path: Place, names: list[str], text: Sequence[str], rows: int = BATCH, groups: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """Rows of one file, or of some row groups of it, in small tables."""
    batches = _sentence(path, lambda: iter(_batches(path, names, text, rows, groups)))
    while (batch := _sentence(path, lambda: next(batches, None))) is not None:
        yield batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])


def _batches(
    path: Place, names: list[str], text: Sequence[str], rows: int, groups: Sequence[int] | None
) -> Iterator[pa.RecordBatch | pa.Table]:
    if path.suffix.lower() == ".parquet":
        # a request for each page of each column would take an object store for ever: it is asked for whole row groups
        far = isinstance(path, Remote)
        with pa.parquet.ParquetFile(readable(path), pre_buffer=far, buffer_size=0 if far else PAGE_BUFFER) as file:
            yield from file.iter_batches(rows, row_groups=groups, columns=names)
    elif path.suffix.lower() == ".csv":
        with local_copy(path) as copy:
            yield from (pa.Table.from_batches([batch]).select(names) for batch in _csv(copy, path, text, rows))
    else:
        with readable(path, mapped=True) as file, pa.ipc.open_file(file) as reader:
            for i in range(reader.num_record_batches):
                table = pa.Table.from_batches([reader.get_batch(i)]).select(names)
                yield from (table.slice(start, rows) for start in range(0, table.num_rows, rows))


def _csv(file: Path, path: Place, text: Sequence[str] = (), rows: int = BATCH) -> pa.RecordBatchReader:
    """The rows of a CSV file, ``path`` in messages. All are seen before a column's type is chosen, which takes DuckDB."""
    import duckdb  # an extra

    connection = duckdb.connect(config={"threads": 1, "memory_limit": "200MB"})
    connection.execute("SET enable_progress_bar = false")
    encoding, delimiter, decimal = find_dialect(file, path=path)
    options: dict[str, Any] = {"header": True, "sample_size": -1, "na_values": MISSING}
    options |= {"sep": delimiter, "decimal": decimal, "encoding": encoding}
    if text:
        there = connection.read_csv(str(file), **options).columns
        options["dtype"] = {name: "VARCHAR" for name in text if name in there}
    return connection.read_csv(str(file), **options).to_arrow_reader(rows)


def _check_named_once(file: Path, path: Place) -> None:
    """DuckDB would give the second of two columns of a name another one."""
    names = [name for name in read_header(file, path) if name]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UpstairsError(f"{path} has more than one column {twice[0]!r}. Rename all but one of them.")


def _sentence(path: Place, act: Callable[[], Any]) -> Any:
    """What act returns; or the one sentence about the file that can't be read."""
    try:
        return act()
    except pa.ArrowInvalid as error:
        raise UpstairsError(broken_file(path, error)) from None
    except OSError as error:
        if isinstance(path, Remote):
            raise path.failure(error) from None
        if error.errno is None:  # Arrow's own, about the content
            raise UpstairsError(broken_file(path, error)) from None
        raise UpstairsError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
            raise UpstairsError(broken_file(path, error)) from None
        raise
