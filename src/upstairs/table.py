"""The door: a user's table becomes numbers once, here, and answers leave once, here.

`Columns.learn` notes what each column of a table holds; `Columns.encode` turns that table, or a later one of any kind, into
float32 [n, p] for the learners; `answer` is the way back. NaN is a missing value, always.

    a column holds   which may be          and becomes
    number           int, bool, Decimal    "price": (x − mean) / sd, computed in float64
    category         text, Categorical     "colour": 0, 1, ... from the most frequent level on; the last code is for rare ones
    date             date, datetime        "sold (days)", "sold (month)", "sold (weekday)", "sold (hour)": as numbers
    time             time of day           "opens (hour)": as a number
    duration         timedelta             "lasts (days)": as a number

Python objects are whatever their values are, if these are all of one kind.
"""

import collections
import dataclasses
import datetime
import decimal
import difflib
import functools
import numbers
import os
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsError, UpstairsWarning

__all__ = ["Columns", "Feature", "answer", "read_groups", "read_target", "row_count"]

MOST_LEVELS = 1000
LEAST_ROWS = 2
"""Rows in fit that a level needs for a code of its own: what a single row says about it can't be told from noise."""

MOST_SDS = 1e6
"""Encoded numbers are clipped to this, so that their squares and sums stay finite in float32."""

LARGEST = 1e100
"""Beyond this, sums of squares come near the end of float64."""

BLOCK = 2**21
"""Values read at once: many columns of a small table, since each call has its price, and few of a large one."""

_ROLES = {nw.Boolean: "number", nw.Date: "date", nw.Datetime: "date", nw.Duration: "duration"}
_ROLES |= {nw.String: "category", nw.Categorical: "category", nw.Enum: "category", nw.Object: "object", nw.Time: "object"}
_ARRAY_ROLES = dict.fromkeys("biuf", "number") | {"M": "date", "m": "duration", "U": "category", "T": "category", "O": "object"}

