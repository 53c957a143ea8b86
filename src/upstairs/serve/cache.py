"""Adapted models of remembered tasks, kept while there is memory: the least recently asked for goes first.

A cached model knows how many appends of which task it has seen. What came since is added by ``update``, and that equals
adapting anew; a task that was forgotten and begun again has another id, and begins again here too.
"""

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

__all__ = ["Cache", "Entry"]

OVERHEAD = 4096
"""Bytes of an entry beside its arrays."""


class Entry(NamedTuple):
    """An adapted model, and the task's appends that it has seen."""

    task_id: int
    n_appends: int
    adapted: Any
    bytes: int


class Cache:
    """Entries by model, version and task, bounded in bytes; threads may share it."""

    def __init__(self, most_bytes: int):
        self._most, self._lock = most_bytes, threading.Lock()
        self._entries: OrderedDict[tuple, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: tuple) -> Entry | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: tuple, task_id: int, n_appends: int, adapted: Any) -> None:
        entry = Entry(task_id, n_appends, adapted, OVERHEAD + adapted.nbytes)
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self.bytes += entry.bytes
            while self.bytes > self._most and self._entries:
                self._drop(next(iter(self._entries)))

    def drop(self, key: tuple) -> None:
        with self._lock:
            self._drop(key)

    def keep(self, served: set[tuple[str, str]]) -> None:
        """Let go of models, by name and version, that aren't served any more."""
        with self._lock:
            for key in [key for key in self._entries if key[:2] not in served]:
                self._drop(key)

    def _drop(self, key: tuple) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self.bytes -= entry.bytes
