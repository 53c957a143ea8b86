"""Tables of any kind, one column at a time: read, and replaced by values of a grid, for curves along a feature."""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np

from upstairs.errors import UpstairsError
from upstairs.frames import level_name, open_table, plain, take_rows, wall_clock
from upstairs.table import Columns

__all__ = [
    "MISSING",
    "Grid",
    "ask",
    "check_name",
    "class_code",
    "find_feature",
    "make_grid",
    "over_grid",
    "read_columns",
    "read_feature",
]

MISSING = "missing"
MOST_POINTS, MOST_LEVELS = 60, 12
TAILS = 0.01
"""Share of rows at either end of a feature that a grid leaves out."""


class Grid(NamedTuple):
    """Values of a feature to predict at.

    Attributes
    ----------
    kind : {"number", "date", "category"}
    values : ndarray [G]
        float64, datetime64, or text.
    donors : int64 [G] or None
        Rows that have these values; numbers need none.
    """

    kind: str
    values: np.ndarray
    donors: np.ndarray | None


def read_columns(table: Any, names: list[str]) -> dict[str, np.ndarray]:
    """Columns of a table of results, or of a dict of columns."""
    frame = table if isinstance(table, Mapping) else nw.from_native(table, eager_only=True)
    there = list(table) if isinstance(table, Mapping) else frame.columns
    if missing := [name for name in names if name not in there]:
        raise UpstairsError(f"The table lacks the columns {', '.join(missing)}; it has {', '.join(there)}.")
    return {name: np.asarray(frame[name]) for name in names}


def find_feature(columns: Columns, feature: Any = None) -> str:
    """The name of a feature, given by its name or position; by default the first that holds numbers or dates."""
    if feature is None:
        return next((column.name for column in columns.columns if column.kind in ("number", "date")), columns.names[0])
    if isinstance(feature, int | np.integer) and 0 <= feature < len(columns.names):
        feature = columns.names[feature]
    check_name(columns, "feature", feature)
    (column,) = (column for column in columns.columns if column.name == feature)
    if column.kind in ("time", "duration"):
        raise UpstairsError(
            f"Column {feature!r} holds a {column.kind}, and features are drawn along numbers, dates or text only."
        )
    return feature


def check_name(columns: Columns, argument: str, name: Any) -> None:
    """An UpstairsError, with the likely name, unless it is a column of the fit."""
    if name not in columns.names:
        near = difflib.get_close_matches(str(name), columns.names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(columns.names)}."
        raise UpstairsError(f"{argument}={name!r} is no column that the model was fitted on. {hint}")


def read_feature(columns: Columns, X: Any, feature: str) -> tuple[str, np.ndarray]:
    """What the feature holds (see `Grid.kind`), and its values [n]; NaN, NaT and "missing" where there is none."""
    columns.encode(X)  # what can't be used gets the door's own sentence
    table, j = open_table(X), columns.names.index(feature)
    array = table.column(table.names.index(feature) if table.named and columns.named else j, mixed=True)
    kind = columns.columns[j].kind
    if kind == "number":
        return kind, array.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    if kind == "date":
        return kind, wall_clock(array, None)
    names = [MISSING if value is None or value != value else level_name(value) for value in plain(array).to_pylist()]
    return kind, np.array(names, dtype=object)


def make_grid(kind: str, values: np.ndarray) -> Grid:
    """Some of a feature's values: all if they are few, else evenly spread ones; the most frequent levels of a category."""
    if kind == "category":
        levels, first, count = np.unique(values.astype(str), return_index=True, return_counts=True)
        often = np.sort(np.argsort(-count, kind="stable")[:MOST_LEVELS])
        return Grid(kind, levels[often].astype(object), first[often])
    distinct, first = np.unique(values[values == values], return_index=True)
    if len(distinct) < 2:
        raise UpstairsError("A feature is drawn along two values at least, but these rows hold one.")
    if kind == "date":
        some = np.unique(np.linspace(0, len(distinct) - 1, MOST_POINTS).round().astype(int))
        return Grid(kind, distinct[some], np.flatnonzero(values == values)[first[some]])
    if len(distinct) > MOST_POINTS:
        low, high = np.quantile(values[values == values], [TAILS, 1 - TAILS])
        distinct = np.linspace(low, high, MOST_POINTS)
    return Grid(kind, distinct, None)


def over_grid(columns: Columns, X: Any, feature: str, rows: np.ndarray, grid: Grid) -> Any:
    """Rows [R] of a table once for each value of a grid, which they have instead of their own: R G rows, by value."""
    table, j = take_rows(X, np.tile(rows, len(grid.values))), columns.names.index(feature)
    if isinstance(X, np.ndarray):
        table[:, j] = np.repeat(grid.values if grid.donors is None else X[grid.donors, j], len(rows))
        return table
    frame, own = nw.from_native(table, eager_only=True), nw.from_native(X, eager_only=True)
    name = feature if columns.named else own.columns[j]
    if grid.donors is None:
        new = nw.new_series(name, np.repeat(grid.values, len(rows)), backend=own.implementation)
    else:
        new = own.get_column(name)[np.repeat(grid.donors, len(rows))]
    return frame.with_columns(new).to_native()


def class_code(meta: Any, label: Any = None) -> int | None:
    """Which column of ``predict_proba`` a class is, by default the last; None for numbers."""
    classes = getattr(meta, "classes_", None)
    if classes is None:
        if label is not None:
            raise UpstairsError(
                f"label={label!r} names a class, but this {type(meta).__name__} predicts numbers: leave it out."
            )
        return None
    if label is None:
        return len(classes) - 1
    if label not in classes.tolist():
        raise UpstairsError(f"label={label!r} is none of the classes: {', '.join(map(str, classes))}.")
    return classes.tolist().index(label)


def ask(model: Any, X: Any, code: int | None, **groups: Any) -> np.ndarray:
    """Predicted numbers [n], or probabilities of a class."""
    if code is None:
        return np.asarray(model.predict(X, **groups), float)
    return np.asarray(model.predict_proba(X, **groups), float)[:, code]
