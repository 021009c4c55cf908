"""Fields: what of an item goes into ``kubernetes.audit``, and the values that ECS has names for.

Most items go in as the bytes that came, with the names of annotations changed: Elasticsearch takes a dot for a level.
An item that isn't just what ``audit.k8s.io/v1`` says, or that was refused, is gone through member by member.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson

from auditsplit.decode.jsonscan import Scan

BODIES = ("requestObject", "responseObject")

_MAX_NAME = 100


class User(msgspec.Struct, omit_defaults=True, gc=False):
    """``user`` and ``impersonatedUser``."""

    username: str | None = None
    uid: str | None = None
    groups: list[str] | None = None
    extra: dict[str, list[str] | None] | None = None


class Reference(msgspec.Struct, omit_defaults=True, gc=False):
    """``objectRef``."""

    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    apiGroup: str | None = None  # noqa: N815 - the API's own names, here and below
    apiVersion: str | None = None  # noqa: N815
    resourceVersion: str | None = None  # noqa: N815
    subresource: str | None = None


class Status(msgspec.Struct, omit_defaults=True, gc=False):
    """``responseStatus``; its ``metadata`` and ``details`` are in the line only where a member was left out."""

    status: str | None = None
    message: str | None = None
    reason: str | None = None
    code: int | None = None


class Audit(msgspec.Struct, omit_defaults=True, gc=False):
    """An ``Event`` of ``audit.k8s.io/v1``."""

    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815
    level: str | None = None
    auditID: str | None = None  # noqa: N815
    stage: str | None = None
    requestURI: str | None = None  # noqa: N815
    verb: str | None = None
    user: User | None = None
    impersonatedUser: User | None = None  # noqa: N815
    sourceIPs: list[str] | None = None  # noqa: N815
    userAgent: str | None = None  # noqa: N815
    objectRef: Reference | None = None  # noqa: N815
    responseStatus: Status | None = None  # noqa: N815
    requestObject: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    responseObject: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    requestReceivedTimestamp: str | None = None  # noqa: N815
    stageTimestamp: str | None = None  # noqa: N815
    annotations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Annotations(NamedTuple):
    """Annotations as they are stored, and what the authorizer decided: ``allow``, ``forbid`` or nothing."""

    text: bytes
    decision: str | None


class Found(NamedTuple):
    """``member`` is the value of ``kubernetes.audit``; ``left_out`` names what of the item isn't in it."""

    audit: Audit
    member: bytes
    decision: str | None
    left_out: list[str]


_decode = msgspec.json.Decoder(Audit).decode
_decode_annotations = msgspec.json.Decoder(dict[str, str | None] | None).decode
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(raw: memoryview) -> Found | None:
    """Return the item's fields, its bytes nearly as they came; None where it must be gone through by `salvage`."""
    try:
        audit = _decode(raw)
        if not isinstance(audit.annotations, msgspec.Raw):
            return Found(audit, bytes(raw), None, [])
        member = bytes(audit.annotations)
        annotations = _annotations(member)
    except _REFUSALS:
        return None
    text = bytes(raw)
    end = b',"annotations":%b}' % member  # where kube-apiserver writes them; the comma tells it from a string's inside
    if not text.endswith(end):
        return None
    return Found(audit, b'%b,"annotations":%b}' % (text[: -len(end)], annotations.text), annotations.decision, [])


def salvage(text: bytes, without: Collection[str]) -> Found:
    """Return what of the item ``text`` has the API's types and passes a strict parser, but for the members ``without``.

    The last of several members of one name counts, as for the parsers. A body counts as it came, if it is an object or
    a list of them.
    """
    audit = Audit()
    decision = None
    left_out: dict[str, None] = {}
    scan = Scan(text)
    for token, span in scan.members(scan.whole):
        name, value = _name(token), text[span.start : span.end]
        left_out.pop(name, None)
        try:
            found = _READERS[name](value)
        except (*_REFUSALS, KeyError):
            found = None
            left_out[name] = None
        if name in without:
            left_out[name] = None
        elif isinstance(found, Annotations):
            audit.annotations, decision = msgspec.Raw(found.text), found.decision
        elif found is not None:
            setattr(audit, name, found)
    return Found(audit, msgspec.json.encode(audit), decision, list(left_out))


@lru_cache(maxsize=2048)
def _annotations(text: bytes) -> Annotations:
    """Return the annotations with ``_`` for the dots in their names; names that are blank become ``_``."""
    found = _decode_annotations(text) or {}
    renamed = {name.replace(".", "_") if name.strip() else "_": value for name, value in found.items()}
    return Annotations(orjson.dumps(renamed), found.get("authorization.k8s.io/decision"))


def _body(value: bytes) -> msgspec.Raw:
    """Return a body that can be searched as it came; ``msgspec.DecodeError`` where it can't."""
    try:
        found = orjson.loads(value)
    except ValueError as error:
        raise msgspec.DecodeError from error
    if not isinstance(found, dict | list) or (isinstance(found, list) and not all(isinstance(x, dict) for x in found)):
        raise msgspec.DecodeError
    return msgspec.Raw(value)


_READERS: dict[str, Callable[[bytes], Any]] = {
    **{field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(Audit)},
    **dict.fromkeys(BODIES, _body),
    "annotations": _annotations,
}


def _name(token: bytes) -> str:
    """Return a member's name from its token; `eventlist` has read it before, so it is UTF-8 with JSON's escapes."""
    name: str = json.loads(token, strict=False)
    return printable(name)[:_MAX_NAME]


def printable(text: str) -> str:
    """Return ``text`` with lone surrogates, which no UTF-8 has, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
