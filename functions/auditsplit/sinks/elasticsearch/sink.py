"""The sink: writes the documents of a batch by ``_bulk``, each at most once, within one deadline.

``create`` with an id made of the event's line writes nothing twice: the answer 409 means that it is stored. That
holds within one index behind a data stream. A retry after Elasticsearch has rolled the stream over (monthly, or at 50
GB) meets a new index. An item that fails for a reason that may pass is retried alone, within the deadline. The parts of
a document that Elasticsearch refuses are left out of it (see `document`). A line that it refuses as such goes to
``_rejected``.

The credentials need only ``create_doc`` and ``auto_configure`` on the template's pattern. Nothing is read.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from logging import getLogger
from typing import Any

from elasticsearch import Elasticsearch
from isal import igzip

from auditsplit.deadline import Deadline
from auditsplit.event import Batch, Origin
from auditsplit.sinks import Sink, Written
from auditsplit.sinks.elasticsearch import bulk, client, document
from auditsplit.sinks.elasticsearch.answers import ROOTS, explain
from auditsplit.sinks.elasticsearch.bulk import BulkAnswer, ItemFailure, Outcome
from auditsplit.sinks.elasticsearch.delivery import Attempt, EventItem, Item, RenderedItem, limit_cleaning
from auditsplit.sinks.elasticsearch.options import Options
from auditsplit.sinks.failures import Action, Failure, SinkFailure
from auditsplit.sinks.options import Target

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 2.0)  # the longest pauses between attempts; the sender retries too
_UNANSWERED = (Failure.SLOW, Failure.UNREACHABLE, Failure.BROKEN, Failure.UNMAPPED)
_LEAST_S = 0.05  # less is not worth a request
_SERVERS_SHARE = 0.8  # of a request's time, for a shard to become available; the answer must still arrive
_NOT_AN_EVENT = "this is not an audit event"
_PROBE = b'{"@timestamp":"a readiness probe: refused, and never stored"}'
_random = random.SystemRandom()  # which forked workers do not share
_log = getLogger(__name__)


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with an ``elasticsearch+https://host:9200,host2:9200`` URL."""
    yield from client.mistakes(target)


def build(target: Target[Options], environ: Mapping[str, str]) -> Sink:
    """Return the sink of one cluster. ``ValueError`` if the credentials in ``environ`` do not go together."""
    arguments = client.arguments(target, environ)
    name = f"{target.url.rstrip('/')}/{target.options.target.patterns[0]}"
    return ElasticsearchSink(name, lambda: client.connect(arguments), target.options)


