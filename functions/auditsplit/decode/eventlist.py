"""Decoding: the bytes of a request to single audit events, each with the very bytes that came in.

The fast way reads the body once: a list as kube-apiserver writes it is cut wherever an event seems to begin, and each
piece is read for the fields that routing needs; nothing is built from the rest. A list that is written in another way
is read once more, to find the items. Where a parser refuses, `structure` finds the same places by quotes and brackets
alone, so that one hostile request body can't hide the events beside it. The types are those of `audit.k8s.io/v1
<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>`_.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from ahocorasick_rs import BytesAhoCorasick
from msgspec import UNSET, UnsetType

from auditsplit.decode import jsonscan
from auditsplit.decode.jsonscan import Scan, Span
from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION, BadItem, Event, Head

MAX_ITEMS = 100_000
"""The most items of one body, which bounds memory; kube-apiserver's ``--audit-webhook-batch-max-size`` is 400."""

_FEW_BYTES = 16
"""Of a body for each comma in it, at least, if it is one of events; one of ``{},{},…`` has 3, and takes 30 times its
size in memory once each item has an object of its own."""

_SMALL_BYTES = 2 * 1024 * 1024
"""Of a body that may well take 30 times its size; larger than the apiserver's usual ones."""

_ENVELOPE_BYTES = 256
"""Of a list around its items, at most; with more, there may be a second ``items``, of which a parser tells nothing."""

MAX_BAD = 100
"""The most bad items of one body that are told apart; kube-apiserver sends none."""


class Decoded(msgspec.Struct, gc=False):
    """What a body held, each in its order; ``more_bad`` counts the bad items beyond the first `MAX_BAD`."""

    events: list[Event]
    bad: list[BadItem]
    more_bad: int = 0

    def refuse(self, item: BadItem) -> None:
        """Note a bad item."""
        if len(self.bad) < MAX_BAD:
            self.bad.append(item)
        else:
            self.more_bad += 1


class _Document(msgspec.Struct):
    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815
    items: list[msgspec.Raw] | UnsetType | None = UNSET


_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_document = msgspec.json.Decoder(_Document).decode
_decode_head = msgspec.json.Decoder(Head).decode
_LIST_START = b'{"kind":"EventList","apiVersion":"%s","metadata":{},"items":[' % API_VERSION.encode()
_ITEM_START = b'{"level":"'  # a Go encoder keeps to the order of the fields
_NEXT_ITEM = b"}," + _ITEM_START
_find_next_items = BytesAhoCorasick([_NEXT_ITEM]).find_matches_as_indexes  # five times as fast as bytes.find
_WINDOW_BYTES = 1024 * 1024  # that are searched at a time, since every place that is found takes memory
_LIST_END = re.compile(rb"(?<=\})\]\}\n?\Z")
_QUOTE_ONLY = frozenset(b'"')
_HAS_FIELDS = re.compile(rb'\s*+\{\s*+"')

_STRING = str
_USER = {"username": _STRING}
_SHAPE: dict[str, Any] = {
    **dict.fromkeys(Head.__struct_fields__, _STRING),
    "user": _USER,
    "impersonatedUser": _USER,
    "objectRef": {"namespace": _STRING, "resource": _STRING, "subresource": _STRING},
    "annotations": {"audit.k8s.io/truncated": _STRING},
}


def decode(body: bytes) -> Decoded:
    """Return the events of a body that is one ``EventList`` or one ``Event`` of `API_VERSION`.

    Raises `Undecodable` where it is neither, with the position of the first byte that shows it.
    """
    if not body or body.isspace():
        raise Undecodable("the body is empty; expected an EventList", 0)
    several_lines = body.find(b"\n") not in (-1, len(body) - 1) or b"\r" in body
    if not several_lines and (events := _cut(body)):
        return Decoded(events, [])
    document, raws = _read_document(body)
    _check_version(document)
    if document.kind == "Event":
        raws = (memoryview(body.strip()),)
    elif document.items is UNSET:
        raise Undecodable("the EventList has no items")
    return _sort_out(raws, several_lines=several_lines)