_KINDS: dict[str, tuple[type, ...]] = {
    "number": (numbers.Real, decimal.Decimal, np.bool_),
    "category": (str,),
    "date": (datetime.date, np.datetime64),
    "time": (datetime.time,),
    "duration": (datetime.timedelta, np.timedelta64),
}
_PLURALS = {"number": "numbers", "category": "text", "date": "dates", "time": "times of day", "duration": "durations"}
_PARTS = {"number": ("",), "date": ("days", "month", "weekday", "hour"), "time": ("hour",), "duration": ("days",)}
_DAY = np.timedelta64(1, "D")


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
        """Learn the columns of a DataFrame (pandas, polars), Arrow table, ndarray or list of rows.

        Raises
        ------
        UpstairsError
            A sentence that names the column, and where it can the row, that can't be used.
        """
        table = _open(X)
        shape = table.n_rows, len(table.names)
        for size, noun in zip(shape, ("sample", "feature"), strict=True):
            if size == 0:
                raise UpstairsError(f"X has 0 {noun}(s) (shape={shape}) while a minimum of 1 is required.")
        roles = table.roles(range(len(table.names)))
        return cls(table.named, tuple(_learn_column(table, j, role) for j, role in enumerate(roles)))

    def encode(self, X: Any) -> np.ndarray:
        """Turn a table into numbers, float32 [n, p], C-contiguous.

        Columns are found by their names, in any order, and others are ignored; if there are names on one side only (or none),
        columns are taken by their position.
        """
        table = _open(X)
        where = self._match(table)
        roles = table.roles(where)
        Z = np.empty((table.n_rows, len(self.features)), np.float32)
        plain = [i for i, column in enumerate(self.columns) if column.kind == roles[i] == "number"]
        step = max(1, BLOCK // max(1, table.n_rows))
        for some in (plain[k : k + step] for k in range(0, len(plain), step)):
            at = self._starts[some]
            block = _checked(table.numbers([where[i] for i in some]), [self.names[i] for i in some])
            Z[:, at] = _scaled(block, self._means[at], self._sds[at])
        for i in sorted(set(range(len(where))).difference(plain)):
            at = slice(self._starts[i], self._starts[i] + len(self.columns[i].parts))
            Z[:, at] = _encode_column(self.columns[i], table, where[i], roles[i])
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
        return {"named": self.named, "columns": [column.to_manifest() for column in self.columns]}

    @classmethod
    def from_manifest(cls, manifest: dict) -> "Columns":
        """The inverse of `to_manifest`."""
        return cls(manifest["named"], tuple(_Column.from_manifest(column) for column in manifest["columns"]))

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """First feature of each column."""
        return np.cumsum([0, *(len(column.parts) for column in self.columns)])[:-1]

    @functools.cached_property
    def _means(self) -> np.ndarray:
        return np.concatenate([column.means for column in self.columns])

    @functools.cached_property
    def _sds(self) -> np.ndarray:
        return np.concatenate([column.sds for column in self.columns])

    def _match(self, table: "_Frame | _Array") -> Sequence[int]:
        """Position in the table of each column of the fit."""
        if table.names == self.names:
            return range(len(self.names))
        if not (self.named and table.named):
            return self._match_positions(table)
        position = {name: j for j, name in enumerate(table.names)}
        extra = [name for name in table.names if name not in set(self.names)]
        if missing := [name for name in self.names if name not in position]:
            raise UpstairsError(f"X lacks columns that were there in fit: {', '.join(_hint(name, extra) for name in missing)}.")
        if extra:
            warnings.warn(f"X has columns that weren't there in fit, ignored: {_list(extra)}.", UpstairsWarning, stacklevel=3)
        return [position[name] for name in self.names]

    def _match_positions(self, table: "_Frame | _Array") -> Sequence[int]:
        """Without names on one side. The words are scikit-learn's; its checks look for them."""
        k, p = len(table.names), len(self.names)
        if k != p:
            raise UpstairsError(f"X has {k} features, but upstairs is expecting {p} features as input.")
        if self.named:
            message = f"X does not have valid feature names, but upstairs was fitted with feature names: {_list(self.names)}."
        else:
            message = "X has feature names, but upstairs was fitted without feature names."
        warnings.warn(f"{message} Columns are taken by their position.", UpstairsWarning, stacklevel=4)
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
    plain = values.tolist() if values.dtype == object else values  # polars would keep str in an object array as objects
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

    def to_manifest(self) -> dict:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_manifest(cls, manifest: dict) -> "_Column":
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in manifest.items()})


def _learn_column(table: "_Frame | _Array", j: int, role: str) -> _Column:
    name, zone = table.names[j], table.zone(j)
    if role in ("category", "object"):
        labels = table.labels(j)
        kind = role if role == "category" else _common_kind(labels, name)
        if kind == "category":
            return _Column(name, kind, levels=_frequent(labels))
        values = _spread(labels, kind)
    else:
        kind, values = role, table.values(j, zone)
    parts = _PARTS[kind]
    if kind == "date" and not (_measure(kind, "hour", values) > 0).any():
        parts = parts[:-1]
    block = _checked(np.column_stack([_measure(kind, part, values) for part in parts]), [name] * len(parts))
    means, sds = zip(*map(_mean_and_sd, block.T), strict=True)
    return _Column(name, kind, parts, means, sds, zone=zone)


def _encode_column(column: _Column, table: "_Frame | _Array", j: int, role: str) -> np.ndarray:
    """A column as numbers [n, its features]."""
    if column.kind == "category":
        labels, rare = table.labels(j), len(column.levels)
        codes = [column.codes.get(_key(value), rare) for value in labels.values]
        return np.array([*codes, np.nan])[labels.codes, None]
    values = table.values(j, column.zone) if role == column.kind else _expected(table.labels(j), column)
    block = np.column_stack([_measure(column.kind, part, values) for part in column.parts])
    return _scaled(_checked(block, [column.name] * len(column.parts)), np.array(column.means), np.array(column.sds))