class ElasticsearchSink:
    """A `Sink` of one cluster."""

    required = True

    def __init__(self, name: str, connect: Callable[[], Elasticsearch], options: Options) -> None:
        """Touch nothing yet. ``connect`` is called at the first use, in the process that uses the sink."""
        self.name = name
        self.streams = options.target
        self._options = options
        self._pauses_s: Sequence[float] = _PAUSES_S
        self._connect, self._connecting = connect, threading.Lock()
        self._client: Elasticsearch | None = None

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`. Events with the same line are one document."""
        origin = batch.origin
        items: dict[str, EventItem] = {}
        for stream, events in self.streams.group(batch).items():
            for event in events:
                identity = document.identity(origin.cluster, event)
                items.setdefault(identity, EventItem(stream, identity, event, origin))
        limit_cleaning(items.values())
        return self._deliver(list(items.values()), deadline)

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`; the body is in the document ``digest`` of the data stream `Streams.rejected`."""
        text = document.rejected(Origin(cluster, datetime.now(UTC)), body, _NOT_AN_EVENT)
        self._deliver([RenderedItem(self.streams.rejected, digest, text)], deadline)
        return f"_rejected/{cluster}/{digest}"

    def recover(self) -> None:
        """See `Sink.recover`. Nothing is unfinished, because a document is whole or does not exist."""

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`. The server refuses the document that this sends, once everything else is right."""
        probe = RenderedItem(self.streams.rejected, "probe", _PROBE)
        ((_, body),) = bulk.bodies([probe], self._options.bulk_bytes)
        (outcome,) = self._send(body, 1, self._deadline(deadline)).outcomes
        if isinstance(outcome, ItemFailure) and outcome.failure.action is not Action.REJECT:
            raise SinkFailure(outcome.failure, f"{outcome.kind} at {probe.stream}")

    def connected(self) -> Elasticsearch:
        """Return this process's client."""
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _deadline(self, deadline: Deadline) -> Deadline:
        return deadline.within(self._options.timeout)

    def _deliver(self, items: Sequence[Item], deadline: Deadline) -> Written:
        """Return once all items are stored. Items that fail for a reason that may pass are retried."""
        deadline = self._deadline(deadline)
        created, size_bytes = not items, 0
        max_bytes = self._options.bulk_bytes
        pauses = iter(self._pauses_s)
        while items:  # documents that were refused are sent again at once, with less in them
            attempt = self._attempt(items, max_bytes, deadline)
            items = attempt.left
            created |= attempt.created
            size_bytes += attempt.size_bytes
            if error := attempt.error:
                _log.info("%s: %s", self.name, error)
                created |= error.failure in _UNANSWERED  # a duplicate in the next attempt may come from this one
                pause_s = next(pauses, None)
                if error.failure.action is not Action.RETRY or pause_s is None or deadline.left_s() < pause_s:
                    error.size_bytes = size_bytes
                    raise error
                if error.failure is Failure.THROTTLED:
                    max_bytes = attempt.largest_body // 2  # a node may be short of memory for only this body
                time.sleep(_random.uniform(pause_s / 2, pause_s))
        return Written(created, size_bytes)

    def _attempt(self, items: Sequence[Item], max_bytes: int, deadline: Deadline) -> Attempt:
        """Return the result of sending all items once, in bodies of ``max_bytes`` or less."""
        attempt = Attempt(self.streams.rejected)
        for some, body in bulk.bodies(items, max_bytes):
            attempt.largest_body = max(attempt.largest_body, len(body))
            self._send_halved(some, body, attempt, deadline)
        return attempt

    def _send_halved(self, items: list[Item], body: bytes, attempt: Attempt, deadline: Deadline) -> None:
        """Send the items once, in halves if they are too large together, and note the outcomes in ``attempt``."""
        outcomes: list[Outcome]
        try:
            outcomes, size_bytes = self._send(body, len(items), deadline)
            attempt.size_bytes += size_bytes
        except SinkFailure as error:
            attempt.size_bytes += error.size_bytes
            if error.failure.action is not Action.SHRINK:
                attempt.fail(items, error)
                return
            outcomes = [ItemFailure(error.failure, error.detail, "")] * len(items)
        large: list[Item] = []
        for item, outcome in zip(items, outcomes, strict=True):
            if len(items) > 1 and isinstance(outcome, ItemFailure) and outcome.failure.action is Action.SHRINK:
                large.append(item)
            else:
                attempt.settle(item, outcome)
        for some, half in bulk.bodies(large, len(body) // 2):
            self._send_halved(some, half, attempt, deadline)

    def _send(self, body: bytes, count: int, deadline: Deadline) -> BulkAnswer:
        """Return the outcome of each of the ``count`` items in ``body``.

        `SinkFailure` is that of the whole request. Its ``size_bytes`` are those that were sent.
        """
        timeout_s, left_s = self._options.timeout, deadline.left_s()
        if left_s < _LEAST_S:
            raise SinkFailure(Failure.SLOW, f"over {timeout_s} s")
        sent = igzip.compress(body) if self._options.compress else body
        try:
            outcomes = self._request(sent, count, min(left_s, max(_LEAST_S, timeout_s / 2)))
        except SinkFailure as error:
            error.size_bytes = len(sent)
            raise
        return BulkAnswer(outcomes, len(sent))

    def _request(self, body: bytes, count: int, timeout_s: float) -> list[Outcome]:
        headers = {"content-encoding": "gzip"} if self._options.compress else {}
        operations: Any = [body]  # see `client` for bytes here
        try:
            answer = (
                self.connected()
                .options(request_timeout=timeout_s, headers=headers)
                .bulk(
                    operations=operations,
                    require_data_stream=True,  # never make an index without the template's mappings
                    timeout=f"{int(1000 * _SERVERS_SHARE * timeout_s)}ms",
                    filter_path=bulk.FILTER,
                )
            )
        except ROOTS as error:
            raise explain(error) from error
        outcomes = [bulk.outcome(item["create"]) for item in answer.body.get("items", ())]
        if len(outcomes) != count:
            raise SinkFailure(Failure.BROKEN, f"an answer for {len(outcomes)} of {count} items")
        return outcomes
