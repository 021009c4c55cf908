"""People: the parts of an event's users that few templates need. They are decoded only where a template asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from auditsplit.decode.jsonscan import Scan, Span
from auditsplit.errors import Undecodable


class Person(msgspec.Struct, gc=False):
    """The fields of ``user`` and ``impersonatedUser`` that tell two persons with one user name apart."""

    username: str | None = None
    uid: str | None = None
    extra: dict[str, list[str]] | None = None


class People(NamedTuple):
    """The users of an event."""

    user: Person | None
    impersonated: Person | None


class _Event(msgspec.Struct, gc=False):
    user: Person | None = None
    impersonatedUser: Person | None = None  # noqa: N815 - the API's own name


_decode = msgspec.json.Decoder(_Event).decode


def people(item: bytes) -> People:
    """Return the users of an event's bytes. A value that is not of the API's type counts as absent."""
    try:
        event = _decode(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _scanned(item)
    return People(event.user, event.impersonatedUser)


def _scanned(item: bytes) -> People:
    """Return the users by the quotes and brackets of the item, as `auditsplit.decode.fallback` decodes its head."""
    scan = Scan(item)
    users = dict(_members(scan, scan.whole))
    return People(_person(scan, users.get("user")), _person(scan, users.get("impersonatedUser")))


def _person(scan: Scan, span: Span | None) -> Person | None:
    if span is None or not scan.text.startswith(b"{", span.start):
        return None
    fields = dict(_members(scan, span))
    username, uid, extra = (fields.get(name) for name in ("username", "uid", "extra"))
    keys = _members(scan, extra) if extra else ()
    values = {key: list(_strings(scan, value)) for key, value in keys}
    return Person(_text(scan, username), _text(scan, uid), values)


def _members(scan: Scan, span: Span) -> Iterator[tuple[str, Span]]:
    """Yield the names and the spans of an object's members, up to the first that is malformed."""
    try:
        for token, value in scan.members(span):
            name = _string(token)
            if name is not None:
                yield name, value
    except Undecodable:
        return


def _strings(scan: Scan, span: Span) -> Iterator[str]:
    """Yield the first string of an array, if its first element is a string."""
    if not scan.text.startswith(b"[", span.start):
        return
    try:
        first = json.loads(scan.text[span.start : span.end].decode(), strict=False)[:1]
    except (ValueError, RecursionError):
        return
    yield from (value for value in first if isinstance(value, str))


def _text(scan: Scan, span: Span | None) -> str | None:
    return _string(scan.text[span.start : span.end]) if span else None


def _string(token: bytes) -> str | None:
    """Return the string that ``token``, with its quotes, stands for; None if it is not a string."""
    if not token.startswith(b'"'):
        return None
    try:
        value: str = json.loads(token.decode(), strict=False)
    except ValueError:
        return None
    return value
