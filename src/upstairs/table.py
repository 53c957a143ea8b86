"""The door: a user's table becomes numbers once, here, and answers leave once, here.

`Columns.learn` notes what each column of a table holds; `Columns.encode` turns that table, or a later one of any kind, into
float32 [n, p] for the learners; `answer` is the way back. Whatever the table, each column passes as an Arrow array.

    a column holds                  and becomes
    number    int, bool, Decimal    "price": (x − mean) / sd, computed in float64
    category  text, Categorical     "colour": 0, 1, ... from the most frequent level on; the last code is for rare levels
    date      date, datetime        "sold (days)", "sold (month)", "sold (weekday)", "sold (hour)", each as a number
    time      time of day           "opens (hour)", as a number
    duration  timedelta             "lasts (days)", as a number
"""

import dataclasses
import datetime
import decimal
import difflib
import functools
import json
import numbers
import os
import reprlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError, UpstairsWarning

__all__ = ["Columns", "Feature", "answer", "read_groups", "read_target", "row_count"]

MOST_LEVELS = 1000
LEAST_ROWS = 2  # of a level in fit: what a single row says about a level can't be told from noise
MOST_SDS = 1e6  # encoded numbers are clipped here, so that their squares and sums stay finite in float32
LARGEST = 1e100  # beyond it sums of squares come near the end of float64
BLOCK = 2**21  # values read at once: many columns of a small table, since each call has its price, and few of a large one

