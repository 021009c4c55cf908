"""The Elasticsearch store: a batch's documents by ``_bulk``, each at most once, within one deadline.

``create`` with an id made of the item's own bytes writes nothing twice: 409 says that it is stored. That holds within
one index behind a data stream; a retry that comes after Elasticsearch has rolled the stream over (monthly, or at 50
GB) finds another one. What fails for a passing reason is tried again, alone, while time lasts; what Elasticsearch does
not take of a document is left out of it (see `document`); a line that is refused as such goes to ``_rejected``.

The credentials need ``create_doc`` and ``auto_configure`` on the template's pattern, and no more: nothing is read.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from isal import igzip

from auditsplit import deadline
from auditsplit.event import Batch, Origin
from auditsplit.sinks.elasticsearch import bulk, client, document
from auditsplit.sinks.elasticsearch.bulk import Done, Refused
from auditsplit.sinks.elasticsearch.delivery import EventItem, Item, KeptItem, Round
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError, Failure, explain
from auditsplit.sinks.elasticsearch.streams import DEFAULT_TARGET, Streams
from auditsplit.sinks.options import Target
from auditsplit.telemetry import observation

TIMEOUT_S = 12
"""For a batch, by default, or less where the request's deadline is sooner."""

MAX_TIMEOUT_S = 25
"""The most that ``timeout`` can ask for."""

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 2.0)  # between tries, at most; the apiserver comes again too
_UNANSWERED = (Failure.SLOW, Failure.UNREACHABLE, Failure.BROKEN)
_LEAST_S = 0.05  # less is not worth a request
_SERVERS_SHARE = 0.8  # of a request's time, for a shard to come; the answer must still get here
_NO_EVENT = "this is no audit event"
_PROBE = b'{"@timestamp":"a readiness probe: refused, and never stored"}'
_random = random.SystemRandom()  # which forked workers do not share
_log = logging.getLogger(__name__)


class Ways(NamedTuple):
    """How bodies are sent: for how long a batch is tried, of what size, and whether as gzip."""

    timeout_s: float = TIMEOUT_S
    max_bytes: int = bulk.MAX_BYTES
    compress: bool = True


