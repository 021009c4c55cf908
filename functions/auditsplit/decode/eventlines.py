"""Decode a body with an event on each line, as kube-apiserver's log backend writes them."""

from __future__ import annotations

import contextlib
import io

from auditsplit.decode import eventlist
from auditsplit.decode.envelope import Backend
from auditsplit.decode.outline import REFUSALS
from auditsplit.errors import Undecodable
from auditsplit.event import LINE_START, BadItem, Event, Head

_LINE_START = LINE_START + b'"level":"'  # Go's encoder writes this order


def decode(
    body: bytes, backend: Backend = "webhook", heads: type[Head] = Head, *, recorded: bool = False
) -> eventlist.Decoded:
    """Return the events of a body that has an ``Event`` or ``EventList`` on each line. Empty lines are skipped.

    A malformed line is a `BadItem`.

    Args:
        body: The lines.
        backend: As for `eventlist.decode`.
        heads: As for `eventlist.decode`.
        recorded: Whether the body is a piece of a recorded file. Then the lines beside a malformed line don't count.

    Raises:
        Undecodable: Where all lines of a request's body are malformed.
    """
    eventlist.expect_text(body, "an Event on each line")
    if body.count(b"\n") > eventlist.MAX_ITEMS:
        raise Undecodable(f"more than {eventlist.MAX_ITEMS} lines. Send them in several bodies")
    decoded = eventlist.Decoded([], [])
    for index, line in enumerate(map(bytes.strip, io.BytesIO(body))):
        if event := _as_logged(line, heads):
            decoded.events.append(event)
        elif line:
            _decode_line(line, index, decoded, backend, heads)
    if decoded.bad and not decoded.events and not recorded:
        first = decoded.bad[0]
        raise Undecodable(f"none of the lines is an Event. Line {first.index}: {first.reason}")
    return decoded


def _as_logged(line: bytes, heads: type[Head]) -> Event | None:
    """Return the event of a line as the log backend writes it. None for any other line, or if the parser refuses it."""
    if line.startswith(_LINE_START) and b"\r" not in line:
        with contextlib.suppress(*REFUSALS):
            return Event(eventlist.decoders[heads](line), memoryview(line))
    return None


def _decode_line(line: bytes, index: int, into: eventlist.Decoded, backend: Backend, heads: type[Head]) -> None:
    """Add the events and malformed items of a line. ``index`` counts lines from 0."""
    try:
        decoded = eventlist.decode(line, backend, heads)
    except Undecodable as error:
        into.reject(BadItem(index, eventlist.explain(error), line))
        return
    into.events += decoded.events
    into.more_bad += decoded.more_bad
    several = len(decoded.events) + len(decoded.bad) > 1
    for item in decoded.bad:
        into.reject(BadItem(index, f"item {item.index}: {item.reason}" if several else item.reason, item.raw))
    eventlist.check_count(len(into.events))
