"""Simulate kube-apiserver's buffered webhook backend: which audit events it delivers, drops and loses.

The rules are those of Kubernetes v1.37. The tests compare the outcome with that code itself:

- ``k8s.io/apiserver/plugin/pkg/audit/buffered``: one collector takes events from the buffer until a batch is full or
  ``batch-max-wait`` is over, waits for the throttle, and hands the batch to a goroutine of its own. The number of
  goroutines has no bound. So a slow or absent receiver does not fill the buffer. Only the throttle does.
- ``k8s.io/client-go/util/flowcontrol``: the throttle is a token bucket, which is full at the start.
- ``k8s.io/apiserver/pkg/util/webhook``: `ATTEMPTS` attempts of at most `TIMEOUT_S` each. The pauses between them grow
  by `FACTOR`, and each gets up to `JITTER` more.
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
"""Events arrive in groups, one group a tick."""


class Backend(NamedTuple):
    """The flags that matter: ``--audit-webhook-…`` with ``_`` for ``-``, times in seconds. The defaults are v1.37's."""

    batch_buffer_size: int = 10_000
    batch_max_size: int = 400
    batch_max_wait: float = 30.0
    batch_throttle_enable: bool = True
    batch_throttle_qps: float = 10.0
    batch_throttle_burst: int = 15
    initial_backoff: float = 10.0


class Behaviour(Enum):
    """How a receiver treats a request."""

    ACCEPTS = "accepts it"
    FAILS = "refuses it"
    RETRY_AFTER = "answers 503 with Retry-After: 1"
    HANGS = "never answers"


class ReceiverPeriod(NamedTuple):
    """The receiver's behaviour from ``start_s`` until the next period starts. Answers take ``latency_s``."""

    start_s: float
    behaviour: Behaviour = Behaviour.ACCEPTS
    latency_s: float = 0.05


class LoadPeriod(NamedTuple):
    """A load of ``rate`` events a second for ``seconds``."""

    seconds: float
    rate: float


class SentBatch(NamedTuple):
    """The events of a batch, when it left the buffer, and when it was delivered or given up."""

    events: int
    sent_s: float
    done_s: float
    delivered: bool


@dataclass
class Outcome:
    """What happened to the events. ``dropped`` counts those that did not fit into the full buffer.

    In Prometheus, `dropped` is ``apiserver_audit_error_total{plugin="buffered"}`` and `lost` ``{plugin="webhook"}``.
    """

    offered: int = 0
    dropped: int = 0
    most_buffered: int = 0
    batches: list[SentBatch] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Return how many events were given up after the last attempt."""
        return sum(batch.events for batch in self.batches if not batch.delivered)

    @property
    def delivered(self) -> int:
        """Return how many events the receiver accepted."""
        return sum(batch.events for batch in self.batches if batch.delivered)

    @property
    def slowest_s(self) -> float:
        """Return the longest time from leaving the buffer to being delivered, in seconds."""
        return max((batch.done_s - batch.sent_s for batch in self.batches if batch.delivered), default=0.0)

    @property
    def most_in_flight(self) -> int:
        """Return the most events that were being sent, or waited for their next attempt, at one time."""
        changes = [(batch.sent_s, batch.events) for batch in self.batches]
        changes += [(batch.done_s, -batch.events) for batch in self.batches]
        return max(itertools.accumulate(events for _, events in sorted(changes)), default=0)


def simulate(
    load: Sequence[LoadPeriod], backend: Backend, receiver: Sequence[ReceiverPeriod], seed: int = 0
) -> Outcome:
    """Return what happens to the events of ``load``.

    Args:
        load: The load's periods, one after the other. Events that are left at their end are sent before the backend
            stops, as on SIGTERM.
        backend: The flags.
        receiver: The receiver's periods in the order of their start. The first starts at 0.
        seed: It sets the jitter. The same seed gives the same outcome.
    """
    collector = _Collector(backend, _Sender(backend.initial_backoff, receiver, random.Random(seed)))  # noqa: S311
    for now, events in _arrivals(load):
        collector.advance(now)
        collector.offer(now, events)
    collector.finish(sum(period.seconds for period in load))
    return collector.outcome


def _arrivals(load: Sequence[LoadPeriod]) -> Iterator[tuple[float, int]]:
    """Yield each tick's time and the events that arrive at it."""
    start = 0.0
    for period in load:
        offered = 0
        for tick in range(1, round(period.seconds / TICK_S) + 1):
            due = int(tick * TICK_S * period.rate + 1e-6)
            yield start + tick * TICK_S, due - offered
            offered = due
        start += period.seconds


