"""Tables in files: CSV and Parquet, in and out, read with Arrow; whatever is wrong with a file is said in one sentence.

Files are on this machine or in an object store (`remote`).
"""

import difflib
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from upstairs.cleaning import MISSING, clean, trim_names, without_headers
from upstairs.dialects import Csv, Dialect, find_dialect, read_header
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.remote import Place, check_place, local_copy, place, whole_object
from upstairs.table import read_groups

__all__ = [
    "MISSING",
    "SUFFIXES",
    "broken_file",
    "check_columns",
    "check_output",
    "column_names",
    "is_row_label",
    "likely_names",
    "plain_column",
    "read_table",
    "similar_files",
    "task_ids",
    "task_names",
    "write_table",
]

SUFFIXES = (".csv", ".parquet")


def read_table(path: str | os.PathLike, text: Iterable[str] = (), csv: Csv = Csv()) -> pa.Table:  # noqa: B008
    """The table in a CSV or Parquet file, with at least one row.

    Arrow guesses the types of a CSV file's columns, but for those that are known to be ``text``: 007 may be a name. How the
    file is written is found where it tells (`dialects`), or what ``csv`` says; a warning tells what had to be read with care.
    """
    path = place(path)
    _check_suffix(path)
    try:
        with local_copy(path) as file:
            is_csv = path.suffix.lower() == ".csv"
            table = _read_csv(file, set(text), csv, path) if is_csv else _read_parquet(file, path)
    except pa.ArrowInvalid as error:
        raise UpstairsError(broken_file(path, error)) from None
    except FileNotFoundError:
        raise UpstairsError(f"{path} doesn't exist{similar_files(path)}.") from None
    except OSError as error:
        raise UpstairsError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None
    if table.num_rows == 0:
        raise UpstairsError(f"{path} has no rows.")
    return table


