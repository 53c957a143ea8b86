"""Arrays of a safetensors file, mapped: processes that map the same file hold its pages in memory once, and can't change them.

A mapped file must never be overwritten in place: what has shrunk under a reader stops its process. So nobody maps a file of
the user's, only one of our own.
"""

import json
import mmap
import os

import numpy as np
import safetensors

__all__ = ["map_arrays"]


def map_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays by name, read-only, as `safetensors.numpy.load_file` would read them.

    Raises
    ------
    SafetensorError
        Where the file isn't of that format.
    """
    with safetensors.safe_open(path, "np"):
        pass  # it has checked that the header is true to the file
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
        whole = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    header.pop("__metadata__", None)
    arrays = {}
    for name, told in header.items():
        begin, end = told["data_offsets"]
        arrays[name] = whole[start + begin : start + end].view(_dtype(told["dtype"])).reshape(told["shape"])
    return arrays


def _dtype(name: str) -> np.dtype:
    """From F64, I32, U8, BOOL and their like."""
    return np.dtype(bool) if name == "BOOL" else np.dtype(f"<{name[0].lower()}{int(name[1:]) // 8}")
