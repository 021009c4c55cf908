"""The sink: posts the events of a batch to one downstream, as kube-apiserver posts to its audit webhook.

A body is an ``EventList`` with the items' bytes as they arrived. A retry of a batch has the same bodies, and each body
has its own ``Idempotency-Key``, so a downstream can drop duplicates. Another auditsplit recognises the bytes.

A batch is delivered once the downstream has answered 200 to 206 to each of its bodies. Redirects are not followed.
429 and 5xx are tried again within the deadline, after the pause of ``Retry-After``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger

from blake3 import blake3

from auditsplit.deadline import Deadline
from auditsplit.event import LIST_END, LIST_START, Batch, Event
from auditsplit.policy.truncation import batches
from auditsplit.receipts import Recent
from auditsplit.sinks import Sink, Written
from auditsplit.sinks.failures import Action, Failure, SinkFailure, by_status
from auditsplit.sinks.options import Target
from auditsplit.sinks.webhook import downstream
from auditsplit.sinks.webhook.breaker import Breaker
from auditsplit.sinks.webhook.downstream import Downstream
from auditsplit.sinks.webhook.options import Options
from auditsplit.sinks.webhook.throttle import Throttle
from auditsplit.webhook.answers import Answer
from auditsplit.webhook.failures import NotTrusted, TimedOut, TlsFailed, Unreachable
from auditsplit.webhook.sender import Sender

IDEMPOTENCY_KEY = "Idempotency-Key"
"""https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/"""

_USER_AGENT = "auditsplit-webhook"
_EMPTY = LIST_START + LIST_END
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0)
_LEAST_S = 0.05  # less is not worth a request
_STATUSES = {
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    408: Failure.SLOW,
    413: Failure.TOO_LARGE,
    429: Failure.THROTTLED,
}
_UNREACHABLE: Mapping[type[Unreachable], Failure] = {
    NotTrusted: Failure.CERTIFICATE,
    TlsFailed: Failure.CERTIFICATE,
    TimedOut: Failure.SLOW,
}
_random = random.SystemRandom()  # which forked workers do not share
_log = getLogger(__name__)


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with a ``webhook+https://host/path`` or ``webhook:?kubeconfig=/path`` URL."""
    yield from downstream.mistakes(target)


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink of one downstream. Nothing is read from the environment."""
    return WebhookSink(downstream.of_target(target))


class WebhookSink:
    """A `Sink` that posts to one downstream."""

    def __init__(self, to: Downstream) -> None:
        """Touch nothing yet."""
        self.name, self.required = to.name, to.required
        self.outcome: str | None = None
        """Why the last batch was not delivered. Empty if it was. None before the first batch."""
        self._downstream = to
        self._sender = Sender(to.kubeconfig, to.folder, user_agent=_USER_AGENT)
        self._throttle = Throttle(to.qps, to.burst)
        self._breaker = Breaker()
        self._delivered: Recent[bool] = Recent()

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`. If the downstream is not required, no error is raised: the result has the lost events."""
        if self.required:
            return self._noted(batch, deadline)
        pause_s = self._breaker.pause_s()
        if pause_s:
            return self._lost(batch, f"it failed before, and is tried again in {pause_s:.1f} s")
        try:
            written = self._noted(batch, deadline)
        except SinkFailure as error:
            self._breaker.failed()
            return self._lost(batch, str(error), error.size_bytes)
        self._breaker.succeeded()
        return written._replace(undelivered={self.name: 0})

    def _noted(self, batch: Batch, deadline: Deadline) -> Written:
        """Deliver the batch, and note the outcome."""
        try:
            written = self._deliver(batch, deadline)
        except SinkFailure as error:
            self.outcome = str(error)
            raise
        self.outcome = ""
        return written

    def _lost(self, batch: Batch, reason: str, size_bytes: int = 0) -> Written:
        """Log that the downstream does not get the batch, and return what `write` returns then."""
        count = len(batch.events)
        _log.warning("%s: batch %s with %d events was not delivered: %s", self.name, batch.id, count, reason)
        return Written(new=None, size_bytes=size_bytes, undelivered={self.name: count})

    def remembers(self, batch_id: str, _: Deadline) -> bool:
        """See `auditsplit.sinks.Remembers`: whether this process delivered the batch."""
        return self._delivered.get(batch_id) is not None

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`. A downstream expects events, so a malformed body is not posted."""
        del cluster, digest, body, deadline
        return ""

    def recover(self) -> None:
        """See `Sink.recover`. Nothing is unfinished."""

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`. Posts an empty list."""
        self._post(_EMPTY, {}, deadline.within(self._downstream.timeout_s))

    def _deliver(self, batch: Batch, deadline: Deadline) -> Written:
        if self.remembers(batch.id, deadline):
            return Written(new=False, size_bytes=0)
        deadline = deadline.within(self._downstream.timeout_s)
        size_bytes = 0
        new: bool | None = False
        for events in self._pieces(batch.events):
            body = b"".join((LIST_START, b",".join([event.raw for event in events]), LIST_END))
            key = f"{batch.id}-{blake3(body).hexdigest(16)}"
            if self._delivered.get(key) is None:
                size_bytes += len(body)
                try:
                    answer = self._persistently(body, {IDEMPOTENCY_KEY: f'"{key}"'}, deadline)
                except SinkFailure as error:
                    error.size_bytes = size_bytes
                    raise
                self._delivered.add(key, value=True)
                new = new or (None if answer.receipt is None else not answer.receipt.already_stored)
        self._delivered.add(batch.id, value=True)
        return Written(new, size_bytes)

    def _pieces(self, events: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """Yield the events of each request."""
        limits = self._downstream
        by_size = batches(events, limits.max_bytes) if limits.max_bytes else iter([events] if events else [])
        for piece in by_size:
            most = limits.max_events or len(piece)
            yield from (piece[start : start + most] for start in range(0, len(piece), most))

    def _persistently(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        """Return the answer that delivers ``body``. A failure that may pass is tried again within the deadline."""
        pauses = iter(_PAUSES_S)
        while True:
            try:
                return self._post(body, headers, deadline)
            except _Failed as failed:
                pause_s = next(pauses, None)
                if failed.failure.action is not Action.RETRY or pause_s is None:
                    raise
                pause_s = max(_random.uniform(pause_s / 2, pause_s), failed.retry_after_s)
                if deadline.left_s() < pause_s + _LEAST_S:
                    raise
                time.sleep(pause_s)

    def _post(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        """Return the answer to one request, which delivers it."""
        if not self._throttle.accept(deadline):
            raise _Failed(Failure.THROTTLED, f"qps={self._downstream.qps:g} leaves no request before the deadline")
        left_s = deadline.left_s()
        if left_s < _LEAST_S:
            raise _Failed(Failure.SLOW, f"over {self._downstream.timeout_s:g} s")
        try:
            answer = self._sender.post(body, left_s, headers=headers)
        except Unreachable as error:
            failure = next((_UNREACHABLE[kind] for kind in type(error).__mro__ if kind in _UNREACHABLE), None)
            raise _Failed(failure or Failure.UNREACHABLE, str(error)) from error
        if not answer.is_delivered:
            raise _Failed(by_status(answer.status, _STATUSES), answer.refusal(), answer.retry_after_s)
        return answer


class _Failed(SinkFailure):
    """A request failed. ``retry_after_s`` is the pause that the downstream asks for."""

    def __init__(self, failure: Failure, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(failure, detail)
        self.retry_after_s = retry_after_s
