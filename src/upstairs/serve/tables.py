"""Rows on the wire and tables of the library: JSON by record or by column, and Arrow streams, checked before they are used."""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from upstairs.errors import UpstairsError
from upstairs.frames import Lists, listed
from upstairs.serve.messages import Rows
from upstairs.serve.models import Model
from upstairs.serve.problems import Problem
from upstairs.serve.settings import Limits

__all__ = ["Table", "by_column", "read_rows", "told_of"]

_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "date": (datetime.datetime.fromisoformat, "'2026-01-31T14:30'"),
    "time": (datetime.time.fromisoformat, "'14:30'"),
    "duration": (lambda seconds: datetime.timedelta(seconds=seconds), "90.5, in seconds,"),
}
"""JSON has neither dates nor durations: what reads them, and an example."""


class Table(NamedTuple):
    """Rows of a request.

    Attributes
    ----------
    X : Lists
        The model's columns, in its order.
    y : list or None
        The target, where the rows were to have one.
    warnings : list of str
    """

    X: Lists
    y: list | None
    warnings: list[str]

    @property
    def n_rows(self) -> int:
        return self.X.n_rows


@contextlib.contextmanager
def told_of(part: str) -> Iterator[None]:
    """Whatever the library can't use, the client gets to know, with the part of its request that is meant."""
    try:
        yield
    except UpstairsError as error:
        raise Problem("unusable", f"In {part}: {error}") from None


def by_column(rows: Rows, part: str, limits: Limits) -> dict[str, list]:
    """Rows as columns of the same length; a record that lacks what others have gets None."""
    columns = rows if isinstance(rows, dict) else _columns_of(rows, limits)
    if len(columns) > limits.columns:
        raise Problem("unusable", f"In {part}: {len(columns):,} columns are more than the {limits.columns:,} that are read.")
    n_rows = len(next(iter(columns.values()), []))
    for name, values in columns.items():
        if len(values) != n_rows:
            first = next(iter(columns))
            raise Problem("unusable", f"In {part}: column {name!r} has {len(values):,} values, but {first!r} has {n_rows:,}.")
    if not n_rows:
        raise Problem("unusable", f"In {part}: there are no rows. Send one or more.")
    if n_rows > limits.rows:
        cure = "send an Arrow stream" if part == "query" else "send fewer"
        raise Problem("unusable", f"In {part}: {n_rows:,} rows are more than the {limits.rows:,} of one request; {cure}.")
    return columns


def read_rows(model: Model, columns: dict[str, list], part: str, labelled: bool) -> Table:
    """The model's table from columns; with the target if ``labelled``."""
    wanted, target = model.meta.columns_.names, model.target
    if labelled and target not in columns:
        raise Problem("unusable", f"In {part}: the rows lack {target!r}, the target. Send it with every row.")
    there = {name: columns[name] for name in wanted if name in columns}
    extra = [name for name in columns if name not in there and name not in (target, model.meta.names_.task)]
    if len(there) < len(wanted):  # the library says which are missing, and what they may have been called here
        there |= {name: columns[name] for name in extra}
    for column in model.meta.columns_.columns:
        if column.kind in _READERS and column.name in there:
            there[column.name] = _read_times(there[column.name], column.kind, column.name, part)
    warnings = [f"In {part}: columns that weren't there in fit are ignored: {listed(extra)}."] if extra else []
    return Table(Lists(there), columns[target] if labelled else None, warnings)


def _columns_of(records: list[dict[str, Any]], limits: Limits) -> dict[str, list]:
    if not records:
        return {}
    first = records[0].keys()
    if all(record.keys() == first for record in records):
        return {name: [record[name] for record in records] for name in first}
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) > limits.columns:  # before a table of so many columns is built for few rows each
        return {name: [] for name in names}
    return {name: [record.get(name) for record in records] for name in names}


def _read_times(values: list, kind: str, name: str, part: str) -> list:
    read, example = _READERS[kind]
    times = []
    for row, value in enumerate(values):
        try:
            times.append(None if value is None else read(value))
        except (TypeError, ValueError, OverflowError):
            told = f"In {part}: column {name!r} holds {value!r} in row {row}, which is no {kind} as {example} is."
            raise Problem("unusable", told) from None
    return times
