"""The function in its real server: functions-framework as a process of its own, and a plain client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from support.environment import plain_environment

SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m disk "$0" && exec "$@"')
"""Run before a command, with a folder as its first argument: that folder is a disk of 1 MiB."""

MAIN = Path(__file__).parents[2] / "functions" / "main.py"
_BIN = Path(sys.executable).parent
_START_S = 30


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON document."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Server:
    """A running functions-framework; ``folder`` is its working folder, ``log`` where its standard error goes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        """Take the process over."""
        self.process, self.port, self.folder = process, port, folder
        self.log = folder / "server.log"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer to one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def post(self, body: bytes, path: str = "/?timeout=30s", **headers: str) -> Answer:
        """Post ``body`` as kube-apiserver does."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, {"Content-Type": "application/json", **named})

    def workers(self) -> list[psutil.Process]:
        """Return gunicorn's worker processes."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """End the server and its workers with SIGKILL, as a power switch would."""
        for process in [psutil.Process(self.process.pid), *self.workers()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def answered(connection: socket.socket) -> bytes:
    """Return what comes until the other end closes, or resets the connection."""
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            came += piece
    return came


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    folder: Path, environ: Mapping[str, str], *, before: tuple[str, ...] = (), main: Path = MAIN, programs: Path = _BIN
) -> Iterator[Server]:
    """Start functions-framework in ``folder`` with ``environ`` beside the usual, behind the command ``before``.

    It serves ``main``, and is the one in the folder ``programs``.
    """
    port = free_port()
    command = [*before, str(programs / "functions-framework"), "--source", str(main), "--target", "ingest"]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**plain_environment(), **environ},
            stderr=log,
        )
    server = Server(process, port, folder)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(server: Server) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if server.request("GET", "/healthz").status == http.HTTPStatus.OK:
                return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {server.log.read_text()[-2000:]}") from None
            time.sleep(0.05)
