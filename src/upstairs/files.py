"""Tables in files: CSV and Parquet, in and out, read with Arrow; whatever is wrong with a file is said in one sentence.

Files are on this machine or in an object store (`remote`).
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from upstairs.errors import UpstairsError
from upstairs.remote import Place, check_place, local_copy, place, whole_object

__all__ = [
    "MISSING",
    "broken_file",
    "check_columns",
    "check_output",
    "is_row_label",
    "likely_names",
    "read_table",
    "similar_files",
    "write_table",
]

SUFFIXES = (".csv", ".parquet")

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A"]


def read_table(path: str | os.PathLike, text: Iterable[str] = ()) -> pa.Table:
    """The table in a CSV or Parquet file, with at least one row.

    Arrow guesses the types of a CSV file's columns, but for those that are known to be ``text``: 007 may be a name.
    """
    path = place(path)
    _check_suffix(path)
    try:
        with local_copy(path) as file:
            csv = path.suffix.lower() == ".csv"
            table = _read_csv(file, text, path) if csv else pa.parquet.read_table(file, partitioning=None)
    except pa.ArrowInvalid as error:
        raise UpstairsError(broken_file(path, error)) from None
    except FileNotFoundError:
        raise UpstairsError(f"{path} doesn't exist{similar_files(path)}.") from None
    except OSError as error:
        raise UpstairsError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None
    table = table.drop_columns([name for name in table.column_names if is_row_label(name)])
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise UpstairsError(f"{path} has more than one column {twice[0]!r}. Rename all but one of them.")
    if table.num_rows == 0:
        raise UpstairsError(f"{path} has no rows.")
    return table


def check_columns(table: pa.Table, names: Iterable[str], path: str | os.PathLike) -> None:
    """An UpstairsError, with the likely names, unless all these columns are there."""
    for name in names:
        if name not in table.column_names:
            raise UpstairsError(f"{path} has no column {name!r}. {likely_names(name, table.column_names)}")


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


def _read_csv(file: Path, text: Iterable[str], path: Place) -> pa.Table:
    """The table in a file, which messages call by the name ``path``."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        header = next((line for line in lines if line.strip()), "")
    if not header:
        raise UpstairsError(f"{path} is empty; its first line should hold the names of the columns.")
    delimiter = max(",;\t", key=header.count)  # the comma where none occurs
    table = pa.csv.read_csv(
        file,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            null_values=MISSING, strings_can_be_null=True, column_types=dict.fromkeys(text, pa.string())
        ),
    )
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_binary(kind):
            raise UpstairsError(f"{path} isn't UTF-8 text in column {name!r}. Save it as UTF-8.")
    return table


def _check_suffix(path: Place) -> None:
    if path.suffix.lower() not in SUFFIXES:
        kind = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise UpstairsError(f"{path} {kind}, but tables are read and written as {' or '.join(SUFFIXES)}.")


def broken_file(path: Place, error: Exception) -> str:
    """The sentence about a file that Arrow can't read."""
    reason = str(error).splitlines()[0].rstrip(".")
    if "UTF8" in reason:
        return f"{path} isn't UTF-8 text ({reason}). Save it as UTF-8."
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
