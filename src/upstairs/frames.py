"""Tables and vectors of any kind, opened: whatever the user has, each column is handed on as an Arrow array.

Nothing here knows of columns that were learned; `answer` is the way back, to the kind of table that was opened.
"""

import datetime
import decimal
import math
import numbers
import os
import reprlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError

__all__ = [
    "PLURALS",
    "Array",
    "Frame",
    "Lists",
    "answer",
    "distinct",
    "kind_of",
    "level_name",
    "listed",
    "make_table",
    "open_table",
    "plain",
    "read_vector",
    "row_count",
    "shown",
    "table_kind",
    "take_rows",
    "vector_name",
    "wall_clock",
]

PLURALS = {"number": "numbers", "category": "text", "date": "dates", "time": "times of day", "duration": "durations"}
_ARROW_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "number": (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null),
    "category": (pa.types.is_dictionary, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "date": (pa.types.is_timestamp, pa.types.is_date),
    "time": (pa.types.is_time,),
    "duration": (pa.types.is_duration,),
}
_WHOLE_OR_NOT = {int, float}
_PLAIN_NUMBERS = {int, float, bool, type(None)}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "number": (numbers.Real, decimal.Decimal, np.bool_),
    "category": (str,),
    "date": (datetime.date, np.datetime64),
}


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
    if isinstance(X, Lists | np.ndarray):  # narwhals looks long before it passes something through
        return values
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


def table_kind(X: Any) -> str:
    """``pandas``, ``polars`` or ``pyarrow``: the kind of table that X is; ``ndarray`` for what is none of these."""
    frame = nw.from_native(X, allow_series=True, pass_through=True)
    return frame.implementation.value if isinstance(frame, nw.DataFrame | nw.Series) else "ndarray"


def make_table(columns: Mapping[str, Any], kind: Any) -> Any:
    """A new table of the given kind (`table_kind`), from its columns [n] by name; a dict of arrays for ``ndarray``."""
    if kind == "ndarray":
        return {name: _column(values) for name, values in columns.items()}
    return nw.from_dict(dict(columns), backend=kind).to_native()


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """The given rows (indices) of a table of any kind."""
    if isinstance(X, list | tuple):
        return [X[row] for row in rows]
    return X[rows] if isinstance(X, np.ndarray) else nw.from_native(X, eager_only=True)[rows].to_native()


def row_count(X: Any) -> int:
    """Number of rows of a table."""
    return open_table(X).n_rows


class Frame:
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
        if series.dtype == nw.Object and self.frame.implementation.is_polars():  # Arrow would get their addresses
            return _array_of_objects(self.names[j], series.to_list(), mixed)
        return _arrow(self.names[j], series.to_arrow, series.to_list, mixed)


class Array:
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


class Lists:
    """Columns as Python lists of numbers, text, dates or None, as JSON brings them: small tables take the shortest way.

    Parameters
    ----------
    columns : mapping from name to a list of n values
    """

    named = True

    def __init__(self, columns: Mapping[str, list]):
        self.names, self.lists = tuple(columns), list(columns.values())
        self.n_rows = len(self.lists[0]) if self.lists else 0
        odd = [name for name, values in columns.items() if len(values) != self.n_rows]
        if odd:
            length = len(columns[odd[0]])
            raise UpstairsError(f"Column {odd[0]!r} has {length} values, but {self.names[0]!r} has {self.n_rows}.")

    def numeric(self) -> list[bool]:
        return [_PLAIN_NUMBERS.issuperset(map(type, values)) for values in self.lists]

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        block = np.empty((self.n_rows, len(columns)))
        for k, j in enumerate(columns):
            try:
                block[:, k] = self.lists[j]  # None becomes NaN
            except OverflowError:
                block[:, k] = [_as_float(value) for value in self.lists[j]]
        return block

    def column(self, j: int, mixed: bool = False) -> pa.Array:
        values = self.lists[j]
        return _arrow(self.names[j], lambda: pa.array(values), lambda: values, mixed)


def open_table(X: Any) -> Frame | Array | Lists:
    if isinstance(X, Lists):
        return X
    if type(X).__module__.startswith("scipy.sparse"):
        raise UpstairsError("X is sparse, which isn't supported. Make it dense with X.toarray().")
    frame = _frame_of(X)
    if isinstance(frame, nw.DataFrame):
        return Frame(frame)
    if isinstance(frame, nw.Series):
        raise UpstairsError("X is a Series, which has no columns. Reshape your data: X.to_frame() makes it a table.")
    if isinstance(X, str | os.PathLike):
        raise UpstairsError(
            f"X is {str(X)!r}, but files are read by the upstairs command only; here, read it into a DataFrame."
        )
    if isinstance(X, Mapping) or type(X).__name__ == "TaskStore":
        cure = "pandas.DataFrame(X)" if isinstance(X, Mapping) else "store.decode(store.tasks(...))"
        raise UpstairsError(f"X is a {type(X).__name__}; make it a table, as {cure} does.")
    if not isinstance(X, list | tuple) and not hasattr(X, "__array__"):
        raise UpstairsError(f"X is a {type(X).__name__}, but must be a DataFrame (pandas, polars), Arrow table or 2-D ndarray.")
    array = _ndarray(X, "X")
    if array.ndim > 2:
        raise UpstairsError(f"X must have rows and columns, but its shape is {array.shape}.")
    if array.ndim < 2:
        cure = "X.reshape(-1, 1) if it is a single column, X.reshape(1, -1) if it is a single row"
        raise UpstairsError(f"X must have rows and columns, but its shape is {array.shape}. Reshape your data: {cure}.")
    return Array(array)


