"""Lines: the text of an event, for sinks that write text.

``log`` is the line that kube-apiserver's own log backend writes: the item, with ``kind`` and ``apiVersion`` in front,
which audit2rbac and Falco require. ``logstash`` is the line of the Logstash recipe in Kubernetes' auditing page. Both
contain the item with the bytes that arrived, or with those that a transform left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import UNSET

from auditsplit.event import API_VERSION_MEMBER, KIND_MEMBER, LINE_START, Event

Format: TypeAlias = Literal["log", "logstash"]
"""How an event is written."""

Pieces: TypeAlias = "list[bytes | memoryview]"
"""Lines in pieces, which are joined once."""


def _log(events: Iterable[Event]) -> Pieces:
    pieces: Pieces = []
    for event in events:
        head, raw = event.head, event.raw
        if head.kind is UNSET and head.apiVersion is UNSET:
            pieces += (LINE_START, raw[1:], b"\n")
        elif head.kind is UNSET:
            pieces += (b"{", KIND_MEMBER, raw[1:], b"\n")
        elif head.apiVersion is UNSET:
            pieces += (b"{", API_VERSION_MEMBER, raw[1:], b"\n")
        else:
            pieces += (raw, b"\n")
    return pieces


def _logstash(events: Iterable[Event]) -> Pieces:
    pieces: Pieces = []
    for event in events:
        pieces += (b'{"event":', event.raw, b"}\n")
    return pieces


FORMATS: Mapping[Format, Callable[[Iterable[Event]], Pieces]] = {"log": _log, "logstash": _logstash}
"""The formats by name. Each returns the lines of events."""


def render(events: Iterable[Event], line_format: Format) -> bytes:
    """Return the events as lines of a format in `FORMATS`, each with its line feed, in their order."""
    return b"".join(FORMATS[line_format](events))