_PARTS = {"number": ("",), "date": ("days", "month", "weekday", "hour"), "time": ("hour",), "duration": ("days",)}
_PLURALS = {"number": "numbers", "category": "text", "date": "dates", "time": "times of day", "duration": "durations"}
_ARROW_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "number": (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null),
    "category": (pa.types.is_dictionary, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "date": (pa.types.is_timestamp, pa.types.is_date),
    "time": (pa.types.is_time,),
    "duration": (pa.types.is_duration,),
}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "number": (numbers.Real, decimal.Decimal, np.bool_),
    "category": (str,),
    "date": (datetime.date, np.datetime64),
}


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
        table = _open(X)
        shape = table.n_rows, len(table.names)
        for size, noun in zip(shape, ("sample", "feature"), strict=True):
            if size == 0:
                raise UpstairsError(f"X has 0 {noun}(s) (shape={shape}) while a minimum of 1 is required.")
        return cls(table.named, tuple(_learn_column(name, table.column(j)) for j, name in enumerate(table.names)))

    def encode(self, X: Any) -> np.ndarray:
        """Turn a table of n rows into numbers, float32 [n, p], C-contiguous.

        Columns are found by their names, and others are ignored; they go by position if X, or what was learned from, has none.
        """
        table = _open(X)
        where = self._match(table)
        Z = np.empty((table.n_rows, len(self.features)), np.float32)
        numeric = table.numeric()
        plain = [i for i, column in enumerate(self.columns) if column.kind == "number" and numeric[where[i]]]
        step = max(1, BLOCK // max(1, table.n_rows))
        for some in (plain[k : k + step] for k in range(0, len(plain), step)):
            at = self._starts[some]
            Z[:, at] = _scaled(
                table.numbers([where[i] for i in some]), self._means[at], self._sds[at], [self.names[i] for i in some]
            )
        for i in sorted(set(range(len(where))).difference(plain)):
            column, at = self.columns[i], slice(self._starts[i], self._starts[i + 1])
            Z[:, at] = _encode_column(column, table.column(where[i], mixed=True))
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
        columns = ({key: tuple(v) if isinstance(v, list) else v for key, v in column.items()} for column in manifest["columns"])
        return cls(manifest["named"], tuple(_Column(**column) for column in columns))

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """First feature of each column, and p."""
        return np.cumsum([0, *(len(column.parts) for column in self.columns)])

    @functools.cached_property
    def _means(self) -> np.ndarray:
        return np.concatenate([column.means for column in self.columns])

    @functools.cached_property
    def _sds(self) -> np.ndarray:
        return np.concatenate([column.sds for column in self.columns])

    def _match(self, table: "_Frame | _Array") -> Sequence[int]:
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
                message = f"X has columns that weren't there in fit, ignored: {_list(extra)}."
                warnings.warn(message, UpstairsWarning, stacklevel=3)
            return [position[name] for name in self.names]
        # From here on there are names on one side at most. The words are scikit-learn's, and its checks look for them.
        if k != p:
            raise UpstairsError(f"X has {k} features, but upstairs is expecting {p} features as input.")
        message = f"X does not have valid feature names, but upstairs was fitted with feature names: {_list(self.names)}."
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
    return _read_vector(y, n_rows, name)[0]


def read_groups(groups: Any, n_rows: int, name: str = "groups") -> np.ndarray:
    """The task of each row, as `read_target` reads it, but none may be missing."""
    values, missing = _read_vector(groups, n_rows, name)
    if missing.any():
        raise UpstairsError(
            f"{name} is missing in {missing.sum()} of {n_rows} rows, the first of them row {missing.argmax()}. "
            "Drop these rows, or give them a task of their own."
        )
    return values


def answer(X: Any, values: np.ndarray, names: str | Sequence[str] | None = None) -> Any:
    """Hand values out in the kind of table that X is.

    Parameters
    ----------
    X : table of n rows
    values : ndarray, shape [n] or [n, k]
    names : str for [n], sequence of k str for [n, k], optional

    Returns
    -------
    values : Series or DataFrame (pandas, with the index of X; polars), Arrow array or table, or else the ndarray itself
    """
    frame = nw.from_native(X, allow_series=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame | nw.Series):
        return values
    native, engine, kind = frame.to_native(), frame.implementation.to_native_namespace(), frame.implementation
    if kind.is_pandas():
        if values.ndim == 1:
            return engine.Series(values, index=native.index, name=names)
        return engine.DataFrame(values, index=native.index, columns=names)
    if values.ndim == 2:
        columns = dict(zip(names or map(str, range(values.shape[1])), values.T, strict=True))
        return engine.DataFrame(columns) if kind.is_polars() else engine.table(columns)
    plain = values.tolist() if values.dtype == object else values  # polars would keep an object array's text as objects
    return engine.Series(names, plain) if kind.is_polars() else engine.array(plain)


def row_count(X: Any) -> int:
    """Number of rows of a table."""
    return _open(X).n_rows


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

    @property
    def features(self) -> list[Feature]:
        n_codes = len(self.levels) + 1 if self.kind == "category" else 0
        return [Feature(f"{self.name} ({part})" if part else self.name, self.name, n_codes) for part in self.parts]

    @functools.cached_property
    def codes(self) -> dict[str, int]:
        return {level: code for code, level in enumerate(self.levels)}


def _learn_column(name: str, array: pa.Array) -> _Column:
    kind, zone = _kind(array, name), getattr(array.type, "tz", None)
    if kind == "category":
        codes, values = _distinct(array)
        rows: Counter[str] = Counter()
        for value, count in zip(values, np.bincount(codes[codes >= 0], minlength=len(values)).tolist(), strict=True):
            rows[_key(value)] += count
        often = (level for level, count in rows.items() if count >= LEAST_ROWS)
        return _Column(name, kind, levels=tuple(sorted(often, key=lambda level: (-rows[level], level))[:MOST_LEVELS]))
    block, parts = _measure(kind, array, zone), _PARTS[kind]
    if kind == "date" and not (block[:, -1] > 0).any():
        block, parts = block[:, :-1], parts[:-1]  # midnight throughout: the hours say nothing
    means, sds = zip(*map(_mean_and_sd, _checked(block, [name] * len(parts)).T), strict=True)
    return _Column(name, kind, parts, means, sds, zone=zone)


def _encode_column(column: _Column, array: pa.Array) -> np.ndarray:
    """A column as numbers [n, its features]."""
    if column.kind == "category":
        codes, values = _distinct(array)
        rare = len(column.levels)
        known = [np.nan if value is None or value != value else column.codes.get(_key(value), rare) for value in values]
        return np.array([*known, np.nan])[codes, None]
    array = _plain(array)
    if array.null_count == len(array):
        return np.full((len(array), len(column.parts)), np.nan)
    if _kind(array, column.name) != column.kind:
        raise _mismatch(column, array)
    block = _measure(column.kind, array, column.zone)[:, : len(column.parts)]
    return _scaled(block, np.array(column.means), np.array(column.sds), [column.name] * len(column.parts))


def _measure(kind: str, array: pa.Array, zone: str | None) -> np.ndarray:
    """The features of an array of numbers, dates, times or durations, float64 [n, k], all that there are."""
    if kind == "date":
        return _measure_dates(_wall_clock(array, zone))
    unit = 1.0
    if kind == "time":
        array, unit = array.cast(pa.time64("us"), safe=False).cast("int64"), 3.6e9
    elif kind == "duration":
        array, unit = array.cast(pa.duration("us"), safe=False).cast("int64"), 8.64e10
    return array.cast("float64", safe=False).to_numpy(zero_copy_only=False)[:, None] / unit


def _wall_clock(array: pa.Array, zone: str | None) -> np.ndarray:
    """Dates as datetime64 [n]. With time zones on both sides, as clocks in the fit's zone show them."""
    if own := getattr(array.type, "tz", None):
        array = pc.local_timestamp(array.cast(pa.timestamp("us", zone or own), safe=False))
    return array.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)


