"""The routes of ingest: who may post, what a body may be, and which status each outcome has.

The statuses are a contract with kube-apiserver's webhook client. It counts any 2xx as delivered, drops a batch after
five tries of anything else, follows redirects with an empty GET, and heeds a whole number of seconds in ``Retry-After``
beside 429 and 5xx. So a 200 means that all sinks hold the batch, a sink's failure is a 503 with ``Retry-After: 1``, no
other 2xx is given where something could be posted, and nothing redirects.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from auditsplit import auth
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode import compression
from auditsplit.decode.batch import Form
from auditsplit.errors import (
    AuditsplitError,
    Busy,
    MethodNotAllowed,
    NotFound,
    SenderError,
    SinkError,
    Undecodable,
    UnsupportedBody,
)
from auditsplit.ingest import Ingest
from auditsplit.receipts import Receipt, whereabouts
from auditsplit.serve import body, envelopes
from auditsplit.serve.admission import Turn, Turns
from auditsplit.serve.counting import Counting, Metrics
from auditsplit.serve.messages import RETRY_LATER, RETRY_SOON, Request, Response, fault, json_response, problem
from auditsplit.settings import Settings
from auditsplit.telemetry.figures import Figures
from auditsplit.telemetry.logs import FIELDS

_INGEST = re.compile(r"/(?:clusters/(?P<cluster>[^/]+))?/?")
_JSON_TYPES = ("", "application/json")
_LINES_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_MAX_DIGITS = 18
_READY_S = 1.0  # for which an answer of /readyz is given again: nobody can make the sinks work by asking
_log = logging.getLogger(__name__)


class Receiver:
    """Answers requests by the settings. Any number of threads may use one at once."""

    def __init__(self, settings: Settings, ingest: Ingest, metrics: Metrics | None = None) -> None:
        """Keep the settings, the use case, and the counter of requests where there is one."""
        self.settings = settings
        self.ingest = ingest
        self._counting = Counting(metrics, {settings.cluster, *settings.clusters})
        self._turns = Turns()
        self._ready: tuple[float, Response] | None = None

    def recover(self) -> None:
        """Let the sinks finish what a killed process left. A sink that fails now does so with its first batch."""
        for sink in self.ingest.sinks:
            try:
                sink.recover()
            except SinkError as error:
                _log.error("at the start: %s", error)

    def handle(self, request: Request, deadline: Deadline | None = None) -> Response:
        """Return the answer. Every POST and every refused request is logged.

        Args:
            request: the request; its body is read here.
            deadline: until when the answer is needed; `REQUEST_S` from now where the platform has none, or a later one.
        """
        deadline = (deadline or Deadline.after(REQUEST_S)).within(REQUEST_S)._replace(sender_left=request.sender_left)
        figures = Figures()
        if envelopes.is_firehose(request):
            response = self._handled(envelopes.with_token(request), deadline, figures)
            return envelopes.answer(request, response)
        return self._handled(request, deadline, figures)

    def _handled(self, request: Request, deadline: Deadline, figures: Figures) -> Response:
        outcome = self._outcome(request, deadline, figures)
        status = outcome.response.status
        if outcome.message:
            fields = {"status": status, "code": outcome.code, "peer": request.peer, **figures.fields()}
            _log.log(outcome.level, outcome.message, extra={FIELDS: fields}, exc_info=outcome.fault)
        if _INGEST.fullmatch(request.path):
            self._counting.count(figures, status)
        return outcome.response

    def busy(self) -> Response:
        """Return the answer to a request that no thread has time to read. It is logged, and counted as no cluster's."""
        error = Busy("every thread is busy, for longer than a request should wait. Send it again")
        _log.warning("refused unread: busy", extra={FIELDS: {"status": 503, "code": error.code}})
        self._counting.count(Figures(), 503)
        return _busy(error)

    def _outcome(self, request: Request, deadline: Deadline, figures: Figures) -> _Outcome:
        try:
            return self._route(request, deadline, figures)
        except SenderError as error:
            answer = problem(error.status, error.title, error, error.headers, **_position(error))
            return _Outcome(answer, error.detail, error.code, logging.WARNING)
        except Busy as error:
            return _Outcome(_busy(error), str(error), error.code, logging.WARNING)
        except SinkError as error:
            answer = problem(503, "Sink not available", error, RETRY_SOON)
            return _Outcome(answer, str(error), error.code, logging.ERROR)
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged whole
            return _Outcome(fault(), "a fault in auditsplit", AuditsplitError.code, logging.ERROR, error)

    def _route(self, request: Request, deadline: Deadline, figures: Figures) -> _Outcome:
        if request.path in ("/healthz", "/readyz", "/metrics"):
            _expect_method(request, "GET", "HEAD")
            return _Outcome(self._watched(request, deadline))
        ingest = _INGEST.fullmatch(request.path)
        if not ingest:
            raise NotFound(f"expected the path / or /clusters/<cluster>, came {request.path[:80]!r}")
        _expect_method(request, "POST")
        return self._post(request, ingest["cluster"], deadline, figures)

    def _watched(self, request: Request, deadline: Deadline) -> Response:
        if request.path == "/healthz":
            return json_response(200, {"status": "ok"})
        if request.path == "/readyz":
            return self._readiness(deadline)
        auth.expect_watcher(request.headers, request.peer, self.settings.metrics_sha256)
        metrics = self._counting.metrics
        if metrics is None:
            raise NotFound("this server has no metrics. Install auditsplit with the extra 'metrics'")
        return Response(200, {"Content-Type": metrics.CONTENT_TYPE}, metrics.text())

    def _post(self, request: Request, asked: str | None, deadline: Deadline, figures: Figures) -> _Outcome:
        settings = self.settings
        if asked is not None:
            try:
                auth.check_cluster(asked)
            except ValueError as error:
                raise NotFound(str(error)) from error
        cluster = auth.authorize(request.headers, request.peer, asked, settings.tokens, settings.cluster)
        figures.cluster = cluster
        lines = _is_lines(request.headers.get("content-type", ""))
        with self._turns.turn(deadline) as turn:
            text = self._text(request, cluster, deadline, figures, turn)
            try:
                found = envelopes.records(request, text, settings.log_groups, settings.max_body_bytes, lines=lines)
            except Undecodable as error:
                raise self.ingest.reject(error, text, cluster, deadline, figures) from error
            if found is not None:
                figures.unwrapped(found.skipped, found.cut)
                if not found.lines:
                    return _accepted(Receipt(cluster, batches.digest(text, cluster), 0, [], alreadyStored=False))
                text, lines = found.text, True
            receipt = self.ingest.receive(text, cluster, deadline, figures, Form(lines=lines))
        return _accepted(receipt)

    def _text(self, request: Request, cluster: str, deadline: Deadline, figures: Figures, turn: Turn) -> bytes:
        """Return the body, decompressed. A large body waits for its turn, unread if its length was announced."""
        most, announced = self.settings.max_body_bytes, _content_length(request.headers)
        if announced is not None and announced <= most:
            turn.expect(announced)
        with figures.phase("read"):
            raw = body.read(request.stream, most, announced)
            figures.bytes_in = len(raw)
            turn.expect(len(raw))
            try:
                text = compression.decompress(raw, request.headers.get("content-encoding", ""), most)
            except Undecodable as error:
                raise self.ingest.reject(error, raw, cluster, deadline, figures) from error
        turn.expect(len(text))
        return text

    def _readiness(self, deadline: Deadline) -> Response:
        now = time.monotonic()
        if self._ready is None or now - self._ready[0] > _READY_S:
            self._ready = now, self._check_sinks(deadline)
        return self._ready[1]

    def _check_sinks(self, deadline: Deadline) -> Response:
        for sink in (sink for sink in self.ingest.sinks if sink.required):
            try:
                sink.check(deadline)
            except SinkError as error:
                until = " until a deployer acts" if error.needs_deployer else ""
                _log.error("not ready: %s", error)
                unready = SinkError(f"{sink.name} does not accept events{until}. See the log")
                return problem(503, "Sink not available", unready, {})
        return json_response(200, {"status": "ready"})


class _Outcome(NamedTuple):
    """An answer, and its log line; no line without a message."""

    response: Response
    message: str = ""
    code: str = "ok"
    level: int = logging.INFO
    fault: Exception | None = None


def _busy(error: Busy) -> Response:
    return problem(503, "Busy", error, RETRY_LATER)


def _accepted(receipt: Receipt) -> _Outcome:
    """Return the answer to a batch that is stored."""
    response = json_response(200, receipt.to_dict())
    message = f"{receipt.events} events {'were stored before' if receipt.alreadyStored else 'stored'}"
    if not receipt.rejected:
        return _Outcome(response, message)
    first = receipt.rejected[0]
    count = sum(item.items for item in receipt.rejected)
    message += f", {count} rejected. Item {first.index}: {first.reason}. {whereabouts(first.kept)}"
    return _Outcome(response, message, "rejected", logging.WARNING)


def _expect_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        raise MethodNotAllowed(
            f"expected {' or '.join(allowed)}, came {request.method[:20]!r}", Allow=", ".join(allowed)
        )


def _is_lines(content_type: str) -> bool:
    """Return whether the body has a document on each line; `UnsupportedBody` where the type is not JSON."""
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
