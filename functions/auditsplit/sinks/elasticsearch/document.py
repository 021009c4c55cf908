"""Documents: an audit event in ECS and Elastic's own field names, built from the bytes that arrived.

::

    {"@timestamp": stageTimestamp, "event": {"action": verb, "outcome": …, "original": the audit log's line},
     "user": {"name": …}, "source": {"ip": …}, "user_agent": …, "orchestrator": {"cluster": {"name": …}, …},
     "kubernetes": {"audit": {the event, its bytes; dots in annotations' names as _}}}

Elastic's detection rules are written for these names. ``event.original`` is the log backend's line, byte for byte (in
``auditsplit.original_base64`` where it is not UTF-8), and is not searched.

No field is worth an event. A member that a strict JSON parser or Elasticsearch refuses is left out of the audit fields.
``auditsplit.left_out`` names it, ``error.message`` has the reason, and ``event.original`` still has it whole. A lone
surrogate is left out though Elasticsearch accepts it, because in a search's answer it would break the reader of all
other hits.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson

from auditsplit.event import Event, Origin, event_time
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import fields
from auditsplit.sinks.elasticsearch.fields import BODIES, Audit, AuditFields, printable

EVERYTHING = "kubernetes.audit"
"""What is left out where only the line is sure to be accepted."""

ECS = "8.17.0"
DATASET = "kubernetes.audit_logs"

_ID_BYTES = 20  # nobody can make two items that have the same 160 bits
_MAX_REASON = 1000
_LEAST_FAILURE = 400
_NOT_READ = "a strict JSON parser refuses it, or its type is not the API's"


def identity(cluster: str, event: Event) -> str:
    """Return the document's id, from the cluster and the event's line, never from auditID, which callers choose.

    The line is that of the log backend. So the webhook's and the log's copy of an event are one document.
    """
    digest = hashlib.sha256(cluster.encode() + b"\0")
    digest.update(lines.render([event], "log")[:-1])
    return base64.urlsafe_b64encode(digest.digest()[:_ID_BYTES]).decode().rstrip("=")


def render(event: Event, origin: Origin, without: Collection[str] = (), reason: str = "") -> bytes:
    """Return the event's document, on one line.

    Args:
        event: The event.
        origin: That of its batch.
        without: The members to leave out; `EVERYTHING` stands for all.
        reason: Why the server refused them; empty where it did not.
    """
    line = lines.render([event], "log")[:-1]
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return _salvaged(event, origin, None, without, reason)
    content = None if without else fields.read(event.raw)
    if content is None:
        return _salvaged(event, origin, text, without, reason)
    return _joined(_header(content, event, origin, text), content.member)


def less(without: Collection[str], reason: str) -> frozenset[str] | None:
    """Return what to leave out next of a document that was refused for ``reason``; None where nothing is left.

    First the body that the reason names, then both bodies, then everything.
    """
    if EVERYTHING in without:
        return None
    named = {body for body in BODIES if f"[{EVERYTHING}.{body}]" in reason}.difference(without)
    more = named or set(BODIES).difference(without) or {EVERYTHING}
    return frozenset(without) | more


def rejected(origin: Origin, body: bytes, reason: str) -> bytes:
    """Return the document for a malformed body or a refused event, which goes in as base64."""
    document = {
        **_common(origin, origin.arrived),
        "event": {"kind": "pipeline_error", "dataset": DATASET, "module": "kubernetes", "ingested": origin.arrived},
        "error": {"message": printable(reason)[:_MAX_REASON]},
        "auditsplit": _base64(body),
    }
    return _json(document)


def _salvaged(event: Event, origin: Origin, text: str | None, without: Collection[str], reason: str) -> bytes:
    """Return the document with the members that can be fields; ``text`` is the line, None where it is not UTF-8."""
    content = AuditFields(_head(event), b"{}", None, [EVERYTHING])
    if EVERYTHING not in without:
        content = fields.salvage(bytes(event.raw), without)
    header = _header(content, event, origin, text)
    if content.left_out:
        header["auditsplit"] = {"left_out": content.left_out}
        header["error"] = {"message": printable(reason)[:_MAX_REASON] or _NOT_READ}
    if text is None:
        line = lines.render([event], "log")[:-1]
        header["auditsplit"] = {**header.get("auditsplit", {}), **_base64(line)}
    return _joined(header, content.member)


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def _joined(header: dict[str, Any], member: bytes) -> bytes:
    return b'%b,"kubernetes":{"audit":%b}}' % (_json(header)[:-1], member)


def _head(event: Event) -> Audit:
    """Return the fields that are known without the event's bytes."""
    head = event.head
    user = fields.User(printable(head.user.username)) if head.user and head.user.username else None
    return Audit(verb=printable(head.verb) if head.verb else None, user=user)


def _header(content: AuditFields, event: Event, origin: Origin, text: str | None) -> dict[str, Any]:
    audit = content.audit
    facts: dict[str, Any] = {
        "kind": "event",
        "dataset": DATASET,
        "module": "kubernetes",
        "outcome": _outcome(audit, content.decision),
        "ingested": origin.arrived,
    }
    if audit.verb:
        facts["action"] = audit.verb
    if audit.auditID:
        facts["id"] = audit.auditID
    if text is not None:
        facts["original"] = text
    header = _common(origin, event_time(event.head, origin.arrived))
    header["event"] = facts
    _name_people(header, audit)
    if audit.objectRef:
        _name_object(header["orchestrator"], audit.objectRef)
    return header


def _common(origin: Origin, time: datetime) -> dict[str, Any]:
    return {
        "@timestamp": time,
        "ecs": {"version": ECS},
        "data_stream": {"type": "logs", "dataset": DATASET, "namespace": origin.cluster.replace("-", "_")},
        "orchestrator": {"type": "kubernetes", "cluster": {"name": origin.cluster}},
    }


def _name_people(header: dict[str, Any], audit: Audit) -> None:
    """Put the users, the address and the user agent into ``header``, where the event has them."""
    user: dict[str, Any] = {}
    if audit.user and audit.user.username:
        user["name"] = audit.user.username
    if audit.user and audit.user.uid:
        user["id"] = audit.user.uid
    if audit.impersonatedUser and audit.impersonatedUser.username:
        user["effective"] = {"name": audit.impersonatedUser.username}
    if user:
        header["user"] = user
    if audit.sourceIPs:
        header["source"] = {"ip": audit.sourceIPs[0]}
    if audit.userAgent:
        header["user_agent"] = {"original": audit.userAgent}


def _name_object(orchestrator: dict[str, Any], reference: fields.Reference) -> None:
    resource = {"name": reference.name, "type": reference.resource}
    orchestrator["resource"] = {name: value for name, value in resource.items() if value}
    if reference.namespace:
        orchestrator["namespace"] = reference.namespace
    if reference.apiVersion:
        orchestrator["api_version"] = reference.apiVersion


def _outcome(audit: Audit, decision: str | None) -> str:
    """Return ECS's word: a failure was forbidden, or answered with 400 or more."""
    code = audit.responseStatus.code if audit.responseStatus else None
    if decision == "forbid" or (code and code >= _LEAST_FAILURE):
        return "failure"
    return "success" if code else "unknown"


def _base64(line: bytes) -> dict[str, str]:
    return {"original_base64": base64.b64encode(line).decode()}
