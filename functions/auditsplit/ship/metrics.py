"""The shipper's metrics for Prometheus, its health and its readiness, over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app

from auditsplit.ship.batch import Batch
from auditsplit.ship.delivery import Outcome
from auditsplit.ship.follower import Lag
from auditsplit.ship.shipper import Observer

_STUCK_S = 60.0
"""After how long without a delivery, with lines to deliver, the shipper is not ready."""


class Metrics(Observer):
    """Counts what the shipper does."""

    def __init__(self) -> None:
        """Start all counters at 0."""
        self.registry = CollectorRegistry()
        self._events = self._counter("events", "Events that were delivered.")
        self._duplicates = self._counter("events_duplicate", "Events that the receiver had before.")
        self._rejected = self._counter("events_rejected", "Malformed lines.")
        self._other = self._counter("other_lines", "Lines and records of other logs.")
        self._bytes = self._counter("bytes", "Bytes of the log that were delivered.")
        self._batches = self._counter("batches", "Batches that were delivered.")
        self._retries = self._counter("retries", "Tries that did not deliver a batch.")
        self._set_aside = self._counter("lines_set_aside", "Lines that are too long to deliver.")
        self._lost = self._counter("lost_bytes", "Bytes that were gone before they were read.")
        self._lag = self._gauge("lag_bytes", "Bytes of a file that are not delivered yet.")
        self._behind = self._gauge("lag_seconds", "Seconds since all lines of a file were delivered.")
        self._inode = self._gauge("file_inode", "The inode of a log's active file.")
        self._progress = time.monotonic()
        self._files = 0

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"auditsplit_ship_{name}", meaning, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"auditsplit_ship_{name}", meaning, ["file"], registry=self.registry)

    def delivered(self, batch: Batch, outcome: Outcome) -> None:
        """Count a delivered batch."""
        self._progress = time.monotonic()
        self._batches.inc(bool(batch.body))
        self._events.inc(outcome.events)
        self._duplicates.inc(outcome.duplicates)
        self._rejected.inc(outcome.rejected)
        self._other.inc(batch.other_lines)
        self._bytes.inc(batch.sending.end - batch.sending.start)

    def retried(self) -> None:
        """Count a try that did not deliver."""
        self._retries.inc()

    def set_aside(self) -> None:
        """Count a line that is too long."""
        self._set_aside.inc()

    def lost(self, size_bytes: int) -> None:
        """Count bytes that are gone."""
        self._lost.inc(size_bytes)

    def looked(self, lags: list[Lag]) -> None:
        """Note how far the delivery is behind. Rotated files count to their log's sum as ``rotated``."""
        self._files = len(lags)
        if not any(lag.size_bytes for lag in lags):
            self._progress = time.monotonic()
        for gauge in (self._lag, self._behind, self._inode):
            gauge.clear()
        behind: dict[str, float] = {}
        for lag in lags:
            name = str(lag.file.path) if lag.file.active else "rotated"
            self._lag.labels(name).inc(lag.size_bytes)
            behind[name] = max(behind.get(name, 0.0), lag.seconds)
            if lag.file.active:
                self._inode.labels(name).set(lag.file.inode)
        for name, seconds in behind.items():
            self._behind.labels(name).set(seconds)

    def unready(self) -> str:
        """Return why the shipper is not ready. Empty if it is."""
        if not self._files:
            return "there is no file to follow"
        if time.monotonic() - self._progress > _STUCK_S:
            return f"no batch was delivered for {_STUCK_S:.0f} s, see the log"
        return ""


def serve(metrics: Metrics, host: str, port: int) -> Callable[[], None]:
    """Answer ``/metrics``, ``/healthz`` and ``/readyz`` in a thread. Return what ends it.

    Raises `OSError` if the port is taken.
    """
    app = make_wsgi_app(metrics.registry)

    def route(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answered: Iterable[bytes] = app(environ, start_response)
            return answered
        reason = {"/healthz": "", "/readyz": metrics.unready()}.get(path)
        status = HTTPStatus.NOT_FOUND if reason is None else HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{reason or status.phrase}\n".encode()]

    server = make_server(host, port, route, _ServerV6 if ":" in host else _Server, _Silent)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each client in a thread of its own, so that a slow one does not delay the kubelet's probes."""

    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    """Logs no request."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Write nothing."""
