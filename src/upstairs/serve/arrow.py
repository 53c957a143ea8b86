"""Tables as Arrow streams: read with care, since a small stream can claim to be a large table; written plainly.

Compressed batches are refused, for they may unpack to any size; then a table is no larger than its stream, except for what
takes no room at all, such as a column of a billion nulls, and rows are counted before anything is made of them.
"""

import struct

import numpy as np
import pyarrow as pa

from upstairs.serve.models import Model
from upstairs.serve.problems import Problem
from upstairs.serve.settings import Limits

__all__ = ["MEDIA_TYPE", "read", "tasks_of", "write"]

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_KNOWN = (
    pa.types.is_floating,
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_null,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_temporal,
)
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def read(body: bytes, limits: Limits) -> pa.Table:
    """The table of a stream, or the Problem why it is none."""
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            if _is_compressed(message.metadata.to_pybytes()):
                raise Problem("unusable", "The stream's batches are compressed, which isn't read here; write them without.")
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, struct.error, ValueError) as error:
        raise Problem(
            "unreadable", f"The body is no Arrow stream: {str(error).splitlines()[0] if str(error) else error!r}."
        ) from None
    if not 0 < table.num_rows <= limits.bulk_rows:
        raise Problem("unusable", f"The stream has {table.num_rows:,} rows; one request takes 1 to {limits.bulk_rows:,}.")
    if len(set(table.column_names)) < table.num_columns or table.num_columns > limits.columns:
        raise Problem(
            "unusable", f"The stream has {table.num_columns:,} columns; there may be {limits.columns:,}, of different names."
        )
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not any(test(kind) for test in _KNOWN):
            raise Problem("unusable", f"Column {field.name!r} holds {field.type}, which is neither number, text nor time.")
    return table


def write(table: pa.Table) -> bytes:
    """A table as a stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def tasks_of(column: pa.ChunkedArray, model: Model) -> np.ndarray:
    """The task of each row, in the words of the fit where it knew the task."""
    if column.null_count:
        raise Problem(
            "unusable", f"The task is null in {column.null_count:,} rows. Name the task of every row, or send no tasks."
        )
    ids = model.meta.known_.ids
    names = [str(task) for task in column.to_pylist()]
    return np.array([ids[model.known[name]] if name in model.known else name for name in names], object)


def _is_compressed(metadata: bytes) -> bool:
    """Whether a message's flatbuffer names a compression: field 3 of a RecordBatch (Arrow's format/Message.fbs)."""
    message = _follow(metadata, 0)
    kind, header = _field(metadata, message, 1), _field(metadata, message, 2)
    if kind is None or header is None or metadata[kind] not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return False
    batch = _follow(metadata, header)
    if metadata[kind] == _DICTIONARY_BATCH:
        if (inner := _field(metadata, batch, 1)) is None:
            return False
        batch = _follow(metadata, inner)
    return _field(metadata, batch, 3) is not None


def _follow(buffer: bytes, at: int) -> int:
    return at + struct.unpack_from("<I", buffer, at)[0]


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is, or None if it is left out."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    slot = 4 + 2 * number
    if vtable < 0 or slot >= struct.unpack_from("<H", buffer, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", buffer, vtable + slot)[0]
    return table + offset if offset else None