def column_names(path: str | os.PathLike) -> list[str]:
    """The columns of a file, for the shell to complete; none where it can't be read."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            return pa.parquet.read_schema(path).names
        return read_header(path)
    except (OSError, ValueError):  # Arrow's errors and ours are among these
        return []


def check_columns(table: pa.Table, names: Iterable[str], path: str | os.PathLike) -> None:
    """An UpstairsError, with the likely names, unless all these columns are there."""
    for name in names:
        if name not in table.column_names:
            raise UpstairsError(f"{path} has no column {name!r}. {likely_names(name, table.column_names)}")


def task_names(column: pa.ChunkedArray, name: str, path: str | os.PathLike) -> pa.ChunkedArray:
    """The task of each row as text, so that numbers in one file and text in another name the same tasks."""
    if n_missing := column.null_count:
        raise UpstairsError(
            f"{path} has no value of {name!r} in {n_missing:,} of its {len(column):,} rows. Name their tasks, or drop them."
        )
    return plain_column(column).cast(pa.string())


def task_ids(known: np.ndarray, column: pa.ChunkedArray, name: str, path: str | os.PathLike) -> np.ndarray:
    """The task of each row, as a fit named those that are ``known``: the command line's tasks are text, those of Python may be
    numbers or dates.
    """
    names = task_names(column, name, path)
    if known.dtype.kind not in "iu":
        return np.asarray(names) if known.dtype.kind in "OU" or not len(known) else read_groups(column, len(column))
    try:
        return np.asarray(names.cast(pa.int64()))
    except pa.ArrowInvalid:
        odd = next(value for value in names.to_pylist() if not value.lstrip("-").isdecimal())
        raise UpstairsError(f"The tasks of this model are whole numbers, but {path} names one {odd!r}.") from None


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories as their text, decimals as numbers."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def check_output(path: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """An UpstairsError unless a table can be written to this file, which is none of the inputs."""
    _check_suffix(place(path))
    for other in inputs:
        if other is not None and place(path).resolve() == place(other).resolve():
            raise UpstairsError(f"{path} is an input, and would be overwritten. Give the output another name.")
    check_place(place(path))


def write_table(table: pa.Table, path: str | os.PathLike) -> None:
    """Write a table to a CSV or Parquet file, which appears whole or not at all."""
    with whole_object(place(path)) as file:
        if place(path).suffix.lower() == ".csv":
            plain = [column.cast(pa.string()) if _is_category(column.type) else column for column in table.columns]
            pa.csv.write_csv(pa.table(plain, names=table.column_names), file)
        else:
            pa.parquet.write_table(table, file)


def _read_parquet(file: Path, path: Place) -> pa.Table:
    return _named_once(pa.parquet.read_table(file, partitioning=None), path)


def _read_csv(file: Path, text: set[str], csv: Csv, path: Place) -> pa.Table:
    """The table in a file, which messages call by the name ``path``."""
    dialect = find_dialect(file, csv, path)
    table = _parse(file, dialect, text, csv.missing)
    if padded := {name for name in table.column_names if name not in text and name.strip() in text}:
        table = _parse(file, dialect, text | padded, csv.missing)
    table = trim_names(table)
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_binary(kind):
            raise UpstairsError(f"{path} isn't UTF-8 text in column {name!r}. Save it as UTF-8, or give its --encoding.")
    table = _named_once(table, path)
    if len(once := without_headers(table, path)) < len(table):  # a header among the rows made text of all columns
        rows = pa.BufferOutputStream()
        pa.csv.write_csv(once, rows)
        table = _parse(pa.BufferReader(rows.getvalue()), Dialect(decimal=dialect.decimal), text, csv.missing)
    if dialect.decimal == ",":
        warnings.warn(f"{path} is read with {dialect.words}.", UpstairsWarning, stacklevel=3)
    return clean(table, text, dialect.decimal, csv.dates, [*MISSING, *(csv.missing or [])], path)


def _parse(source: object, dialect: Dialect, text: set[str], missing: list[str] | None) -> pa.Table:
    return pa.csv.read_csv(
        source,
        read_options=pa.csv.ReadOptions(encoding=dialect.encoding),
        parse_options=pa.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            null_values=[*MISSING, *(missing or [])],
            strings_can_be_null=True,
            column_types=dict.fromkeys(text, pa.string()),
            decimal_point=dialect.decimal,
        ),
    )


def _named_once(table: pa.Table, path: Place) -> pa.Table:
    """Without row numbers, and without columns that say the same as another of their name; others may not share a name."""
    first: dict[str, int] = {}
    for j, name in enumerate(table.column_names):
        if is_row_label(name):
            continue
        i = first.setdefault(name, j)
        if i < j and not table.column(i).equals(table.column(j)):
            raise UpstairsError(
                f"{path} has more than one column {name!r}, the {i + 1}. and the {j + 1}., and they differ. Rename one of them."
            )
        if i < j:
            warnings.warn(f"{path} has the column {name!r} twice; one is left out.", UpstairsWarning, stacklevel=4)
    return table.select(list(first.values()))


def _check_suffix(path: Place) -> None:
    if path.suffix.lower() not in SUFFIXES:
        kind = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise UpstairsError(f"{path} {kind}, but tables are read and written as {' or '.join(SUFFIXES)}.")


def broken_file(path: Place, error: Exception) -> str:
    """The sentence about a file that Arrow can't read."""
    reason = str(error).splitlines()[0].rstrip(".")
    if "UTF8" in reason:
        return f"{path} isn't UTF-8 text ({reason}). Save it as UTF-8."
    if ragged := re.search(r"Expected (\d+) columns, got (\d+): (.*)", reason):
        return (
            f"{path} has {ragged[2]} cells in the line {ragged[3]!r}, but {ragged[1]} in its first. Mend that line; titles "
            "above the header and sums below the rows have to go."
        )
    return f"{path} is no valid {path.suffix.lower().removeprefix('.')} file: {reason}."


def similar_files(path: Place) -> str:
    """The name in the same folder that may have been meant, in brackets; or nothing."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" (is it {path.parent / close[0]}?)" if close else ""


def likely_names(name: str, names: list[str]) -> str:
    """A sentence with the names that may have been meant."""
    lower = {other.lower(): other for other in names}
    if close := difflib.get_close_matches(name.lower(), lower, n=3):
        return f"Did you mean {' or '.join(repr(lower[other]) for other in close)}?"
    shown = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    return f"Its columns are {shown}."


def is_row_label(name: str) -> bool:
    """The index that pandas writes beside the columns: row numbers, which no model should learn from."""
    return name == "" or name.startswith("__index_level_")


def _is_category(kind: pa.DataType) -> bool:
    """Categories, which Arrow writes to Parquet but not to CSV."""
    return pa.types.is_dictionary(kind)
