"""Columns of a CSV file that Arrow leaves as text, read again: numbers with units or marks between thousands, dates, blanks.

    "1.234,50 €"     1234.5    all cells are numbers, of one unit
    "05.11.2024"     a date    all cells are dates, one order of day and month fits all, and no other does
    "-", "?"         missing   beside numbers or dates; in a column of text they are a name
    "north "         "north"   blanks around text go

Where numbers stand beside words the column stays text, and a warning says which words. Nothing is changed silently.
"""

import datetime
import re
import warnings
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.frames import distinct, listed, shown
from upstairs.numerals import decimal_sign, read_numeral

__all__ = ["MISSING", "clean", "trim_names", "without_empty_rows", "without_headers"]

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A"]
"""Cells without a value."""
BLANKS = {"-", "--", "–", "—", "?", ".", "N.A.", "n.a."}
"""Cells without a value, beside numbers or dates."""
FIRST = 1000
"""Distinct texts by which it is told whether a column is worth reading to its end."""
MOSTLY = 0.5
"""Share of numbers or dates from which on words beside them are told of."""

_ORDERS = ("day-first", "month-first")
_DATE = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[ T](\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?")
_NAMED_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")


class _Text(NamedTuple):
    """A column of text: its name, the number of each cell's text (-1: missing), and these texts."""

    name: str
    codes: np.ndarray
    values: list[str]

    def looks_like(self, fits: Callable[[str], bool]) -> bool:
        """Whether most of the first texts do."""
        counted = [fits(value) for value in self.values[:FIRST] if value not in BLANKS]
        return len(counted) > 0 and sum(counted) >= MOSTLY * len(counted)

    def rows_of(self, which: Callable[[str], bool]) -> np.ndarray:
        """Rows whose text is such."""
        return np.flatnonzero(np.array([*map(which, self.values), False])[self.codes])

    def words_beside(self, fits: Callable[[str], bool], what: str) -> str | None:
        """What keeps the column from being numbers or dates."""
        rows = self.rows_of(lambda value: value not in BLANKS and not fits(value))
        if len(rows) == 0:
            return f"{self.name!r} holds {what} of several kinds, as {listed(self.values[:3])}, and stays text."
        if len(rows) > (1 - MOSTLY) * len(self.codes):
            return None
        word = self.values[self.codes[rows[0]]]
        cure = f"If that is no value, empty such cells or give --missing {shown(word)}."
        if sign := decimal_sign(word):
            cure = f"If that is a number, give --decimal {sign}"
        count = f"{len(rows):,} such {_rows(len(rows))} in all"
        return f"{self.name!r} stays text: beside {what} it holds {shown(word)} in row {rows[0]} ({count}). {cure}"


def trim_names(table: pa.Table) -> pa.Table:
    """Columns by their names without blanks around them."""
    return table.rename_columns([name.strip() for name in table.column_names])


def without_headers(table: pa.Table, path: object) -> pa.Table:
    """The table without rows that repeat the header, as of files that were joined, with a warning."""
    if not any(pa.types.is_string(kind) for kind in table.schema.types):
        return table
    header = np.ones(table.num_rows, bool)
    for name, column in zip(table.column_names, table.columns, strict=True):
        header &= _as_mask(pc.match_substring_regex(column.cast(pa.string()), rf"^\s*{re.escape(name)}\s*$"))
        if not header.any():
            return table
    _warn(path, f"the header stands in {header.sum():,} more {_rows(header.sum())}, left out.")
    return table.filter(~header)


def without_empty_rows(table: pa.Table, path: object) -> pa.Table:
    """The table without rows that hold nothing, as spreadsheets leave at the end, with a warning."""
    nothing = np.ones(table.num_rows, bool)
    for column in table.columns:
        nothing &= _as_mask(pc.is_null(column))
    if not nothing.any():
        return table
    _warn(path, f"{nothing.sum():,} {_rows(nothing.sum())} without any value left out.")
    return table.filter(~nothing)


def clean(
    table: pa.Table, text: Collection[str], decimal: str, dates: str | None, missing: list[str], path: object
) -> pa.Table:
    """The table with its columns of text read again, but for those that are known to be ``text``, which only lose blanks.

    Warns of all that was done, and of what could not be. An UpstairsError where the order of day and month is open.
    """
    columns = dict(zip(table.column_names, table.columns, strict=True))
    strings = [name for name, column in columns.items() if pa.types.is_string(column.type)]
    blank = []
    for name in strings:
        trimmed = pc.utf8_trim_whitespace(columns[name])
        if pc.any(pc.not_equal(trimmed, columns[name])).as_py():
            columns[name] = pc.if_else(pc.is_in(trimmed, pa.array(missing)), pa.scalar(None, pa.string()), trimmed)
            blank.append(name)
    worth = [name for name in strings if name not in text and _worth(columns[name], decimal)]
    texts = [_Text(name, *distinct(columns[name].combine_chunks())) for name in worth]
    numbers, examples = _numbers(texts, decimal, path)
    others = [one for one in texts if one.name not in numbers]
    days, more = _dates([one for one in others if one.looks_like(_is_date)], dates, path)
    columns |= numbers | days
    if examples or more:
        _warn(path, f"read {'; '.join([*examples, *more])}.")
    _warn_of_blanks([one for one in texts if one.name in numbers or one.name in days], path)
    if kept := [name for name in blank if pa.types.is_string(columns[name].type)]:
        _warn(path, f"blanks around the text in {listed(kept)} are taken away.")
    return pa.Table.from_arrays(list(columns.values()), list(columns))


def _worth(column: pa.ChunkedArray, decimal: str) -> bool:
    """Whether the first texts of a column look like numbers or dates: only then Python has to see all of them."""
    first = _Text("", np.array([]), pc.unique(column).drop_null().slice(0, FIRST).to_pylist())
    return first.looks_like(lambda value: read_numeral(value, decimal) is not None) or first.looks_like(_is_date)


def _numbers(texts: list[_Text], decimal: str, path: object) -> tuple[dict[str, pa.Array], list[str]]:
    """Columns of numbers of one unit, by name, and an example of each."""
    found, examples = {}, []
    for text in texts:
        if not text.looks_like(lambda value: read_numeral(value, decimal) is not None):
            continue
        read = [None if value in BLANKS else read_numeral(value, decimal) for value in text.values]
        whole = all(one is not None or value in BLANKS for one, value in zip(read, text.values, strict=True))
        units = {one.unit for one in read if one is not None}
        if not whole or len(units) > 1:
            if words := text.words_beside(lambda value: read_numeral(value, decimal) is not None, "numbers"):
                _warn(path, words)
            continue
        values = np.array([*(np.nan if one is None else one.value for one in read), np.nan])
        first = next(i for i, one in enumerate(read) if one is not None)
        if not text.values[first].isdigit():
            examples.append(f"{shown(text.values[first])} in {text.name!r} as {values[first]:.15g}")
        column = pa.array(values[text.codes], from_pandas=True)
        fractions = values[np.isfinite(values)] % 1 != 0
        found[text.name] = column if fractions.any() or np.nanmax(np.abs(values)) > 2**53 else column.cast(pa.int64())
    return found, examples


class _Days(NamedTuple):
    """What the texts of a column are, with the day before the month and after it (None: no date)."""

    text: _Text
    read: list[tuple[datetime.datetime | None, datetime.datetime | None]]

    @property
    def orders(self) -> list[int]:
        """Those that fit every cell."""
        blank = [value in BLANKS for value in self.text.values]
        return [k for k in range(2) if all(pair[k] is not None or no for pair, no in zip(self.read, blank, strict=True))]

    @property
    def unclear(self) -> str | None:
        """A cell that is one date or another, by the order."""
        return next((value for value, pair in zip(self.text.values, self.read, strict=True) if pair[0] != pair[1]), None)


def _dates(texts: list[_Text], order: str | None, path: object) -> tuple[dict[str, pa.Array], list[str]]:
    """Columns of dates, and an example of each. Where one doesn't tell day from month, the others may, else the user must."""
    days = [_Days(text, [_read_dates(value) for value in text.values]) for text in texts]
    told = {one.orders[0] for one in days if len(one.orders) == 1 and one.unclear}
    found, examples = {}, []
    for one in days:
        text, which = one.text, one.orders
        if len(which) == 2 and one.unclear:
            which = [_ORDERS.index(order)] if order else sorted(told)
            if len(which) != 1:
                raise UpstairsError(
                    f"{path} holds {one.unclear!r} in {text.name!r}, which may be either of two dates: say which with "
                    "--dates day-first or --dates month-first."
                )
        if not which:
            if words := text.words_beside(_is_date, "dates"):
                _warn(path, words)
            continue
        dates = np.array([*(pair[which[0]] for pair in one.read), None], "M8[s]")
        first = int(np.flatnonzero(~np.isnat(dates))[0])
        examples.append(f"{shown(text.values[first])} in {text.name!r} as {str(dates[first])[:10]}")
        found[text.name] = pa.array(dates[text.codes])
    return found, examples


def _is_date(text: str) -> bool:
    return _read_dates(text) != (None, None)


def _read_dates(text: str) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """The date with the day before the month, and with the month before it."""
    found = _DATE.fullmatch(text)
    if found is None:
        date = _read_named_month(text)
        return date, date
    first, mark, middle, last = found.group(1, 2, 3, 4)
    time = [int(part or 0) for part in found.group(5, 6, 7)]
    if len(first) == 4:
        date = _date(int(first), int(middle), int(last), time) if len(last) <= 2 else None
        return date, date
    if len(first) > 2 or len(last) == 3:
        return None, None
    year = int(last) if len(last) == 4 else int(last) + (2000 if int(last) < 70 else 1900)
    a, b = int(first), int(middle)
    return _date(year, b, a, time), None if mark == "." else _date(year, a, b, time)


def _date(year: int, month: int, day: int, time: list[int]) -> datetime.datetime | None:
    try:
        return datetime.datetime(year, month, day, time[0], time[1], time[2])
    except ValueError:
        return None


def _read_named_month(text: str) -> datetime.datetime | None:
    if len(text) > 20 or not text[-4:].isdigit():
        return None
    for form in _NAMED_MONTHS:
        try:
            return datetime.datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _warn_of_blanks(texts: list[_Text], path: object) -> None:
    """Of cells beside numbers and dates that say that there is none."""
    counts = {text.name: len(text.rows_of(BLANKS.__contains__)) for text in texts}
    if names := [name for name, count in counts.items() if count]:
        marks = sorted({value for text in texts for value in text.values if value in BLANKS})
        _warn(path, f"{listed(marks)} in {listed(names)} is taken for no value ({sum(counts.values()):,} cells).")


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _as_mask(array: pa.ChunkedArray) -> np.ndarray:
    return array.to_numpy().astype(bool)  # missing is False


def _warn(path: object, text: str) -> None:
    warnings.warn(f"{path}: {text}", UpstairsWarning, stacklevel=5)