def _frequent(labels: "_Labels") -> tuple[str, ...]:
    """Levels by falling frequency, ties in the order of their names; rare ones are left out."""
    rows: collections.Counter = collections.Counter()
    for value, count in zip(labels.values, np.bincount(labels.codes[labels.codes >= 0]).tolist(), strict=True):
        rows[_key(value)] += count
    often = (level for level, count in rows.items() if count >= LEAST_ROWS)
    return tuple(sorted(often, key=lambda level: (-rows[level], level))[:MOST_LEVELS])


def _key(value: Any) -> str:
    """A level's name, the same whether it came as text, as a number (1 or 1.0) or as a date (with or without a midnight)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).removesuffix(" 00:00:00")


def _measure(kind: str, part: str, values: np.ndarray) -> np.ndarray:
    """One feature of a column of numbers, datetime64 or timedelta64 as float64 [n]."""
    if kind in ("number", "time"):
        return values
    if kind == "duration":
        return values / _DAY
    day = values.astype("M8[D]")
    if part == "hour":
        return (values - day) / np.timedelta64(1, "h")
    if part == "month":
        return (day.astype("M8[M]") - np.datetime64("1970-01")) / np.timedelta64(1, "M") % 12 + 1
    days = (day - np.datetime64("1970-01-01")) / _DAY
    return (days + 3) % 7 if part == "weekday" else days + (values - day) / _DAY  # Monday is 0; 1970 began on a Thursday


def _mean_and_sd(x: np.ndarray) -> tuple[float, float]:
    x = x[~np.isnan(x)]
    if not len(x):
        return 0.0, 1.0
    sd = float(x.std())
    return float(x.mean()), sd if sd > 1e-12 * np.abs(
        x
    ).max() else 1.0  # the mean of equal numbers may be off in its last digit


def _scaled(block: np.ndarray, means: np.ndarray, sds: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which is clipped
        return np.clip((block - means) / sds, -MOST_SDS, MOST_SDS)


def _checked(block: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The block [n, k] itself, if it can be squared and summed."""
    huge = np.abs(block) > LARGEST
    if huge.any():
        row, j = np.argwhere(huge)[0]
        if np.isinf(block[row, j]):
            raise UpstairsError(
                f"Column {names[j]!r} holds infinity in row {row}. Replace it by an empty value, or drop such rows."
            )
        raise UpstairsError(
            f"Column {names[j]!r} holds {block[row, j]:g} in row {row}, beyond {LARGEST:g}; rescale the column."
        )
    return block


def _expected(labels: "_Labels", column: _Column) -> np.ndarray:
    """Values of the column's kind, numbers or datetime64 or timedelta64 [n], from a column that came as something else."""
    odd = [i for i, value in enumerate(labels.values) if _kind(value) != column.kind]
    if not odd:
        return _spread(labels, column.kind)
    plural, held = _PLURALS[column.kind], "was numeric" if column.kind == "number" else f"held {_PLURALS[column.kind]}"
    holds, cure = _plural(labels.values[odd[0]]), f"Convert the column to {plural}."
    if column.kind == "number" and holds == "text":
        if words := [i for i in odd if not _is_number(labels.values[i])]:
            odd, cure = words, "Replace the text by an empty value, or drop those rows."
        else:
            holds = "numbers written as text"
    rows = np.flatnonzero(np.isin(labels.codes, odd))
    value = _show(labels.values[labels.codes[rows[0]]])
    raise UpstairsError(
        f"Column {column.name!r} {held} in fit but holds {holds} here: "
        f"{value} in row {rows[0]} ({len(rows)} {'row' if len(rows) == 1 else 'rows'} in all). {cure}"
    )


# What follows knows nothing of columns that were learned: it opens tables of any kind and finds out what they hold.


class _Labels(NamedTuple):
    """A column by its distinct values, so that whatever Python has to do, it does once for each of these.

    Attributes
    ----------
    codes : ndarray of int64, shape [n]
        Index among the values, −1 where missing.
    values : list
        The distinct values that occur; None and NaN are not among them.
    """

    codes: np.ndarray
    values: list


