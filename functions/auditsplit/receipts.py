"""Receipts of the last batches: what a retry is answered before it is decoded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

MAX_RECEIPTS = 4096
"""The most receipts that a process remembers, the last ones (some 2 MB of memory)."""

T = TypeVar("T")


class Recent(Generic[T]):
    """The values of the keys that were added last. Any number of threads may use one at once."""

    def __init__(self, most: int = MAX_RECEIPTS) -> None:
        """Start empty, for at most ``most`` values."""
        self._most = most
        self._values: OrderedDict[object, T] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: object, value: T) -> None:
        """Remember ``value``. Forget the oldest value when there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def get(self, key: object) -> T | None:
        """Return the value of ``key``, None if it is forgotten."""
        with self._lock:
            return self._values.get(key)
