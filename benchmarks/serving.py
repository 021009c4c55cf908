"""A functions-framework server as a process of its own, and the requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import psutil

from auditsplit import auth

INGEST = Path(__file__).parents[1] / "functions" / "main.py"
_HOST = "127.0.0.1"
_START_S = 30.0
_REQUEST_S = 60.0
_KIBIBYTE = 1024
_LOWER = 10  # of -20 to 19, where 0 is usual
_TOKEN, _TOKEN_HASH = auth.new_token("bench")


class Server:
    """A running server with one worker process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Take the process that was started to listen on ``port``."""
        self.port = port
        self._process = process
        self._family = psutil.Process(process.pid)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that stays open from request to request."""
        return http.client.HTTPConnection(_HOST, self.port, timeout=_REQUEST_S)

    def cpu_s(self) -> float:
        """Return the user and system time that its processes have used."""
        times = [process.cpu_times() for process in (self._family, *self._family.children(recursive=True))]
        return sum(used.user + used.system for used in times)

    def rss_bytes(self) -> int:
        """Return the memory that the worker has in use."""
        return self._status_bytes("VmRSS")

    def peak_rss_bytes(self) -> int:
        """Return the most memory that the worker had in use."""
        return self._status_bytes("VmHWM")

    def workers_rss_bytes(self) -> int:
        """Return the memory that all its workers have in use."""
        return sum(worker.memory_info().rss for worker in self._family.children())

    def lower_priority(self) -> None:
        """Let other programs go first."""
        for process in (self._family, *self._family.children()):
            process.nice(_LOWER)

    def wait_ready(self) -> None:
        """Return once it answers; ``RuntimeError`` where it stops or takes over half a minute."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), contextlib.closing(self.connect()) as connection:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return
            time.sleep(0.05)
        raise RuntimeError(
            f"the server on port {self.port} stopped, or did not answer within {_START_S:g} s; see its words above"
        )

    def _status_bytes(self, name: str) -> int:
        (worker,) = self._family.children()
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * _KIBIBYTE
        raise RuntimeError(f"/proc has no {name}")


@contextlib.contextmanager
def serve(source: Path, target: str, settings: Mapping[str, str], log: IO[bytes] | None = None) -> Iterator[Server]:
    """Run the function ``target`` of ``source`` with these settings and no others of ours, until the block ends.

    What it says goes to ``log``, or to our own standard error.
    """
    port = _free_port()
    program = Path(sys.executable).with_name("functions-framework")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_")}
    process = subprocess.Popen(
        [program, "--source", source, "--target", target, "--host", _HOST, "--port", str(port)],
        env={**environ, "WORKERS": "1", "AUDIT_TOKENS": str(_TOKEN_HASH), **settings},
        stderr=log,
    )
    try:
        server = Server(process, port)
        server.wait_ready()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def post(connection: http.client.HTTPConnection, body: bytes, encoding: str | None = None) -> None:
    """Post a body, with its Content-Encoding if it has one; ``RuntimeError`` unless it is answered 200."""
    response, text = _answer(connection, body, encoding)
    if response.status != http.client.OK:
        raise RuntimeError(f"expected 200, came {response.status}: {text[:500]!r}")


def status(connection: http.client.HTTPConnection, body: bytes) -> int:
    """Post a body, and return the answer's status."""
    return _answer(connection, body, None)[0].status


def _answer(
    connection: http.client.HTTPConnection, body: bytes, encoding: str | None
) -> tuple[http.client.HTTPResponse, bytes]:
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    if encoding:
        headers["Content-Encoding"] = encoding
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    return response, response.read()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port