class ElasticsearchSink:
    """A `Sink` of one cluster; ``connect`` is called at the first use, in the process that uses it."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Elasticsearch],
        streams: Streams,
        ways: Ways | None = None,
    ) -> None:
        """Name the store."""
        self.name = name
        self.streams = streams
        self._connect, self._connecting = connect, threading.Lock()
        self._client: Elasticsearch | None = None
        self._ways = ways or Ways()

    def write(self, batch: Batch) -> bool:
        """See `Sink.write`; of items with the same bytes, one is stored."""
        origin = batch.origin
        items: dict[str, Item] = {}
        for stream, events in self.streams.group(batch).items():
            for event in events:
                identity = document.identity(origin.cluster, event.raw)
                items.setdefault(identity, EventItem(stream, identity, event, origin))
        return self._deliver(list(items.values())) or not items

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """See `Sink.reject`; the place is the document ``digest`` of the data stream `Streams.rejected`."""
        text = document.rejected(Origin(cluster, datetime.now(UTC)), body, _NO_EVENT)
        self._deliver([KeptItem(self.streams.rejected, digest, text)])
        return f"_rejected/{cluster}/{digest}"

    def recover(self) -> None:
        """See `Sink.recover`; nothing is left unfinished: a document is there whole, or not at all."""

    def check(self) -> None:
        """See `Sink.check`; sends a document that is refused once all else is right."""
        probe = KeptItem(self.streams.rejected, "probe", _PROBE)
        ((_, body),) = bulk.bodies([probe])
        (found,) = self._send(body, 1, self._ends())
        if isinstance(found, Refused) and found.failure is not Failure.DOCUMENT:
            raise ElasticsearchError(found.failure, f"{found.kind} at {probe.stream}")

    def _deliver(self, items: list[Item]) -> bool:
        """Return once all are stored whether any was not before; what may pass is tried again, while time lasts."""
        ends = self._ends()
        created = False
        max_bytes = self._ways.max_bytes
        pauses = iter(_PAUSES_S)
        while items:  # a document that is refused comes again with less, at once
            turn = Round(self.streams.rejected)
            largest = 0
            for some, body in bulk.bodies(items, max_bytes):
                largest = max(largest, len(body))
                self._try(some, body, turn, ends)
            items, created = turn.left, created or turn.created
            if turn.error:
                _log.info("%s: %s", self.name, turn.error)
                created |= turn.error.failure in _UNANSWERED  # what is found there next may come from this try
                pause_s = next(pauses, None)
                if turn.error.deployers or pause_s is None or ends - time.monotonic() < pause_s:
                    raise turn.error
                if turn.error.failure is Failure.THROTTLED:
                    max_bytes = largest // 2  # a node may be short of memory for just this one
                time.sleep(_random.uniform(pause_s / 2, pause_s))
        return created

    def _try(self, items: list[Item], body: bytes, turn: Round, ends: float) -> None:
        """Send the items once, in halves where they are too large together, and note in ``turn`` what came of it."""
        found: list[Done | Refused]
        try:
            found = self._send(body, len(items), ends)
        except ElasticsearchError as error:
            if error.failure is not Failure.TOO_LARGE:
                turn.fail(items, error)
                return
            found = [Refused(error.failure, error.detail, "")] * len(items)
        large: list[Item] = []
        for item, what in zip(items, found, strict=True):
            if len(items) > 1 and isinstance(what, Refused) and what.failure is Failure.TOO_LARGE:
                large.append(item)
            else:
                turn.settle(item, what)
        for some, half in bulk.bodies(large, len(body) // 2):
            self._try(some, half, turn, ends)

    def _send(self, body: bytes, count: int, ends: float) -> list[Done | Refused]:
        """Return what became of each of the ``count`` items in ``body``; `ElasticsearchError` for the whole of it."""
        left_s = ends - time.monotonic()
        if left_s < _LEAST_S:
            raise ElasticsearchError(Failure.SLOW, f"over {self._ways.timeout_s:g} s")
        attempt_s = min(left_s, max(_LEAST_S, self._ways.timeout_s / 2))
        headers = {"content-encoding": "gzip"} if self._ways.compress else {}
        operations: Any = [igzip.compress(body) if self._ways.compress else body]  # see `client` for bytes here
        observation.wrote(self.name, len(operations[0]))
        try:
            answer = (
                self.connected()
                .options(request_timeout=attempt_s, headers=headers)
                .bulk(
                    operations=operations,
                    require_data_stream=True,  # an index without the template's mappings is never made
                    timeout=f"{int(1000 * _SERVERS_SHARE * attempt_s)}ms",
                    filter_path=bulk.FILTER,
                )
            )
        except (ApiError, TransportError) as error:
            raise explain(error) from error
        found = [bulk.verdict(item["create"]) for item in answer.body.get("items", ())]
        if len(found) != count:
            raise ElasticsearchError(Failure.BROKEN, f"an answer for {len(found)} of {count} items")
        return found

    def connected(self) -> Elasticsearch:
        """Return this process's client."""
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _ends(self) -> float:
        return time.monotonic() + deadline.left_s(self._ways.timeout_s)


def from_target(target: Target) -> ElasticsearchSink:
    """Return the store for an ``elasticsearch+https://host:9200,host2:9200`` URL."""
    arguments = client.options(target)
    streams = Streams()
    try:
        streams = Streams(target.text("target", DEFAULT_TARGET), target.user)
    except ValueError as error:
        target.mistakes += [f"target: {line}" for line in str(error).splitlines()]
    timeout_s = target.integer("timeout", TIMEOUT_S, least=1)
    if timeout_s > MAX_TIMEOUT_S:
        target.mistakes.append(
            f"timeout: {timeout_s} s is over {MAX_TIMEOUT_S} s; kube-apiserver waits 30 s for it all"
        )
    max_bytes = target.integer("bulk_bytes", bulk.MAX_BYTES, least=1)
    ways = Ways(timeout_s, max_bytes, target.flag("compress", default=True))
    name = f"{target.url.rstrip('/')}/{streams.patterns[0]}"
    return ElasticsearchSink(name, lambda: client.connect(arguments), streams, ways)
