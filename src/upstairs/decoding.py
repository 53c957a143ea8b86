"""The way back through the door: encoded rows as the columns that they came from, as nearly as float32 keeps them.

    number, duration    mean + sd z, with as few decimals as z tells apart if all have so few: what was 2.99 is 2.99 again
    date, time          to the second; dates as the clock of the fit's time zone showed them, and days where none had an hour
    category            its level; each value that was rare gets a name of its own, so that it is rare again

Whoever learns from decoded rows learns what the rows that were packed would have taught.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from upstairs.table import Columns

__all__ = ["decode"]

EPSILON = 2.0**-23
"""What float32 may take off a number, as a share of it."""
HOUR, DAY = 3600, 86_400
RARE = "(rare value {})"


def decode(columns: Columns, Z: np.ndarray) -> pa.Table:
    """Rows Z [n, p] that `Columns.encode` made, as a table of the user's columns."""
    first, table = 0, {}
    for column in columns.columns:
        last = first + len(column.parts)
        table[column.name] = _decode_column(column, Z[:, first:last].astype(float))
        first = last
    return pa.table(table)


def _decode_column(column: Any, Z: np.ndarray) -> pa.Array:
    """A column of the table (`table._Column`), whose features are Z [n, k]."""
    if column.kind == "category":
        return _levels(column.levels, Z[:, 0])
    values = _numbers(Z[:, 0], column.means[0], column.sds[0])
    if column.kind == "number":
        return pa.array(values, from_pandas=True)
    if column.kind == "duration":
        return _microseconds(values * DAY).cast(pa.duration("us"))
    if column.kind == "time":
        return _microseconds(np.minimum(np.rint(values * HOUR), DAY - 1)).cast(pa.time64("us"))
    has_hours = "hour" in column.parts
    hours = column.means[-1] + column.sds[-1] * Z[:, -1] if has_hours else 0.0
    moments = _microseconds(np.rint(values - hours / 24) * DAY + np.rint(hours * HOUR)).cast(pa.timestamp("us"))
    return moments if has_hours else moments.cast(pa.date32())


def _numbers(z: np.ndarray, mean: float, sd: float) -> np.ndarray:
    x, error = mean + sd * z, sd * EPSILON * np.abs(z) + 1e-15 * abs(mean)
    decimals = int(np.clip(-np.log10(2 * np.nanmax(error, initial=1e-15)), 0, 15))
    plain = np.round(x, decimals)
    return plain if (np.abs(plain - x) <= error)[x == x].all() else x


def _microseconds(seconds: np.ndarray) -> pa.Array:
    missing = np.isnan(seconds)
    return pa.array(np.rint(np.where(missing, 0, seconds) * 1e6).astype(np.int64), mask=missing)


def _levels(levels: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    missing, rare = np.isnan(codes), codes == len(levels)
    at = np.where(missing, 0, codes).astype(np.int32)
    at[rare] += np.arange(rare.sum(), dtype=np.int32)
    names = [*levels, *(RARE.format(i) for i in range(int(rare.sum())))]
    return pa.DictionaryArray.from_arrays(pa.array(at, mask=missing), pa.array(names, "string"))
