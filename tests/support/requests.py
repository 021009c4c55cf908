"""Requests to the function, without a server: a receiver with its sinks in memory, and its answers."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from auditsplit.auth import new_token
from auditsplit.deadline import Deadline
from auditsplit.decode.batch import Form
from auditsplit.event import Batch
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy import Transform
from auditsplit.policy.redaction import Redaction
from auditsplit.receipts import Receipt
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve.body import Stream
from auditsplit.serve.messages import Request, Response
from auditsplit.serve.receiver import Receiver
from auditsplit.settings import Settings
from auditsplit.sinks import Sink
from auditsplit.sinks.memory import MemorySink
from auditsplit.telemetry.figures import Figures
from support.eventlists import event, eventlist, line

JSON = "application/json"
TOKEN, KNOWN = new_token("prod")
BODY = eventlist([event("alice"), event("bob"), event("alice")])
LINES = {"alice": (line("alice") + b"\n") * 2, "bob": line("bob") + b"\n"}


def soon() -> Deadline:
    """Return a deadline that no test reaches."""
    return Deadline.after(60)


def memory_sinks(count: int) -> list[MemorySink]:
    """Return empty sinks."""
    return [MemorySink(KeyTemplate("{user}")) for _ in range(count)]


def ingest_into(sinks: Sequence[Sink], *transforms: Transform) -> Ingest:
    """Return the use case with these sinks."""
    return Ingest([Destination(sink) for sink in sinks], transforms or [Redaction()])


def receive(body: bytes, cluster: str, sinks: Sequence[Sink], *, lines: bool = False) -> Receipt:
    """Return the receipt of ``body`` once the ``sinks`` have it."""
    return ingest_into(sinks).receive(body, cluster, soon(), Figures(), Form(lines=lines))


def receiver(
    *sinks: MemorySink, max_body_bytes: int = 100_000, tokens: bool = False, redaction: Redaction | None = None
) -> Receiver:
    """Return a receiver with its sinks in memory."""
    settings = Settings(sinks=(), tokens=(KNOWN,) if tokens else (), max_body_bytes=max_body_bytes)
    return Receiver(settings, ingest_into(sinks or memory_sinks(1), redaction or Redaction()))


def sink_of(here: Receiver) -> MemorySink:
    """Return the receiver's first sink."""
    [sink, *_] = here.ingest.sinks
    assert isinstance(sink, MemorySink)
    return sink


def ask(  # noqa: PLR0913 - a request has that many parts
    here: Receiver,
    body: bytes | Stream = b"",
    *,
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    peer: str = "127.0.0.1",
) -> Response:
    """Return the answer to a request; its type is JSON unless ``headers`` say otherwise."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    return here.handle(Request(method, path, {"content-type": JSON, **(headers or {})}, stream, peer))


def document(answer: Response) -> dict[str, Any]:
    """Return the answer's JSON, of the type that its status requires."""
    expected = JSON if answer.status == 200 else "application/problem+json"
    assert answer.headers["Content-Type"] == expected
    parsed: dict[str, Any] = json.loads(answer.body)
    return parsed


def problem(answer: Response, status: int) -> str:
    """Return the detail of an answer that is a problem of ``status``, with all that RFC 9457 requires."""
    parsed = document(answer)
    assert answer.status == parsed["status"] == status
    assert parsed["type"] == "about:blank"
    assert parsed["title"]
    assert answer.headers["Cache-Control"] == "no-store"
    detail: str = parsed["detail"]
    assert detail
    return detail


def write(sink: Sink, batch: Batch) -> bool:
    """Write the batch, and return whether anything of it was new to the sink."""
    return bool(sink.write(batch, soon()).new)