def _frame_of(X: Any) -> Any:
    """A narwhals DataFrame or Series, or X itself where it is none."""
    if isinstance(X, np.ndarray | list):  # narwhals looks long before it passes something through
        return X
    try:
        frame = nw.from_native(X, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        names = getattr(X, "column_names", None) or list(X.columns)
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise UpstairsError(f"X has more than one column {listed(twice)}. Rename all but one.") from None
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


def read_vector(values: Any, n_rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A target or ids as `read_target` returns them, and which are missing: both [n_rows]."""
    if isinstance(values, list) and len(values) == n_rows and _WHOLE_OR_NOT.issuperset(map(type, values)):
        array = np.array(values)
        if array.dtype.kind in "if":  # Python's numbers need no Arrow to be read, unless they are too large
            return array, np.isnan(array)
    table = open_vector(values, name)
    if table.n_rows != n_rows:
        raise UpstairsError(f"{name} has {table.n_rows} values, but X has {n_rows} rows; it takes one value for each row.")
    array = plain(table.column(0))
    missing = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if kind_of(array, name) == "date":
        return wall_clock(array, None), missing
    if pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        array = array.cast("float64")
    return array.to_numpy(zero_copy_only=False), missing


def vector_name(values: Any) -> str | None:
    """The name of a Series or of a table's only column; None for what has none."""
    frame = nw.from_native(values, allow_series=True, pass_through=True)
    name = frame.columns[0] if isinstance(frame, nw.DataFrame) and frame.columns else getattr(frame, "name", None)
    return str(name) if isinstance(frame, nw.DataFrame | nw.Series) and name not in (None, "") else None


def open_vector(values: Any, name: str) -> Frame | Array:
    frame = _frame_of(values)
    if isinstance(frame, nw.Series):
        return Frame(frame.alias(name).to_frame())
    if isinstance(frame, nw.DataFrame) and frame.shape[1] == 1:
        return Frame(frame)
    array = _ndarray(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning  # not above, since scikit-learn loads pandas

        message = f"A column-vector {name} was passed when a 1d array was expected; {name}.ravel() makes it one."
        warnings.warn(message, DataConversionWarning, stacklevel=5)
        array = array[:, 0]
    if array.ndim != 1:
        got = f"has the shape {array.shape}" if array.ndim else f"is {reprlib.repr(values)}"
        raise UpstairsError(f"{name} should be a 1d array, one value for each row of X, but {got}.")
    return Array(array[:, None], [name])


def _arrow(name: str, as_arrow: Callable[[], Any], as_list: Callable[[], list], mixed: bool) -> pa.Array:
    try:
        array = as_arrow()
    except (pa.ArrowException, OverflowError, TypeError):  # values of several types, or of one that Arrow doesn't know
        return _array_of_objects(name, as_list(), mixed)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _array_of_objects(name: str, values: list, mixed: bool) -> pa.Array:
    """What Arrow wouldn't take: numbers of several types, say. Text beside numbers is an error, or text if ``mixed``."""
    row_of: dict[str | None, int] = {}
    values = [None if _is_missing(value) else value for value in values]
    for row, value in enumerate(values):
        if value is not None:
            row_of.setdefault(next((kind for kind, types in _PYTHON_TYPES.items() if isinstance(value, types)), None), row)
    if None in row_of:
        raise _unusable(name, f"holds a {type(values[row_of[None]]).__name__} in row {row_of[None]}")
    if len(row_of) > 1 and not mixed:
        kinds = [f"{PLURALS[kind]} ({shown(values[row])} in row {row})" for kind, row in row_of.items()]
        raise UpstairsError(f"Column {name!r} holds {' as well as '.join(kinds)}. Make it one or the other.")
    if set(row_of) == {"number"}:
        return pa.array([_as_float(value) for value in values], "float64")
    if set(row_of) == {"date"}:
        return pa.array(np.array(values, "M8[us]"))
    return pa.array([None if value is None else level_name(value) for value in values], "string")


def _as_float(value: float | None) -> float | None:
    """Whole numbers have no end in Python; beyond the end of float64 they are as good as infinite."""
    try:
        return value if value is None else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | decimal.Decimal | np.generic):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # of pandas, which isn't loaded to ask


def plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def distinct(array: pa.Array) -> tuple[np.ndarray, list]:
    """Codes [n], −1 where missing, and the distinct values: what Python has to do, it does once for each of these."""
    array = array.dictionary_encode()
    return array.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False), array.dictionary.to_pylist()


def kind_of(array: pa.Array, name: str) -> str:
    for kind, tests in _ARROW_TYPES.items():
        if any(test(array.type) for test in tests):
            return kind
    raise _unusable(name, f"holds values of the type {array.type}")


def _unusable(name: str, what: str) -> UpstairsError:
    if "complex" in what:
        return UpstairsError(f"Complex data not supported: column {name!r} {what}. Take its real part, or drop it.")
    kinds = "numbers, text, categories, dates, times of day or durations"
    return UpstairsError(f"Column {name!r} {what}, but a column must hold {kinds}. Convert it, or drop it.")


def wall_clock(array: pa.Array, zone: str | None) -> np.ndarray:
    """Dates as datetime64 [n]. With time zones on both sides, as clocks in the fit's zone show them."""
    if own := getattr(array.type, "tz", None):
        array = pc.local_timestamp(array.cast(pa.timestamp("us", zone or own), safe=False))
    return array.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)


def level_name(value: Any) -> str:
    """A level's name, the same whether it came as text, as a number (1 or 1.0) or as a date (with or without a midnight)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).removesuffix(" 00:00:00")


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")


def shown(value: Any) -> str:
    return reprlib.repr(value) if isinstance(value, str) else str(value)


def _column(values: list) -> np.ndarray:
    """Lists in it stay lists."""
    if any(isinstance(value, list) for value in values):
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return np.array(values)