class _Frame:
    """A DataFrame or Arrow table."""

    named = True

    def __init__(self, frame: nw.DataFrame):
        self.frame, self.native, self.n_rows = frame, frame.to_native(), len(frame)
        self.pandas = frame.implementation.is_pandas()
        self.own_names = frame.columns
        if any(not isinstance(name, str) for name in self.own_names):  # pandas numbers columns that were given no names
            if odd := [name for name in self.own_names if not isinstance(name, numbers.Integral)]:
                raise UpstairsError(
                    f"The names of X's columns must be text, or all of them integers; {odd[0]!r} is among others."
                )
        self.names = tuple(map(str, self.own_names))

    def roles(self, columns: Sequence[int]) -> list[str]:
        """The kind of each column as its dtype tells it, or "object" where only the values can tell."""
        schema = self.frame.schema
        return [self._role(j, schema[self.own_names[j]]) for j in columns]

    def _role(self, j: int, dtype: Any) -> str:
        if dtype.is_numeric():
            return "number"
        role = _ROLES.get(type(dtype))
        if role == "category" and self.pandas and self.native.dtypes.iloc[j] == object:
            return "object"  # narwhals calls it text when its first values are
        if role is None and dtype == nw.Unknown and self._series(j).is_null().all():
            return "object"
        if role is None:
            native = self._series(j).to_native()
            raise _unusable(self.names[j], f"has the dtype {getattr(native, 'type', None) or native.dtype}")
        return role

    def values(self, j: int, zone: str | None) -> np.ndarray:
        """A column of numbers, dates or durations as float64, datetime64 or timedelta64 [n]."""
        series = self._series(j)
        if series.dtype == nw.Duration:
            return series.to_numpy()
        if series.dtype == nw.Date:
            return series.cast(nw.Datetime("us")).to_numpy()
        if series.dtype != nw.Datetime:
            return self.numbers([j])[:, 0]
        if zone and self.zone(j):
            series = series.dt.convert_time_zone(zone)
        return series.dt.replace_time_zone(None).to_numpy()

    def zone(self, j: int) -> str | None:
        return getattr(self._series(j).dtype, "time_zone", None)

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Columns of numbers as float64 [n, k], each frame in its own quickest way: narwhals takes ten times as long."""
        if self.pandas:
            some = self.native if len(columns) == len(self.names) else self.native.take(columns, axis=1)
            return some.to_numpy(np.float64, na_value=np.nan)
        if self.frame.implementation.is_polars():
            return np.column_stack([self.native.to_series(j).cast(float).to_numpy() for j in columns])
        return np.column_stack([self.native.column(j).cast("float64", safe=False).to_numpy() for j in columns])

    def labels(self, j: int) -> _Labels:
        series = self._series(j)
        return _labels(self.names[j], series.to_arrow, series.to_list)

    def as_given(self, j: int) -> np.ndarray:
        """A column of numbers in its own dtype: an id of 60 bits doesn't survive a float."""
        return self._series(j).to_numpy()

    def _series(self, j: int) -> nw.Series:
        return self.frame.get_column(self.own_names[j])


class _Array:
    """An ndarray, shape [n, p]."""

    named = False

    def __init__(self, array: np.ndarray, names: Sequence[str] | None = None):
        self.array, self.n_rows = array, len(array)
        self.names = tuple(names or (f"x{j}" for j in range(array.shape[1])))

    def roles(self, columns: Sequence[int]) -> list[str]:
        role = _ARRAY_ROLES.get(self.array.dtype.kind)
        if role is None and self.names:
            raise _unusable(self.names[0], f"has the dtype {self.array.dtype}")
        return [role] * len(columns)

    def values(self, j: int, zone: str | None) -> np.ndarray:
        return self.array[:, j] if self.array.dtype.kind in "mM" else self.numbers([j])[:, 0]

    def zone(self, j: int) -> str | None:
        return None

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        some = self.array if len(columns) == len(self.names) else self.array[:, columns]
        return some.astype(np.float64, copy=False)

    def labels(self, j: int) -> _Labels:
        column = self.array[:, j]
        return _labels(self.names[j], lambda: pa.array(column, from_pandas=True), column.tolist)

    def as_given(self, j: int) -> np.ndarray:
        return self.array[:, j]


