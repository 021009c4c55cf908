"""The figures of one request: filled along its way as a value that is passed on, reported once at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from auditsplit.event import Batch, event_time
from auditsplit.telemetry import traces


class Phase(msgspec.Struct, frozen=True):
    """A part of the work: ``read``, ``decode``, ``transform``, or ``write`` with the sink's name."""

    name: str
    sink: str
    seconds: float


class Figures(msgspec.Struct):
    """One request's figures. Those of a batch stay 0 where the body was malformed."""

    cluster: str = ""
    """Empty until the sender is known."""
    batch: str = ""
    events: int = 0
    users: int = 0
    rejected: int = 0
    truncated: int = 0
    """Events whose bodies kube-apiserver removed, as the annotation ``audit.k8s.io/truncated`` says, and lines whose
    end a cloud cut off."""
    omitted: int = 0
    """Events that ``AUDIT_POLICY`` dropped. They are not among ``events``."""
    omitted_by_sink: dict[str, int] = {}
    """By sink with a policy of its own: the events among ``events`` that this policy dropped."""
    too_large: int = 0
    """Events that ``AUDIT_TRUNCATE_MAX_EVENT_SIZE`` dropped. They are not among ``events``."""
    too_large_by_sink: dict[str, int] = {}
    """By sink with a limit of its own: the events among ``events`` that this limit dropped."""
    undelivered: dict[str, int] = {}
    """By sink that is not required: the events among ``events`` that it did not get."""
    skipped: int = 0
    """Records of other logs in a cloud's envelope."""
    duplicate: bool = False
    """Whether every sink had the batch before: a retry of a batch that is stored."""
    bytes_in: int = 0
    """Of the body as it was sent."""
    bytes_out: dict[str, int] = {}
    """By sink: what it was given for this request, compressed where it compresses."""
    delay_s: float | None = None
    """From the oldest event's time to the batch's arrival."""
    phases: list[Phase] = []

    def unwrapped(self, skipped: int, cut: int) -> None:
        """Fill in the records of other logs, and the lines whose end is missing, of a cloud's envelope."""
        self.skipped, self.truncated = skipped, cut

    def decoded(self, batch: Batch) -> None:
        """Fill in the figures of a decoded batch."""
        heads = [event.head for event in batch.events]
        self.batch, self.events, self.rejected = batch.id, len(heads), len(batch.bad) + batch.more_bad
        self.users = len({head.user.username if head.user else None for head in heads})
        self.truncated += sum(1 for head in heads if head.annotations and head.annotations.truncated == "true")
        oldest = min(heads, key=lambda head: head.stageTimestamp or "9", default=None)
        if oldest and oldest.stageTimestamp:
            arrived = batch.origin.arrived
            self.delay_s = max(0.0, (arrived - event_time(oldest, arrived)).total_seconds())

    def wrote(self, sink: str, size_bytes: int) -> None:
        """Add what ``sink`` was given."""
        self.bytes_out[sink] = self.bytes_out.get(sink, 0) + size_bytes

    @contextlib.contextmanager
    def phase(self, name: str, sink: str = "") -> Iterator[None]:
        """Measure the block as a phase, also where it raises. With OpenTelemetry it is a span too."""
        began = time.perf_counter()
        try:
            with traces.span(name, sink):
                yield
        finally:
            self.phases.append(Phase(name, sink, time.perf_counter() - began))

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request's log line."""
        seconds: dict[str, float] = {}
        for phase in self.phases:
            name = f"{phase.name} {phase.sink}".rstrip()
            seconds[name] = round(seconds.get(name, 0.0) + phase.seconds, 6)
        return {
            "cluster": self.cluster,
            "batch": self.batch,
            "events": self.events,
            "users": self.users,
            "rejected": self.rejected,
            "truncated": self.truncated,
            "omitted": self.omitted,
            "omittedBySink": self.omitted_by_sink,
            "tooLarge": self.too_large,
            "tooLargeBySink": self.too_large_by_sink,
            "undelivered": self.undelivered,
            "skipped": self.skipped,
            "duplicates": self.events if self.duplicate else 0,
            "bytesIn": self.bytes_in,
            "bytesOut": sum(self.bytes_out.values()),
            "delaySeconds": self.delay_s,
            "phases": seconds,
        }
