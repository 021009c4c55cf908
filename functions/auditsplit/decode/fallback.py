"""The fallback: decode what the fast parsers refuse.

A fast parser refuses a whole ``EventList`` because of one request body in it, such as a lone surrogate. Any user can
send such a body. The functions here find the same items and the same fields without reading anything else.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from auditsplit.decode.envelope import ONCE, Envelope, Items, shown
from auditsplit.decode.jsonscan import Scan, Span
from auditsplit.decode.outline import REFUSALS, Outline, adds_up, decode_object, harmless, spans_of
from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION, Event, FoundHead, Head, NamedReference

_MAX_REASON_CHARACTERS = 60
_SPACE = b" \t\r\n"
_OBJECT = re.compile(rb"[ \t\r\n]*+\{")
_WHOLE_NUMBER = re.compile(rb"-?[0-9]{1,10}")
_STRING = str
_STRINGS = list
_NUMBER = int
_USER = {"username": _STRING}
_HEAD_SHAPE: dict[str, Any] = {
    **dict.fromkeys(Head.__struct_fields__, _STRING),
    "user": _USER,
    "impersonatedUser": _USER,
    "objectRef": {"namespace": _STRING, "resource": _STRING, "subresource": _STRING},
    "annotations": {"audit.k8s.io/truncated": _STRING},
}
_REFERENCE = dict.fromkeys(NamedReference.__struct_fields__, _STRING)
_POLICY_SHAPE = {
    **_HEAD_SHAPE,
    "requestURI": _STRING,
    "user": {**_USER, "groups": _STRINGS},
    "objectRef": _REFERENCE,
}
_FOUND_SHAPE = {
    **_HEAD_SHAPE,
    **dict.fromkeys(("auditID", "requestURI", "userAgent"), _STRING),
    "objectRef": _REFERENCE,
    "responseStatus": {"code": _NUMBER},
    "sourceIPs": _STRINGS,
}


def scan_envelope(body: bytes) -> tuple[Envelope, Items]:
    """Return the envelope of ``body``, and its items in order.

    Where ``items`` is an array, the envelope has an empty list. Raises `Undecodable` where quotes or brackets don't
    match, also while the spans of the items are read.
    """
    if not _OBJECT.match(body):  # before copies are made: it may be millions of numbers
        raise Undecodable("expected '{'", len(body) - len(body.lstrip(_SPACE)))
    fields: dict[str, Any] = {}
    facts: dict[str, msgspec.Raw] = {}
    items: Iterable[Span] = ()
    scan = Scan(body)
    for token, span in scan.members(scan.whole):
        name = _name(token)
        if name in ("auditID", "stage", "user"):
            facts[name] = msgspec.Raw(body[span.start : span.end])
        if name not in ONCE:
            continue
        if name in fields:
            raise Undecodable(f"the body has {name} twice", span.start)
        if name != "items":
            fields[name] = _nullable_string(name, body, span)
        elif body[span.start : span.end] == b"null":
            fields[name] = None
        else:
            fields[name], items = [], scan.elements(span)
    envelope = Envelope(fields.get("kind"), fields.get("apiVersion"), fields.get("items", UNSET), **facts)
    return envelope, Items(spans=items, marks=scan.marks)


def read_event(
    raw: memoryview, heads: type[Head] = Head, safe: memoryview | None = None, marks: memoryview | None = None
) -> Event:
    """Return the event of an item that a parser refuses. The last of two equal names counts, as it does for a parser.

    Args:
        raw: The item.
        heads: The fields that are decoded.
        safe: Its part of `Items.safe`, if there is one.
        marks: Its part of `Items.marks`, if there is one.
    """
    if bytes(raw[:1]) != b"{":  # before copies are made: it may be millions of numbers
        raise Undecodable("expected '{'", 0)
    text = bytes(raw)
    members: list[tuple[str, Span]] | None = None
    if marks is None:
        values = _parsed(text, safe)
        members = list(spans_of(values, 0)) if values is not None and adds_up(values, len(text)) else None
    if members is not None:
        return Event(_read_head(Outline(text, _name, members=members), heads), raw, [*members])
    outline = Outline(text, _name, parse=False, marks=None if marks is None else bytes(marks))
    members = list(outline.members(outline.whole))
    found = bytes(outline.scan.marks)
    return Event(_read_head(Outline(text, _name, members=members, marks=found), heads), raw, [*members], found)


def _parsed(text: bytes, safe: memoryview | None) -> dict[str, msgspec.Raw] | None:
    """Return the members of an item as a parser reads them in a harmless text. None if it refuses that too."""
    if safe is None:
        try:
            return decode_object(text)
        except RecursionError:  # nesting is in a harmless text too
            return None
        except REFUSALS:
            safe = memoryview(harmless(text))
    with contextlib.suppress(*REFUSALS):
        return decode_object(safe)
    return None


def _read_head(outline: Outline, heads: type[Head]) -> Head:
    shape = {Head: _HEAD_SHAPE, FoundHead: _FOUND_SHAPE}.get(heads, _POLICY_SHAPE)
    fields = _read_fields(outline, Span(0, len(outline.text)), shape)
    kind, version = fields.get("kind", "Event"), fields.get("apiVersion", API_VERSION)
    if kind != "Event" or version != API_VERSION:
        raise Undecodable(f"expected an Event of {API_VERSION}, got {shown(kind)} of {shown(version)}")
    return msgspec.convert(fields, heads)


def _read_fields(outline: Outline, span: Span, shape: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the object at ``span`` that ``shape`` has."""
    text, fields = outline.text, dict[str, Any]()
    for name, value in outline.members(span):
        inner = shape.get(name)
        if inner is _STRING or (inner and text[value.start : value.end] == b"null"):
            fields[name] = _nullable_string(name, text, value)
        elif inner is _STRINGS:
            fields[name] = _strings(name, text, value)
        elif inner is _NUMBER:
            fields[name] = _number(name, text, value)
        elif inner:
            fields[name] = _read_fields(outline, value, inner)
    return fields


def _nullable_string(name: str, text: bytes, span: Span) -> str | None:
    token = text[span.start : span.end]
    if token == b"null":
        return None
    if not token.startswith(b'"'):
        raise Undecodable(f"{name}: expected a string", span.start)
    return _string(token)


def _strings(name: str, text: bytes, span: Span) -> list[str]:
    try:
        values = json.loads(text[span.start : span.end].decode(), strict=False)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Undecodable(f"{name}: expected a list of strings", span.start)
    return values


def _number(name: str, text: bytes, span: Span) -> int:
    token = text[span.start : span.end]
    if not _WHOLE_NUMBER.fullmatch(token):
        raise Undecodable(f"{name}: expected a whole number", span.start)
    return int(token)


def _name(token: bytes) -> str:
    """Return the name that ``token``, with its quotes, stands for.

    A name that is not UTF-8 equals none that decoding reads. It is no reason to reject an item: parsers accept it.
    """
    return _unescaped(token.decode(errors="replace"))


def _string(token: bytes) -> str:
    """Return the string that ``token``, with its quotes, stands for. It may contain lone surrogates."""
    try:
        text = token.decode()
    except UnicodeDecodeError as error:
        raise Undecodable("a routing field is not UTF-8, which kube-apiserver never sends") from error
    return _unescaped(text)


def _unescaped(text: str) -> str:
    try:
        value: str = json.loads(text, strict=False)
    except ValueError as error:
        reason = str(error)[:_MAX_REASON_CHARACTERS]
        raise Undecodable(f"a string has an escape that is not valid in JSON: {reason}") from error
    return value
