"""Fields: the part of an item that goes into ``kubernetes.audit``, and the values that ECS has names for.

Most items go in as the bytes that arrived, with the names of annotations changed, because Elasticsearch reads a dot as
a level. An item that differs from ``audit.k8s.io/v1``, or that was refused, is read member by member.
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
    """``responseStatus``. Where a member was left out, its ``metadata`` and ``details`` are only in the line."""

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
    """Annotations as they are stored, and the authorizer's decision: ``allow``, ``forbid`` or None."""

    text: bytes
    decision: str | None


class AuditFields(NamedTuple):
    """``member`` is the value of ``kubernetes.audit``; ``left_out`` names the item's members that are not in it."""

    audit: Audit
    member: bytes
    decision: str | None
    left_out: list[str]


_decode = msgspec.json.Decoder(Audit).decode
_decode_annotations = msgspec.json.Decoder(dict[str, str | None] | None).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(raw: memoryview) -> AuditFields | None:
    """Return the item's fields, its bytes nearly as they arrived; None where `salvage` must read it."""
    try:
        audit = _decode(raw)
        if not isinstance(audit.annotations, msgspec.Raw):
            return AuditFields(audit, bytes(raw), None, [])
        member = bytes(audit.annotations)
        annotations = _annotations(member)
    except _UNREADABLE:
        return None
    text = bytes(raw)
    end = b',"annotations":%b}' % member  # where kube-apiserver writes them; the comma excludes a string's inside
    if not text.endswith(end):
        return None
    return AuditFields(audit, b'%b,"annotations":%b}' % (text[: -len(end)], annotations.text), annotations.decision, [])


def salvage(text: bytes, without: Collection[str]) -> AuditFields:
    """Return the members of the item ``text`` that have the API's types and pass a strict parser, except ``without``.

    The last of several members of one name counts, as for the parsers. A body is used as it arrived, if it is an object
    or a list of objects.
    """
    audit = Audit()
    decision = None
    left_out: dict[str, None] = {}
    scan = Scan(text)
    for token, span in scan.members(scan.whole):
        name, value = _name(token), text[span.start : span.end]
        left_out.pop(name, None)
        try:
            content = _READERS[name](value)
        except (*_UNREADABLE, KeyError):
            content = None
            left_out[name] = None
        if name in without:
            left_out[name] = None
        elif isinstance(content, Annotations):
            audit.annotations, decision = msgspec.Raw(content.text), content.decision
        elif content is not None:
            setattr(audit, name, content)
    return AuditFields(audit, msgspec.json.encode(audit), decision, list(left_out))


@lru_cache(maxsize=2048)
def _annotations(text: bytes) -> Annotations:
    """Return the annotations with ``_`` for the dots in their names. Blank names become ``_``."""
    annotations = _decode_annotations(text) or {}
    renamed = {name.replace(".", "_") if name.strip() else "_": value for name, value in annotations.items()}
    return Annotations(orjson.dumps(renamed), annotations.get("authorization.k8s.io/decision"))


def _body(value: bytes) -> msgspec.Raw:
    """Return a body that can be searched as it arrived; ``msgspec.DecodeError`` where it can't be."""
    try:
        body = orjson.loads(value)
    except ValueError as error:
        raise msgspec.DecodeError from error
    if not isinstance(body, dict | list) or (isinstance(body, list) and not all(isinstance(x, dict) for x in body)):
        raise msgspec.DecodeError
    return msgspec.Raw(value)


_READERS: dict[str, Callable[[bytes], Any]] = {
    **{field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(Audit)},
    **dict.fromkeys(BODIES, _body),
    "annotations": _annotations,
}


def _name(token: bytes) -> str:
    """Return a member's name from its token. `eventlist` has read it before, so it is UTF-8 with JSON's escapes."""
    name: str = json.loads(token, strict=False)
    return printable(name)[:_MAX_NAME]


def printable(text: str) -> str:
    """Return ``text`` with lone surrogates, which no UTF-8 has, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