def decode_lines(body: bytes) -> Decoded:
    """Return the events of a body that has an ``Event`` (or ``EventList``) on each line; empty lines don't count.

    A line that is neither is a `BadItem`. Raises `Undecodable` where no line is one.
    """
    if not body or body.isspace():
        raise Undecodable("the body is empty; expected an Event on each line", 0)
    if body.count(b"\n") > MAX_ITEMS:
        raise Undecodable(f"more than {MAX_ITEMS} lines; send them in several bodies")
    found = Decoded([], [])
    for index, line in enumerate(map(bytes.strip, io.BytesIO(body))):
        if not line:
            continue
        try:
            decoded = decode(line)
        except Undecodable as error:
            found.refuse(BadItem(index, explain(error), line))
            continue
        found.events += decoded.events
        found.more_bad += decoded.more_bad
        several = len(decoded.events) + len(decoded.bad) > 1
        for item in decoded.bad:
            found.refuse(BadItem(index, f"item {item.index}: {item.reason}" if several else item.reason, item.raw))
        _expect_few(len(found.events))
    if found.bad and not found.events:
        raise Undecodable(f"none of the lines is an Event; line {found.bad[0].index}: {found.bad[0].reason}")
    return found


def explain(error: Undecodable) -> str:
    """Return the reason with the position, where there is one."""
    return error.detail if error.position is None else f"{error.detail} at byte {error.position}"


def _cut(body: bytes) -> list[Event] | None:
    """Return the events of an ``EventList`` as kube-apiserver writes it; None where it is another, or that isn't sure.

    An object inside an event may begin like an event. But pieces that a parser takes, each whole, are the list's items,
    since they fill it with nothing but a comma between them; and a piece of an event is nothing that a parser takes.
    """
    end = _LIST_END.search(body, max(0, len(body) - len(b"]}\n")))
    if not (end and body.startswith(_LIST_START) and body.startswith(_ITEM_START, len(_LIST_START))):
        return None
    bounds = [len(_LIST_START) - 1]  # the commas between the items, and what is in their place at the ends
    view = memoryview(body)
    for start in range(0, len(body), _WINDOW_BYTES):
        found = _find_next_items(view[start : start + _WINDOW_BYTES + len(_NEXT_ITEM) - 1])
        bounds += [start + brace + 1 for _, brace, _ in found]
        if len(bounds) > MAX_ITEMS:
            return None
    bounds.append(end.start())
    items = [view[comma + 1 : after] for comma, after in itertools.pairwise(bounds)]
    return _parsed(items)


def _parsed(items: list[memoryview]) -> list[Event] | None:
    """Return the items as events; None where one is none, too much for the parser, or just a piece of one."""
    try:
        return list(map(Event, map(_decode_head, items), items))
    except _REFUSALS:
        return None


def _check_version(document: _Document) -> None:
    """Raise `Undecodable` unless ``document`` is a list or an event of the version that is taken."""
    kind, version = document.kind, document.apiVersion
    if kind in ("EventList", "Event") and version == API_VERSION:
        return
    if kind in ("EventList", "Event") and (version or "").startswith("audit.k8s.io/"):
        raise Undecodable(
            f"expected {API_VERSION}, came {_name(version)}; start kube-apiserver with "
            f"--audit-webhook-version={API_VERSION} (its default)"
        )
    raise Undecodable(
        f"expected kind EventList and apiVersion {API_VERSION}, came kind {_name(kind)} and apiVersion {_name(version)}"
    )


def _name(value: str | None) -> str:
    return "none" if value is None else ascii(value[:60])


def _sort_out(raws: Iterable[memoryview], *, several_lines: bool) -> Decoded:
    """Tell the events among the items from what is none."""
    items = list(itertools.islice(raws, MAX_ITEMS + 1))
    _expect_few(len(items))
    have_fields = not several_lines and _QUOTE_ONLY.issuperset([item[1] for item in items if len(item) > 1])
    if have_fields and (events := _parsed(items)) is not None:
        return Decoded(events, [])
    found = Decoded([], [])
    for index, raw in enumerate(items):
        try:
            found.events.append(_event(raw, several_lines=several_lines))
        except Undecodable as error:
            found.refuse(BadItem(index, explain(error), bytes(raw)))
    return found


