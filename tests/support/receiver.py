"""A server that keeps what it is sent, and answers as a test says: at once, late, wrongly, or not at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias

from support.pki import Pki


class Posted(NamedTuple):
    """A request: ``headers`` with lower-case names, ``peer`` the client certificate's common name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    peer: str | None
    at: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """The items of the EventList in the body; none where there is no body."""
        items: list[dict[str, Any]] = json.loads(self.body)["items"] if self.body else []
        return items


class Reply(NamedTuple):
    """An answer."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


Answering: TypeAlias = "Callable[[Posted], Reply | None]"
"""Answers a request; None closes the connection without an answer."""


class Receiver(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1; ``got`` is what came, in its order."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answering: Answering, tls: ssl.SSLContext | None) -> None:
        """Listen; without ``tls`` in plain HTTP."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answering, self.tls = answering, tls
        self.got: list[Posted] = []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    @property
    def posts(self) -> list[Posted]:
        """What came as a POST, as every batch should."""
        return [posted for posted in self.got if posted.method == "POST"]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Return the next connection; its first read shakes hands, in its own thread."""
        plain, peer = super().get_request()
        if self.tls is None:
            return plain, peer
        return self.tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep silent of connections that broke, some of which is what it is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """Keep a request, and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        posted = Posted(self.command, self.path, headers, body, self._peer(), time.monotonic())
        self.server.got.append(posted)
        reply = self.server.answering(posted)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def do_GET(self) -> None:
        """Answer a GET like a POST: a redirect may turn one into the other."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Keep silent."""

    def _peer(self) -> str | None:
        found: Any = self.request.getpeercert() if isinstance(self.request, ssl.SSLSocket) else None
        subject = {name: value for part in (found or {}).get("subject", ()) for name, value in part}
        return subject.get("commonName")


def taking(_: Posted) -> Reply:
    """Take everything."""
    return Reply()


def forwarding(
    url: str,
    pki: Pki,
    *,
    delay_s: Callable[[int], float] = lambda _: 0,
    cut: Callable[[int], bool] = lambda _: False,
) -> Answering:
    """Pass requests on to ``url``: the n-th after ``delay_s(n)`` seconds, its answer thrown away where ``cut(n)``."""
    lock, host, numbers = threading.Lock(), url.partition("//")[2], iter(range(10**9))

    def answering(posted: Posted) -> Reply | None:
        with lock:
            number = next(numbers)
        time.sleep(delay_s(number))
        connection = http.client.HTTPSConnection(host, context=pki.trusting(), timeout=30)
        with contextlib.closing(connection):
            connection.request(posted.method, posted.target, posted.body, posted.headers)
            response = connection.getresponse()
            reply = Reply(response.status, {"Retry-After": "1"} if response.status >= 500 else {}, response.read())
        return None if cut(number) else reply

    return answering


@contextlib.contextmanager
def receiving(answering: Answering = taking, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    server = Receiver(answering, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
