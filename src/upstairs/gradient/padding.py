"""Ragged rows as few shapes, so that a second task of about the same size compiles nothing.

Supports are padded to a power of two and queries are cut into blocks of ``WIDTH`` rows; both are answered in batches of 1, 16,
64 or 256. Where a row needs nothing of its task, rows of all tasks pass together. Padding is a repeated row that doesn't count,
or an answer that nobody reads.
"""

from collections.abc import Iterator

import numpy as np

__all__ = ["WIDTH", "padded_rows", "query_blocks", "row_blocks", "support_batches"]

WIDTH = 16
BATCHES = (1, 16, 64, 256)
MOST_ROWS = 2**14
"""Padded support rows of a batch."""
ROWS = (16, 256, 1024, 2048, 4096)
"""Rows of all tasks that pass together."""
CALL = 250
"""Rows that pass in about the time that one more call takes."""


def support_batches(sizes: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Tasks (indices) that are adapted together, their padded number of rows, and the padded number of tasks."""
    widths = np.maximum(2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(int), WIDTH)
    for width in np.unique(widths):
        yield from (
            (batch, int(width), padded) for batch, padded in _batches(np.flatnonzero(widths == width), MOST_ROWS // width)
        )


def query_blocks(sizes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Of blocks of query rows that are asked together: the task of each, its first row within the task, and how many count;
    and the padded number of blocks."""
    per_task = -(-sizes // WIDTH)
    task = np.repeat(np.arange(len(sizes)), per_task)
    first = WIDTH * (np.arange(len(task)) - np.repeat(np.cumsum(per_task) - per_task, per_task))
    count = np.minimum(sizes[task] - first, WIDTH)
    for batch, padded in _batches(np.arange(len(task)), BATCHES[-1]):
        yield task[batch], first[batch], count[batch], padded


def row_blocks(n: int) -> Iterator[tuple[int, int, int]]:
    """First, last + 1, and padded number of rows of blocks of n rows of any tasks; one empty block if there are none."""
    start = 0
    while start < n or not start:
        enough = next((size for size in ROWS if size >= n - start), ROWS[-1])
        padded = enough if enough <= n - start + CALL else max(size for size in ROWS if size <= n - start)
        yield start, min(start + padded, n), padded
        start += padded


def padded_rows(D: np.ndarray, length: int) -> np.ndarray:
    """D [n, q] with zeros below, up to ``length`` rows."""
    return D if len(D) == length else np.concatenate([D, np.zeros((length - len(D), D.shape[1]), D.dtype)])


def _batches(which: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, int]]:
    allowed = [size for size in BATCHES if size <= most] or [1]
    for start in range(0, len(which), allowed[-1]):
        batch = which[start : start + allowed[-1]]
        yield batch, next(size for size in allowed if size >= len(batch))
