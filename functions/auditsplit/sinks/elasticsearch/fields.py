"""Fields: the part of an item that goes into ``kubernetes.audit``, and the values that ECS has names for.

Most items go in as the bytes that arrived, with the names of annotations changed, because Elasticsearch reads a dot as
a level. An item that differs from ``audit.k8s.io/v1``, that has a string too long to be searched, or that was refused,
is read member by member, see `auditsplit.sinks.elasticsearch.salvage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson

from auditsplit.sinks.elasticsearch.cleaning import MAX_TERM_CHARACTERS

BODIES = ("requestObject", "responseObject")


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
    """``responseStatus``. Where a member was left out, its ``metadata`` is only in the line."""

    status: str | None = None
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: dict[str, Any] | None = None


class Authentication(msgspec.Struct, omit_defaults=True, gc=False):
    """``authenticationMetadata``."""

    impersonationConstraint: str | None = None  # noqa: N815


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
    authenticationMetadata: Authentication | None = None  # noqa: N815
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
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(raw: memoryview) -> AuditFields | None:
    """Return the item's fields, its bytes nearly as they arrived; None where `salvage.salvage` must read it."""
    try:
        audit = _decode(raw)
        if len(raw) > MAX_TERM_CHARACTERS and any(len(text) > MAX_TERM_CHARACTERS // 2 for text in _searched(audit)):
            return None
        if not isinstance(audit.annotations, msgspec.Raw):
            return AuditFields(audit, bytes(raw), None, [])
        member = bytes(audit.annotations)
        annotations = stored(member)
    except UNREADABLE:
        return None
    text = bytes(raw)
    end = b',"annotations":%b}' % member  # where kube-apiserver writes them; the comma excludes a string's inside
    if not text.endswith(end):
        return None
    return AuditFields(audit, b'%b,"annotations":%b}' % (text[: -len(end)], annotations.text), annotations.decision, [])


def _searched(audit: Audit) -> Iterator[str]:
    """Yield the strings of ``audit`` that are searched and that callers choose."""
    yield from filter(None, (audit.requestURI, audit.userAgent, audit.verb, audit.auditID))
    yield from audit.sourceIPs or ()
    for user in filter(None, (audit.user, audit.impersonatedUser)):
        yield from filter(None, (user.username, user.uid, *(user.groups or ())))
    if reference := audit.objectRef:
        yield from filter(None, (reference.name, reference.namespace, reference.resource, reference.subresource))
        yield from filter(None, (reference.apiGroup, reference.apiVersion, reference.resourceVersion, reference.uid))


@lru_cache(maxsize=2048)
def stored(text: bytes) -> Annotations:
    """Return the annotations with ``_`` for the dots in their names. Blank names become ``_``."""
    annotations = _decode_annotations(text) or {}
    renamed = {name.replace(".", "_") if name.strip() else "_": value for name, value in annotations.items()}
    return Annotations(orjson.dumps(renamed), annotations.get("authorization.k8s.io/decision"))
