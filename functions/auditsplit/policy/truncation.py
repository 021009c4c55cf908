"""Truncation: bound the size of an event as kube-apiserver's truncating backend does.

An event's size is that of its line in kube-apiserver's log, with the line feed. An event that is larger than the limit
and has the level Request or above loses its bodies, and gets the annotation ``audit.k8s.io/truncated``. An event that
is still larger is dropped. Other bytes stay as they arrived. The rules are those of ``plugin/pkg/audit/truncate`` in
`k8s.io/apiserver <https://pkg.go.dev/k8s.io/apiserver/plugin/pkg/audit/truncate>`_.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import msgspec

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import Outline
from auditsplit.environ import whole_number
from auditsplit.event import Annotations, Event, PolicyHead, line_bytes
from auditsplit.policy.edits import Cuts, Edit, name_of
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import LEVELS
from auditsplit.routing.fields import WhichUser

ANNOTATION = "audit.k8s.io/truncated"
_MARK = f'"{ANNOTATION}":"true"'.encode()
_WITH_BODIES = frozenset(LEVELS[LEVELS.index("Request") :])
_SHAPE = {body: body for body in BODIES}


class Truncation:
    """A `Transform` that removes the bodies of events that are too large, and drops those that are still too large."""

    OPTION_WORDS: ClassVar[str] = "a number of bytes, such as 102400, or 0 for no limit"

    def __init__(self, max_event_bytes: int = 0) -> None:
        """Keep the limit. 0 is no limit.

        Args:
            max_event_bytes: The size of the largest event in bytes: that of its line in kube-apiserver's log.
        """
        self.max_event_bytes = max_event_bytes

    def __str__(self) -> str:
        """Return the limit as a setting has it."""
        return str(self.max_event_bytes)

    def __bool__(self) -> bool:
        """Return whether there is a limit."""
        return self.max_event_bytes > 0

    @classmethod
    def parse(cls, text: str) -> Truncation:
        """Return the truncation that a setting asks for. ``ValueError`` if it is not a number of bytes."""
        number = whole_number(text or "0")
        if number is None:
            raise ValueError(f"must be {cls.OPTION_WORDS}, not {text[:40]!r}")
        return cls(number)

    @classmethod
    def from_option(cls, text: str, user: WhichUser) -> Truncation:  # noqa: ARG003 - the signature of all option types
        """Return the truncation that an option in a sink's URL asks for; see `parse`."""
        return cls.parse(text)

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events that are small enough, in their order, with new events in place of those without bodies."""
        limit = self.max_event_bytes
        if not limit or all(line_bytes(event) <= limit for event in events):
            return events
        kept = []
        for event in events:
            if line_bytes(event) > limit and event.head.level in _WITH_BODIES:
                event = truncated(event)  # noqa: PLW2901 - what is left of it
            if line_bytes(event) <= limit:
                kept.append(event)
        return kept


NO_TRUNCATION = Truncation()
"""No limit."""


def truncated(event: Event) -> Event:
    """Return the event without its bodies and with the annotation, as kube-apiserver writes it.

    Raises `Undecodable` where brackets of the event don't match.
    """
    outline = Outline(bytes(event.raw), name_of, members=event.members, marks=event.marks)
    cuts = Cuts(outline)
    last: Span | None = None
    kept = 0
    for name, value in cuts.kept(outline.whole, _SHAPE):
        kept += 1
        last = value if name == "annotations" else last
    raw = cuts.edited(_marking(outline, last, kept))
    head = msgspec.structs.replace(event.head, annotations=Annotations("true"))
    if isinstance(head, PolicyHead):
        head.requestObject = head.responseObject = msgspec.Raw()
    return Event(head, memoryview(raw))


def batches(events: Iterable[Event], max_batch_bytes: int) -> Iterator[list[Event]]:
    """Yield the events in batches, in their order. Only a batch of a single event may be larger than the limit.

    Args:
        events: The events.
        max_batch_bytes: The size of the largest batch in bytes: the sum of its events' sizes.
    """
    batch: list[Event] = []
    size = 0
    for event in events:
        more = line_bytes(event)
        if batch and size + more > max_batch_bytes:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += more
    if batch:
        yield batch


def _marking(outline: Outline, annotations: Span | None, kept: int) -> Edit:
    """Return the edit that adds the annotation. Go writes annotations in the order of their names."""
    if annotations is None:
        end = outline.whole.end - 1
        return Edit(end, end, b'%b"annotations":{%b}' % (b"," if kept else b"", _MARK))
    if outline.text[annotations.start] != ord("{"):
        return Edit(*annotations, b"{%b}" % _MARK)
    end = annotations.start + 1
    members = list(outline.members(annotations))
    if not members:
        return Edit(end, end, _MARK)
    for name, value in members:
        if name == ANNOTATION:
            return Edit(*value, b'"true"')
        if name > ANNOTATION:
            break
        end = value.end
    first = end == annotations.start + 1
    return Edit(end, end, _MARK + b"," if first else b"," + _MARK)
