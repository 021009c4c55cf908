"""What becomes of audit events in kube-apiserver's buffered webhook backend, simulated.

The rules are those of Kubernetes v1.37, and the tests hold the outcome against that code itself:

- ``k8s.io/apiserver/plugin/pkg/audit/buffered``: one collector takes events from the buffer until a batch is full or
  ``batch-max-wait`` is over, waits for the throttle, and hands the batch to a goroutine of its own. The number of
  goroutines has no bound, so a slow or absent receiver doesn't fill the buffer: only the throttle does.
- ``k8s.io/client-go/util/flowcontrol``: the throttle is a token bucket, full at the start.
- ``k8s.io/apiserver/pkg/util/webhook``: `ATTEMPTS` attempts of at most `TIMEOUT_S` each; the pauses between them grow
  by `FACTOR` and each gets up to `JITTER` more.
- ``k8s.io/client-go/rest``: within an attempt, 429 or 5xx with an integer ``Retry-After`` gets `RETRIES` more.

Times are seconds from the start of the load.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

ATTEMPTS = 5
FACTOR = 1.5
JITTER = 0.2
TIMEOUT_S = 30.0
RETRIES = 10
TICK_S = 0.01
"""Events come in lumps, one a tick."""


class Backend(NamedTuple):
    """The flags that decide; ``--audit-webhook-`` with ``_`` for ``-``, times in seconds. The defaults are v1.37's."""

    batch_buffer_size: int = 10_000
    batch_max_size: int = 400
    batch_max_wait: float = 30.0
    batch_throttle_enable: bool = True
    batch_throttle_qps: float = 10.0
    batch_throttle_burst: int = 15
    initial_backoff: float = 10.0


class Kind(Enum):
    """What a receiver does with a request."""

    TAKES = "takes it"
    FAILS = "refuses it"
    RETRY_AFTER = "answers 503 with Retry-After: 1"
    HANGS = "never answers"


class Receiver(NamedTuple):
    """How the receiver answers from ``start`` on, until the next one's: ``kind``, after ``latency`` seconds."""

    start: float
    kind: Kind = Kind.TAKES
    latency: float = 0.05


class Phase(NamedTuple):
    """``seconds`` of a load of ``rate`` events a second."""

    seconds: float
    rate: float


class Batch(NamedTuple):
    """``events`` that left the buffer at ``sent`` and were delivered, or given up, at ``done``."""

    events: int
    sent: float
    done: float
    delivered: bool