def _open(X: Any) -> _Frame | _Array:
    if isinstance(X, np.ndarray | list | tuple):
        return _open_array(_array_of(X))
    if type(X).__module__.startswith("scipy.sparse"):
        raise UpstairsError("X is a sparse matrix, which isn't supported. Make it dense with X.toarray().")
    frame = _frame_of(X)
    if isinstance(frame, nw.DataFrame):
        return _Frame(frame)
    if isinstance(frame, nw.Series):
        raise UpstairsError("X is a Series, a single column. Reshape your data: X.to_frame() makes it a table.")
    if isinstance(X, str | os.PathLike):
        raise UpstairsError(
            f"X is the text {str(X)!r}. Files are read by the upstairs command only; here, read it into a DataFrame."
        )
    if isinstance(X, Mapping):
        raise UpstairsError("X is a dict. Make it a table, for instance pandas.DataFrame(X).")
    if hasattr(X, "__array__"):
        return _open_array(np.asarray(X))
    raise UpstairsError(
        f"X is a {type(X).__name__}, but must be a DataFrame (pandas, polars), an Arrow table or a 2-D ndarray."
    )


def _open_array(array: np.ndarray) -> _Array:
    if array.ndim < 2:
        raise UpstairsError(
            f"X must have rows and columns, but has {array.ndim} dimension(s). Reshape your data: X.reshape(-1, 1) if it is a "
            "single column, X.reshape(1, -1) if it is a single row."
        )
    if array.ndim > 2:
        raise UpstairsError(f"X must have rows and columns, but has {array.ndim} dimensions: its shape is {array.shape}.")
    return _Array(array)


