"""The door: a user's table becomes numbers once, here.

`Columns.learn` notes what each column of a table holds; `Columns.encode` turns that table, or a later one of any kind, into
float32 [n, p] for the learners. Whatever the table, each column passes as an Arrow array (`frames`).

    a column holds                  and becomes
    number    int, bool, Decimal    "price": (x − mean) / sd, computed in float64
    category  text, Categorical     "colour": 0, 1, ... from the most frequent level on; the last code is for rare levels
    date      date, datetime        "sold (days)", "sold (month)", "sold (weekday)", "sold (hour)", each as a number
    time      time of day           "opens (hour)", as a number
    duration  timedelta             "lasts (days)", as a number
"""

import dataclasses
import difflib
import functools
import itertools
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.frames import (
    PLURALS,
    Array,
    Frame,
    Lists,
    distinct,
    kind_of,
    level_name,
    listed,
    open_table,
    plain,
    read_vector,
    shown,
    wall_clock,
)
from upstairs.moments import Moments
from upstairs.numerals import SIGNS, read_numeral

__all__ = ["ROWS", "Columns", "Feature", "read_groups", "read_target"]

ROWS = 2**16
"""Rows that a column is learned from at once: in these portions sums add up to the same last digit, in memory or streamed."""

MOST_LEVELS = 1000
LEAST_ROWS = 2  # of a level in fit: what a single row says about a level can't be told from noise
MANY_LEVELS, NEARLY_ALL = 20, 0.9  # so many levels, of which so many are numbers, are hardly names
MOST_SDS = 1e6  # encoded numbers are clipped here, so that their squares and sums stay finite in float32
LARGEST = 1e100  # beyond it sums of squares come near the end of float64
MOST_COUNTED = 2**20  # distinct texts; among more, the rarest half is forgotten now and then, and was no level anyway
CACHED, BLOCK = 2**15, 2**21  # values read at once: of rows that lie together; of columns, fewer the larger they are

_PARTS = {"number": ("",), "date": ("days", "month", "weekday", "hour"), "time": ("hour",), "duration": ("days",)}


class Feature(NamedTuple):
    """One encoded column as learners see it.

    Attributes
    ----------
    name : str
        ``price``, ``sold (days)``, ``sold (month)`` ...
    column : str
        The user's column it comes from.
    levels : int
        Number of category codes, 0 for numbers.
    """

    name: str
    column: str
    levels: int


