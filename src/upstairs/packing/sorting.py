"""Rows sorted by task in bounded memory: DuckDB's external sort of rows that are opaque to it.

A row goes in as its task, its number, its target, and its encoded columns as one piece of bytes; so the sort carries one value
instead of p, and what comes out is the matrix row by row, as the store keeps it. Sorted by (task, number): by the task alone,
the order within a task would be left to chance.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsError

__all__ = ["LEAST_MEMORY", "Encoded", "sorted_rows"]

LEAST_MEMORY = 400 * 1000**2
OWN_MEMORY = 500 * 1000**2
"""What this process needs beside the sort: modules, a few blocks of rows on their way, and what DuckDB takes past its limit."""

BYTES_OUT = 2**23
MEMORY_A_THREAD = 125 * 1000**2


class Encoded(NamedTuple):
    """Rows on their way into the sort: task [k], float64 target or row number [k], float32 X [k, p]."""

    task: pa.Array
    y: np.ndarray
    X: np.ndarray


def sorted_rows(
    rows: Iterator[Encoded], memory: int, spill: Path
) -> Generator[tuple[np.ndarray, np.ndarray, memoryview], None, None]:
    """Sort rows by task; rows of a task stay in their order.

    Parameters
    ----------
    rows : iterator of Encoded
    memory : int
        Bytes that this process may take in all.
    spill : Path
        Folder for what doesn't fit.

    Yields
    ------
    task [k], y float64 [k], and the k rows' float32 columns as bytes
    """
    import duckdb  # an extra

    failure: list[BaseException] = []
    first = next(rows)
    row_bytes = 4 * first.X.shape[1]
    reader = pa.RecordBatchReader.from_batches(_batch(first, 0).schema, _batches(first, rows, failure))
    connection = duckdb.connect(config=_settings(memory, spill))
    connection.execute("SET enable_progress_bar = false")  # it would go to stdout
    try:
        connection.register("rows", reader)
        ordered = connection.sql("SELECT task, y, X FROM rows ORDER BY task, number")
        for batch in ordered.to_arrow_reader(max(2048, min(2**16, BYTES_OUT // row_bytes))):
            if batch.num_rows:
                task, y, X = batch.columns
                yield _ids(task), y.to_numpy(), _bytes_of(X)
    except duckdb.Error as error:
        if failure:
            raise failure[0] from None
        raise _said(error, spill) from None
    finally:
        connection.close()


def _settings(memory: int, spill: Path) -> dict[str, Any]:
    limit = max(memory - OWN_MEMORY, memory // 4)
    return {
        "memory_limit": f"{limit // 1000**2}MB",
        "temp_directory": str(spill),
        "threads": max(1, min(os.cpu_count() or 1, limit // MEMORY_A_THREAD)),
        "preserve_insertion_order": False,
    }


def _batches(first: Encoded, rows: Iterator[Encoded], failure: list[BaseException]) -> Iterator[pa.RecordBatch]:
    """The rows as DuckDB takes them; it would wrap an error in one of its own, so that is kept aside."""
    number = 0
    try:
        block: Encoded | None = first
        while block is not None:
            yield _batch(block, number)
            number += len(block.y)
            block = next(rows, None)
    except BaseException as error:
        failure.append(error)
        raise


def _batch(block: Encoded, number: int) -> pa.RecordBatch:
    k, p = block.X.shape
    ends = np.arange(k + 1, dtype=np.int64) * (4 * p)
    X = pa.Array.from_buffers(pa.large_binary(), k, [None, pa.py_buffer(ends), pa.py_buffer(block.X)])
    return pa.record_batch(
        {"task": block.task, "number": pa.array(np.arange(number, number + k)), "y": pa.array(block.y), "X": X}
    )


def _bytes_of(X: pa.Array) -> memoryview:
    """The bytes of all values, one after the other."""
    wide = pa.types.is_large_binary(X.type)
    ends = np.frombuffer(X.buffers()[1], np.int64 if wide else np.int32)[X.offset : X.offset + len(X) + 1]
    return memoryview(X.buffers()[2])[ends[0] : ends[-1]]


def _ids(task: pa.Array) -> np.ndarray:
    return task.to_numpy(zero_copy_only=False)


def _said(error: Exception, spill: Path) -> UpstairsError:
    reason = str(error).splitlines()[0].rstrip(".")
    if "No space left" in reason or "max_temp_directory_size" in str(error) or "Could not write" in reason:
        return UpstairsError(
            f"The disk of {spill.parent.parent} is full: sorting the rows takes about their size there ({reason})."
        )
    if "Out of Memory" in reason:
        return UpstairsError(f"Sorting the rows takes more than memory allows: give more of it ({reason}).")
    return UpstairsError(f"Sorting the rows failed: {reason}.")