def _frame_of(X: Any) -> Any:
    """X as narwhals sees it, or X itself where narwhals doesn't know it."""
    try:
        frame = nw.from_native(X, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        count = collections.Counter(getattr(X, "column_names", None) or X.columns)
        twice = [name for name in count if count[name] > 1]
        raise UpstairsError(f"X has more than one column of the same name: {_list(twice)}. Rename all but one.") from None
    if isinstance(frame, nw.LazyFrame):
        raise UpstairsError("X is a lazy frame; call .collect() on it first.")
    return frame


def _array_of(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return np.asarray(values)  # a matrix has two dimensions even where it is sliced to one
    try:
        array = np.asarray(values)
    except ValueError:
        raise UpstairsError("A list of rows must have rows of the same length, and a list of values no lists in it.") from None
    return np.array(values, dtype=object) if array.dtype.kind in "US" else array  # numbers beside text would become text


def _read_vector(values: Any, n_rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A target or ids as `read_target` returns them, and which are missing: both [n_rows]."""
    table = _open_vector(values, name)
    if table.n_rows != n_rows:
        raise UpstairsError(f"{name} has {table.n_rows} values, but X has {n_rows} rows; it takes one for each row.")
    (role,) = table.roles([0])
    if role in ("date", "duration"):
        times = table.values(0, None)
        return times, np.isnat(times)
    if role == "number":
        given = table.as_given(0)
        given = given if given.dtype.kind in "biuf" else table.numbers([0])[:, 0]
        return given, np.isnan(given)
    labels = table.labels(0)
    missing, kind = labels.codes < 0, _common_kind(labels, name)
    if kind == "category":
        return np.array([*labels.values, None], dtype=object)[labels.codes], missing
    exact = np.array(labels.values)
    if kind == "number" and exact.dtype.kind in "biuf" and not missing.any():
        return exact[labels.codes], missing
    return _spread(labels, kind), missing


def _open_vector(values: Any, name: str) -> _Frame | _Array:
    frame = _frame_of(values)
    if isinstance(frame, nw.Series):
        return _Frame(frame.alias(name).to_frame())
    if isinstance(frame, nw.DataFrame) and frame.shape[1] == 1:
        return _Frame(frame)
    array = _array_of(values)
    if array.ndim == 2 and array.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning  # here, since scikit-learn loads pandas

        message = f"A column-vector {name} was passed when a 1d array was expected; {name}.ravel() makes it one."
        warnings.warn(message, DataConversionWarning, stacklevel=5)
        array = array[:, 0]
    if array.ndim != 1:
        got = f"has the shape {array.shape}" if array.ndim else f"is {reprlib.repr(values)}"
        raise UpstairsError(f"{name} should be a 1d array, with one value for each row of X, but {got}.")
    return _Array(array[:, None], [name])


def _labels(name: str, as_arrow: Callable[[], Any], as_list: Callable[[], list]) -> _Labels:
    """The distinct values of a column, by Arrow, or by Python where Arrow refuses: values of several types."""
    try:
        arrow = as_arrow()
        arrow = (arrow.combine_chunks() if isinstance(arrow, pa.ChunkedArray) else arrow).dictionary_encode()
        codes = arrow.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
        values = arrow.dictionary.to_pylist()
    except (pa.ArrowException, OverflowError):
        codes, values = _number_objects(name, as_list())
    occurs = (np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0).tolist()
    keep = [i for i, value in enumerate(values) if occurs[i] and not _is_missing(value)]
    if len(keep) < len(values):
        renumber = np.full(len(values) + 1, -1)
        renumber[keep] = np.arange(len(keep))
        codes, values = renumber[codes], [values[i] for i in keep]
    return _Labels(codes, values)


def _number_objects(name: str, objects: list) -> tuple[np.ndarray, list]:
    codes, index = [], {}
    try:
        for value in objects:
            codes.append(index.setdefault(value, len(index)))
    except TypeError:  # it has no hash
        row = len(codes)
        raise _unusable(name, f"holds a {type(objects[row]).__name__} in row {row}") from None
    return np.array(codes, np.int64), list(index)


def _common_kind(labels: _Labels, name: str) -> str:
    """The kind that all values are of; where all are missing a number will do."""
    kinds = [_kind(value) for value in labels.values]
    rows = {kind: np.flatnonzero(np.isin(labels.codes, [i for i, k in enumerate(kinds) if k == kind])) for kind in set(kinds)}
    value_of = {kind: labels.values[labels.codes[rows[kind][0]]] for kind in rows}
    if None in rows:
        raise _unusable(name, f"holds a {type(value_of[None]).__name__} in row {rows[None][0]}")
    if len(rows) > 1:
        odd, usual = sorted(rows, key=lambda kind: len(rows[kind]))[:2]
        raise UpstairsError(
            f"Column {name!r} holds {_PLURALS[odd]} ({_show(value_of[odd])} in row {rows[odd][0]}) as well as "
            f"{_PLURALS[usual]} ({_show(value_of[usual])} in row {rows[usual][0]}). Make it one or the other."
        )
    return next(iter(rows), "number")


def _spread(labels: _Labels, kind: str) -> np.ndarray:
    """Each row's value: float64 (times of day in hours), datetime64 or timedelta64 [n]."""
    if kind == "number":
        return np.array([*map(float, labels.values), np.nan])[labels.codes]
    if kind == "time":
        hours = [t.hour + t.minute / 60 + (t.second + t.microsecond / 1e6) / 3600 for t in labels.values]
        return np.array([*hours, np.nan])[labels.codes]
    if kind == "duration":
        return np.array([*labels.values, "NaT"], "m8[us]")[labels.codes]
    wall = [value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value for value in labels.values]
    return np.array([*wall, "NaT"], "M8[us]")[labels.codes]


def _kind(value: Any) -> str | None:
    return next((kind for kind, types in _KINDS.items() if isinstance(value, types)), None)


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | decimal.Decimal | np.generic):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # of pandas, which isn't loaded to ask


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def _plural(value: Any) -> str:
    return _PLURALS.get(_kind(value) or "", f"values of type {type(value).__name__}")


def _show(value: Any) -> str:
    return reprlib.repr(value) if isinstance(value, str) else str(value)


def _unusable(name: str, what: str) -> UpstairsError:
    if "complex" in what:
        return UpstairsError(f"Complex data not supported: column {name!r} {what}. Take its real part, or drop it.")
    kinds = "numbers, text, categories, dates, times of day or durations"
    return UpstairsError(f"Column {name!r} {what}, but a column must hold {kinds}. Convert it, or drop it.")


def _hint(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1)
    return f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
