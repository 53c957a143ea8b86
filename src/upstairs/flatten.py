"""Nested NamedTuples to JSON, arrays and texts, and back along their annotations: nothing in a file names a type or a module.

A value is None, bool, int, float, str, ndarray, a function, a NamedTuple, or a tuple of these; its annotation says which, or
how to tell from the fields before it.
In JSON:

    None, bool, int, str, finite float     as they are (repr of a float gives it back exactly)
    NaN, infinities                        {"float": "nan"}
    a long string                          {"text": its entry}
    an array                               {"array": its entry, "dtype", "shape", ...}
    a function                             null: whoever annotated it puts it back
    a NamedTuple                           {"type": "Scale", "fields": {...}}
    a tuple                                [...]
"""

import hashlib
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from upstairs.errors import UpstairsError

__all__ = ["Parts", "fingerprint", "flatten", "plain", "rebuild", "unplain"]

LONGEST_INLINE = 200
"""Characters of a string that still stands in the JSON itself."""


class Parts(NamedTuple):
    """What the JSON points to: arrays of numbers and texts, by name."""

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]


def flatten(value: Any, hint: Any, where: str, parts: Parts) -> Any:
    """JSON of a value; its arrays and long texts are added to ``parts`` under names that start with ``where``.

    A value that its annotation doesn't allow is a bug of whoever annotated it: a TypeError.
    """
    options = _options(hint)
    if isinstance(value, np.ndarray) and np.ndarray in options:
        return _flatten_array(value, where, parts)
    if type(value) in options and _is_record(type(value)):
        told = value._asdict()
        fields = {f: flatten(v, _hint(type(value), f, told), f"{where}.{f}", parts) for f, v in told.items()}
        return {"type": type(value).__name__, "fields": fields}
    if isinstance(value, tuple) and (items := _items(options, len(value))) is not None:
        return [flatten(v, h, f"{where}.{i}", parts) for i, (v, h) in enumerate(zip(value, items, strict=True))]
    if callable(value) and Callable in options:
        return None
    if isinstance(value, str) and str in options and len(value) > LONGEST_INLINE:
        parts.texts[name := f"texts/{where}.txt"] = value
        return {"text": name}
    scalar = value.item() if isinstance(value, np.generic) else value
    if type(scalar) in options or (scalar is None and types.NoneType in options):
        return plain(scalar)
    if type(scalar) is int and float in options:
        return float(scalar)
    raise TypeError(f"{where} holds the {type(value).__name__} {value!r:.80}, which its annotation {hint} doesn't allow.")


def rebuild(node: Any, hint: Any, where: str, parts: Parts) -> Any:
    """The value of a JSON node, or a ValueError, KeyError or TypeError where it isn't what the annotation asks for."""
    options = _options(hint)
    if isinstance(node, list) and (items := _items(options, len(node))) is not None:
        return tuple(rebuild(n, h, f"{where}.{i}", parts) for i, (n, h) in enumerate(zip(node, items, strict=True)))
    if isinstance(node, dict) and "array" in node and np.ndarray in options:
        return _rebuild_array(node, parts)
    if isinstance(node, dict) and "text" in node and str in options:
        return parts.texts[node["text"]]
    if isinstance(node, dict) and "type" in node:
        for option in options:
            if _is_record(option) and option.__name__ == node["type"]:
                fields: dict[str, Any] = {}
                for f, n in node["fields"].items():
                    fields[f] = rebuild(n, _hint(option, f, fields), f"{where}.{f}", parts)
                return option(**fields)
    scalar = unplain(node)
    if type(scalar) in options or (scalar is None and (types.NoneType in options or Callable in options)):
        return scalar
    raise ValueError(f"{where} doesn't hold what its place asks for")


