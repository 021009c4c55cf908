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
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from isal import igzip

from auditsplit import deadline
from auditsplit.batch import Batch
from auditsplit.eventlist import Event
from auditsplit.routing import KeyTemplate, Origin
from auditsplit.sinks.elasticsearch import bulk, client, document
from auditsplit.sinks.elasticsearch.bulk import Done, Refused
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError, Failure, explain
from auditsplit.sinks.elasticsearch.streams import DEFAULT_TARGET, Streams
from auditsplit.sinks.options import Target

TIMEOUT_S = 12
"""For a batch, by default: two such stores, one after the other, stay within the apiserver's 30 s."""

MAX_TIMEOUT_S = 25
"""The most that ``timeout`` can ask for."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_LEAST_S = 0.05  # less is not worth a request
_SERVERS_SHARE = 0.8  # of a request's time, for a shard to come; the answer must still get here
_NO_EVENT = "this is no audit event"
_PROBE = b'{"@timestamp":"a readiness probe: refused, and never stored"}'
_random = random.SystemRandom()  # which forked workers do not share
_log = logging.getLogger(__name__)


_Item: TypeAlias = "EventItem | KeptItem"


class EventItem(msgspec.Struct):
    """An event on its way; ``without`` and ``reason`` are those of `document.render`."""

    stream: str
    id: str
    event: Event
    origin: Origin
    without: frozenset[str] = frozenset()
    reason: str = ""

    def document(self) -> bytes:
        """See `bulk.Item.document`."""
        return document.render(self.event, self.origin, self.without, self.reason)


class KeptItem(msgspec.Struct):
    """A document as it stands."""

    stream: str
    id: str
    text: bytes

    def document(self) -> bytes:
        """See `bulk.Item.document`."""
        return self.text


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
        items: dict[str, _Item] = {}
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

    def _deliver(self, items: list[_Item]) -> bool:
        """Return once all are stored whether any was not before; what may pass is tried again, while time lasts."""
        ends = self._ends()
        created = False
        pause_s = _FIRST_PAUSE_S
        while items:
            turn = Round(self.streams.rejected)
            for some, body in bulk.bodies(items, self._ways.max_bytes):
                self._try(some, body, turn, ends)
            items, created = turn.left, created or turn.created
            if turn.error:
                _log.info("%s: %s", self.name, turn.error)
                if turn.error.deployers or ends - time.monotonic() < pause_s:
                    raise turn.error
                time.sleep(_random.uniform(pause_s / 2, pause_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return created

    def _try(self, items: list[_Item], body: bytes, turn: Round, ends: float) -> None:
        """Send the items once, in halves where they are too large together, and note in ``turn`` what came of it."""
        try:
            found = self._send(body, len(items), ends)
        except ElasticsearchError as error:
            if error.failure is not Failure.TOO_LARGE:
                turn.fail(items, error)
                return
            if len(items) > 1:
                for some, half in bulk.bodies(items, len(body) // 2):
                    self._try(some, half, turn, ends)
                return
            found = [Refused(error.failure, error.detail, "")]
        for item, what in zip(items, found, strict=True):
            turn.settle(item, what)

    def _send(self, body: bytes, count: int, ends: float) -> list[Done | Refused]:
        """Return what became of each of the ``count`` items in ``body``; `ElasticsearchError` for the whole of it."""
        left_s = ends - time.monotonic()
        if left_s < _LEAST_S:
            raise ElasticsearchError(Failure.SLOW, f"over {self._ways.timeout_s:g} s")
        attempt_s = min(left_s, max(_LEAST_S, self._ways.timeout_s / 2))
        headers = {"content-encoding": "gzip"} if self._ways.compress else {}
        operations: Any = [igzip.compress(body) if self._ways.compress else body]  # see `client` for bytes here
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
                try:
                    self._client = self._connect()
                except (OSError, ValueError) as error:  # a certificate's file, for one
                    raise ElasticsearchError(Failure.CERTIFICATE, type(error).__name__) from error
            return self._client

    def _ends(self) -> float:
        return time.monotonic() + deadline.left_s(self._ways.timeout_s)


class Round:
    """What came of sending the items once: those that are ``left`` for the next time, and the ``error`` among them."""

    def __init__(self, rejected: str) -> None:
        """Begin; ``rejected`` is the data stream for lines that are refused as such."""
        self.created = False
        self.left: list[_Item] = []
        self.error: ElasticsearchError | None = None
        self._rejected = rejected

    def fail(self, items: Sequence[_Item], error: ElasticsearchError) -> None:
        """Note that none of the items is known to be stored; the worst error counts."""
        self.left += items
        if self.error is None or (error.deployers and not self.error.deployers):
            self.error = error

    def settle(self, item: _Item, what: Done | Refused) -> None:
        """Note what became of an item."""
        if isinstance(what, Done):
            self.created |= what is Done.CREATED
        elif what.failure.shrinks and isinstance(item, EventItem):
            self._shrink(item, what)
        elif what.failure is Failure.DOCUMENT:
            self.fail([item], ElasticsearchError(Failure.REFUSED, f"{what.kind} at {item.stream}"))
        else:
            self.fail([item], ElasticsearchError(what.failure, f"{what.kind} at {item.stream}"))

    def _shrink(self, item: EventItem, what: Refused) -> None:
        """Leave something out of a refused document; where nothing is left but the line, put it into ``_rejected``."""
        without = document.less(item.without, what.reason)
        if without:
            item.without, item.reason = without, what.reason
            self.left.append(item)
        elif what.failure is Failure.DOCUMENT:
            _log.warning("an event was refused (%s) and is kept in %s as %s", what.kind, self._rejected, item.id)
            text = document.rejected(item.origin, bytes(item.event.raw), what.reason)
            self.left.append(KeptItem(self._rejected, item.id, text))
        else:
            self.fail([item], ElasticsearchError(what.failure, f"{what.kind} at {item.stream}"))


def from_target(target: Target) -> ElasticsearchSink:
    """Return the store for an ``elasticsearch+https://host:9200,host2:9200`` URL."""
    arguments = client.options(target)
    template = target.key(DEFAULT_TARGET, option="target")
    try:
        streams = Streams(template)
    except ValueError as error:
        target.mistakes += [f"target: {line}" for line in str(error).splitlines()]
        streams = Streams(KeyTemplate(DEFAULT_TARGET))
    timeout_s = target.integer("timeout", TIMEOUT_S, least=1)
    if timeout_s > MAX_TIMEOUT_S:
        target.mistakes.append(
            f"timeout: {timeout_s} s is over {MAX_TIMEOUT_S} s; kube-apiserver waits 30 s for it all"
        )
    max_bytes = target.integer("bulk_bytes", bulk.MAX_BYTES, least=1)
    ways = Ways(timeout_s, max_bytes, target.flag("compress", default=True))
    name = f"{target.url.rstrip('/')}/{streams.patterns[0]}"
    return ElasticsearchSink(name, lambda: client.connect(arguments), streams, ways)
