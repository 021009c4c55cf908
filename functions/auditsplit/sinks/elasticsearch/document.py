"""Documents: an audit event in ECS and Elastic's own field names, built from the bytes that arrived.

::

    {"@timestamp": stageTimestamp, "event": {"action": verb, "outcome": …, "original": the audit log's line},
     "user": {"name": …}, "source": {"ip": …}, "user_agent": …, "orchestrator": {"cluster": {"name": …}, …},
     "kubernetes": {"audit": {the event, its bytes; dots in annotations' names as _}}}

Elastic's detection rules are written for these names. ``event.original`` is the log backend's line, byte for byte (in
``auditsplit.original_base64`` where it is not UTF-8), and is not searched.

No field is worth an event, and no value is worth a field. Only the part that a strict JSON parser or Elasticsearch
refuses is left out of the audit fields. ``auditsplit.left_out`` names its path, ``error.message`` has the reason, and
``event.original`` still has it whole. The names of ECS keep their values. A lone surrogate becomes U+FFFD though
Elasticsearch accepts it, because in a search's answer it would break the reader of all other hits.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from auditsplit.event import Event, Origin, event_time
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import fields
from auditsplit.sinks.elasticsearch.cleaning import printable
from auditsplit.sinks.elasticsearch.fields import BODIES, Audit, AuditFields
from auditsplit.sinks.elasticsearch.salvage import salvage

EVERYTHING = "kubernetes.audit"
"""All audit fields. What ECS names of the event stays."""

FACTS = "event"
"""What ECS names of the event, too: left out where only the line is sure to be accepted."""

AS_ARRIVED = None
"""The first form of a document: nothing is known to be refused. An empty set is one that is read member by member."""

ECS = "8.17.0"
DATASET = "kubernetes.audit_logs"

_ID_BYTES = 20  # nobody can make two items that have the same 160 bits
_MAX_REASON = 1000
_LEAST_FAILURE = 400
_NOT_READ = "a strict JSON parser refuses it, its type is not the API's, or it is too long or deep to be searched"
_REFUSED_PATH = re.compile(rf"\[{re.escape(EVERYTHING)}\.(\w+(?:\.\w+)?)")


def identity(cluster: str, event: Event) -> str:
    """Return the document's id, from the cluster and the event's line, never from auditID, which callers choose.

    The line is that of the log backend. So the webhook's and the log's copy of an event are one document.
    """
    digest = hashlib.sha256(cluster.encode() + b"\0")
    digest.update(lines.render([event], "log")[:-1])
    return base64.urlsafe_b64encode(digest.digest()[:_ID_BYTES]).decode().rstrip("=")


class Document(NamedTuple):
    """A document's text, and whether its audit fields are the bytes that arrived."""

    text: bytes
    as_arrived: bool


def render(
    event: Event,
    origin: Origin,
    without: Collection[str] | None = AS_ARRIVED,
    reason: str = "",
    *,
    cleans_bodies: bool = True,
) -> Document:
    """Return the event's document, on one line.

    Args:
        event: The event.
        origin: That of its batch.
        without: `AS_ARRIVED`, or the members to leave out of a document that is read member by member. `EVERYTHING`
            and `FACTS` stand for all.
        reason: Why the server refused them; empty where it did not.
        cleans_bodies: See `salvage`.
    """
    line = lines.render([event], "log")[:-1]
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = None
    content = fields.read(event.raw) if without is AS_ARRIVED and text is not None else None
    if content is not None:
        return Document(_joined(_header(content, event, origin, text), content.member), as_arrived=True)
    content = _salvage(event, without or (), cleans_bodies=cleans_bodies)
    return Document(_salvaged(content, event, origin, text, reason), as_arrived=False)


def less(without: Collection[str] | None, reason: str) -> frozenset[str] | None:
    """Return what to leave out next of a document that was refused for ``reason``; None where nothing is left.

    First only what can be found in the event's own bytes, then the member that the reason names, or else both bodies,
    then all audit fields, then ECS's.
    """
    if without is AS_ARRIVED:
        return frozenset()
    if FACTS in without:
        return None
    if EVERYTHING in without:
        return frozenset(without) | {FACTS}
    found = _REFUSED_PATH.search(reason)
    paths = (found[1], found[1].partition(".")[0]) if found else ()
    named = next(({path} for path in paths if path not in without and path.partition(".")[0] not in without), None)
    return frozenset(without) | (named or set(BODIES).difference(without) or {EVERYTHING})


def rejected(origin: Origin, body: bytes, reason: str) -> bytes:
    """Return the document for a malformed body or a refused event, which goes in as base64."""
    document = {
        **_common(origin, origin.arrived),
        "event": {"kind": "pipeline_error", "dataset": DATASET, "module": "kubernetes", "ingested": origin.arrived},
        "error": {"message": printable(reason)[:_MAX_REASON]},
        "auditsplit": _base64(body),
    }
    return _json(document)


def _salvage(event: Event, without: Collection[str], *, cleans_bodies: bool) -> AuditFields:
    """Return the fields of the members that can be fields."""
    if FACTS in without:
        return AuditFields(_head(event), b"{}", None, [EVERYTHING])
    content = salvage(bytes(event.raw), without, cleans_bodies=cleans_bodies)
    return content._replace(member=b"{}", left_out=[EVERYTHING]) if EVERYTHING in without else content


def _salvaged(content: AuditFields, event: Event, origin: Origin, text: str | None, reason: str) -> bytes:
    """Return the document with the fields ``content``; ``text`` is the line, None where it is not UTF-8."""
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
    """Put the users, the addresses and the user agent into ``header``, where the event has them."""
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
        header["source"] = header["client"] = {"ip": audit.sourceIPs}
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
