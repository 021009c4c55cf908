"""Envelopes of managed clouds: take the lines of an audit log out of them, each unescaped once.

`cloudwatch` has those of Amazon's EKS, `azure` those of AKS. Records of other logs, such as those of the scheduler,
are left alone and counted. Google's GKE has no envelope with an audit event in it: its ``LogEntry`` is another model,
and is refused by name.
"""

from __future__ import annotations

import re

from auditsplit.decode.cloud_logs import azure, cloudwatch
from auditsplit.decode.cloud_logs.records import Records, joined
from auditsplit.errors import Undecodable

_HEAD_BYTES = 256
_EVENT = b'{"kind":"Event"'
_LOG_ENTRY = re.compile(rb'\s*\{\s*"(?:protoPayload|insertId|logName)"\s*:')


def unwrapped(document: bytes) -> Records | None:
    """Return what an envelope on a line of a file, or as a body, holds. None where ``document`` is not an envelope."""
    if document.startswith(_EVENT):
        return None
    head = document[:_HEAD_BYTES]
    if b'"messageType"' in head or b'"logEvents"' in head:
        return cloudwatch.of_document(document)
    if azure.is_of_event_hubs(document):
        return azure.of_event_hubs(document)
    return azure.of_record(document) if b'"category"' in document else None


def refuse_log_entry(document: bytes) -> None:
    """Raise `Undecodable` if ``document`` is a ``LogEntry`` of Google Cloud, which has no audit event of Kubernetes."""
    if _LOG_ENTRY.match(document):
        raise Undecodable(
            "this is a LogEntry of Google Cloud's logging. GKE does not give out audit.k8s.io events, so there is "
            "nothing to split. Query Cloud Logging itself"
        )


def of_body(body: bytes) -> Records | None:
    """Return what the body of a request holds. None where it does not begin as an envelope.

    Raises:
        Undecodable: It is a ``LogEntry`` of Google Cloud.
    """
    refuse_log_entry(body)
    return azure.of_event_hubs(body) if azure.is_of_event_hubs(body) else None


def of_lines(text: bytes) -> Records | None:
    """Return what envelopes on the lines of ``text`` hold. None if the first line is not an envelope.

    A line that is not an envelope stays as it is.
    """
    lines = [line for line in text.split(b"\n") if line.strip()]
    if not lines or unwrapped(lines[0]) is None:
        return None
    return joined(unwrapped(line) or Records([line]) for line in lines)
