"""Answers to requests that gunicorn cannot read, or that the worker refuses unread. No framework sends them.

By itself gunicorn answers in HTML. These answers are problem details, and each is logged.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus

from gunicorn.http import errors

from auditsplit.errors import AuditsplitError, Unreadable
from auditsplit.serve.messages import Response, fault, problem
from auditsplit.telemetry.logs import FIELDS

_STATUSES: Mapping[type[Exception], HTTPStatus] = {
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
_log = logging.getLogger(__name__)


def answer_to(error: BaseException, peer: object) -> Response:
    """Return the answer to a request whose reading failed with ``error``.

    ``peer`` is its address as ``accept`` returned it. Neither the answer nor the log repeats the request: a header that
    is not valid may hold a token.
    """
    if isinstance(error, errors.ConfigurationProblem) or not isinstance(error, errors.ParseException | ssl.SSLError):
        _report(500, AuditsplitError.code, peer, error)
        return fault()
    status = _STATUSES.get(type(error), HTTPStatus.BAD_REQUEST)
    return _refusal(status, f"the request is not valid HTTP ({type(error).__name__})", peer)


def too_large(peer: object) -> Response:
    """Return the answer to a request with a head that is larger than the worker reads."""
    return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too large", peer)


def send(sock: socket.socket, response: Response) -> None:
    """Send a whole answer, which fits any socket's buffer, and announce the end of the connection."""
    status = HTTPStatus(response.status)
    headers = {**response.headers, "Content-Length": len(response.body), "Connection": "close"}
    lines = [f"HTTP/1.1 {status:d} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    with contextlib.suppress(OSError):
        sock.send("\r\n".join([*lines, "", ""]).encode() + response.body)


def _refusal(status: HTTPStatus, detail: str, peer: object) -> Response:
    error = Unreadable(detail)
    _report(status, error.code, peer)
    return problem(status, status.phrase, error, {})


def _report(status: int, code: str, peer: object, error: BaseException | None = None) -> None:
    address = str(peer[0]) if isinstance(peer, tuple) else ""  # a Unix socket has none
    level = logging.ERROR if error else logging.WARNING
    message = "a fault in the server" if error else "refused unread: not valid HTTP"
    _log.log(level, message, extra={FIELDS: {"status": int(status), "code": code, "peer": address}}, exc_info=error)
