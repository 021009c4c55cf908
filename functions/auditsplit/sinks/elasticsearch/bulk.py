"""Bulk: the bodies of ``_bulk`` requests from items, and what the answer says of each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple, Protocol

from auditsplit.sinks.elasticsearch.failures import Failure, classify

MAX_BYTES = 5_000_000
"""The size of a body, by default: a node counts it five times against a tenth of its memory.

A document that is larger goes alone.
"""

_MAX_REASON = 500
_EXISTS = 409
_SUCCESS = range(200, 300)


class Item(Protocol):
    """A document to create."""

    stream: str
    id: str

    def document(self) -> bytes:
        """Return it, without a line break."""


class Done(Enum):
    """What became of an item that is stored now."""

    CREATED = "created"
    EXISTED = "existed"


class Refused(NamedTuple):
    """Why an item is not stored; ``reason`` may quote the event."""

    failure: Failure
    kind: str
    reason: str


def bodies(items: Iterable[Any], max_bytes: int = MAX_BYTES) -> Iterator[tuple[list[Any], bytes]]:
    """Yield the items, in order, by bodies of ``max_bytes`` or less; a body has one item at least."""
    taken: list[Any] = []
    pieces: list[bytes] = []
    size = 0
    for item in items:
        # Names and ids have no character that JSON escapes.
        action = b'{"create":{"_index":"%b","_id":"%b"}}\n' % (item.stream.encode(), item.id.encode())
        document = item.document()
        length = len(action) + len(document) + 1
        if taken and size + length > max_bytes:
            yield taken, b"".join(pieces)
            taken, pieces, size = [], [], 0
        taken.append(item)
        pieces += (action, document, b"\n")
        size += length
    if taken:
        yield taken, b"".join(pieces)


FILTER = ",".join(
    f"items.create.{part}"
    for part in ("status", "failure_store", "error.type", "error.reason", "error.caused_by.reason")
)
"""What of the answer is asked for."""


def verdict(answer: dict[str, Any]) -> Done | Refused:
    """Return what the ``create`` of an answer's item says."""
    status: int = answer["status"]
    error: dict[str, Any] = answer.get("error", {})
    if status == _EXISTS:
        return Done.EXISTED
    if answer.get("failure_store") == "used":
        return Refused(Failure.DOCUMENT, "failure_store", "it went to the failure store")
    if status in _SUCCESS:
        return Done.CREATED
    kind, reason = error.get("type", ""), str(error.get("reason", ""))
    cause = str((error.get("caused_by") or {}).get("reason", ""))
    return Refused(classify(status, kind, reason), kind, f"{reason[:_MAX_REASON]}: {cause[:_MAX_REASON]}".rstrip(": "))
