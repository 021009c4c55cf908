"""Requests and responses in plain strings and bytes, without a framework. Errors are problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from auditsplit.errors import AuditsplitError
from auditsplit.serve import body

RETRY_SOON: Mapping[str, str] = {"Retry-After": "1"}
"""For the trouble of one sink: the next try may find it over."""

RETRY_LATER: Mapping[str, str] = {"Retry-After": "5"}
"""For an overloaded process: longer, because every retry sends the whole body again."""


class Request(NamedTuple):
    """A request.

    ``headers`` have lower-case names, ``peer`` is the address of the other end, and ``sender_left`` returns whether
    that end has closed the connection. ``query`` is the part behind the question mark, as sent.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    stream: body.Stream
    peer: str
    sender_left: Callable[[], bool] = lambda: False
    query: str = ""
    fields: Sequence[tuple[str, str]] = ()
    """The headers in the order in which they came, where the server tells it. Repeated headers are not joined."""
    certificate: Sequence[tuple[str, str]] | None = None
    """The subject of the sender's verified certificate, as pairs such as ``("commonName", "front-proxy-client")``."""


class Response(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes


def fault() -> Response:
    """Return the answer to a request that met a fault in here. Its description is for the log alone."""
    error = AuditsplitError("a fault in auditsplit, described in its log. Nothing of this request was acknowledged")
    return problem(500, "Internal Server Error", error, RETRY_SOON)


def json_response(status: int, document: Mapping[str, Any], content_type: str = "application/json") -> Response:
    """Return ``document`` as a response that no cache stores."""
    text = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return Response(status, {"Content-Type": content_type, "Cache-Control": "no-store"}, text)


def problem(status: int, title: str, error: AuditsplitError, headers: Mapping[str, str], **more: int) -> Response:
    """Return ``error`` as problem details; ``more`` are further members."""
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": str(error),
        "code": error.code,
        **more,
    }
    response = json_response(status, document, "application/problem+json")
    response.headers.update(headers)
    return response
