"""Receivers over TLS for the probe: the function in its real server, and one that answers as it is told."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import trustme

from support.environment import plain_environment
from support.server import MAIN, free_port

_GUNICORN = Path(sys.executable).parent / "gunicorn"
_APP = f"functions_framework:create_app('ingest', {str(MAIN)!r}, 'http')"
_START_S = 60


class Certificates:
    """A CA, and what it issued for ``audit.example.com`` and 127.0.0.1, as files."""

    def __init__(self, folder: Path) -> None:
        """Write them below ``folder``."""
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.chain, self.key = folder / "tls.crt", folder / "tls.key"
        self.client_chain, self.client_key = folder / "client.crt", folder / "client.key"
        self.authority.cert_pem.write_to_path(str(self.ca))
        for leaf, chain, key in (
            (self.authority.issue_cert("127.0.0.1", "audit.example.com"), self.chain, self.key),
            (self.authority.issue_cert("apiserver@prod"), self.client_chain, self.client_key),
        ):
            leaf.private_key_pem.write_to_path(str(key))
            chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))


@contextlib.contextmanager
def function(folder: Path, certificates: Certificates, environ: Mapping[str, str], *options: str) -> Iterator[int]:
    """Run the function with functions-framework in gunicorn over TLS; yield its port. ``options`` are gunicorn's."""
    port = free_port()
    tls = [f"--certfile={certificates.chain}", f"--keyfile={certificates.key}"]
    command = [
        str(_GUNICORN),
        *tls,
        *options,
        f"--bind=127.0.0.1:{port}",
        "--threads=4",
        "--worker-class=auditsplit.serve.gunicorn_worker.Worker",
        "--no-control-socket",
        _APP,
    ]
    log = folder / "gunicorn.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env={**plain_environment(), **environ}, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"gunicorn did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None], certificates: Certificates | None) -> Iterator[int]:
    """Run a server, over TLS with ``certificates``, that answers each POST with ``answer``; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):  # the probe may be gone
                answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server):
        yield server.server_address[1]


class Proxy(socketserver.BaseRequestHandler):
    """An HTTP proxy that does CONNECT to anywhere on 127.0.0.1, and remembers what it was asked."""

    asked: ClassVar[list[str]] = []

    def handle(self) -> None:
        """Pass bytes on in both directions."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.request.recv(1)
        self.asked.append(head.decode())
        port = int(head.split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as target:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = threading.Thread(target=_copy, args=(target, self.request), daemon=True)
            other.start()
            _copy(self.request, target)
            other.join()


@contextlib.contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """Run a `Proxy`; yield its port and the heads of the requests to it."""
    Proxy.asked.clear()
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    with _serving(server):
        yield server.server_address[1], Proxy.asked


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