def plain(value: bool | int | float | str | None) -> Any:
    """A scalar as JSON, which has neither NaN nor infinity."""
    return {"float": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value


def unplain(node: Any) -> Any:
    """The way back from `plain`."""
    return float(node["float"]) if isinstance(node, dict) and "float" in node else node


def fingerprint(content: bytes | np.ndarray) -> dict:
    """Size and SHA-256 of a text's bytes or of an array's."""
    flat = np.asarray(content, order="C").reshape(-1).view(np.uint8).data if isinstance(content, np.ndarray) else content
    return {"bytes": len(flat), "sha256": hashlib.sha256(flat).hexdigest()}


def _hint(record: type, field: str, fields: dict) -> Any:
    """The annotation of a NamedTuple's field; ``Annotated[Any, f]`` is whatever f says of the fields before it."""
    hint = typing.get_type_hints(record, include_extras=True)[field]
    return hint.__metadata__[0](fields) if typing.get_origin(hint) is typing.Annotated else hint


def _options(hint: Any) -> list:
    """The alternatives of an annotation: the members of a union; of whatever kind, an array is ``np.ndarray`` and a
    function ``Callable``."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return [option for member in typing.get_args(hint) for option in _options(member)]
    return [origin] if origin in (np.ndarray, Callable) else [hint]


def _items(options: list, length: int) -> tuple | None:
    """The annotation of each item of a tuple of this length; None where no alternative is such a tuple."""
    for option in options:
        arguments = typing.get_args(option)
        if typing.get_origin(option) is tuple:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return arguments[:1] * length
            if len(arguments) == length:
                return arguments
    return None


def _is_record(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, tuple) and option is not tuple


def _flatten_array(array: np.ndarray, where: str, parts: Parts) -> dict:
    node = {"dtype": array.dtype.str, "shape": list(array.shape)}
    if array.dtype.kind in "OU":
        text = json.dumps([_flatten_item(item) for item in array.ravel().tolist()])
        if _is_too_wide(array.dtype, array.size, len(text)):
            raise UpstairsError(f"{where} holds text of up to {array.itemsize // 4:,} characters, which can't be saved.")
        parts.texts[name := f"texts/{where}.json"] = text
        return {"array": name, **node}
    numbers = array.view(np.int64) if array.dtype.kind in "mM" else array.astype(array.dtype.newbyteorder("="), copy=False)
    # BLAS adds up in another order where the layout is another, so a transposed array has to come back transposed
    transposed = array.flags.f_contiguous and not array.flags.c_contiguous
    parts.arrays[where] = stored = np.asarray(numbers.T if transposed else numbers, order="C")
    return {"array": where, **node, "transposed": transposed, **fingerprint(stored)}


def _rebuild_array(node: dict, parts: Parts) -> np.ndarray:
    dtype, shape, name = np.dtype(node["dtype"]), tuple(node["shape"]), node["array"]
    if dtype.kind in "OU":
        text = parts.texts[name]
        items = [unplain(item) for item in json.loads(text)]
        if _is_too_wide(dtype, len(items), len(text)):
            raise ValueError(f"{name} claims {dtype.itemsize // 4:,} characters an item")
        array = np.empty(len(items), dtype)
        array[:] = items
        return array.reshape(shape)
    array = parts.arrays[name]
    if fingerprint(array) != {"bytes": node["bytes"], "sha256": node["sha256"]}:
        raise ValueError(f"the checksum of {name} doesn't match")
    array = array.view(dtype) if dtype.kind in "mM" else array
    array = array.T if node["transposed"] else array
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)} instead of {dtype} {list(shape)}")
    return array


def _is_too_wide(dtype: np.dtype, count: int, characters: int) -> bool:
    """Fixed-width text takes its longest item's room for every item: no small file may ask for gigabytes that way."""
    return dtype.itemsize * count > 2**20 + 1000 * characters


def _flatten_item(item: Any) -> Any:
    """A task id or label, of those kinds that JSON gives back as they were."""
    item = item.item() if isinstance(item, np.generic) else item
    if item is not None and type(item) not in (bool, int, float, str):
        raise UpstairsError(
            f"The {type(item).__name__} {item!r} is a task id or label that can't be saved: use text or numbers."
        )
    return plain(item)
