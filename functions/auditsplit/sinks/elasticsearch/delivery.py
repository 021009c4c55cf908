"""Delivery: the documents of a batch on their way, and what is still to do after each round of requests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from auditsplit.event import Event, Origin
from auditsplit.sinks.elasticsearch import document
from auditsplit.sinks.elasticsearch.bulk import Done, Refused
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError, Failure

_log = logging.getLogger(__name__)


class EventItem(msgspec.Struct):
    """An event on its way; ``without`` and ``reason`` are those of `document.render`."""

    stream: str
    id: str
    event: Event
    origin: Origin
    without: frozenset[str] = frozenset()
    reason: str = ""

    def document(self) -> bytes:
        """See `bulk.Item.document`."""
        return document.render(self.event, self.origin, self.without, self.reason)


class KeptItem(msgspec.Struct):
    """A document as it stands."""

    stream: str
    id: str
    text: bytes

    def document(self) -> bytes:
        """See `bulk.Item.document`."""
        return self.text


Item: TypeAlias = EventItem | KeptItem


class Round:
    """What came of sending the items once: those that are ``left`` for the next time, and the ``error`` among them."""

    def __init__(self, rejected: str) -> None:
        """Begin; ``rejected`` is the data stream for lines that are refused as such."""
        self.created = False
        self.left: list[Item] = []
        self.error: ElasticsearchError | None = None
        self._rejected = rejected

    def fail(self, items: Sequence[Item], error: ElasticsearchError) -> None:
        """Note that none of the items is known to be stored; the worst error counts."""
        self.left += items
        if self.error is None or (error.deployers and not self.error.deployers):
            self.error = error

    def settle(self, item: Item, what: Done | Refused) -> None:
        """Note what became of an item."""
        if isinstance(what, Done):
            self.created |= what is Done.CREATED
        elif what.failure.shrinks and isinstance(item, EventItem):
            self._shrink(item, what)
        elif what.failure is Failure.DOCUMENT:
            self.fail([item], ElasticsearchError(Failure.REFUSED, f"{what.kind} at {item.stream}"))
        else:
            self.fail([item], ElasticsearchError(what.failure, f"{what.kind} at {item.stream}"))

    def _shrink(self, item: EventItem, what: Refused) -> None:
        """Leave something out of a refused document; where nothing is left but the line, put it into ``_rejected``."""
        without = document.less(item.without, what.reason)
        if without:
            item.without, item.reason = without, what.reason
            self.left.append(item)
        elif what.failure is Failure.DOCUMENT:
            _log.warning("an event was refused (%s) and is kept in %s as %s", what.kind, self._rejected, item.id)
            text = document.rejected(item.origin, bytes(item.event.raw), what.reason)
            self.left.append(KeptItem(self._rejected, item.id, text))
        else:
            self.fail([item], ElasticsearchError(what.failure, f"{what.kind} at {item.stream}"))