def _measure_dates(times: np.ndarray) -> np.ndarray:
    day = times.astype("M8[D]")
    days = (day - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    month = (day.astype("M8[M]") - np.datetime64("1970-01")) / np.timedelta64(1, "M") % 12 + 1
    hour = (times - day) / np.timedelta64(1, "h")
    return np.column_stack([days + hour / 24, month, (days + 3) % 7, hour])  # Monday is 0: 1970 began on a Thursday


def _mean_and_sd(x: np.ndarray) -> tuple[float, float]:
    x = x[~np.isnan(x)]
    if not len(x):
        return 0.0, 1.0
    sd = float(x.std())
    return float(x.mean()), sd if sd > 1e-12 * np.abs(x).max() else 1.0  # equal numbers may have a mean beside them


def _scaled(block: np.ndarray, means: np.ndarray, sds: np.ndarray, names: Sequence[str]) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which is clipped
        return np.clip((_checked(block, names) - means) / sds, -MOST_SDS, MOST_SDS)


def _checked(block: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The block [n, k] itself, if it can be squared and summed."""
    huge = np.abs(block) > LARGEST
    if huge.any():
        row, j = np.argwhere(huge)[0]
        what, cure = f"{block[row, j]:g}", f"Numbers may not go beyond {LARGEST:g}; rescale the column."
        if np.isinf(block[row, j]):
            what, cure = "infinity", "Replace it by an empty value, or drop such rows."
        raise UpstairsError(f"Column {names[j]!r} holds {what} in row {row}. {cure}")
    return block


def _mismatch(column: _Column, array: pa.Array) -> UpstairsError:
    """The error for a column that held numbers, dates, times or durations in fit, and now something else."""
    kind, (codes, values) = _kind(array, column.name), _distinct(array)
    held = "was numeric" if column.kind == "number" else f"held {_PLURALS[column.kind]}"
    odd, holds, cure = range(len(values)), _PLURALS[kind], f"Convert the column to {_PLURALS[column.kind]}."
    if column.kind == "number" and kind == "category":
        if words := [i for i, value in enumerate(values) if not _is_number(value)]:
            odd, cure = words, "Replace the text by an empty value, or drop those rows."
        else:
            holds = "numbers written as text"
    rows = np.flatnonzero(np.isin(codes, odd))
    found = f"{_show(values[codes[rows[0]]])} in row {rows[0]} ({len(rows)} {'row' if len(rows) == 1 else 'rows'} in all)"
    return UpstairsError(f"Column {column.name!r} {held} in fit but holds {holds} here: {found}. {cure}")


def _key(value: Any) -> str:
    """A level's name, the same whether it came as text, as a number (1 or 1.0) or as a date (with or without a midnight)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).removesuffix(" 00:00:00")


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")


def _hint(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1)
    return f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name)


def _show(value: Any) -> str:
    return reprlib.repr(value) if isinstance(value, str) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Below, nothing is known of columns that were learned: tables and vectors of any kind are opened, and become Arrow arrays.


class _Frame:
    """A DataFrame or Arrow table."""

    named = True

    def __init__(self, frame: nw.DataFrame):
        self.frame, self.native, self.n_rows, self.keys = frame, frame.to_native(), len(frame), frame.columns
        odd = [name for name in self.keys if not isinstance(name, str)]
        if odd and not all(isinstance(name, numbers.Integral) for name in self.keys):  # pandas numbers columns without names
            raise UpstairsError(
                f"X has a column named {odd[0]!r} ({type(odd[0]).__name__}). Names must be text, or all integers."
            )
        self.names = tuple(map(str, self.keys))

    def numeric(self) -> list[bool]:
        """Which columns `numbers` can read."""
        return [dtype.is_numeric() or dtype == nw.Boolean for dtype in self.frame.schema.dtypes()]

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Columns as float64 [n, k], in each engine's own quickest way: through narwhals it takes ten times as long."""
        if self.frame.implementation.is_pandas():
            some = self.native if len(columns) == len(self.names) else self.native.take(columns, axis=1)
            return some.to_numpy(np.float64, na_value=np.nan)
        if self.frame.implementation.is_polars():
            return np.column_stack([self.native.to_series(j).cast(float).to_numpy() for j in columns])
        return np.column_stack([self.native.column(j).cast("float64", safe=False).to_numpy() for j in columns])

    def column(self, j: int, mixed: bool = False) -> pa.Array:
        series = self.frame.get_column(self.keys[j])
        if series.dtype == nw.Object:  # polars would hand out their addresses
            return _array_of_objects(self.names[j], series.to_list(), mixed)
        return _arrow(self.names[j], series.to_arrow, series.to_list, mixed)


class _Array:
    """An ndarray [n, p]."""

    named = False

    def __init__(self, array: np.ndarray, names: Sequence[str] | None = None):
        self.array, self.n_rows = array, len(array)
        self.names = tuple(names or [f"x{j}" for j in range(array.shape[1])])

    def numeric(self) -> list[bool]:
        return [self.array.dtype.kind in "biuf"] * len(self.names)

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        some = self.array if len(columns) == len(self.names) else self.array[:, columns]
        return some.astype(np.float64, copy=False)

    def column(self, j: int, mixed: bool = False) -> pa.Array:
        column = self.array[:, j]
        return _arrow(self.names[j], lambda: pa.array(column, from_pandas=True), column.tolist, mixed)


def _open(X: Any) -> _Frame | _Array:
    if type(X).__module__.startswith("scipy.sparse"):
        raise UpstairsError("X is sparse, which isn't supported. Make it dense with X.toarray().")
    frame = _frame_of(X)
    if isinstance(frame, nw.DataFrame):
        return _Frame(frame)
    if isinstance(frame, nw.Series):
        raise UpstairsError("X is a Series, which has no columns. Reshape your data: X.to_frame() makes it a table.")
    if isinstance(X, str | os.PathLike):
        raise UpstairsError(
            f"X is {str(X)!r}, but files are read by the upstairs command only; here, read it into a DataFrame."
        )
    if isinstance(X, Mapping):
        raise UpstairsError("X is a dict; make it a table, as pandas.DataFrame(X) does.")
    if not isinstance(X, list | tuple) and not hasattr(X, "__array__"):
        raise UpstairsError(f"X is a {type(X).__name__}, but must be a DataFrame (pandas, polars), Arrow table or 2-D ndarray.")
    array = _ndarray(X, "X")
    if array.ndim > 2:
        raise UpstairsError(f"X must have rows and columns, but its shape is {array.shape}.")
    if array.ndim < 2:
        cure = "X.reshape(-1, 1) if it is a single column, X.reshape(1, -1) if it is a single row"
        raise UpstairsError(f"X must have rows and columns, but its shape is {array.shape}. Reshape your data: {cure}.")
    return _Array(array)


def _frame_of(X: Any) -> Any:
    """A narwhals DataFrame or Series, or X itself where it is none."""
    try:
        frame = nw.from_native(X, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        names = getattr(X, "column_names", None) or list(X.columns)
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise UpstairsError(f"X has more than one column {_list(twice)}. Rename all but one.") from None
    if isinstance(frame, nw.LazyFrame):
        raise UpstairsError("X is lazy; call .collect() on it first.")
    return frame


def _ndarray(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise UpstairsError(
            f"{name} is a list with lists of different lengths in it; rows must have the same length."
        ) from None
    if isinstance(values, list | tuple) and array.dtype.kind in "US":
        return np.array(values, dtype=object)  # or numbers beside text would have become text
    return array


def _read_vector(values: Any, n_rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A target or ids as `read_target` returns them, and which are missing: both [n_rows]."""
    table = _open_vector(values, name)
    if table.n_rows != n_rows:
        raise UpstairsError(f"{name} has {table.n_rows} values, but X has {n_rows} rows; it takes one value for each row.")
    array = _plain(table.column(0))
    missing = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if _kind(array, name) == "date":
        return _wall_clock(array, None), missing
    if pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        array = array.cast("float64")
    return array.to_numpy(zero_copy_only=False), missing


def _open_vector(values: Any, name: str) -> _Frame | _Array:
    frame = _frame_of(values)
    if isinstance(frame, nw.Series):
        return _Frame(frame.alias(name).to_frame())
    if isinstance(frame, nw.DataFrame) and frame.shape[1] == 1:
        return _Frame(frame)
    array = _ndarray(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning  # not above, since scikit-learn loads pandas

        message = f"A column-vector {name} was passed when a 1d array was expected; {name}.ravel() makes it one."
        warnings.warn(message, DataConversionWarning, stacklevel=5)
        array = array[:, 0]
    if array.ndim != 1:
        got = f"has the shape {array.shape}" if array.ndim else f"is {reprlib.repr(values)}"
        raise UpstairsError(f"{name} should be a 1d array, one value for each row of X, but {got}.")
    return _Array(array[:, None], [name])


def _arrow(name: str, as_arrow: Callable[[], Any], as_list: Callable[[], list], mixed: bool) -> pa.Array:
    try:
        array = as_arrow()
    except (pa.ArrowException, OverflowError, TypeError):  # values of several types, or of one that Arrow doesn't know
        return _array_of_objects(name, as_list(), mixed)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _array_of_objects(name: str, values: list, mixed: bool) -> pa.Array:
    """What Arrow wouldn't take: numbers of several types, say. Text beside numbers is an error, or else ``mixed`` takes all as text."""
    row_of: dict[str | None, int] = {}
    values = [None if _is_missing(value) else value for value in values]
    for row, value in enumerate(values):
        if value is not None:
            row_of.setdefault(next((kind for kind, types in _PYTHON_TYPES.items() if isinstance(value, types)), None), row)
    if None in row_of:
        raise _unusable(name, f"holds a {type(values[row_of[None]]).__name__} in row {row_of[None]}")
    if len(row_of) > 1 and not mixed:
        kinds = [f"{_PLURALS[kind]} ({_show(values[row])} in row {row})" for kind, row in row_of.items()]
        raise UpstairsError(f"Column {name!r} holds {' as well as '.join(kinds)}. Make it one or the other.")
    if set(row_of) == {"number"}:
        return pa.array([None if value is None else float(value) for value in values], "float64")
    if set(row_of) == {"date"}:
        return pa.array(np.array(values, "M8[us]"))
    return pa.array([None if value is None else _key(value) for value in values], "string")


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | decimal.Decimal | np.generic):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # of pandas, which isn't loaded to ask


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _distinct(array: pa.Array) -> tuple[np.ndarray, list]:
    """Codes [n], −1 where missing, and the distinct values: what Python has to do, it does once for each of these."""
    array = array.dictionary_encode()
    return array.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False), array.dictionary.to_pylist()


def _kind(array: pa.Array, name: str) -> str:
    for kind, tests in _ARROW_TYPES.items():
        if any(test(array.type) for test in tests):
            return kind
    raise _unusable(name, f"holds values of the type {array.type}")


def _unusable(name: str, what: str) -> UpstairsError:
    if "complex" in what:
        return UpstairsError(f"Complex data not supported: column {name!r} {what}. Take its real part, or drop it.")
    kinds = "numbers, text, categories, dates, times of day or durations"
    return UpstairsError(f"Column {name!r} {what}, but a column must hold {kinds}. Convert it, or drop it.")
