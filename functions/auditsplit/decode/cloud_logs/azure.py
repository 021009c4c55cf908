"""Azure's diagnostic settings, which give out the audit log of AKS.

A record is ``{"category":"kube-audit","properties":{"log":…}}``. A storage account has one on each line, Event Hubs has
``{"records":[…]}``. See https://learn.microsoft.com/azure/aks/monitor-aks-reference.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from auditsplit.decode.cloud_logs.records import Records, decode, of_messages

CATEGORIES = ("kube-audit", "kube-audit-admin")
"""The categories with audit events."""

_EVENT_HUBS = re.compile(rb'\s*\{\s*"records"\s*:')


class _Record(msgspec.Struct):
    """A record of any log. Metrics, which a hub may have too, have neither field."""

    category: Any = None
    properties: Any = None


class _Records(msgspec.Struct, gc=False):
    records: list[_Record]


def is_of_event_hubs(body: bytes) -> bool:
    """Return whether ``body`` begins as Event Hubs' envelope, without decoding it."""
    return _EVENT_HUBS.match(body) is not None


def of_event_hubs(body: bytes) -> Records | None:
    """Return what Event Hubs' envelope holds. None if ``body`` is not one."""
    found = decode(body, _Records)
    return _of(found.records) if found else None


def of_record(line: bytes) -> Records | None:
    """Return what a single record holds. None if ``line`` is not one."""
    found = decode(line, _Record)
    return _of([found]) if found and isinstance(found.category, str) and found.properties is not None else None


def _of(records: list[_Record]) -> Records:
    audit = [record for record in records if record.category in CATEGORIES]
    return of_messages((_message(record.properties) for record in audit), len(records) - len(audit))


def _message(properties: Any) -> str:
    """Return the audit log's line in the ``properties`` of a record. Some exports have them, or the line, otherwise."""
    if isinstance(properties, str):
        properties = decode(properties.encode(errors="surrogatepass"), dict)
    log = properties.get("log") if isinstance(properties, dict) else None
    if isinstance(log, str):
        return log
    return json.dumps(log, separators=(",", ":"), ensure_ascii=False) if isinstance(log, dict) else ""
