"""A proxy that does to requests what networks and busy stores do, at random from a seed."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import urlsplit

from support.server import Server

TRIES = 55
"""What the apiserver does for one batch while it is answered 503 with Retry-After."""

PAUSE_S = 0.05  # the apiserver waits the 1 s of Retry-After

RATES: Mapping[str, float] = {
    "slow down": 0.12,
    "broken": 0.06,
    "reset before": 0.06,  # nothing reached the store
    "reset within": 0.04,  # half of the object did
    "reset after": 0.08,  # the object is stored, and the answer is lost
    "late": 0.04,
}
"""How often each befalls a request."""

_PASSED = ("Content-Type", "X-Elastic-Product")  # without which Elasticsearch's client believes no answer
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class FaultProxy(ThreadingHTTPServer):
    """Forwards PUTs to ``upstream``, but for the faults; counts what it did in ``done``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, seed: int, rates: Mapping[str, float] = RATES, port: int = 0) -> None:
        """Listen on a port of 127.0.0.1, a free one if none is given."""
        super().__init__(("127.0.0.1", port), _Handler)
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.done: Counter[str] = Counter()
        self.late_s = 0.3
        self._rates, self._random, self._lock = rates, random.Random(seed), threading.Lock()  # noqa: S311 - repeatable

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def choose(self) -> str:
        """Return what befalls the next request."""
        with self._lock:
            dice = self._random.random()
            chosen = "nothing"
            for fault, rate in self._rates.items():
                if 0 <= dice < rate:
                    chosen = fault
                dice -= rate
            self.done[chosen] += 1
            return chosen

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep silent of connections that broke, which is what it is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def do_PUT(self) -> None:
        """Forward a request, or don't."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        fault = self.server.choose()
        if fault == "late":
            time.sleep(self.server.late_s)
        if fault == "slow down":
            self._answer(503, _SLOW_DOWN)
        elif fault == "broken":
            self._answer(500, b"")
        elif fault == "reset before":
            self._reset()
        elif fault == "reset within":
            self._forward(body, len(body) // 2)
            self._reset()
        else:
            status, headers, answer = self._forward(body, len(body))
            if fault == "half an answer":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            if fault in ("half an answer", "reset after"):
                self._reset()
            else:
                self._answer(status, answer, headers)

    def log_message(self, *_: object) -> None:
        """Keep silent."""

    def _forward(self, body: bytes, sent: int) -> tuple[int, Mapping[str, str], bytes]:
        """Send the first ``sent`` bytes of the body on; return the answer where that is all of it."""
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest("PUT", self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(body[:sent])
            if sent < len(body):
                return 0, {}, b""
            response = connection.getresponse()
            headers = {name: response.headers[name] for name in _PASSED if name in response.headers}
            return response.status, headers, response.read()

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """Close the connection so that the other end gets a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@contextlib.contextmanager
def proxy(upstream: str, seed: int, rates: Mapping[str, float] = RATES, port: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy to ``upstream``."""
    server = FaultProxy(upstream, seed, rates, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post(server: Server, body: bytes, *, give_up_first: bool) -> list[int]:
    """Post ``body`` until it is taken, the same bytes each time, as the apiserver does; return the statuses.

    With ``give_up_first``, once more besides, on a connection that ends before the answer.
    """
    if give_up_first:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request("POST", "/?timeout=30s", body, {"Content-Type": "application/json"})
    statuses: list[int] = []
    for _ in range(TRIES):
        answer = server.post(body)
        statuses.append(answer.status)
        if answer.status == 200:
            break
        assert answer.headers["retry-after"] == "1"
        time.sleep(PAUSE_S)
    return statuses
