"""A functions-framework server as a process of its own, and the requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil
import trustme

from auditsplit import auth

INGEST = Path(__file__).parents[1] / "functions" / "main.py"
_HOST = "127.0.0.1"
_START_S = 30.0
_REQUEST_S = 60.0
_KIBIBYTE = 1024
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

    def wait_ready(self) -> None:
        """Return once it answers; ``RuntimeError`` where it stops or takes over half a minute."""
        self._wait(self._answers)

    def wait_listening(self) -> None:
        """Return once it takes connections, of whatever protocol; ``RuntimeError`` likewise."""
        self._wait(self._listens)

    def _answers(self) -> None:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", "/healthz")
            connection.getresponse().read()

    def _listens(self) -> None:
        socket.create_connection((_HOST, self.port), _START_S).close()

    def _wait(self, attempt: Callable[[], None]) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                return attempt()
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
    """Run the function ``target`` of ``source`` with these settings and no others of ours, until the block ends."""
    port = _free_port()
    program = Path(sys.executable).with_name("functions-framework")
    command = [program, "--source", source, "--target", target, "--host", _HOST, "--port", str(port)]
    with _running(command, port, settings, log) as server:
        server.wait_ready()
        yield server


@contextlib.contextmanager
def serve_tls(folder: Path, settings: Mapping[str, str], log: IO[bytes]) -> Iterator[Server]:
    """Run the function over TLS, in gunicorn as functions-framework runs it; ``folder/ca.pem`` is the authority's."""
    authority = trustme.CA()
    leaf = authority.issue_cert(_HOST)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "tls.pem"))
    port = _free_port()
    threads = str((os.cpu_count() or 1) * 4)  # functions-framework's default
    command = [
        *(Path(sys.executable).with_name("gunicorn"), "--no-control-socket", "--log-level=error", "--timeout=0"),
        *(f"--certfile={folder}/tls.pem", f"--keyfile={folder}/tls.pem", f"--bind={_HOST}:{port}"),
        *(f"--threads={threads}", f"--workers={settings.get('WORKERS', '1')}"),
        f"functions_framework:create_app('ingest', {str(INGEST)!r}, 'http')",
    ]
    with _running(command, port, settings, log) as server:
        server.wait_listening()
        yield server


def kubeconfig(server: Server, ca: Path | None = None) -> dict[str, Any]:
    """Return the kubeconfig of a sender, over TLS with the authority ``ca``; its program notes every attempt."""
    cluster = {"server": f"{'https' if ca else 'http'}://{_HOST}:{server.port}/"}
    if ca:
        cluster["certificate-authority"] = str(ca)
    user = {"token": _TOKEN, "auth-provider": {"name": "meter"}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": user}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


@contextlib.contextmanager
def _running(
    command: Sequence[str | Path], port: int, settings: Mapping[str, str], log: IO[bytes] | None = None
) -> Iterator[Server]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_")}
    process = subprocess.Popen(
        command, env={**environ, "WORKERS": "1", "AUDIT_TOKENS": str(_TOKEN_HASH), **settings}, stderr=log
    )
    try:
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def post(connection: http.client.HTTPConnection, body: bytes, encoding: str | None = None) -> None:
    """Post a body, with its Content-Encoding if it has one; ``RuntimeError`` unless it is answered 200."""
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    if encoding:
        headers["Content-Encoding"] = encoding
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != http.client.OK:
        raise RuntimeError(f"expected 200, came {response.status}: {text[:500]!r}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port
