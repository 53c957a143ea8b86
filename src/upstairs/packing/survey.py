"""The first pass over the rows: what the columns hold, which classes there are, and whether any row can't be used."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError
from upstairs.packing.progress import Tell
from upstairs.packing.source import Block, Source, kind_in_words
from upstairs.table import ROWS, Columns, read_target
from upstairs.target import check_labels
from upstairs.target_kind import choose_kind

__all__ = ["Survey", "check_tasks", "id_type", "survey"]

MOST_LABELS = 1000


class Survey(NamedTuple):
    """What has to be known before rows can be encoded.

    Attributes
    ----------
    columns : Columns
    classes : ndarray or None
    n_rows : int
    reason : str
        Why classes or numbers, to be said to the user.
    """

    columns: Columns
    classes: np.ndarray | None
    n_rows: int
    reason: str


def survey(
    source: Source, features: Sequence[str], task: str, target: str | None, classify: bool | None, memory: int, tell: Tell
) -> Survey:
    """Read the rows once: task, target and as many of the columns as memory allows; the rest in further passes."""
    source.check(features, kind_in_words)
    step = max(1, memory // (4 * 3 * 8 * ROWS))
    first = _First(source, task, target)
    columns: list = []
    for start in range(0, len(features), step):
        some = list(features[start : start + step])
        extra = [name for name in (task, target) if name and not columns]
        blocks = source.blocks([*some, *extra] if extra else some, ROWS)
        seen = (first.see(block, some) if extra else [_one(block.table, name) for name in some] for block in blocks)
        with source.placing():
            columns += Columns.learn_blocks(some, _told(seen, tell)).columns
    if first.n_rows < 2:
        raise UpstairsError(f"{source.paths[0]} holds {first.n_rows} rows to pack; it takes at least 2.")
    classes, reason = first.classes(classify)
    return Survey(Columns(True, tuple(columns)), classes, first.n_rows, reason)


def id_type(held: pa.DataType, name: str) -> str:
    """What a task column holds, in words."""
    if pa.types.is_dictionary(held):
        held = held.value_type
    tests = {
        "whole numbers": pa.types.is_integer,
        "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
        "dates": lambda kind: pa.types.is_timestamp(kind) or pa.types.is_date(kind),
    }
    for words, test in tests.items():
        if test(held):
            return words
    raise UpstairsError(f"the task column {name!r} holds {held}; tasks are named by whole numbers, text or dates.")


def check_tasks(source: Source, block: Block, task: str) -> None:
    """An UpstairsError if a row has no task."""
    missing = block.table[task].is_null(nan_is_null=True)
    if n := pc.sum(missing).as_py():
        row = source.row(block.first_row + pc.index(missing, True).as_py())
        raise UpstairsError(
            f"There is no task in column {task!r} in {row} ({n:,} of these rows): name its task, or leave such rows out with "
            "drop_missing_task."
        )


class _First:
    """What the first pass sees of tasks and targets."""

    def __init__(self, source: Source, task: str, target: str | None):
        self.source, self.task, self.target, self.n_rows = source, task, target, 0
        self.labels: set = set()
        self.kind: pa.DataType | None = None

    def see(self, block: Block, features: Sequence[str]) -> list[pa.Array]:
        check_tasks(self.source, block, self.task)
        self.n_rows += block.table.num_rows
        if self.target is not None:
            self._see_target(block)
        return [_one(block.table, name) for name in features]

    def classes(self, classify: bool | None) -> tuple[np.ndarray | None, str]:
        if self.target is None:
            return None, "no target"
        labels = pa.array(sorted(self.labels), self.kind)
        classify, reason = choose_kind(labels, self.target, classify)
        if not classify:
            if not pa.types.is_floating(labels.type) and not pa.types.is_integer(labels.type):
                raise UpstairsError(
                    f"The target {self.target!r} holds {labels.type}, which are no numbers; pack it as classes."
                )
            return None, reason
        if len(labels) > MOST_LABELS:
            raise UpstairsError(
                f"The target {self.target!r} holds more than {MOST_LABELS:,} distinct values: too many classes."
            )
        return check_labels(read_target(labels, len(labels)))[0], reason

    def _see_target(self, block: Block) -> None:
        y = block.table[self.target]
        missing = pc.is_null(y, nan_is_null=True)
        if n := pc.sum(missing).as_py():
            row = self.source.row(block.first_row + pc.index(missing, True).as_py())
            raise UpstairsError(
                f"The target {self.target!r} has no value in {row} ({n:,} of these rows): fill it in, or leave such rows out "
                "with drop_missing_target."
            )
        kind = y.type.value_type if pa.types.is_dictionary(y.type) else y.type
        kind = pa.float64() if pa.types.is_decimal(kind) else kind
        if self.kind is None or (pa.types.is_floating(kind) and pa.types.is_integer(self.kind)):
            self.kind = kind
        if len(self.labels) <= MOST_LABELS:
            values = pc.unique(y).cast(kind).to_pylist()
            self.labels.update(values[: MOST_LABELS + 1])


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _told(blocks, tell: Tell):
    for block in blocks:
        tell("Learning the columns", len(block[0]))
        yield block
