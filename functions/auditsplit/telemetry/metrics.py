"""Metrics for Prometheus, from all worker processes of a server together.

`prometheus_client's multiprocess mode <https://prometheus.github.io/client_python/multiprocess/>`_: every process keeps
its numbers in files of a folder that all share, so any of them can tell the sum, and a worker that dies takes none with
it. Labels are clusters, stores, phases and statuses, which the deployer chose; never a user's name.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Collection
from http import HTTPStatus

from auditsplit.errors import SenderError
from auditsplit.telemetry.observation import Observation

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
if _FOLDER not in os.environ:  # the client looks at it when it is imported
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="auditsplit-metrics-")

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
"""The cluster label of whoever is none of the configured clusters."""

_STATUSES = {200, 500, 503, *(kind.status for kind in SenderError.__subclasses__())}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DELAYS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_requests = Counter("auditsplit_requests", "Answers to posted bodies.", ["cluster", "status"])
_received = Counter("auditsplit_events_received", "Events in decoded bodies, retries too.", ["cluster"])
_stored = Counter("auditsplit_events_stored", "Events that all stores hold, each batch once.", ["cluster"])
_again = Counter("auditsplit_events_again", "Events of batches that all stores had before.", ["cluster"])
_rejected = Counter("auditsplit_events_rejected", "Items that are no events, kept apart.", ["cluster"])
_truncated = Counter("auditsplit_events_truncated", "Events that kube-apiserver truncated.", ["cluster"])
_bytes_in = Counter("auditsplit_received_bytes", "Of bodies, as sent.", ["cluster"])
_bytes_out = Counter("auditsplit_written_bytes", "Given to stores.", ["cluster", "store"])
_phases = Histogram("auditsplit_phase_seconds", "Parts of the work.", ["phase", "store"], buckets=_SECONDS)
_delays = Histogram(
    "auditsplit_oldest_event_delay_seconds",
    "From the time of a batch's oldest event to the batch's arrival.",
    ["cluster"],
    buckets=_DELAYS,
)


def count(seen: Observation, status: int, clusters: Collection[str]) -> None:
    """Count one answered request; a cluster that is not in ``clusters`` counts as `OTHER`."""
    cluster = seen.cluster if seen.cluster in clusters else OTHER
    _begin(cluster)
    _requests.labels(cluster, str(status)).inc()
    _bytes_in.labels(cluster).inc(seen.bytes_in)
    _received.labels(cluster).inc(seen.events)
    _truncated.labels(cluster).inc(seen.truncated)
    stored = status == HTTPStatus.OK
    if stored:
        (_again if seen.again else _stored).labels(cluster).inc(seen.events)
        _rejected.labels(cluster).inc(seen.rejected)
    if seen.delay_s is not None:
        _delays.labels(cluster).observe(seen.delay_s)
    for store, size_bytes in seen.bytes_out.items():
        _bytes_out.labels(cluster, store).inc(size_bytes)
    for phase in seen.phases:
        _phases.labels(phase.name, phase.store).observe(phase.seconds)


@functools.cache
def _begin(cluster: str) -> None:
    """Let a cluster's counters begin at 0, so that to Prometheus its first loss is a rise and no beginning."""
    for status in _STATUSES:
        _requests.labels(cluster, str(status))
    for counter in (_stored, _again, _rejected, _truncated):
        counter.labels(cluster)


def text() -> bytes:
    """Return all metrics of all processes in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget() -> None:
    """Remove the folder that this server made; what is counted afterwards is lost."""
    shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)
