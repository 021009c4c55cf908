"""The Lambda Runtime API, as Lambda itself serves it to the program in a function, and that program: awslambdaric.

The interface is https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, version 2018-06-01. One runtime takes
one event after the other, so a queue each way is all there is to it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

MAX_BYTES = 6 * 1024 * 1024
"""What Lambda takes as an event."""

_ARN = "arn:aws:lambda:us-east-1:000000000000:function:audit"
_STOP_S = 10.0
_POLL_S = 0.05


class Outcome(NamedTuple):
    """What the runtime told: ``kind`` is ``response``, ``error`` or ``init/error``; or ``exit`` or ``timeout``."""

    kind: str
    document: dict[str, Any]


class RuntimeApi(ThreadingHTTPServer):
    """Serves events from the one queue, puts what became of them into the other."""

    daemon_threads = True

    def __init__(self, timeout_s: float) -> None:
        """Listen on a free port of 127.0.0.1; an event may take ``timeout_s``."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.timeout_s = timeout_s
        self.events: SimpleQueue[tuple[str, bytes] | None] = SimpleQueue()
        self.outcomes: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()
        self.ready = threading.Event()  # once the runtime has begun to ask for events

    @property
    def address(self) -> str:
        """Where it listens, as ``AWS_LAMBDA_RUNTIME_API`` has it."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RuntimeApi

    def do_GET(self) -> None:
        """Answer ``runtime/invocation/next`` once there is an event; with 500 where none comes any more."""
        self.server.ready.set()
        event = self.server.events.get()
        if event is None:
            self._answer(500)
            return
        request_id, body = event
        deadline_ms = int(1000 * (time.time() + self.server.timeout_s))
        names = {"Aws-Request-Id": request_id, "Deadline-Ms": str(deadline_ms), "Invoked-Function-Arn": _ARN}
        headers = {f"Lambda-Runtime-{name}": value for name, value in names.items()}
        self._answer(200, body, {"Content-Type": "application/json", **headers})

    def do_POST(self) -> None:
        """Take ``runtime/invocation/<id>/response`` or ``/error``, or ``runtime/init/error``."""
        document = json.loads(self._body() or b"{}")
        *_, owner, what = self.path.split("/")
        kind = "init/error" if owner == "init" else what
        self.server.outcomes.put((owner, Outcome(kind, document)))
        self._answer(202)

    def log_message(self, *_: object) -> None:
        """Keep silent."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Function:
    """A function that runs: invoked here, it is answered by awslambdaric."""

    def __init__(self, api: RuntimeApi, process: subprocess.Popen[bytes], log: Path) -> None:
        """Take both over; ``log`` is the file of its standard output and error."""
        self.process = process
        self._api, self._log = api, log

    @property
    def log(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text()

    def wait_ready(self) -> None:
        """Return once it takes events; ``RuntimeError`` where it does not within the time for one."""
        if not self._api.ready.wait(self._api.timeout_s):
            raise RuntimeError(f"the function did not start: {self.log[-2000:]}")

    def invoke(self, event: object) -> Outcome:
        """Return what becomes of ``event``; ``ValueError`` where Lambda would not take one so large."""
        body = json.dumps(event, ensure_ascii=False).encode()
        if len(body) > MAX_BYTES:
            raise ValueError(f"the event has {len(body)} bytes, Lambda takes {MAX_BYTES}")
        request_id = str(uuid.uuid4())
        self._api.events.put((request_id, body))
        return self.outcome(request_id)

    def outcome(self, request_id: str = "init") -> Outcome:
        """Return the next that the runtime tells, which must be of that event, or of its start."""
        deadline = time.monotonic() + self._api.timeout_s
        while time.monotonic() < deadline:
            exited = self.process.poll() is not None
            with contextlib.suppress(Empty):
                owner, outcome = self._api.outcomes.get(timeout=_POLL_S)
                if owner not in (request_id, "init"):
                    raise RuntimeError(f"the runtime told of {owner}, not of {request_id}")
                return outcome
            if exited:
                return Outcome("exit", {"code": self.process.returncode})
        return Outcome("timeout", {})


@contextlib.contextmanager
def running(
    task: Path, environ: Mapping[str, str], log: Path, *, timeout_s: float = 30, python: str = sys.executable
) -> Iterator[Function]:
    """Run ``lambda_function.ingest`` of the folder ``task`` in awslambdaric, with no environment but ``environ``.

    And but for what Lambda sets itself. It ends by being given no more events.
    """
    handler = "lambda_function.ingest"
    api = RuntimeApi(timeout_s)
    threading.Thread(target=api.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True).start()
    own = {
        "AWS_LAMBDA_FUNCTION_NAME": "audit",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(task),
        "PYTHONDONTWRITEBYTECODE": "1",  # as where a function's own folder can't be written
        "_HANDLER": handler,
    }
    with log.open("ab") as out:
        process = subprocess.Popen(
            [python, "-m", "awslambdaric", handler], cwd=task, env={**environ, **own}, stdout=out, stderr=out
        )
    try:
        yield Function(api, process, log)
    finally:
        api.events.put(None)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        api.shutdown()
        api.server_close()