@dataclass
class Outcome:
    """What became of the events: ``dropped`` for a full buffer, ``lost`` after the last attempt.

    In Prometheus, `dropped` is ``apiserver_audit_error_total{plugin="buffered"}`` and `lost` ``{plugin="webhook"}``.
    """

    offered: int = 0
    dropped: int = 0
    most_buffered: int = 0
    batches: list[Batch] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Return how many events were given up after the last attempt."""
        return sum(batch.events for batch in self.batches if not batch.delivered)

    @property
    def delivered(self) -> int:
        """Return how many events the receiver took."""
        return sum(batch.events for batch in self.batches if batch.delivered)

    @property
    def slowest(self) -> float:
        """Return the longest time from leaving the buffer to being delivered, in seconds."""
        return max((batch.done - batch.sent for batch in self.batches if batch.delivered), default=0.0)

    @property
    def most_in_flight(self) -> int:
        """Return the most events that were on their way, or waiting for their next attempt, at once."""
        ends = [(batch.done, -batch.events) for batch in self.batches]
        return max(
            itertools.accumulate(n for _, n in sorted(ends + [(b.sent, b.events) for b in self.batches])), default=0
        )


def simulate(phases: Sequence[Phase], backend: Backend, receivers: Sequence[Receiver], seed: int = 0) -> Outcome:
    """Return what becomes of the load in ``phases``; the same for the same ``seed``, which sets the jitter.

    ``receivers`` are in the order of their start, the first from 0. What is left at the end is sent before the backend
    stops, as on SIGTERM.
    """
    collector = _Collector(backend, _Sender(backend.initial_backoff, receivers, random.Random(seed)))  # noqa: S311
    for now, events in _lumps(phases):
        collector.advance(now)
        collector.offer(now, events)
    collector.finish(sum(phase.seconds for phase in phases))
    return collector.outcome


def _lumps(phases: Sequence[Phase]) -> Iterator[tuple[float, int]]:
    start = 0.0
    for phase in phases:
        offered = 0
        for tick in range(1, round(phase.seconds / TICK_S) + 1):
            due = int(tick * TICK_S * phase.rate + 1e-6)
            yield start + tick * TICK_S, due - offered
            offered = due
        start += phase.seconds


class _Sender:
    """The webhook backend: what becomes of one batch, which no other batch changes."""

    def __init__(self, initial_backoff: float, receivers: Sequence[Receiver], dice: random.Random) -> None:
        self.pauses = [initial_backoff * FACTOR**number for number in range(ATTEMPTS - 1)]
        self.receivers = receivers
        self.dice = dice

    def send(self, events: int, sent: float) -> Batch:
        delivered, now = self.attempt(sent)
        for pause in self.pauses:
            if delivered:
                break
            delivered, now = self.attempt(now + pause * (1 + JITTER * self.dice.random()))
        return Batch(events, sent, now, delivered)

    def attempt(self, start: float) -> tuple[bool, float]:
        """Return whether an attempt at ``start`` delivers, and when that is known."""
        now, limit = start, start + TIMEOUT_S
        for _ in range(1 + RETRIES):
            receiver = next(receiver for receiver in reversed(self.receivers) if receiver.start <= now)
            if receiver.kind is Kind.HANGS or now + receiver.latency > limit:
                return False, limit
            now += receiver.latency
            if receiver.kind is not Kind.RETRY_AFTER:
                return receiver.kind is Kind.TAKES, now
            now += 1.0
            if now > limit:
                return False, limit
        return False, now - 1.0


class _Collector:
    """The buffered backend: the buffer, the batch in hand, and the throttle in front of the sender."""

    def __init__(self, backend: Backend, sender: _Sender) -> None:
        self.backend, self.sender = backend, sender
        self.outcome = Outcome()
        self.buffered = 0
        self.hand = 0  # events in the batch that is being collected, or that waits for the throttle
        self.due: float | None = None  # when the throttle lets the batch go; None while it is being collected
        self.wait_over = backend.batch_max_wait
        self.tokens, self.counted = float(backend.batch_throttle_burst), 0.0

    def offer(self, now: float, events: int) -> None:
        """Put ``events`` into the buffer; what doesn't fit is dropped, the newest first."""
        self.outcome.offered += events
        while events and self.due is None:
            taken = min(events, self.backend.batch_max_size - self.hand)
            self.hand, events = self.hand + taken, events - taken
            if self.hand == self.backend.batch_max_size:
                self._throttle(now)
        kept = min(events, self.backend.batch_buffer_size - self.buffered)
        self.buffered += kept
        self.outcome.dropped += events - kept
        self.outcome.most_buffered = max(self.outcome.most_buffered, self.buffered)

    def advance(self, now: float) -> None:
        """Let pass what happens until ``now``: waits end, the throttle opens."""
        while True:
            if self.due is not None and self.due <= now:
                self._send(self.due)
            elif self.due is None and self.wait_over <= now and self.backend.batch_max_size > 1:
                self._throttle(self.wait_over)
            else:
                return

    def finish(self, now: float) -> None:
        """Send what is left."""
        while self.due is not None or self.hand:
            if self.due is None:
                self._throttle(now)
            else:
                now = max(now, self.due)
                self._send(self.due)

    def _throttle(self, now: float) -> None:
        """Send what is in hand as soon as the throttle has a token."""
        if not self.hand:
            self._collect(now)
            return
        if not self.backend.batch_throttle_enable:
            self._send(now)
            return
        qps = self.backend.batch_throttle_qps
        full = float(self.backend.batch_throttle_burst)
        self.tokens = min(full, self.tokens + (now - self.counted) * qps) - 1
        self.counted = now
        if self.tokens >= 0:
            self._send(now)
        else:
            self.due = now - self.tokens / qps

    def _send(self, now: float) -> None:
        self.outcome.batches.append(self.sender.send(self.hand, now))
        self.hand = 0
        self._collect(now)

    def _collect(self, now: float) -> None:
        """Begin a batch with what the buffer has."""
        self.due = None
        self.wait_over = now + self.backend.batch_max_wait
        self.hand = min(self.buffered, self.backend.batch_max_size)
        self.buffered -= self.hand
        if self.hand == self.backend.batch_max_size:
            self._throttle(now)
