"""Decode a body to single audit events. Each event keeps the bytes that arrived.

An item with line breaks loses the white space between its tokens, so that it becomes one line.

The fast path reads a body once. It splits a list that is laid out as kube-apiserver does wherever an event seems to
begin. A parser then decodes each piece, and of each piece only the fields that routing needs. A list with another
layout is read a second time, to find its items. Where a parser refuses the body or an item, `fallback` decodes it, so
that one hostile request body can't hide the events beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import re

import msgspec
from ahocorasick_rs import BytesAhoCorasick
from msgspec import UNSET

from auditsplit.decode import fallback, jsonscan
from auditsplit.decode.envelope import (
    Backend,
    Envelope,
    Items,
    check_version,
    for_several_documents,
    logstash_event,
    parse_envelope,
)
from auditsplit.decode.outline import REFUSALS, SURROGATE
from auditsplit.errors import Undecodable
from auditsplit.event import LIST_START, BadItem, Event, FoundHead, Head, NamedHead, PolicyHead

MAX_ITEMS = 100_000
"""The most items of one body. It bounds memory. kube-apiserver's ``--audit-webhook-batch-max-size`` is 400."""

MAX_BAD = 100
"""The most malformed items of one body that are returned. Further ones are counted. kube-apiserver sends none."""

_MIN_BYTES_PER_COMMA = 16
"""A real event list has at least this many bytes per comma. ``{},{},…`` has 3, and parsed to one object for each item
it takes 30 times its size in memory."""

_MAX_UNCHECKED_BYTES = 2 * 1024 * 1024
"""Below this size, 30 times a body's size is little memory, so its commas are not counted. kube-apiserver's usual
bodies are smaller."""

_SEARCH_WINDOW_BYTES = 1024 * 1024
"""The bytes that are searched for items at a time. Each match takes memory."""

decoders = {heads: msgspec.json.Decoder(heads).decode for heads in (Head, PolicyHead, NamedHead, FoundHead)}
"""The decoder of each kind of head."""

_ITEM_START = b'{"level":"'  # Go's encoder writes the fields in one order
_NEXT_ITEM = b"}," + _ITEM_START
_find_next_items = BytesAhoCorasick([_NEXT_ITEM]).find_matches_as_indexes  # five times as fast as bytes.find
_LIST_END = re.compile(rb"(?<=\})\]\}\n?\Z")
_QUOTE_ONLY = frozenset(b'"')
_HAS_FIELDS = re.compile(rb'\s*+\{\s*+"')


class Decoded(msgspec.Struct, gc=False):
    """The events and the malformed items of a body, each in their order."""

    events: list[Event]
    bad: list[BadItem]
    more_bad: int = 0
    """The number of malformed items after the first `MAX_BAD`."""

    def reject(self, item: BadItem) -> None:
        """Add a malformed item, or count it when there are `MAX_BAD` already."""
        if len(self.bad) < MAX_BAD:
            self.bad.append(item)
        else:
            self.more_bad += 1


def decode(body: bytes, backend: Backend = "webhook", heads: type[Head] = Head) -> Decoded:
    """Return the events of a body that is one ``EventList`` or one ``Event`` of `auditsplit.event.API_VERSION`.

    An ``Event`` may lack its kind and its version, and may be the member of ``{"event":…}``, as the format ``logstash``
    has it.

    Args:
        body: The document.
        backend: Which of kube-apiserver's backends wrote it. The error for another version names this backend's flag.
        heads: The fields that are decoded: those of `Head` or of a subclass in its module.

    Raises:
        Undecodable: For any other body, with the position of the first byte that shows it where there is one.
    """
    expect_text(body, "an EventList")
    several_lines = body.find(b"\n") not in (-1, len(body) - 1) or b"\r" in body
    if not several_lines and (events := _split_at_starts(body, heads)):
        return Decoded(events, [])
    if inner := logstash_event(body):
        event = _decode_item(inner, heads)
        return Decoded([_on_one_line(event) if several_lines else event], [])
    try:
        envelope, items = _read_envelope(body)
    except Undecodable as error:
        raise for_several_documents(body, error) from error
    check_version(envelope, backend)
    if envelope.is_event:
        items = Items([memoryview(body.strip())])
    elif envelope.items is UNSET:
        raise Undecodable("the EventList has no items")
    return _decode_items(body, items, heads, several_lines=several_lines)


