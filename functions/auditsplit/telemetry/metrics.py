"""Metrics for Prometheus, from all worker processes of a server together.

`prometheus_client's multiprocess mode <https://prometheus.github.io/client_python/multiprocess/>`_: every process has
its numbers in files of one shared folder, so each process can report the sum, and a worker that dies loses none of
them. Labels are clusters, sinks, phases and statuses, which the deployer chose. No label is a user's name.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from http import HTTPStatus

from auditsplit.errors import SenderError
from auditsplit.telemetry.figures import Figures

# This line is before prometheus_client's: the client looks for the folder of `metric_files` when it is imported.
from auditsplit.telemetry.metric_files import CONTENT_TYPE, forget, text  # isort: split

from prometheus_client import Counter, Histogram

__all__ = ["CONTENT_TYPE", "count", "forget", "text"]
OTHER = "other"
"""The cluster label of a sender that is not one of the configured clusters."""

_STATUSES = {200, 500, 503, *(kind.status for kind in SenderError.__subclasses__())}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DELAYS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_requests = Counter("auditsplit_requests", "Answers to posted bodies.", ["cluster", "status"])
_received = Counter("auditsplit_events_received", "Events in decoded bodies, including retries.", ["cluster"])
_stored = Counter("auditsplit_events_stored", "Events that all sinks hold, each batch once.", ["cluster"])
_duplicate = Counter("auditsplit_events_duplicate", "Events of batches that all sinks had before.", ["cluster"])
_rejected = Counter("auditsplit_events_rejected", "Malformed items, written to _rejected/.", ["cluster"])
_truncated = Counter("auditsplit_events_truncated", "Events that kube-apiserver truncated.", ["cluster"])
_omitted = Counter(
    "auditsplit_events_omitted",
    "Events that a policy dropped, each batch once. `sink` is empty for `AUDIT_POLICY`, which is for all sinks.",
    ["cluster", "sink"],
)
_too_large = Counter(
    "auditsplit_events_too_large",
    "Events that were dropped because they are larger than the limit without their bodies too, each batch once. `sink` "
    "is empty for `AUDIT_TRUNCATE_MAX_EVENT_SIZE`, which is for all sinks.",
    ["cluster", "sink"],
)
_undelivered = Counter(
    "auditsplit_events_undelivered",
    "Events of acknowledged batches that a sink with `required=0` did not get.",
    ["cluster", "sink"],
)
_skipped = Counter("auditsplit_records_skipped", "Records of other logs in a cloud's envelope.", ["cluster"])
_bytes_in = Counter("auditsplit_received_bytes", "Bytes of bodies, as sent.", ["cluster"])
_bytes_out = Counter("auditsplit_written_bytes", "Bytes that sinks were given.", ["cluster", "sink"])
_phases = Histogram(
    "auditsplit_phase_seconds",
    "Seconds of a phase: read, decode, transform, or write to a sink.",
    ["phase", "sink"],
    buckets=_SECONDS,
)
_delays = Histogram(
    "auditsplit_oldest_event_delay_seconds",
    "From the time of a batch's oldest event to the batch's arrival.",
    ["cluster"],
    buckets=_DELAYS,
)


def count(figures: Figures, status: int, clusters: Collection[str]) -> None:
    """Count one answered request; a cluster that is not in ``clusters`` counts as `OTHER`.

    After an error, of a full disk for example, some figures are not counted, and later ones may fail too.
    """
    cluster = figures.cluster if figures.cluster in clusters else OTHER
    _start_at_zero(cluster)
    _requests.labels(cluster, str(status)).inc()
    _bytes_in.labels(cluster).inc(figures.bytes_in)
    _received.labels(cluster).inc(figures.events + figures.omitted + figures.too_large)
    _truncated.labels(cluster).inc(figures.truncated)
    _skipped.labels(cluster).inc(figures.skipped)
    stored = status == HTTPStatus.OK
    if stored:
        (_duplicate if figures.duplicate else _stored).labels(cluster).inc(figures.events)
        _rejected.labels(cluster).inc(figures.rejected)
    if stored:
        for sink, undelivered in figures.undelivered.items():
            _undelivered.labels(cluster, sink).inc(undelivered)
    if stored and not figures.duplicate:
        for sink, omitted in {"": figures.omitted, **figures.omitted_by_sink}.items():
            _omitted.labels(cluster, sink).inc(omitted)
        for sink, too_large in {"": figures.too_large, **figures.too_large_by_sink}.items():
            _too_large.labels(cluster, sink).inc(too_large)
    if figures.delay_s is not None:
        _delays.labels(cluster).observe(figures.delay_s)
    for sink, size_bytes in figures.bytes_out.items():
        _bytes_out.labels(cluster, sink).inc(size_bytes)
    for phase in figures.phases:
        _phases.labels(phase.name, phase.sink).observe(phase.seconds)


@functools.cache
def _start_at_zero(cluster: str) -> None:
    """Start a cluster's counters at 0, so that Prometheus sees the first loss as an increase."""
    for status in _STATUSES:
        _requests.labels(cluster, str(status))
    for counter in (_stored, _duplicate, _rejected, _truncated):
        counter.labels(cluster)
    _omitted.labels(cluster, "")
    _too_large.labels(cluster, "")
