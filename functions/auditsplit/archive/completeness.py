"""Completeness: would a gap in the trail be noticed?

Two questions. *Did every event arrive?* kube-apiserver counts the events that it made (``apiserver_audit_event_total``)
and those that it gave up (``apiserver_audit_error_total``, by plugin), the receiver those that its stores hold; over
the same time the first must be the sum of the others. *Is what is stored whole?* Stored lines tell what is there
twice, which requests have no end, and when nothing came at all.
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
_LAST_STAGES = frozenset(["ResponseComplete", "Panic"])
_AUDIT_ID = re.compile(rb'"auditID":"((?:[^"\\]|\\.)*+)"')  # the first is the event's: no body comes before it
_DIGEST_BYTES = 16
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Balance(NamedTuple):
    """What the counters say of one cluster over a time, in events."""

    made: int
    lost: Mapping[str, int]
    """By the apiserver's plugin: ``buffered`` (its buffer was full), ``webhook`` (gave up), ``truncate`` (too big)."""
    stored: int
    again: int
    """Of batches that were stored before: harmless."""

    @property
    def missing(self) -> int:
        """Made, not given up, and not stored; some may be on their way. Below 0 where more was stored than made."""
        return self.made - sum(self.lost.values()) - self.stored


class _Counter(NamedTuple):
    name: str
    label: str
    server: int


def balance(before: str, after: str, cluster: str) -> Balance:
    """Return the balance of ``cluster`` between two readings of its apiservers' and the receiver's metrics.

    A reading is text in Prometheus' format; those of several servers stand one behind the other, in one order. A
    counter that went down was begun anew and counts from 0, as for Prometheus' ``increase``. ``ValueError`` where a
    reading can't be read, or the second has not both sides.
    """
    first, second = _read(before), _read(after)
    for name, whose in ((_MADE, "the apiservers'"), (_STORED, "the receiver's")):
        if not any(counter.name == name for counter in second):
            raise ValueError(f"the second reading has no {name}; put {whose} /metrics into both")
    rises: Counter[tuple[str, str]] = Counter()
    for counter, value in second.items():
        start = first.get(counter, 0)
        rises[counter.name, counter.label] += value - start if value >= start else value
    lost = {label: count for (name, label), count in rises.items() if name == _LOST and count}
    return Balance(rises[_MADE, ""], lost, rises[_STORED, cluster], rises[_AGAIN, cluster])


def _read(text: str) -> dict[_Counter, int]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra's

    found: dict[_Counter, int] = {}
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    for name, labels, value, *_ in samples:
        if name in (_MADE, _LOST, _STORED, _AGAIN):
            label = labels.get("cluster") or labels.get("plugin") or ""
            server = sum(1 for counter in found if (counter.name, counter.label) == (name, label))
            found[_Counter(name, label, server)] = int(value)
    return found


class Findings(msgspec.Struct):
    """What stored lines tell of a time."""

    events: int = 0
    twice: int = 0
    """Lines that are there already, byte for byte."""
    broken: int = 0
    """Lines that are no events."""
    unended: int = 0
    """Requests whose last stage isn't there, though events came for a while after them; by ``auditID``."""
    first: datetime = _NO_TIME
    last: datetime = _NO_TIME
    silences: list[tuple[datetime, datetime]] = []
    """When nothing came for longer than was asked for, in order, each from the last event before to the first after."""


def inspect(lines: Iterable[bytes], since: datetime, until: datetime, silence: timedelta) -> Findings:
    """Return what the lines (format ``log``, in any order) tell of the time from ``since`` until before ``until``.

    A request may go on for as long as ``silence``. Takes some 200 bytes of memory an event.
    """
    found = Findings()
    digests: set[bytes] = set()
    seconds: set[int] = set()
    open_since: dict[bytes, int] = {}
    ended: set[bytes] = set()
    for line in map(bytes.strip, lines):
        try:
            [event] = eventlist.decode(line).events
        except (Undecodable, ValueError):
            found.broken += 1
            continue
        time = event_time(event.head, _NO_TIME)
        if not since <= time < until:
            continue
        digest = hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest()
        found.events += 1
        found.twice += digest in digests
        digests.add(digest)
        second = int(time.timestamp())
        seconds.add(second)
        audit_id = _AUDIT_ID.search(line)
        if event.head.stage in _LAST_STAGES:
            ended.add(audit_id[1] if audit_id else b"")
        elif audit_id:
            open_since[audit_id[1]] = second
    _judge(found, sorted(seconds), silence)
    latest = found.last.timestamp() - silence.total_seconds()
    found.unended = sum(1 for one, second in open_since.items() if one not in ended and second < latest)
    return found


def _judge(found: Findings, seconds: list[int], silence: timedelta) -> None:
    """Note the first, the last, and the silences among the seconds in which something came."""
    if seconds:
        found.first, found.last = _utc(seconds[0]), _utc(seconds[-1])
        allowed = silence.total_seconds()
        found.silences = [(_utc(one), _utc(other)) for one, other in pairwise(seconds) if other - one > allowed]


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
