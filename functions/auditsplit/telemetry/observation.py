"""What became of one request, in figures: gathered where they arise, told once at the end.

The request's own `Observation` is carried along as its deadline is, for the thread that the request came in.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import msgspec

from auditsplit.event import Batch, event_time
from auditsplit.telemetry import traces


class Phase(msgspec.Struct, frozen=True):
    """A part of the work: ``read``, ``split``, or ``store`` with the store's name; it took ``seconds``."""

    name: str
    store: str
    seconds: float


class Observation(msgspec.Struct):
    """One request's figures; those of a batch stay 0 where the body was none."""

    cluster: str = ""
    """Empty until the sender is known."""
    batch: str = ""
    events: int = 0
    users: int = 0
    rejected: int = 0
    truncated: int = 0
    """Events whose bodies the apiserver left out, as its annotation ``audit.k8s.io/truncated`` says."""
    again: bool = False
    """Whether every store had the batch before: a retry of what was acknowledged, or is about to be."""
    bytes_in: int = 0
    """Of the body as it was sent."""
    bytes_out: dict[str, int] = {}
    """By store: what it was given for this request, compressed where it is."""
    delay_s: float | None = None
    """From the oldest event's time to the batch's arrival."""
    phases: list[Phase] = []

    def take(self, batch: Batch) -> None:
        """Take the figures of a decoded batch."""
        heads = [event.head for event in batch.events]
        self.batch, self.events, self.rejected = batch.id, len(heads), len(batch.bad) + batch.more_bad
        self.users = len({head.user.username if head.user else None for head in heads})
        self.truncated = sum(1 for head in heads if head.annotations and head.annotations.truncated == "true")
        oldest = min(heads, key=lambda head: head.stageTimestamp or "9", default=None)
        if oldest and oldest.stageTimestamp:
            arrived = batch.origin.arrived
            self.delay_s = max(0.0, (arrived - event_time(oldest, arrived)).total_seconds())

    def fields(self) -> dict[str, Any]:
        """Return what a log line says of it."""
        seconds: dict[str, float] = {}
        for phase in self.phases:
            name = f"{phase.name} {phase.store}".rstrip()
            seconds[name] = round(seconds.get(name, 0.0) + phase.seconds, 6)
        return {
            "cluster": self.cluster,
            "batch": self.batch,
            "events": self.events,
            "users": self.users,
            "rejected": self.rejected,
            "truncated": self.truncated,
            "again": self.events if self.again else 0,
            "bytesIn": self.bytes_in,
            "bytesOut": sum(self.bytes_out.values()),
            "delaySeconds": self.delay_s,
            "phases": seconds,
        }


_current: ContextVar[Observation] = ContextVar("auditsplit-observation")


@contextlib.contextmanager
def request() -> Iterator[Observation]:
    """Give the observation that `current` returns inside."""
    seen = Observation()
    token = _current.set(seen)
    try:
        yield seen
    finally:
        _current.reset(token)


def current() -> Observation:
    """Return the request's observation; one that nobody looks at, where there is no request."""
    return _current.get(None) or Observation()


@contextlib.contextmanager
def phase(name: str, store: str = "") -> Iterator[None]:
    """Note how long what happens inside takes, also where it fails; with OpenTelemetry it is a span."""
    began = time.perf_counter()
    try:
        with traces.span(name, store):
            yield
    finally:
        current().phases.append(Phase(name, store, time.perf_counter() - began))


def wrote(store: str, size_bytes: int) -> None:
    """Note that ``store`` was given ``size_bytes``."""
    seen = current()
    seen.bytes_out[store] = seen.bytes_out.get(store, 0) + size_bytes
