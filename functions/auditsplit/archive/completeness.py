"""Completeness: find events that are missing, from counters or from stored lines.

`balance` compares counters. kube-apiserver counts the events that it made (``apiserver_audit_event_total``) and gave up
(``apiserver_audit_error_total``, by plugin). The receiver counts those that it stored, and those that its policy or its
limit of size dropped. Over the same time the first must be the sum of the others. `inspect` reads stored lines. It
finds duplicates, requests whose last stage is missing, and times without any event.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import msgspec

from auditsplit.decode import eventlist
from auditsplit.errors import Undecodable
from auditsplit.event import event_time

_MADE, _LOST = "apiserver_audit_event_total", "apiserver_audit_error_total"
_STORED, _AGAIN = "auditsplit_events_stored_total", "auditsplit_events_duplicate_total"
_OMITTED = "auditsplit_events_omitted_total"
_TOO_LARGE = "auditsplit_events_too_large_total"
_COUNTERS = (_MADE, _LOST, _STORED, _AGAIN, _OMITTED, _TOO_LARGE)
_LAST_STAGES = frozenset(["ResponseComplete", "Panic"])
_AUDIT_ID = re.compile(
    rb'"auditID":"((?:[^"\\]|\\.)*+)"'
)  # the first match is the event's own, because bodies follow it
_DIGEST_BYTES = 16
MAX_REPEATED = 20
"""How many duplicates a report names."""

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Balance(NamedTuple):
    """The counters' increases for one cluster over a time, in events."""

    made: int
    lost: Mapping[str, int]
    """By the apiserver's plugin: ``buffered`` (buffer full), ``webhook`` (no try left), ``truncate`` (too large)."""
    stored: int
    duplicates: int
    """Events in batches that were stored before. They are harmless."""
    omitted: int = 0
    """Events that ``AUDIT_POLICY`` dropped."""
    too_large: int = 0
    """Events that ``AUDIT_TRUNCATE_MAX_EVENT_SIZE`` dropped."""

    @property
    def missing(self) -> int:
        """Events made, not given up, not dropped by the receiver, and not stored. Some may still be in buffers.

        Negative if more events were stored than made.
        """
        return self.made - sum(self.lost.values()) - self.stored - self.omitted - self.too_large


class _Counter(NamedTuple):
    name: str
    label: str
    server: int


def balance(before: str, after: str, cluster: str) -> Balance:
    """Return the balance of ``cluster`` between two readings.

    A counter that decreased was reset and counts from 0, as in Prometheus' ``increase``.

    Args:
        before: The metrics of the cluster's apiservers and of the receiver, in Prometheus' text format, concatenated.
        after: The same later, with the servers in the same order.
        cluster: The cluster's name.

    Raises:
        ValueError: A reading is not valid, or ``after`` lacks the apiservers' or the receiver's metrics.
    """
    first, second = _read(before), _read(after)
    for name, whose in ((_MADE, "the apiservers'"), (_STORED, "the receiver's")):
        if not any(counter.name == name for counter in second):
            raise ValueError(f"the second reading has no {name}. Write {whose} /metrics into both readings")
    rises: Counter[tuple[str, str]] = Counter()
    for counter, value in second.items():
        start = first.get(counter, 0)
        rises[counter.name, counter.label] += value - start if value >= start else value
    lost = {label: count for (name, label), count in rises.items() if name == _LOST and count}
    ours = (rises[name, cluster] for name in (_STORED, _AGAIN, _OMITTED, _TOO_LARGE))
    return Balance(rises[_MADE, ""], lost, *ours)


def _read(text: str) -> dict[_Counter, int]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - the library is an extra

    values: dict[_Counter, int] = {}
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    for name, labels, value, *_ in samples:
        if name in _COUNTERS and not labels.get("sink"):  # what a sink's own policy or limit drops was stored
            label = labels.get("cluster") or labels.get("plugin") or ""
            server = sum(1 for counter in values if (counter.name, counter.label) == (name, label))
            values[_Counter(name, label, server)] = int(value)
    return values


class Inspection(msgspec.Struct):
    """What stored lines show about a time."""

    events: int = 0
    """Those within the time. An event without a time is in no time."""
    untimed: int = 0
    """Events without a time."""
    duplicates: int = 0
    """Lines that equal an earlier line byte for byte."""
    repeated: dict[str, int] = {}
    """How often duplicates are stored, by auditID and stage, of the first `MAX_REPEATED`."""
    malformed: int = 0
    """Lines that are not events."""
    unended: int = 0
    """Requests, by ``auditID``, whose last stage is missing although later events are there."""
    first: datetime = _NO_TIME
    last: datetime = _NO_TIME
    silences: list[tuple[datetime, datetime]] = []
    """Times without an event, in order: each from the last event before to the first event after it."""

    @property
    def is_complete(self) -> bool:
        """Whether the lines show that nothing is missing. Without any event of a known time they show nothing."""
        findings = self.duplicates or self.malformed or self.unended or self.silences
        return bool(self.events) and not findings


def inspect(lines: Iterable[bytes], since: datetime, until: datetime, silence: timedelta) -> Inspection:
    """Return what ``lines`` show about the time from ``since`` until before ``until``.

    It takes some 200 bytes of memory for each event.

    Args:
        lines: Stored lines in the format ``log``, in any order.
        since: The first time that counts.
        until: The first time that no longer counts.
        silence: How long a time without an event, and a request without its last stage, may be.
    """
    result = Inspection()
    digests: set[bytes] = set()
    seconds: set[int] = set()
    started: dict[bytes, int] = {}
    ended: set[bytes] = set()
    for line in map(bytes.strip, lines):
        try:
            [event] = eventlist.decode(line).events
        except (Undecodable, ValueError):
            result.malformed += 1
            continue
        time = event_time(event.head, _NO_TIME)
        if time == _NO_TIME:
            result.untimed += 1
            continue
        if not since <= time < until:
            continue
        digest = hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest()
        result.events += 1
        if digest in digests:
            _note_duplicate(result, line, event.head.stage)
        digests.add(digest)
        second = int(time.timestamp())
        seconds.add(second)
        audit_id = _audit_id(line)
        if event.head.stage in _LAST_STAGES:
            ended.add(audit_id)
        elif audit_id:
            started[audit_id] = second
    _note_times(result, sorted(seconds), silence)
    latest = result.last.timestamp() - silence.total_seconds()
    result.unended = sum(1 for request, second in started.items() if request not in ended and second < latest)
    return result


def _note_duplicate(result: Inspection, line: bytes, stage: str | None) -> None:
    result.duplicates += 1
    name = f"{_audit_id(line).decode(errors='replace') or 'an event without auditID'} {stage or ''}".rstrip()
    if name in result.repeated or len(result.repeated) < MAX_REPEATED:
        result.repeated[name] = result.repeated.get(name, 1) + 1


def _audit_id(line: bytes) -> bytes:
    match = _AUDIT_ID.search(line)
    return match[1] if match else b""


def _note_times(result: Inspection, seconds: list[int], silence: timedelta) -> None:
    """Note the first and last of the ``seconds`` that have an event, and the silences between them."""
    if seconds:
        result.first, result.last = _utc(seconds[0]), _utc(seconds[-1])
        allowed = silence.total_seconds()
        result.silences = [
            (_utc(earlier), _utc(later)) for earlier, later in pairwise(seconds) if later - earlier > allowed
        ]


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
