"""Whether a target column asks for numbers or for classes."""

import pyarrow as pa
import pyarrow.compute as pc

from upstairs.errors import UpstairsError

__all__ = ["MOST_CLASSES", "choose_kind"]

MOST_CLASSES = 50
"""Text with more distinct values than this is a classification target only if the user says so."""


def choose_kind(y: pa.ChunkedArray, target: str, classify: bool | None) -> tuple[bool, str]:
    """Whether to predict classes, and why; ``classify`` is what the user asked for, if anything."""
    kind, n_distinct = y.type, len(y.unique())
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (text or number or pa.types.is_boolean(kind)):
        raise UpstairsError(f"The target {target!r} holds {kind}; it must hold numbers, text, or true and false.")
    whole = pa.types.is_integer(kind) or (number and pc.all(pc.equal(y, pc.floor(y))).as_py())
    if classify is not None:
        if classify and not (text or whole or pa.types.is_boolean(kind)):
            raise UpstairsError(f"The target {target!r} holds fractions, which are no classes; leave out --classify.")
        return classify, "as asked"
    if text:
        if n_distinct > MOST_CLASSES:
            raise UpstairsError(
                f"The target {target!r} holds text with {n_distinct:,} distinct values, as {y[0].as_py()!r}. Numbers must be "
                "written as 1234.5; if these are classes, give --classify."
            )
        return True, f"{target!r} holds text"
    if pa.types.is_boolean(kind):
        return True, f"{target!r} holds true and false"
    if whole and n_distinct <= 2:
        return True, f"{target!r} holds no more than two whole numbers"
    return False, f"{target!r} holds numbers"
