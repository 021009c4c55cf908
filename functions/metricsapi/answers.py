"""Responses: documents in the form that was negotiated, and refusals as ``Status`` objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditsplit.serve.messages import RETRY_SOON, Request, Response
from metricsapi import representations
from metricsapi.errors import Refusal, Unavailable
from metricsapi.representations import Form

_TERMINALS = ("curl", "Wget", "Mozilla/5.0")
HEADERS = {"Cache-Control": "no-cache, private"}
PLAIN = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", **HEADERS}


def is_pretty(request: Request, query: Mapping[str, str]) -> bool:
    """Return whether JSON is indented: where the query asks for it, and for people at a terminal or a browser."""
    if "pretty" in query:
        return query["pretty"] in ("", "1", "true")
    return request.headers.get("user-agent", "").startswith(_TERMINALS)


def error_type(request: Request) -> str:
    """Return the media type of a refusal: what the request accepts, JSON where it accepts nothing of ours."""
    try:
        return representations.negotiate(request.headers.get("accept", ""), is_list=True).media_type
    except Refusal:
        return representations.JSON


def refused(error: Refusal, media_type: str, *, pretty: bool) -> Response:
    """Return the answer with a refusal as a ``Status`` object."""
    document = error.document()
    body = representations.status(document) if media_type == representations.PROTOBUF else document
    response = encoded(error.status, body, Form(media_type), pretty=pretty)
    if error.status == Unavailable.status:
        response.headers.update(RETRY_SOON)
    if error.status == 403:  # noqa: PLR2004 - Forbidden
        response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def encoded(status: int, body: bytes | Mapping[str, Any], form: Form, *, pretty: bool) -> Response:
    """Return the answer with this body, or with this document in the form that was negotiated."""
    if not isinstance(body, bytes):
        body = representations.encode(body, form.media_type, pretty=pretty)
    return Response(status, {"Content-Type": form.media_type, **HEADERS}, body)
