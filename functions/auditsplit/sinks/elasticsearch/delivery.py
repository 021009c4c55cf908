"""Delivery: the documents of a batch on their way, and what is left to send after each attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from auditsplit.event import Event, Origin
from auditsplit.sinks.elasticsearch import document
from auditsplit.sinks.elasticsearch.bulk import ItemFailure, Outcome, Stored
from auditsplit.sinks.failures import Action, Failure, SinkFailure

MAX_CLEANED_BYTES = 1_000_000
"""How many bytes of a batch are cleaned at most."""

_log = logging.getLogger(__name__)


class EventItem(msgspec.Struct):
    """An event on its way; the members up to ``text`` are those of `document.render`."""

    stream: str
    id: str
    event: Event
    origin: Origin
    without: frozenset[str] | None = document.AS_ARRIVED
    reason: str = ""
    cleans_bodies: bool = True
    text: bytes | None = None

    def document(self) -> bytes:
        """See `bulk.BulkItem.document`. A text that cost more than a copy is kept for the next attempt."""
        if self.text is None:
            rendered = document.render(
                self.event, self.origin, self.without, self.reason, cleans_bodies=self.cleans_bodies
            )
            if rendered.as_arrived:
                return rendered.text
            self.without, self.text = self.without or frozenset(), rendered.text
        return self.text


def limit_cleaning(items: Iterable[EventItem]) -> None:
    """Have the bodies of a batch's smallest events cleaned if they are refused, `MAX_CLEANED_BYTES` of events together.

    Cleaning costs up to 0.6 s a megabyte, and a batch must be stored in time. Refused bodies of the larger events are
    left out whole. A sender's batch of 400 usual events stays below the limit.
    """
    left = MAX_CLEANED_BYTES
    for item in sorted(items, key=lambda item: len(item.event.raw)):
        left -= len(item.event.raw)
        item.cleans_bodies = left >= 0


class RenderedItem(msgspec.Struct):
    """A document from which nothing can be left out: a rejected body or a probe."""

    stream: str
    id: str
    text: bytes

    def document(self) -> bytes:
        """See `bulk.BulkItem.document`."""
        return self.text


Item: TypeAlias = EventItem | RenderedItem


class Attempt:
    """The result of sending all items once: those that are ``left`` to send, and the worst ``error`` among them."""

    def __init__(self, rejected: str) -> None:
        """Start with no item settled; ``rejected`` is the data stream for lines that are refused as such."""
        self.created = False
        self.left: list[Item] = []
        self.error: SinkFailure | None = None
        self.size_bytes = 0
        """What was sent, in bytes."""
        self.largest_body = 0
        """The bytes of the largest body, before compression."""
        self._rejected = rejected

    def fail(self, items: Sequence[Item], error: SinkFailure) -> None:
        """Note that no item of ``items`` is known to be stored. An error that needs a deployer is the worst."""
        self.left += items
        if self.error is None or (error.needs_deployer and not self.error.needs_deployer):
            self.error = error

    def settle(self, item: Item, outcome: Outcome) -> None:
        """Note the outcome of an item."""
        if isinstance(outcome, Stored):
            self.created |= outcome is Stored.CREATED
        elif isinstance(item, EventItem) and outcome.failure.action in (Action.SHRINK, Action.REJECT):
            self._shrink(item, outcome)
        else:
            self._fail_item(item, outcome)

    def _shrink(self, item: EventItem, refused: ItemFailure) -> None:
        """Leave a part out of a refused document. When only the line is left, put it into ``_rejected``."""
        refused_for_size = refused.failure.action is Action.SHRINK
        without = document.less(item.without or () if refused_for_size else item.without, refused.reason)
        if without is not None:
            item.without, item.reason, item.text = without, refused.reason, None
            self.left.append(item)
        elif refused.failure.action is Action.REJECT:
            _log.warning("an event was refused (%s) and is rejected to %s as %s", refused.kind, self._rejected, item.id)
            text = document.rejected(item.origin, bytes(item.event.raw), refused.reason)
            self.left.append(RenderedItem(self._rejected, item.id, text))
        else:
            self._fail_item(item, refused)

    def _fail_item(self, item: Item, refused: ItemFailure) -> None:
        failure = Failure.REFUSED if refused.failure.action is Action.REJECT else refused.failure
        self.fail([item], SinkFailure(failure, f"{refused.kind} at {item.stream}"))
