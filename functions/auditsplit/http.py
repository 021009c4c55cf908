"""HTTP without a framework: a request in plain strings and bytes, a response likewise.

The statuses are a contract with kube-apiserver's webhook client: it takes any 2xx for a delivery, drops a batch after
five tries of anything else, follows redirects with an empty GET, and heeds a whole number of seconds in ``Retry-After``
beside 429 and 5xx. So: 200 once all is durable, 503 with ``Retry-After: 1`` for a store's trouble, no other 2xx where
something could be posted, no redirect. Errors are problem details (RFC 9457).
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from auditsplit import auth, body, deadline, fanout
from auditsplit.errors import (
    BrokenOff,
    MethodNotAllowed,
    NotFound,
    SenderError,
    StoreError,
    Undecodable,
    UnsupportedBody,
)
from auditsplit.settings import Settings

_INGEST = re.compile(r"/(?:clusters/(?P<cluster>[^/]+))?/?")
_JSON_TYPES = ("", "application/json")
_LINES_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_MAX_DIGITS = 18
_READY_S = 1.0  # for which an answer of /readyz counts: whoever asks can't make the stores work
_log = logging.getLogger(__name__)


class Request(NamedTuple):
    """What came: ``headers`` with lower-case names, ``peer`` the address of the other end."""

    method: str
    path: str
    headers: Mapping[str, str]
    stream: body.Stream
    peer: str


class Response(NamedTuple):
    """What goes back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers requests by the settings; any number of threads may use one at once."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; the stores are touched by the first request."""
        self.settings = settings
        self._ready: tuple[float, Response] | None = None

    def recover(self) -> None:
        """Let the stores finish what a killed process left; one that can't now does so with its first batch."""
        for sink in self.settings.sinks:
            try:
                sink.recover()
            except StoreError as error:
                _log.error("at the start: %s", error)

    def handle(self, request: Request) -> Response:
        """Return the answer; never raises."""
        try:
            with deadline.within(deadline.REQUEST_S):
                return self._route(request)
        except SenderError as error:
            _log.warning("%d to %s: %s", error.status, request.peer, error.detail)
            _drain(request, error, self.settings.max_body_bytes)
            return _problem(error.status, error.title, error.detail, error.headers, **_position(error))
        except StoreError as error:
            _log.error("503 to %s: %s", request.peer, error)
            return _problem(503, "Store not available", str(error), {"Retry-After": "1"})
        except Exception:  # noqa: BLE001 - the last line of defence; it is logged whole
            _log.exception("500 to %s", request.peer)
            detail = "a fault in auditsplit, described in its log; nothing of this request was acknowledged"
            return _problem(500, "Internal Server Error", detail, {"Retry-After": "1"})

    def _route(self, request: Request) -> Response:
        if request.path == "/healthz":
            _expect_method(request, "GET", "HEAD")
            return _json(200, {"status": "ok"})
        if request.path == "/readyz":
            _expect_method(request, "GET", "HEAD")
            return self._readiness()
        ingest = _INGEST.fullmatch(request.path)
        if not ingest:
            raise NotFound(f"expected the path / or /clusters/<cluster>, came {request.path[:80]!r}")
        _expect_method(request, "POST")
        return self._ingest(request, ingest["cluster"])

    def _ingest(self, request: Request, asked: str | None) -> Response:
        settings = self.settings
        if asked is not None and not auth.CLUSTER.fullmatch(asked):
            raise NotFound(f"{asked[:63]!r} is no cluster name; write a-z 0-9 - . and at most 63 characters")
        cluster = auth.authorize(request.headers, request.peer, asked, settings.tokens, settings.cluster)
        lines = _is_lines(request.headers.get("content-type", ""))
        raw = body.read(request.stream, settings.max_body_bytes, _content_length(request.headers))
        encoding = request.headers.get("content-encoding", "")
        try:
            text = body.decompress(raw, encoding, settings.max_body_bytes)
        except Undecodable as error:
            raise fanout.kept(error, raw, cluster, settings.sinks) from error
        receipt = fanout.receive(text, cluster, settings.sinks, lines=lines)
        for item in receipt.rejected:
            _log.warning("item %s of batch %s: %s; kept as %s", item.index, receipt.batch, item.reason, item.kept)
        return _json(200, receipt.to_dict())

    def _readiness(self) -> Response:
        now = time.monotonic()
        if self._ready is None or now - self._ready[0] > _READY_S:
            self._ready = now, self._check_sinks()
        return self._ready[1]

    def _check_sinks(self) -> Response:
        for sink in self.settings.sinks:
            try:
                sink.check()
            except StoreError as error:
                whose = " until a deployer acts" if error.deployers else ""
                _log.error("not ready: %s", error)
                return _problem(503, "Store not available", f"{sink.name} does not take events{whose}; see the log", {})
        return _json(200, {"status": "ready"})


def _expect_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        raise MethodNotAllowed(
            f"expected {' or '.join(allowed)}, came {request.method[:20]!r}", Allow=", ".join(allowed)
        )


def _is_lines(content_type: str) -> bool:
    """Return whether the body has a document on each line; `UnsupportedBody` for what is no JSON at all."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _LINES_TYPES:
        return True
    if media_type in _JSON_TYPES:
        return False
    raise UnsupportedBody(
        f"expected Content-Type application/json (an EventList or Event) or application/x-ndjson (an Event on each "
        f"line), came {media_type[:60]!r}",
        Accept_Post="application/json, application/x-ndjson",
    )


def _drain(request: Request, error: SenderError, max_bytes: int) -> None:
    """Read what the sender may still be sending, so that the answer gets read."""
    if not isinstance(error, BrokenOff):
        with contextlib.suppress(BrokenOff, OSError):
            body.drain(request.stream, max_bytes)


def _content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < _MAX_DIGITS else sys.maxsize


def _position(error: SenderError) -> dict[str, int]:
    position = getattr(error, "position", None)
    return {} if position is None else {"position": position}


def _json(status: int, document: Mapping[str, Any], content_type: str = "application/json") -> Response:
    text = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return Response(status, {"Content-Type": content_type, "Cache-Control": "no-store"}, text)


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str], **more: int) -> Response:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    response = _json(status, document, "application/problem+json")
    response.headers.update(headers)
    return response
