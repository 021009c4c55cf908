"""AWS Lambda's events as requests, and responses in the shape that the event's source expects.

The sources, and the fields that tell them apart:

- a Function URL, and API Gateway's HTTP API with payload 2.0: ``requestContext.http``
- API Gateway's REST API, and its HTTP API with payload 1.0, which alone says so in ``version``: ``httpMethod``
- an Application Load Balancer: ``httpMethod`` and ``requestContext.elb``

Their documents: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html,
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html,
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from auditsplit.errors import AuditsplitError
from auditsplit.serve.messages import Request, Response

Event = Mapping[str, Any]
"""The event that Lambda passes: the JSON document, decoded."""

_OF_THE_CONNECTION = ("content-length", "connection")
_DEFAULT_STAGE = "/$default"


class NoRequest(AuditsplitError):
    """The event is not an HTTP request. Another service invokes the function, and the deployer must act."""


def request_of(event: Event) -> Request:
    """Return the request in ``event``; `NoRequest` where it has none."""
    context = event.get("requestContext") if isinstance(event, Mapping) else None
    if not isinstance(context, Mapping) or not ("http" in context or "httpMethod" in event):
        raise NoRequest(
            f"expected a request from a Function URL, an API Gateway or a load balancer, came {_described(event)}; "
            "let nothing else invoke this function"
        )
    try:
        headers = _headers(event)
        method, path, peer = _line(event, context, headers)
        return Request(method, unquote(path) or "/", headers, io.BytesIO(_body(event)), peer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NoRequest(f"expected an event as AWS documents it: {error}") from error


def answer_to(event: Event, response: Response) -> dict[str, Any]:
    """Return ``response`` in the shape that the source of ``event`` expects."""
    headers = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_CONNECTION}
    answer: dict[str, Any] = {"statusCode": response.status, "body": response.body.decode(), "isBase64Encoded": False}
    if event.get("multiValueHeaders"):  # then a load balancer reads only these
        answer["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    else:
        answer["headers"] = headers
    if "elb" in event["requestContext"]:
        answer["statusDescription"] = f"{response.status} {HTTPStatus(response.status).phrase}"
    return answer


def _line(event: Event, context: Event, headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the method, the path without a stage before it, and the sender's address, which is for logs."""
    http = context.get("http")
    if http:
        path = _without_stage(_text("rawPath", event["rawPath"]), context)
        return _text("method", http["method"]), path, _text("sourceIp", http.get("sourceIp") or "")
    path = _text("path", event["path"])
    if "version" in event:  # a REST API's ``path`` has no stage
        path = _without_stage(path, context)
    forwarded = (
        headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    )  # a load balancer adds its own peer as the last
    peer = _text("sourceIp", context.get("identity", {}).get("sourceIp") or forwarded)
    return _text("httpMethod", event["httpMethod"]), path, peer


def _without_stage(path: str, context: Event) -> str:
    """Return ``path`` without the stage. An HTTP API leaves it there, unless it is the default or has a domain."""
    prefix = f"/{context.get('stage')}"
    named = prefix != _DEFAULT_STAGE and (path == prefix or path.startswith(prefix + "/"))
    return path.removeprefix(prefix) if named else path


def _headers(event: Event) -> dict[str, str]:
    """Return the headers by lower-case name. Repeated headers are joined by commas, as in HTTP.

    Values are strings. A value that is null is left out, as if there was no such header.
    ``content-length`` is left out: an event is always complete, and its body may be longer than the one that was sent.
    """
    headers: dict[str, str] = {}
    for name, value in (event.get("headers") or {}).items():
        if value is not None:
            headers[name.lower()] = _text("a header's value", value)
    for name, values in (event.get("multiValueHeaders") or {}).items():
        if texts := _texts(values):
            headers[name.lower()] = ", ".join(texts)
    return {name: value for name, value in headers.items() if name not in _OF_THE_CONNECTION}


def _texts(values: object) -> list[str]:
    """Return the values of a repeated header without those that are null."""
    if not isinstance(values, list | None):
        raise TypeError(f"the values of a header are a {type(values).__name__}, not a list")
    return [_text("a header's value", value) for value in values or [] if value is not None]


def _text(name: str, value: object) -> str:
    """Return ``value``, a string. The error does not repeat it, because it may hold a token."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, not a string")
    return value


def _body(event: Event) -> bytes:
    text = event.get("body") or ""
    if not isinstance(text, str):
        raise TypeError(f"its body is a {type(text).__name__}")
    if event.get("isBase64Encoded"):
        return base64.b64decode(text, validate=True)
    return text.encode(errors="surrogatepass")


def _described(event: object) -> str:
    """Return a description of ``event`` that has none of its values."""
    if isinstance(event, Mapping):
        return f"an object with {', '.join(sorted(map(str, event))[:10]) or 'nothing in it'}"
    return f"a {type(event).__name__}"
