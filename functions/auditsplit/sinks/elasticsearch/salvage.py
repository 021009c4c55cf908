"""Salvage: the fields of an item that a parser or Elasticsearch refused, member by member.

Only the parts that `auditsplit.sinks.elasticsearch.cleaning` finds, or that do not have the API's types, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import msgspec
import orjson

from auditsplit.decode.jsonscan import Scan
from auditsplit.sinks.elasticsearch.cleaning import MAX_TERM_CHARACTERS, clean, short
from auditsplit.sinks.elasticsearch.fields import (
    BODIES,
    UNREADABLE,
    Annotations,
    Audit,
    AuditFields,
    Authentication,
    Reference,
    Status,
    User,
    stored,
)


def salvage(text: bytes, without: Collection[str], *, cleans_bodies: bool = True) -> AuditFields:
    """Return the parts of the item ``text`` that have the API's types and that nothing refuses, except ``without``.

    Args:
        text: The item.
        without: Paths of members to leave out of the fields: ``requestObject``, ``user.extra``. ECS's fields keep them.
        cleans_bodies: Whether bodies are cleaned. If not, they are left out whole, which costs less.

    The last of several members of one name counts, as for the parsers. A body that needs no cleaning is used as it
    arrived.
    """
    members = _members(text, cleans_bodies=cleans_bodies)
    audit, decision = Audit(), None
    for name, (content, _) in members.items():
        if isinstance(content, Annotations):
            audit.annotations, decision = msgspec.Raw(content.text), content.decision
        elif content is not None:
            setattr(audit, name, content)
    member = _encode(_less(audit, without))
    left_out = [path for name, (_, paths) in members.items() for path in _named(name, paths, without)]
    return AuditFields(audit, member, decision, left_out)


def _members(text: bytes, *, cleans_bodies: bool) -> dict[str, tuple[Any, list[str]]]:
    """Return the members of the item ``text`` by name: what is left of each, and the paths that it lacks."""
    members: dict[str, tuple[Any, list[str]]] = {}
    scan = Scan(text)
    for token, span in scan.members(scan.whole):
        name, value = _name(token), text[span.start : span.end]
        twice = [name] if name in members else []
        try:
            reader = _READERS[name] if cleans_bodies or name not in BODIES else _no_body
            content, left_out = reader(name, value)
        except (*UNREADABLE, ValueError, KeyError):
            content, left_out = None, [name]
        members[name] = content, list(dict.fromkeys([*twice, *left_out]))
    return members


def _named(name: str, paths: list[str], without: Collection[str]) -> list[str]:
    """Return the paths of what the member ``name`` lacks: its ``paths``, and those of ``without``."""
    if name in without:
        return [name]
    return [*paths, *(path for path in without if path.startswith(f"{name}.") and path not in paths)]


def _less(audit: Audit, without: Collection[str]) -> Audit:
    """Return ``audit`` without the members at the paths ``without``."""
    for path in without:
        name, _, inner = path.partition(".")
        value: Any = getattr(audit, name, None)
        if inner and hasattr(value, inner):
            audit = msgspec.structs.replace(audit, **{name: msgspec.structs.replace(value, **{inner: None})})
        elif name in Audit.__struct_fields__:
            default = msgspec.UNSET if name in (*BODIES, "annotations") else None
            audit = msgspec.structs.replace(audit, **{name: default})
    return audit


def _read_annotations(name: str, text: bytes) -> tuple[Annotations | None, list[str]]:
    cleaned = clean(text, name, MAX_TERM_CHARACTERS)
    if not isinstance(cleaned.value, dict):
        return None, cleaned.left_out if cleaned.value is None else [name]
    words = {key: value for key, value in cleaned.value.items() if isinstance(value, str | None)}
    left_out = [*cleaned.left_out, *(short(f"{name}.{key}") for key in cleaned.value if key not in words)]
    return stored(msgspec.json.encode(words)), left_out


def _read_body(name: str, text: bytes) -> tuple[msgspec.Raw | None, list[str]]:
    """Return a body that is an object or a list of objects, and the paths that it lacks."""
    cleaned = clean(text, name)
    body, left_out = cleaned.value, cleaned.left_out
    if isinstance(body, list):
        objects = [element for element in body if isinstance(element, dict)]
        if len(objects) < len(body):
            body, left_out = objects or None, list(dict.fromkeys([name, *left_out]))
    if not isinstance(body, dict | list):
        return None, left_out or [name]
    if not left_out and _strict(text):
        return msgspec.Raw(text), []
    return msgspec.Raw(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()), left_out


def _no_body(name: str, _text: bytes) -> tuple[None, list[str]]:
    return None, [name]


def _strict(text: bytes) -> bool:
    """Return whether a strict parser reads ``text``. It refuses control characters, for example."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def _read_value(name: str, text: bytes) -> tuple[Any, list[str]]:
    """Return the value of another member, a struct's fields one by one, and the paths that it lacks."""
    cleaned = clean(text, name, MAX_TERM_CHARACTERS)
    kind, left_out = _STRUCTS.get(name), cleaned.left_out
    if cleaned.value is None:
        return None, left_out
    if kind is None:
        return msgspec.convert(cleaned.value, _TYPES[name]), left_out
    if not isinstance(cleaned.value, dict):
        return None, [name]
    content: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        try:
            content[field.name] = msgspec.convert(cleaned.value.get(field.name), field.type)
        except msgspec.ValidationError:
            left_out.append(f"{name}.{field.name}")
    return kind(**content), left_out


_encode = msgspec.json.Encoder().encode
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Audit)}
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "user": User,
    "impersonatedUser": User,
    "authenticationMetadata": Authentication,
    "objectRef": Reference,
    "responseStatus": Status,
}
_READERS = {
    **dict.fromkeys(_TYPES, _read_value),
    **dict.fromkeys(BODIES, _read_body),
    "annotations": _read_annotations,
}


def _name(token: bytes) -> str:
    """Return a member's name from its token. `eventlist` has read it before, so it is UTF-8 with JSON's escapes."""
    name: str = json.loads(token, strict=False)
    return short(name)
