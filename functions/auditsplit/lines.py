"""Lines: how one event is written where a store takes text.

``log`` is the line that kube-apiserver's own log backend writes: the item with ``kind`` and ``apiVersion`` put first
(audit2rbac and Falco want them). ``logstash`` is the line of the Logstash recipe in Kubernetes' auditing page. The item
itself goes into both as the bytes that came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from auditsplit.eventlist import API_VERSION, Event

_KIND = b'"kind":"Event",'
_API_VERSION = f'"apiVersion":"{API_VERSION}",'.encode()

Pieces: TypeAlias = "list[bytes | memoryview]"


def _log(event: Event) -> Pieces:
    head = event.head
    if head.kind is None and head.apiVersion is None:
        return [b"{" + _KIND + _API_VERSION, event.raw[1:], b"\n"]
    if head.kind is None:
        return [b"{" + _KIND, event.raw[1:], b"\n"]
    if head.apiVersion is None:
        return [b"{" + _API_VERSION, event.raw[1:], b"\n"]
    return [event.raw, b"\n"]


def _logstash(event: Event) -> Pieces:
    return [b'{"event":', event.raw, b"}\n"]


FORMATS: Mapping[str, Callable[[Event], Pieces]] = {"log": _log, "logstash": _logstash}


def render(events: Iterable[Event], line_format: str) -> bytes:
    """Return the events as lines, each with its line feed, in their order."""
    form = FORMATS[line_format]
    return b"".join([piece for event in events for piece in form(event)])