@dataclasses.dataclass(frozen=True)
class Columns:
    """What was learned of a user's table; the only way from tables to numbers.

    Attributes
    ----------
    named : bool
        False for an ndarray, whose columns are called x0, x1, ...
    columns : tuple of _Column
        In the order of the fit.
    """

    named: bool
    columns: tuple["_Column", ...]

    @classmethod
    def learn(cls, X: Any) -> "Columns":
        """Learn the columns of a DataFrame (pandas, polars), Arrow table, ndarray or list of rows."""
        table = open_table(X)
        shape = table.n_rows, len(table.names)
        for size, noun in zip(shape, ("sample", "feature"), strict=True):
            if size == 0:
                raise UpstairsError(f"X has 0 {noun}(s) (shape={shape}) while a minimum of 1 is required.")
        return cls(table.named, tuple(_learn_column(name, table.column(j)) for j, name in enumerate(table.names)))

    @classmethod
    def learn_blocks(cls, names: Sequence[str], blocks: Iterable[Sequence[pa.Array]]) -> "Columns":
        """Learn from a stream of blocks: the same as `learn` of one table, if all but the last hold ``ROWS`` rows."""
        learners = [_ColumnLearner(name) for name in names]
        for block in blocks:
            for learner, array in zip(learners, block, strict=True):
                learner.see(array)
        return cls(True, tuple(learner.column() for learner in learners))

    def encode(self, X: Any) -> np.ndarray:
        """Turn a table of n rows into numbers, float32 [n, p], C-contiguous.

        Columns are found by their names, and others are ignored; they go by position if X, or what was learned from, has none.
        """
        table = open_table(X)
        where = self._match(table)
        Z = np.empty((table.n_rows, len(self.features)), np.float32)
        numeric = table.numeric()
        plain = [i for i, column in enumerate(self.columns) if column.kind == "number" and numeric[where[i]]]
        plain.sort(key=where.__getitem__)  # in the order of the table: all of its columns are then the table itself, uncopied
        means, sds = self._scales
        for first, part in _portions(table):
            step, own = max(1, BLOCK // max(1, part.n_rows)), slice(first, first + part.n_rows)
            for some in (plain[k : k + step] for k in range(0, len(plain), step)):
                at, names = self._starts[some], [self.names[i] for i in some]
                Z[own, at] = _scaled(part.numbers([where[i] for i in some]), means[at], sds[at], names, first)
        for i in sorted(set(range(len(where))).difference(plain)):
            own = slice(self._starts[i], self._starts[i + 1])
            Z[:, own] = _encode_column(self.columns[i], table.column(where[i], mixed=True))
        return Z

    @functools.cached_property
    def features(self) -> tuple[Feature, ...]:
        """The p encoded columns."""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def levels(self) -> np.ndarray:
        """Number of category codes of each feature, int32 [p]; 0 for numbers."""
        return np.array([feature.levels for feature in self.features], np.int32)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The user's columns, in the order of the fit."""
        return tuple(column.name for column in self.columns)

    def to_manifest(self) -> dict:
        """As plain JSON types, from which `from_manifest` makes an equal object."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_manifest(cls, manifest: dict) -> "Columns":
        """The inverse of `to_manifest`."""
        return cls(manifest["named"], tuple(_Column.from_manifest(column) for column in manifest["columns"]))

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """First feature of each column, and p."""
        return np.cumsum([0, *(len(column.parts) for column in self.columns)])

    @functools.cached_property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Origin and standard deviation of each feature."""
        columns = self.columns
        return np.concatenate([column.means for column in columns]), np.concatenate([column.sds for column in columns])

    def _match(self, table: "Frame | Array | Lists") -> Sequence[int]:
        """Position in the table of each column of the fit."""
        k, p = len(table.names), len(self.names)
        if table.names == self.names:
            return range(p)
        if self.named and table.named:
            position = {name: j for j, name in enumerate(table.names)}
            extra = [name for name in table.names if name not in set(self.names)]
            if missing := [_hint(name, extra) for name in self.names if name not in position]:
                raise UpstairsError(f"X lacks columns that were there in fit: {', '.join(missing)}.")
            if extra:
                message = f"X has columns that weren't there in fit, ignored: {listed(extra)}."
                warnings.warn(message, UpstairsWarning, stacklevel=3)
            return [position[name] for name in self.names]
        # From here on there are names on one side at most. The words are scikit-learn's, and its checks look for them.
        if k != p:
            raise UpstairsError(f"X has {k} features, but upstairs is expecting {p} features as input.")
        message = f"X does not have valid feature names, but upstairs was fitted with feature names: {listed(self.names)}."
        if table.named:
            message = "X has feature names, but upstairs was fitted without feature names."
        warnings.warn(f"{message} Columns are taken by their position.", UpstairsWarning, stacklevel=3)
        return range(p)


def read_target(y: Any, n_rows: int, name: str = "y") -> np.ndarray:
    """The user's target values.

    Parameters
    ----------
    y : Series, ndarray, list or table of one column
    n_rows : int
        Rows of the table that it belongs to.
    name : str, default="y"
        What messages call it.

    Returns
    -------
    values : ndarray, shape [n_rows]
        Numbers keep their dtype, text is an object array of str, dates are datetime64. Missing: NaN, None, NaT.
    """
    return read_vector(y, n_rows, name)[0]


def read_groups(groups: Any, n_rows: int, name: str = "groups") -> np.ndarray:
    """The task of each row, as `read_target` reads it, but none may be missing."""
    values, missing = read_vector(groups, n_rows, name)
    if missing.any():
        raise UpstairsError(
            f"{name} is missing in {missing.sum()} of {n_rows} rows, the first of them row {missing.argmax()}. "
            "Drop these rows, or give them a task of their own."
        )
    return values


@dataclasses.dataclass(frozen=True)
class _Column:
    """What was learned of one column. ``parts``, ``means`` and ``sds`` have an entry for each of its features."""

    name: str
    kind: str
    parts: tuple[str, ...] = ("",)
    means: tuple[float, ...] = (0.0,)
    sds: tuple[float, ...] = (1.0,)
    levels: tuple[str, ...] = ()
    zone: str | None = None

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> "_Column":
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in manifest.items()}
        return cls(**values)

    @property
    def features(self) -> list[Feature]:
        n_codes = len(self.levels) + 1 if self.kind == "category" else 0
        return [Feature(f"{self.name} ({part})" if part else self.name, self.name, n_codes) for part in self.parts]

    @functools.cached_property
    def codes(self) -> dict[str, int]:
        return {level: code for code, level in enumerate(self.levels)}


