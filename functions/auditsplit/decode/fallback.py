"""The fallback: decode what the fast parsers refuse, with the quotes and brackets of the text alone.

A fast parser refuses a whole ``EventList`` because of one request body in it, such as a lone surrogate. Any user can
send such a body. The functions here find the same items and the same fields without reading anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from auditsplit.decode.envelope import Envelope, shown
from auditsplit.decode.jsonscan import Scan, Span
from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION, Head

_MAX_REASON_CHARACTERS = 60
_STRING = str
_USER = {"username": _STRING}
_HEAD_SHAPE: dict[str, Any] = {
    **dict.fromkeys(Head.__struct_fields__, _STRING),
    "user": _USER,
    "impersonatedUser": _USER,
    "objectRef": {"namespace": _STRING, "resource": _STRING, "subresource": _STRING},
    "annotations": {"audit.k8s.io/truncated": _STRING},
}


def scan_envelope(body: bytes) -> tuple[Envelope, Iterator[memoryview]]:
    """Return the envelope of ``body``, and the bytes of its items in order.

    Where ``items`` is an array, the envelope has an empty list, and the iterator yields the items. Raises
    `Undecodable` where quotes or brackets don't match, also while the items are read.
    """
    envelope = Envelope()
    items: Iterator[Span] = iter(())
    scan = Scan(body)
    for token, span in scan.members(scan.whole):
        match _string(token):
            case "kind":
                envelope.kind = _nullable_string("kind", body, span)
            case "apiVersion":
                envelope.apiVersion = _nullable_string("apiVersion", body, span)
            case "items" if envelope.items is not UNSET:
                raise Undecodable("the EventList has items twice", span.start)
            case "items" if body[span.start : span.end] == b"null":
                envelope.items = None
            case "items":
                envelope.items, items = [], scan.elements(span)
            case "auditID" | "stage" | "user" as field:
                setattr(envelope, field, msgspec.Raw(body[span.start : span.end]))
    view = memoryview(body)
    return envelope, (view[span.start : span.end] for span in items)


def scan_head(item: bytes) -> Head:
    """Return the head of an item. The last of two equal names counts, as it does for the parsers."""
    scan = Scan(item)
    fields = _scan_fields(scan, scan.whole, _HEAD_SHAPE)
    kind, version = fields.get("kind", "Event"), fields.get("apiVersion", API_VERSION)
    if kind != "Event" or version != API_VERSION:
        raise Undecodable(f"expected an Event of {API_VERSION}, got {shown(kind)} of {shown(version)}")
    return msgspec.convert(fields, Head)


def _scan_fields(scan: Scan, span: Span, shape: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the object at ``span`` that ``shape`` has."""
    text, fields = scan.text, dict[str, Any]()
    for token, value in scan.members(span):
        name = _string(token)
        inner = shape.get(name)
        if inner is _STRING or (inner and text[value.start : value.end] == b"null"):
            fields[name] = _nullable_string(name, text, value)
        elif inner:
            fields[name] = _scan_fields(scan, value, inner)
    return fields


def _nullable_string(name: str, text: bytes, span: Span) -> str | None:
    token = text[span.start : span.end]
    if token == b"null":
        return None
    if not token.startswith(b'"'):
        raise Undecodable(f"{name}: expected a string", span.start)
    return _string(token)


def _string(token: bytes) -> str:
    """Return the string that ``token``, with its quotes, stands for. It may contain lone surrogates."""
    try:
        value: str = json.loads(token.decode(), strict=False)
    except UnicodeDecodeError as error:
        raise Undecodable("a name or routing field is not UTF-8, which kube-apiserver never sends") from error
    except ValueError as error:
        reason = str(error)[:_MAX_REASON_CHARACTERS]
        raise Undecodable(f"a string has an escape that is not valid in JSON: {reason}") from error
    return value