def _expect_few(items: int) -> None:
    if items > MAX_ITEMS:
        raise Undecodable(f"more than {MAX_ITEMS} items; lower --audit-webhook-batch-max-size")


def _event(raw: memoryview, *, several_lines: bool) -> Event:
    text = bytes(raw)
    try:
        head = _decode_head(raw)
    except _REFUSALS:
        head = _scan_head(text)
    if not _HAS_FIELDS.match(text):
        raise Undecodable("the item has no fields")
    return Event(head, _on_one_line(raw, text) if several_lines else raw)


def _on_one_line(raw: memoryview, text: bytes) -> memoryview:
    """Return the item without the white space between its tokens, if it has line breaks; they would end the line."""
    if b"\n" not in text and b"\r" not in text:
        return raw
    text = jsonscan.compact(text)
    if b"\n" in text or b"\r" in text:
        raise Undecodable("a line break inside a string; JSON wants it escaped")
    return memoryview(text)


def _read_document(body: bytes) -> tuple[_Document, Iterable[memoryview]]:
    """Return the document, and its items in order."""
    if len(body) < _SMALL_BYTES or body.count(b",") * _FEW_BYTES <= len(body):
        with contextlib.suppress(*_REFUSALS):
            document = _decode_document(body)
            items: list[memoryview] = [memoryview(item) for item in document.items or ()]
            if document.items is UNSET or len(body) - sum(map(len, items)) - len(items) < _ENVELOPE_BYTES:
                return document, items
    return _scan_document(body)


def _scan_document(body: bytes) -> tuple[_Document, Iterator[memoryview]]:
    """Return what `_decode_document` would, and the items, by structure alone."""
    document = _Document()
    items: Iterator[Span] = iter(())
    scan = Scan(body)
    for token, span in scan.members(scan.whole):
        match _string(token):
            case "kind":
                document.kind = _scalar("kind", body, span)
            case "apiVersion":
                document.apiVersion = _scalar("apiVersion", body, span)
            case "items" if document.items is not UNSET:
                raise Undecodable("the EventList has items twice", span.start)
            case "items" if body[span.start : span.end] == b"null":
                document.items = None
            case "items":
                document.items, items = [], scan.elements(span)
    view = memoryview(body)
    return document, (view[span.start : span.end] for span in items)


def _scan_head(raw: bytes) -> Head:
    """Return the head of an item by structure alone; the last of two equal names counts, as for the parsers."""
    scan = Scan(raw)
    found = _scan_fields(scan, scan.whole, _SHAPE)
    kind, version = found.get("kind", "Event"), found.get("apiVersion", API_VERSION)
    if kind != "Event" or version != API_VERSION:
        raise Undecodable(f"expected an Event of {API_VERSION}, came {_name(kind)} of {_name(version)}")
    return msgspec.convert(found, Head)


def _scan_fields(scan: Scan, span: Span, shape: dict[str, Any]) -> dict[str, Any]:
    raw, found = scan.text, dict[str, Any]()
    for token, value in scan.members(span):
        name = _string(token)
        inner = shape.get(name)
        if inner is _STRING or (inner and raw[value.start : value.end] == b"null"):
            found[name] = _scalar(name, raw, value)
        elif inner:
            found[name] = _scan_fields(scan, value, inner)
    return found


def _scalar(name: str, text: bytes, span: Span) -> str | None:
    token = text[span.start : span.end]
    if token == b"null":
        return None
    if not token.startswith(b'"'):
        raise Undecodable(f"{name}: expected a string", span.start)
    return _string(token)


def _string(token: bytes) -> str:
    """Return the string that ``token``, with its quotes, stands for; it may hold lone surrogates."""
    try:
        value: str = json.loads(token.decode(), strict=False)
    except UnicodeDecodeError as error:
        raise Undecodable("a name or routing field is not UTF-8, which kube-apiserver never sends") from error
    except ValueError as error:
        raise Undecodable(f"a string with an escape that JSON doesn't have: {str(error)[:60]}") from error
    return value