def _learn_column(name: str, array: pa.Array) -> _Column:
    learner = _ColumnLearner(name)
    for start in range(0, len(array), ROWS):
        learner.see(array.slice(start, ROWS))
    return learner.column()


class _ColumnLearner:
    """Learns a column block by block."""

    def __init__(self, name: str):
        self.name, self.n_rows = name, 0
        self.kind: str | None = None
        self.zone: str | None = None
        self.counts: Counter[str] = Counter()
        self.has_hours = self.chosen = False
        self.parts: list[Moments] = []

    def see(self, array: pa.Array) -> None:
        first, self.n_rows = self.n_rows, self.n_rows + len(array)
        if pa.types.is_null(array.type):  # says nothing, not even of the kind
            return
        if self.kind is None:
            self.kind, self.zone = kind_of(array, self.name), getattr(array.type, "tz", None)
            self.parts = [Moments() for _ in _PARTS.get(self.kind, ())]
        if self.kind == "category":
            self.chosen |= pa.types.is_dictionary(array.type)  # a category by the user's own wish
            self._count(array)
            return
        block = _checked(_measure(self.kind, array, self.zone), [self.name] * len(self.parts), first)
        self.has_hours |= self.kind == "date" and bool((block[:, -1] > 0).any())
        for part, x in zip(self.parts, block.T, strict=True):
            part.add(x[~np.isnan(x)])

    def column(self) -> _Column:
        if self.kind == "category":
            often = (level for level, count in self.counts.items() if count >= LEAST_ROWS)
            levels = sorted(often, key=lambda level: (-self.counts[level], level))[:MOST_LEVELS]
            if not self.chosen:
                _warn_of_numbers(self.name, list(itertools.islice(self.counts, MOST_LEVELS)))
            return _Column(self.name, self.kind, levels=tuple(levels))
        names, parts = _PARTS[self.kind or "number"], self.parts or [Moments()]
        if self.kind == "date" and not self.has_hours:
            names, parts = names[:-1], parts[:-1]  # midnight throughout: the hours say nothing
        means, sds = zip(*(part.origin_and_scale() for part in parts), strict=True)
        return _Column(self.name, self.kind or "number", names, means, sds, zone=self.zone)

    def _count(self, array: pa.Array) -> None:
        codes, values = distinct(array)
        for value, count in zip(values, np.bincount(codes[codes >= 0], minlength=len(values)).tolist(), strict=True):
            self.counts[level_name(value)] += count
        if len(self.counts) > MOST_COUNTED:
            self.counts = Counter(dict(self.counts.most_common(MOST_COUNTED // 2)))


def _warn_of_numbers(name: str, levels: list[str]) -> None:
    """That text is a category, where it looks like numbers."""
    read = [level for level in levels if _is_number(level)]
    if len(levels) >= MANY_LEVELS and len(read) >= NEARLY_ALL * len(levels):
        message = f"Column {name!r} holds numbers written as text ({shown(read[0])}), and is taken for a category of names"
        cure = "Make it numbers, as pandas.to_numeric does, or a categorical column if they are names."
        warnings.warn(f"{message}. {cure}", UpstairsWarning, stacklevel=5)


def _encode_column(column: _Column, array: pa.Array) -> np.ndarray:
    """A column as numbers [n, its features]."""
    if column.kind == "category":
        codes, values = distinct(array)
        rare = len(column.levels)
        known = [np.nan if value is None or value != value else column.codes.get(level_name(value), rare) for value in values]
        return np.array([*known, np.nan])[codes, None]
    array = plain(array)
    if array.null_count == len(array):
        return np.full((len(array), len(column.parts)), np.nan)
    if kind_of(array, column.name) != column.kind:
        raise _mismatch(column, array)
    block = _measure(column.kind, array, column.zone)[:, : len(column.parts)]
    return _scaled(block, np.array(column.means), np.array(column.sds), [column.name] * len(column.parts))


def _measure(kind: str, array: pa.Array, zone: str | None) -> np.ndarray:
    """The features of an array of numbers, dates, times or durations, float64 [n, k], all that there are."""
    if kind == "date":
        return _measure_dates(wall_clock(array, zone))
    unit = 1.0
    if kind == "time":
        array, unit = array.cast(pa.time64("us"), safe=False).cast("int64"), 3.6e9
    elif kind == "duration":
        array, unit = array.cast(pa.duration("us"), safe=False).cast("int64"), 8.64e10
    return array.cast("float64", safe=False).to_numpy(zero_copy_only=False)[:, None] / unit


def _measure_dates(times: np.ndarray) -> np.ndarray:
    day = times.astype("M8[D]")
    days = (day - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    month = (day.astype("M8[M]") - np.datetime64("1970-01")) / np.timedelta64(1, "M") % 12 + 1
    hour = (times - day) / np.timedelta64(1, "h")
    return np.column_stack([days + hour / 24, month, (days + 3) % 7, hour])  # Monday is 0: 1970 began on a Thursday


def _portions(table: Frame | Array | Lists) -> Iterable[tuple[int, Frame | Array | Lists]]:
    """Rows that are read at once, and the number of the first: of an ndarray few, since they lie row by row; of others all."""
    if not isinstance(table, Array):
        return [(0, table)]
    step = max(1, CACHED // len(table.names))
    return ((i, Array(table.array[i : i + step], table.names)) for i in range(0, table.n_rows, step))


def _scaled(block: np.ndarray, means: np.ndarray, sds: np.ndarray, names: Sequence[str], first_row: int = 0) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which is clipped
        return np.clip((_checked(block, names, first_row) - means) / sds, -MOST_SDS, MOST_SDS)


def _checked(block: np.ndarray, names: Sequence[str], first_row: int = 0) -> np.ndarray:
    """The block [n, k] itself, if it can be squared and summed."""
    huge = np.abs(block) > LARGEST
    if huge.any():
        row, j = np.argwhere(huge)[0]
        what, cure = f"{block[row, j]:g}", f"Numbers may not go beyond {LARGEST:g}; rescale the column."
        if np.isinf(block[row, j]):
            what, cure = "infinity", "Replace it by an empty value, or drop such rows."
        raise UpstairsError(f"Column {names[j]!r} holds {what} in row {first_row + row}. {cure}")
    return block


def _mismatch(column: _Column, array: pa.Array) -> UpstairsError:
    """The error for a column that held numbers, dates, times or durations in fit, and now something else."""
    kind, (codes, values) = kind_of(array, column.name), distinct(array)
    held = "was numeric" if column.kind == "number" else f"held {PLURALS[column.kind]}"
    odd, holds, cure = list(range(len(values))), PLURALS[kind], f"Convert the column to {PLURALS[column.kind]}."
    if column.kind == "number" and kind == "category":
        if words := [i for i, value in enumerate(values) if not _is_number(value)]:
            odd, cure = words, "Replace the text by an empty value, or drop those rows."
        else:
            holds = "numbers written as text"
    rows = np.flatnonzero(np.isin(codes, odd))
    found = f"{shown(values[codes[rows[0]]])} in row {rows[0]} ({len(rows)} {'row' if len(rows) == 1 else 'rows'} in all)"
    return UpstairsError(f"Column {column.name!r} {held} in fit but holds {holds} here: {found}. {cure}")


def _hint(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1)
    return f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name)


def _is_number(text: str) -> bool:
    return any(read_numeral(text, sign) is not None for sign in SIGNS)