def expect_text(body: bytes, expected: str) -> None:
    """Raise `Undecodable` if ``body`` has only white space. ``expected`` is what it should have."""
    if not body or body.isspace():
        raise Undecodable(f"the body is empty. Expected {expected}", 0)


def explain(error: Undecodable) -> str:
    """Return the reason of ``error``, with the position where there is one."""
    return error.detail if error.position is None else f"{error.detail} at byte {error.position}"


def _split_at_starts(body: bytes, heads: type[Head] = Head) -> list[Event] | None:
    """Return the events of an ``EventList`` that is laid out as kube-apiserver does. None for any other, or in doubt.

    An object inside an event may begin like an event. The split is right all the same if every piece is an object: the
    pieces fill the list with only a comma between two of them, and no first piece of an event is one. Only
    the pieces that a parser refuses are scanned.
    """
    end = _LIST_END.search(body, max(0, len(body) - len(b"]}\n")))
    if not (end and body.startswith(LIST_START) and body.startswith(_ITEM_START, len(LIST_START))):
        return None
    bounds = [len(LIST_START) - 1]  # the bracket before the first item, the commas, the bracket after the last item
    view = memoryview(body)
    for start in range(0, len(body), _SEARCH_WINDOW_BYTES):
        matches = _find_next_items(view[start : start + _SEARCH_WINDOW_BYTES + len(_NEXT_ITEM) - 1])
        bounds += [start + brace + 1 for _, brace, _ in matches]
        if len(bounds) > MAX_ITEMS:
            return None
    bounds.append(end.start())
    items = [view[before + 1 : after] for before, after in itertools.pairwise(bounds)]
    events = _parse_items(items, heads)
    if events is None:
        with contextlib.suppress(Undecodable):  # a part of an event is no object
            events = [_decode_item(item, heads) for item in items]
    return events


def _parse_items(items: list[memoryview], heads: type[Head]) -> list[Event] | None:
    """Return the items as events. None if the parser refuses any of them."""
    try:
        return list(map(Event, map(decoders[heads], items), items))
    except REFUSALS:
        return None


def _read_envelope(body: bytes) -> tuple[Envelope, Items]:
    """Return the envelope, and its items in order."""
    if len(body) < _MAX_UNCHECKED_BYTES or body.count(b",") * _MIN_BYTES_PER_COMMA <= len(body):
        parsed = parse_envelope(body)
        if parsed is not None:
            return parsed
    return fallback.scan_envelope(body)


def _decode_items(body: bytes, items: Items, heads: type[Head], *, several_lines: bool) -> Decoded:
    """Return the items of ``body`` as events and malformed items."""
    raws = items.raws
    spans = list(itertools.islice(items.spans, MAX_ITEMS + 1))
    check_count(len(spans if raws is None else raws))
    if raws and not several_lines and _have_fields(raws) and (events := _parse_items(raws, heads)) is not None:
        return Decoded(events, [])
    decoded = Decoded([], [])
    for index, (raw, safe, marks) in enumerate(items.parts(body, spans)):
        try:
            event = _decode_item(raw, heads, safe, marks)
            decoded.events.append(_on_one_line(event) if several_lines else event)
        except Undecodable as error:
            decoded.reject(BadItem(index, explain(error), bytes(raw)))
    return decoded


def _have_fields(raws: list[memoryview]) -> bool:
    return _QUOTE_ONLY.issuperset([raw[1] for raw in raws if len(raw) > 1])


def check_count(items: int) -> None:
    """Raise `Undecodable` if a body with so many ``items`` would take too much memory."""
    if items > MAX_ITEMS:
        raise Undecodable(f"more than {MAX_ITEMS} items. Lower --audit-webhook-batch-max-size")


def _decode_item(
    raw: memoryview, heads: type[Head], safe: memoryview | None = None, marks: memoryview | None = None
) -> Event:
    event: Event | None = None
    if safe is None or not SURROGATE.search(raw):
        with contextlib.suppress(*REFUSALS):
            event = Event(decoders[heads](raw), raw)
    event = event or fallback.read_event(raw, heads, safe, marks)
    if not _HAS_FIELDS.match(raw):
        raise Undecodable("the item has no fields")
    return event


def _on_one_line(event: Event) -> Event:
    line = jsonscan.on_one_line(text := bytes(event.raw))
    return event if line is text else Event(event.head, memoryview(line))
