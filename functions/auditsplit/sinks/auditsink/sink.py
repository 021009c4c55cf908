"""The sink of all AuditSinks: each is a webhook sink of its own, and each gets every batch.

A change takes effect with the first batch that comes `LOOK_S` after it. Batches on their way end with the sinks that
they began with, so none is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from logging import getLogger
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from auditsplit.deadline import Deadline
from auditsplit.errors import SinkError
from auditsplit.event import Batch, Event, PolicyHead
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.attributes import decoded
from auditsplit.sinks import Sink, Written, options
from auditsplit.sinks.auditsink.folder import Folder
from auditsplit.sinks.auditsink.manifest import AuditSink
from auditsplit.sinks.options import Target
from auditsplit.sinks.webhook.downstream import Downstream
from auditsplit.sinks.webhook.options import RequestBytes, RequestEvents, enforced
from auditsplit.sinks.webhook.sink import WebhookSink
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Cluster

LOOK_S = 2.0
"""Seconds after which the AuditSinks are looked at again."""

_MOST_AT_ONCE = 32
_log = getLogger(__name__)


class Options(options.Options, frozen=True, kw_only=True):
    """The options of an ``auditsink:`` URL. They apply to every AuditSink."""

    timeout: options.TimeoutSeconds = 10
    truncate_max_batch_size: RequestBytes = 0
    batch_max_size: RequestEvents = 0


class Source(Protocol):
    """Where AuditSinks are from."""

    def read(self, outcomes: Mapping[str, str], /) -> Mapping[str, AuditSink]:
        """Return the AuditSinks by name, as they are now. What cannot be read is logged, and stays as it was.

        Args:
            outcomes: Of each AuditSink that got a batch, why the last batch was not delivered. Empty if it was.
        """


def mistakes(target: Target[Options]) -> Iterable[str]:
    """Yield what is wrong with an ``auditsink:/etc/auditsplit/sinks.d`` URL, and with the files there."""
    if target.host or not target.path:
        yield "write auditsink:/path, the path of a file or folder of AuditSinks"
        return
    yield from Folder(Path(target.path)).mistakes()


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink. Nothing is read from the environment."""
    return AuditSinks(target.url, Folder(Path(target.path)), target.options)


class _Running(NamedTuple):
    """An AuditSink, its policy, and the sink that it made."""

    spec: AuditSink
    policy: AppliedPolicy
    sink: WebhookSink


Deliver: TypeAlias = "Callable[[_Running], Written | SinkError]"


class AuditSinks:
    """A `Sink` of any number of downstreams, which may change while it runs."""

    required = True

    def __init__(self, name: str, source: Source, options: Options) -> None:
        """Read nothing yet."""
        self.name = name
        self._source, self._options = source, options
        self._looking = threading.Lock()
        self._look_at = 0.0
        self._running: dict[str, _Running] = {}
        self._pool: ThreadPoolExecutor | None = None

    def parts(self) -> list[WebhookSink]:
        """Return the sinks of the AuditSinks as they are now."""
        return [each.sink for each in self._current()]

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`. All downstreams are tried, side by side. Only one that is required can fail the batch."""
        running = self._current()
        events = _with_policy_heads(batch.events) if any(each.policy for each in running) else []

        def deliver(each: _Running) -> Written | SinkError:
            left = each.policy.apply(events) if each.policy else batch.events
            if not left:
                return Written(new=None, size_bytes=0)
            try:
                return each.sink.write(msgspec.structs.replace(batch, events=left), deadline)
            except SinkError as error:
                return error

        return _joined(self._side_by_side(deliver, running))

    def remembers(self, batch_id: str, deadline: Deadline) -> bool:
        """See `auditsplit.sinks.Remembers`."""
        return all(sink.remembers(batch_id, deadline) for sink in self.parts())

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`. A downstream expects events, so a malformed body is not posted."""
        del cluster, digest, body, deadline
        return ""

    def recover(self) -> None:
        """See `Sink.recover`. Nothing is unfinished."""

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`. Probes the downstreams that are required."""
        for sink in self.parts():
            if sink.required:
                sink.check(deadline)

    def _side_by_side(self, deliver: Deliver, running: Sequence[_Running]) -> list[Written | SinkError]:
        if len(running) < 2:  # noqa: PLR2004 - a single one needs no thread
            return [deliver(each) for each in running]
        with self._looking:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, "auditsink")
        return list(self._pool.map(deliver, running))

    def _current(self) -> list[_Running]:
        """Return what runs, after a look at the source if the last look is too old."""
        with self._looking:
            if time.monotonic() >= self._look_at:
                self._running = {name: self._run(spec) for name, spec in self._specs().items()}
                self._look_at = time.monotonic() + LOOK_S
            return list(self._running.values())

    def _specs(self) -> Mapping[str, AuditSink]:
        outcomes = {name: each.sink.outcome for name, each in self._running.items() if each.sink.outcome is not None}
        specs = self._source.read(outcomes)
        for name, what in _changes({name: each.spec for name, each in self._running.items()}, specs):
            _log.info("%s: the AuditSink %s was %s", self.name, name, what)
        return specs

    def _run(self, spec: AuditSink) -> _Running:
        before = self._running.get(spec.name)
        return before if before and before.spec == spec else started(spec, self._options)


def _with_policy_heads(events: list[Event]) -> list[Event]:
    return [event if isinstance(event.head, PolicyHead) else decoded(event, PolicyHead) for event in events]


def started(spec: AuditSink, options: Options) -> _Running:
    """Return an AuditSink with a new sink."""
    server = Cluster(server=spec.url, certificate_authority_data=spec.ca_bundle)
    downstream = Downstream(
        name=f"auditsink:{spec.name}",
        kubeconfig=schema.build(server, None),
        required=spec.required,
        timeout_s=options.timeout,
        qps=spec.qps,
        burst=spec.burst,
        max_bytes=options.truncate_max_batch_size,
        max_events=options.batch_max_size,
    )
    return _Running(spec, enforced(spec.level, spec.stages), WebhookSink(downstream))


def _changes(before: Mapping[str, AuditSink], after: Mapping[str, AuditSink]) -> Iterator[tuple[str, str]]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield name, "added"
        elif name not in after:
            yield name, "removed"
        elif before[name] != after[name]:
            yield name, "changed"


def _joined(outcomes: Sequence[Written | SinkError]) -> Written:
    """Return the outcomes as one. `SinkError` if there is one among them."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, SinkError)]
    written = [outcome for outcome in outcomes if isinstance(outcome, Written)]
    size_bytes = sum(error.size_bytes for error in errors) + sum(each.size_bytes for each in written)
    if errors:
        error = errors[0] if len(errors) == 1 else SinkError("; ".join(map(str, errors)))
        error.size_bytes = size_bytes
        raise error
    undelivered = {name: count for each in written for name, count in each.undelivered.items()}
    tells = [each.new for each in written if each.new is not None]
    return Written(any(tells) if tells else None, size_bytes, undelivered)
