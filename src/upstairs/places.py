"""Arrays that are views of a store's files: whose they are, how they travel, and how their pages are let go of.

A worker of a cluster opens the files itself: what travels is the store, which is pickled as its path, and the array's name.
"""

import mmap
import weakref
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Place", "belongs", "drop", "let_go", "store_of"]

_OWNERS: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
"""The open store of each mapped file, by the id of its pages."""


class Place(NamedTuple):
    """Where an array is: a store, and its name among the tasks that the store has mapped."""

    store: Any
    name: str

    @staticmethod
    def of(array: np.ndarray) -> "np.ndarray | Place":
        """The place of an array that is a whole file of a store; any other array itself."""
        store = store_of(array)
        if store is not None:
            for name, one in store.mapped._asdict().items():
                if one is array:
                    return Place(store, name)
        return array

    @staticmethod
    def look(there: "np.ndarray | Place") -> np.ndarray:
        """The array again."""
        return getattr(there.store.mapped, there.name) if isinstance(there, Place) else there


def belongs(pages: mmap.mmap, store: Any) -> None:
    """Remember whose a mapped file is, as long as its store is there."""
    _OWNERS[id(pages)] = store


def store_of(array: np.ndarray) -> Any:
    """The open TaskStore of whose files an array is a view; None if there is none."""
    return _OWNERS.get(id(_pages_of(array)))


def let_go(array: np.ndarray) -> None:
    """`TaskStore.let_go` of the file that an array is a view of; nothing if it is of none."""
    if (pages := _pages_of(array)) is not None:
        drop(pages)


def drop(pages: mmap.mmap) -> None:
    """Count what was read of a file as nobody's memory."""
    if hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _pages_of(array: np.ndarray) -> mmap.mmap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None
