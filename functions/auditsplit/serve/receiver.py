"""HTTP without a framework: a request in plain strings and bytes, a response likewise.

The statuses are a contract with kube-apiserver's webhook client: it takes any 2xx for a delivery, drops a batch after
five tries of anything else, follows redirects with an empty GET, and heeds a whole number of seconds in ``Retry-After``
beside 429 and 5xx. So: 200 once all is durable, 503 with ``Retry-After: 1`` for a store's trouble, no other 2xx where
something could be posted, no redirect. Errors are problem details (RFC 9457).
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from auditsplit import auth, deadline, ingest
from auditsplit.errors import (
    AuditsplitError,
    Busy,
    MethodNotAllowed,
    NotFound,
    SenderError,
    StoreError,
    Undecodable,
    UnsupportedBody,
)
from auditsplit.ingest import Receipt
from auditsplit.serve import body
from auditsplit.settings import Settings
from auditsplit.telemetry import observation
from auditsplit.telemetry.logs import FIELDS
from auditsplit.telemetry.observation import Observation

_INGEST = re.compile(r"/(?:clusters/(?P<cluster>[^/]+))?/?")
_JSON_TYPES = ("", "application/json")
_LINES_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_MAX_DIGITS = 18
_READY_S = 1.0  # for which an answer of /readyz counts: whoever asks can't make the stores work
_COME_AGAIN = {"Retry-After": "1"}
_COME_LATER = {"Retry-After": "5"}  # a sender with more than is done sends whole bodies each time, to be refused
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


class Metrics(Protocol):
    """What counts requests; the module `auditsplit.telemetry.metrics` is one."""

    CONTENT_TYPE: str

    def count(self, seen: Observation, status: int, clusters: Collection[str], /) -> None:
        """Count one answered request."""

    def text(self) -> bytes:
        """Return what is told of them, of `CONTENT_TYPE`."""


class Receiver:
    """Answers requests by the settings; any number of threads may use one at once."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        """Take the settings, and what counts, if anything does; the stores are touched by the first request."""
        self.settings = settings
        self._metrics = metrics
        self._clusters = {settings.cluster, *(token.cluster for token in settings.tokens)}
        self._ready: tuple[float, Response] | None = None

    def recover(self) -> None:
        """Let the stores finish what a killed process left; one that can't now does so with its first batch."""
        for sink in self.settings.sinks:
            try:
                sink.recover()
            except StoreError as error:
                _log.error("at the start: %s", error)

    def handle(self, request: Request) -> Response:
        """Return the answer; never raises. A request that posts gets a line in the log, and so does a refused one."""
        with observation.request() as seen, deadline.within(deadline.REQUEST_S):
            told = self._answered(request)
        status = told.response.status
        if told.message:
            fields = {"status": status, "code": told.code, "peer": request.peer, **seen.fields()}
            _log.log(told.level, told.message, extra={FIELDS: fields}, exc_info=told.fault)
        if self._metrics and _INGEST.fullmatch(request.path):
            self._metrics.count(seen, status, self._clusters)
        return told.response

    def busy(self) -> Response:
        """Return the answer to a request that nobody has time to read; it is logged, and counted as no cluster's."""
        error = Busy("every thread is at work, for longer than a request should wait; send it again")
        _log.warning("refused unread: busy", extra={FIELDS: {"status": 503, "code": error.code}})
        if self._metrics:
            self._metrics.count(Observation(), 503, self._clusters)
        return _problem(503, "Busy", error, _COME_LATER)

    def _answered(self, request: Request) -> _Told:
        try:
            return self._route(request)
        except SenderError as error:
            problem = _problem(error.status, error.title, error, error.headers, **_position(error))
            return _Told(problem, error.detail, error.code, logging.WARNING)
        except StoreError as error:
            problem = _problem(503, "Store not available", error, _COME_AGAIN)
            return _Told(problem, str(error), error.code, logging.ERROR)
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged whole
            told = AuditsplitError(
                "a fault in auditsplit, described in its log; nothing of this request was acknowledged"
            )
            problem = _problem(500, "Internal Server Error", told, _COME_AGAIN)
            return _Told(problem, "a fault in auditsplit", told.code, logging.ERROR, error)

    def _route(self, request: Request) -> _Told:
        if request.path in ("/healthz", "/readyz", "/metrics"):
            _expect_method(request, "GET", "HEAD")
            return _Told(self._watched(request))
        ingest = _INGEST.fullmatch(request.path)
        if not ingest:
            raise NotFound(f"expected the path / or /clusters/<cluster>, came {request.path[:80]!r}")
        _expect_method(request, "POST")
        return self._ingest(request, ingest["cluster"])

    def _watched(self, request: Request) -> Response:
        if request.path == "/healthz":
            return _json(200, {"status": "ok"})
        if request.path == "/readyz":
            return self._readiness()
        auth.expect_watcher(request.headers, request.peer, self.settings.metrics_sha256)
        if self._metrics is None:
            raise NotFound("no metrics are kept here; a server keeps them with auditsplit[metrics] installed")
        return Response(200, {"Content-Type": self._metrics.CONTENT_TYPE}, self._metrics.text())

    def _ingest(self, request: Request, asked: str | None) -> _Told:
        settings, seen = self.settings, observation.current()
        if asked is not None:
            try:
                auth.check_cluster(asked)
            except ValueError as error:
                raise NotFound(str(error)) from error
        cluster = auth.authorize(request.headers, request.peer, asked, settings.tokens, settings.cluster)
        seen.cluster = cluster
        lines = _is_lines(request.headers.get("content-type", ""))
        with observation.phase("read"):
            raw = body.read(request.stream, settings.max_body_bytes, _content_length(request.headers))
            seen.bytes_in = len(raw)
            try:
                text = body.decompress(raw, request.headers.get("content-encoding", ""), settings.max_body_bytes)
            except Undecodable as error:
                raise ingest.kept(error, raw, cluster, settings.sinks) from error
        receipt = ingest.receive(text, cluster, settings.sinks, lines=lines, redaction=settings.redaction)
        seen.again = receipt.alreadyStored
        return _told(receipt)

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
                told = StoreError(f"{sink.name} does not take events{whose}; see the log")
                return _problem(503, "Store not available", told, {})
        return _json(200, {"status": "ready"})


class _Told(NamedTuple):
    """An answer, and what the log says of it; nothing, without a message."""

    response: Response
    message: str = ""
    code: str = "ok"
    level: int = logging.INFO
    fault: Exception | None = None


def _told(receipt: Receipt) -> _Told:
    """Return the answer to a batch that was stored."""
    response = _json(200, receipt.to_dict())
    message = f"{receipt.events} events {'were stored before' if receipt.alreadyStored else 'stored'}"
    if not receipt.rejected:
        return _Told(response, message)
    first = receipt.rejected[0]
    count = sum(item.items for item in receipt.rejected)
    message += f", {count} rejected; item {first.index}: {first.reason}; kept as {', '.join(first.kept)}"
    return _Told(response, message, "rejected", logging.WARNING)


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


def _problem(status: int, title: str, error: AuditsplitError, headers: Mapping[str, str], **more: int) -> Response:
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": str(error),
        "code": error.code,
        **more,
    }
    response = _json(status, document, "application/problem+json")
    response.headers.update(headers)
    return response
