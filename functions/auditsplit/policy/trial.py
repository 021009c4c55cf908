"""Try a policy on a recording: how many events and bytes it would have recorded, by rule, user and resource."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from auditsplit.errors import Undecodable
from auditsplit.event import NO_TIME, event_time
from auditsplit.policy.explanation import Explained, resource_of
from auditsplit.policy.rules import LEVELS, Policy

DAY_S = 86_400
"""Seconds of a day."""


class Amount(msgspec.Struct):
    """Events and bytes that were recorded, and that the policy would have recorded."""

    events: int = 0
    bytes: int = 0
    kept_events: int = 0
    kept_bytes: int = 0

    def add(self, size: int, kept_bytes: int) -> None:
        """Count an event of ``size`` bytes, of which the policy keeps ``kept_bytes``, 0 if it drops the event."""
        self.events += 1
        self.bytes += size
        self.kept_events += kept_bytes > 0
        self.kept_bytes += kept_bytes


class Trial:
    """The figures of a policy on a recording."""

    def __init__(self, policy: Policy) -> None:
        """Start with no event."""
        self.policy = policy
        self.total = Amount()
        self.by_rule: dict[int | None, Amount] = {}
        self.by_user: dict[str, Amount] = {}
        self.by_resource: dict[str, Amount] = {}
        self.malformed = 0
        self.understated = 0
        """Events that were recorded at a lower level than the policy's: their size is not known."""
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._seconds: dict[int, int] = {}

    def add(self, every: Iterable[Explained | Undecodable]) -> None:
        """Count events."""
        for each in every:
            if isinstance(each, Undecodable):
                self.malformed += 1
            else:
                self._count(each)

    def _count(self, each: Explained) -> None:
        size = len(each.event.raw) + 1
        keys: list[tuple[dict[Any, Amount], Any]] = [
            (self.by_rule, each.decision.rule),
            (self.by_user, each.request.user or ""),
            (self.by_resource, resource_of(each.request)),
        ]
        self.total.add(size, each.kept_bytes)
        for table, key in keys:
            table.setdefault(key, Amount()).add(size, each.kept_bytes)
        recorded = each.head.level
        if each.recorded and recorded in LEVELS and LEVELS.index(each.decision.level) > LEVELS.index(recorded):
            self.understated += 1
        time = event_time(each.head, NO_TIME)
        if time != NO_TIME:
            self._first = min(self._first or time, time)
            self._last = max(self._last or time, time)
            if each.recorded:
                second = int(time.timestamp())
                self._seconds[second] = self._seconds.get(second, 0) + 1

    @property
    def seconds(self) -> float:
        """The time of the recording. 0 where its events have no times, or one only."""
        return (self._last - self._first).total_seconds() if self._first and self._last else 0.0

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON has them. ``rate``, ``peak`` and ``eventBytes`` are those that flags need."""
        total, seconds = self.total, self.seconds
        return {
            "seconds": seconds,
            "recorded": {"events": total.events, "bytes": total.bytes},
            "policy": {
                "events": total.kept_events,
                "bytes": total.kept_bytes,
                "eventsPerSecond": total.kept_events / seconds if seconds else None,
                "bytesPerDay": total.kept_bytes / seconds * DAY_S if seconds else None,
            },
            "rate": total.kept_events / seconds if seconds else None,
            "peak": max(self._seconds.values(), default=None) if seconds else None,
            "eventBytes": round(total.kept_bytes / total.kept_events) if total.kept_events else None,
            "understated": self.understated,
            "malformed": self.malformed,
            "byRule": [{"rule": rule, **_amount(of)} for rule, of in _most(self.by_rule)],
            "byUser": [{"user": user, **_amount(of)} for user, of in _most(self.by_user)],
            "byResource": [{"resource": resource, **_amount(of)} for resource, of in _most(self.by_resource)],
        }


def _most(table: dict[Any, Amount]) -> list[tuple[Any, Amount]]:
    return sorted(table.items(), key=lambda item: -item[1].bytes)


def _amount(of: Amount) -> dict[str, int]:
    return {
        "events": of.events,
        "bytes": of.bytes,
        "keptEvents": of.kept_events,
        "keptBytes": of.kept_bytes,
    }