class _Sender:
    """The webhook backend. It sends each batch independently of all others."""

    def __init__(self, initial_backoff: float, receiver: Sequence[ReceiverPeriod], dice: random.Random) -> None:
        self.pauses = [initial_backoff * FACTOR**number for number in range(ATTEMPTS - 1)]
        self.receiver = receiver
        self.dice = dice

    def send(self, events: int, sent: float) -> SentBatch:
        delivered, now = self.attempt(sent)
        for pause in self.pauses:
            if delivered:
                break
            delivered, now = self.attempt(now + pause * (1 + JITTER * self.dice.random()))
        return SentBatch(events, sent, now, delivered)

    def attempt(self, start: float) -> tuple[bool, float]:
        """Return whether an attempt at ``start`` delivers the batch, and when that is known."""
        now, limit = start, start + TIMEOUT_S
        for _ in range(1 + RETRIES):
            period = next(period for period in reversed(self.receiver) if period.start_s <= now)
            if period.behaviour is Behaviour.HANGS or now + period.latency_s > limit:
                return False, limit
            now += period.latency_s
            if period.behaviour is not Behaviour.RETRY_AFTER:
                return period.behaviour is Behaviour.ACCEPTS, now
            now += 1.0
            if now > limit:
                return False, limit
        return False, now - 1.0


class _Collector:
    """The buffered backend: the buffer, the batch that is being collected, and the throttle before the sender."""

    def __init__(self, backend: Backend, sender: _Sender) -> None:
        self.backend, self.sender = backend, sender
        self.outcome = Outcome()
        self.buffered = 0
        self.collected = 0  # events in the batch that is being collected or waits for the throttle
        self.due: float | None = None  # when the throttle passes the batch. None while it is being collected
        self.wait_over = backend.batch_max_wait
        self.tokens, self.counted = float(backend.batch_throttle_burst), 0.0

    def offer(self, now: float, events: int) -> None:
        """Put ``events`` into the buffer. The newest are dropped if they do not all fit."""
        self.outcome.offered += events
        while events and self.due is None:
            taken = min(events, self.backend.batch_max_size - self.collected)
            self.collected, events = self.collected + taken, events - taken
            if self.collected == self.backend.batch_max_size:
                self._throttle(now)
        kept = min(events, self.backend.batch_buffer_size - self.buffered)
        self.buffered += kept
        self.outcome.dropped += events - kept
        self.outcome.most_buffered = max(self.outcome.most_buffered, self.buffered)

    def advance(self, now: float) -> None:
        """Advance the time to ``now``. Batches whose wait or throttling ends before are sent."""
        while True:
            if self.due is not None and self.due <= now:
                self._send(self.due)
            elif self.due is None and self.wait_over <= now and self.backend.batch_max_size > 1:
                self._throttle(self.wait_over)
            else:
                return

    def finish(self, now: float) -> None:
        """Send all events that are left."""
        while self.due is not None or self.collected:
            if self.due is None:
                self._throttle(now)
            else:
                now = max(now, self.due)
                self._send(self.due)

    def _throttle(self, now: float) -> None:
        """Send the collected batch as soon as the throttle has a token."""
        if not self.collected:
            self._collect(now)
            return
        if not self.backend.batch_throttle_enable:
            self._send(now)
            return
        qps, burst = self.backend.batch_throttle_qps, float(self.backend.batch_throttle_burst)
        self.tokens = min(burst, self.tokens + (now - self.counted) * qps) - 1
        self.counted = now
        if self.tokens >= 0:
            self._send(now)
        else:
            self.due = now - self.tokens / qps

    def _send(self, now: float) -> None:
        self.outcome.batches.append(self.sender.send(self.collected, now))
        self.collected = 0
        self._collect(now)

    def _collect(self, now: float) -> None:
        """Begin a batch with the events in the buffer."""
        self.due = None
        self.wait_over = now + self.backend.batch_max_wait
        self.collected = min(self.buffered, self.backend.batch_max_size)
        self.buffered -= self.collected
        if self.collected == self.backend.batch_max_size:
            self._throttle(now)
