"""The function in gunicorn, which functions-framework runs it in, over TLS, and what it stored."""

from __future__ import annotations

import http
import http.client
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from auditsplit.routing import names
from support.pki import Pki
from support.processes import free_port, kill, spawn, terminate, wait_until_ready

_MAIN = Path(__file__).parents[2] / "functions" / "main.py"
_GUNICORN = Path(sys.executable).parent / "gunicorn"
_AS_FRAMEWORK = (
    "--workers 2 --threads 8 --timeout 0 --limit-request-line 0 --preload --no-control-socket "
    "--worker-class auditsplit.serve.gunicorn_worker.Worker"
)
"""How functions-framework runs gunicorn, to which itself it gives no certificate."""

_PREFIX = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_NAME = rb'"username":("(?:[^"\\]|\\.)*")'
_USER = re.compile(rb',"user":\{(?:' + _NAME + rb")?")
_IMPERSONATED = re.compile(rb',"user":\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\},"impersonatedUser":\{' + _NAME)


class Function:
    """One function with a file store below ``folder``; it can be killed and started again on the same port."""

    def __init__(
        self,
        folder: Path,
        pki: Pki,
        *,
        user: str = "authenticated",
        mutual: bool = False,
        tls: bool = True,
        **environ: str,
    ) -> None:
        """Take ``AUDIT_USER`` and what else is in the environment; it has its port, and doesn't run yet.

        ``mutual`` wants client certificates. Without ``tls`` a proxy has to be in front.
        Nothing is cut out of events unless ``AUDIT_DROP`` says so.
        """
        self.port = free_port()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.root, self.log = folder / "events", folder / "function.log"
        self.user = user
        self._environ = {
            "AUDIT_USER": user,
            "AUDIT_SINKS": f"file:{self.root}?key={{cluster}}/{{user}}/audit",
            "AUDIT_DROP": "none",
            **environ,
        }
        self._pki, self._mutual, self._tls = pki, mutual, tls
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)

    def start(self, tokens: str = "") -> None:
        """Start it with ``AUDIT_TOKENS``, or those that it had before; returns once it answers."""
        if tokens or "AUDIT_TOKENS" not in self._environ:
            self._environ["AUDIT_TOKENS"] = tokens
        pair = self._pki.receiver
        command: list[str | Path] = [_GUNICORN, "--bind", f"127.0.0.1:{self.port}", *_AS_FRAMEWORK.split()]
        if self._tls:
            command += ["--certfile", pair.certificate, "--keyfile", pair.key]
        if self._mutual:
            command += ["--ca-certs", self._pki.ca, "--cert-reqs", "2"]
        command.append(f"functions_framework:create_app('ingest', {str(_MAIN)!r})")
        self._process = spawn(command, self.log, self._environ)
        wait_until_ready(self._process, self.log, self._ready)

    @property
    def sinks(self) -> str:
        """Its ``AUDIT_SINKS``."""
        return self._environ["AUDIT_SINKS"]

    @sinks.setter
    def sinks(self, urls: str) -> None:
        self._environ["AUDIT_SINKS"] = urls

    @property
    def tokens(self) -> str:
        """The ``AUDIT_TOKENS`` that it was last started with."""
        return self._environ["AUDIT_TOKENS"]

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            terminate(self._process, 40)

    def kill(self) -> None:
        """End it and its workers with SIGKILL."""
        if self._process is not None:
            kill(self._process)

    def stored(self) -> dict[str, list[bytes]]:
        """Return the stored lines by key, of live files and rotated ones."""
        return {
            str(path.relative_to(self.root)): path.read_bytes().split(b"\n")[:-1]
            for path in self.root.rglob("*")
            if path.is_file() and not {"_rejected", ".auditsplit"} & {path.relative_to(self.root).parts[0]}
        }

    def rejected(self) -> list[bytes]:
        """Return what it kept that was no event."""
        return [path.read_bytes() for path in (self.root / "_rejected").rglob("*") if path.is_file()]

    def troubles(self) -> Counter[int]:
        """Return how often it logged worse than information, by the status that it answered, 0 where it was none."""
        records = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"time":')]
        return Counter(record.get("status", 0) for record in records if record["severity"] != "INFO")

    def metrics_text(self) -> str:
        """Return its metrics as Prometheus reads them."""
        return self._get("/metrics")[1].decode()

    def _ready(self) -> bool:
        return self._get("/healthz")[0] == http.HTTPStatus.OK

    def _get(self, path: str) -> tuple[int, bytes]:
        context = self._pki.trusting()
        if self._mutual:
            context.load_cert_chain(*self._pki.client)
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=5)
            if self._tls
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        )
        with closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


def place(line: bytes, cluster: str, user: str = "authenticated") -> str:
    """Return the key where a line of the apiserver's log belongs.

    The names are found by their place, which Go's encoder keeps: parsers of Python refuse some of these lines.
    """
    if not line.startswith(_PREFIX):
        raise ValueError(f"no line of the log backend: {line[:80]!r}")
    head = line.partition(b',"requestObject":')[0].partition(b',"responseObject":')[0]
    found = (_IMPERSONATED.search(head) if user == "impersonated" else None) or _USER.search(head)
    if found is None:
        raise ValueError(f"no user in {line[:200]!r}")
    name = json.loads(found[1]) if found[1] else ""
    return f"{cluster}/{names.encode(name) if name else names.NO_USER}/audit"


def by_place(lines: Sequence[bytes], cluster: str, user: str = "authenticated") -> Counter[tuple[str, bytes]]:
    """Return how often each line of the apiserver's log belongs at its place."""
    return Counter((place(line, cluster, user), line) for line in lines)


def held(function: Function) -> Counter[tuple[str, bytes]]:
    """Return how often each line is stored at each key."""
    return Counter((key, line) for key, lines in function.stored().items() for line in lines)
