"""Bulk: the bodies of ``_bulk`` requests from items, and what the answer says about each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from auditsplit.sinks.elasticsearch.answers import classify
from auditsplit.sinks.failures import Failure

_MAX_REASON = 500
_EXISTS = 409
_SUCCESS = range(200, 300)


class BulkItem(Protocol):
    """A document to create."""

    stream: str
    id: str

    def document(self) -> bytes:
        """Return the document, without a line break."""


ItemT = TypeVar("ItemT", bound=BulkItem)


class Stored(Enum):
    """Why an item is stored now."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    """It was stored before."""


class ItemFailure(NamedTuple):
    """Why an item is not stored. ``kind`` is Elasticsearch's type of the error, ``reason`` may quote the event."""

    failure: Failure
    kind: str
    reason: str


Outcome: TypeAlias = Stored | ItemFailure


class BulkAnswer(NamedTuple):
    """The outcome of each item in one request, in their order, and the bytes that were sent."""

    outcomes: list[Outcome]
    size_bytes: int


def bodies(items: Iterable[ItemT], max_bytes: int) -> Iterator[tuple[list[ItemT], bytes]]:
    """Yield the items, in order, with bodies of ``max_bytes`` or less. A larger document gets a body of its own."""
    group: list[ItemT] = []
    pieces: list[bytes] = []
    size = 0
    for item in items:
        # Names and ids have no character that JSON escapes.
        action = b'{"create":{"_index":"%b","_id":"%b"}}\n' % (item.stream.encode(), item.id.encode())
        document = item.document()
        length = len(action) + len(document) + 1
        if group and size + length > max_bytes:
            yield group, b"".join(pieces)
            group, pieces, size = [], [], 0
        group.append(item)
        pieces += (action, document, b"\n")
        size += length
    if group:
        yield group, b"".join(pieces)


FILTER = ",".join(
    f"items.create.{part}"
    for part in ("status", "failure_store", "error.type", "error.reason", "error.caused_by.reason")
)
"""The parts of the answer that a request asks for."""


def outcome(answer: dict[str, Any]) -> Outcome:
    """Return what the ``create`` of an answer's item says."""
    status: int = answer["status"]
    error: dict[str, Any] = answer.get("error", {})
    if status == _EXISTS:
        return Stored.DUPLICATE
    if answer.get("failure_store") == "used":
        return ItemFailure(Failure.DOCUMENT, "failure_store", "it went to the failure store")
    if status in _SUCCESS:
        return Stored.CREATED
    kind, reason = error.get("type", ""), str(error.get("reason", ""))
    cause = str((error.get("caused_by") or {}).get("reason", ""))
    words = f"{reason[:_MAX_REASON]}: {cause[:_MAX_REASON]}".rstrip(": ")
    return ItemFailure(classify(status, kind, reason), kind, words)
