"""Receipts: the answer to a batch, and the answers to the last batches, which a retry gets before it is decoded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

MAX_RECEIPTS = 4096
"""The most receipts that a process remembers, the last ones (some 2 MB of memory)."""

T = TypeVar("T")


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A malformed item: its index, why it is malformed, and where each sink has it.

    ``index`` is None where the entry stands for several ``items``.
    """

    index: int | None
    reason: str
    kept: list[str]
    items: int = 1


def whereabouts(kept: Sequence[str]) -> str:
    """Return the sentence that tells where the sinks have what is malformed. A webhook sink has it nowhere."""
    return f"It is written to {', '.join(kept)}" if kept else "No sink stores it"


class Receipt(msgspec.Struct, frozen=True):
    """The answer to a batch: the events that every sink now holds, and the malformed items.

    ``omitted`` is the number of events that ``AUDIT_POLICY`` dropped. ``omittedBySink`` has those that a sink's own
    policy dropped after that. Without such a policy the answer has neither. ``tooLarge`` and ``tooLargeBySink`` are the
    same for ``AUDIT_TRUNCATE_MAX_EVENT_SIZE`` and a sink's own limit. ``undelivered`` has the events that a sink which
    is not required did not get.
    """

    cluster: str
    batch: str
    events: int
    rejected: list[Rejected]
    alreadyStored: bool  # noqa: N815 - the JSON answer's name
    """Whether every sink had this very batch before."""
    omitted: int | UnsetType = UNSET
    omittedBySink: dict[str, int] | UnsetType = UNSET  # noqa: N815 - the JSON answer's name
    tooLarge: int | UnsetType = UNSET  # noqa: N815 - the JSON answer's name
    tooLargeBySink: dict[str, int] | UnsetType = UNSET  # noqa: N815 - the JSON answer's name
    undelivered: dict[str, int] | UnsetType = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as the JSON answer has it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


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
