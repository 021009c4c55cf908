"""Builders of Lambda's events: one request as everything that sends HTTP to Lambda wraps it, by AWS's documents."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

SENDER = "203.0.113.7"
"""The address that every request comes from."""


class Sent(NamedTuple):
    """A request as its sender made it."""

    method: str = "POST"
    path: str = "/"
    headers: Mapping[str, str] = {"Content-Type": "application/json"}
    body: bytes = b""
    in_base64: bool = False


Wrap = Callable[[Sent], dict[str, Any]]


def _body(sent: Sent) -> dict[str, Any]:
    text = base64.b64encode(sent.body) if sent.in_base64 else sent.body
    return {"body": text.decode("utf-8", "surrogatepass") or None, "isBase64Encoded": sent.in_base64}


def _forwarded(sent: Sent) -> dict[str, str]:
    """Return the headers as a proxy passes them on, the sender's address behind what the sender claims."""
    headers = {name.lower(): value for name, value in sent.headers.items()}
    claimed = headers.get("x-forwarded-for")
    more = {"x-forwarded-for": f"{claimed}, {SENDER}" if claimed else SENDER, "x-forwarded-proto": "https"}
    return {"host": "lambda.example", "content-length": str(len(sent.body)), **headers, **more}


def function_url(sent: Sent, stage: str = "$default", prefix: str = "") -> dict[str, Any]:
    """Return the event of a Function URL."""
    path = prefix + sent.path
    line = {"method": sent.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": SENDER, "userAgent": "Go"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "timeout=30s",
        "headers": _forwarded(sent),
        "queryStringParameters": {"timeout": "30s"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "id",
            "http": line,
            "stage": stage,
            "routeKey": "$default",
        },
        **_body(sent),
    }


def http_api(sent: Sent) -> dict[str, Any]:
    """Return the event of an HTTP API with a stage of its own, which stands in the path."""
    return function_url(sent, "prod", "/prod")


def http_api_on_domain(sent: Sent) -> dict[str, Any]:
    """Return the event of such an HTTP API on a domain of one's own, where the path has no stage."""
    return function_url(sent, "prod")


def rest_api(sent: Sent) -> dict[str, Any]:
    """Return the event of a REST API: the names as sent, once single and once with all values, no stage in the path."""
    headers = {name.title(): value for name, value in _forwarded(sent).items()}
    return {
        "resource": "/{proxy+}",
        "path": sent.path,
        "httpMethod": sent.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"timeout": "30s"},
        "requestContext": {
            "path": f"/prod{sent.path}",
            "stage": "prod",
            "httpMethod": sent.method,
            "protocol": "HTTP/1.1",
            "identity": {"sourceIp": SENDER, "userAgent": "Go"},
        },
        **_body(sent),
    }


def http_api_1(sent: Sent) -> dict[str, Any]:
    """Return the event of an HTTP API with payload 1.0."""
    return {"version": "1.0", **rest_api(sent), "path": f"/prod{sent.path}"}


def load_balancer(sent: Sent) -> dict[str, Any]:
    """Return the event of an Application Load Balancer."""
    group = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/audit/1"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": sent.method,
        "path": sent.path,
        "queryStringParameters": {"timeout": "30s"},
        "headers": _forwarded(sent),
        **_body(sent),
        "body": _body(sent)["body"] or "",
    }


def load_balancer_of_many(sent: Sent) -> dict[str, Any]:
    """Return the event of one whose target group has multi-value headers on: then there are no others."""
    event = load_balancer(sent)
    return {**event, "multiValueHeaders": {name: [value] for name, value in event.pop("headers").items()}}


KINDS: Mapping[str, Wrap] = {
    "Function URL": function_url,
    "HTTP API": http_api,
    "HTTP API on a domain": http_api_on_domain,
    "HTTP API, payload 1.0": http_api_1,
    "REST API": rest_api,
    "load balancer": load_balancer,
    "load balancer, multi-value": load_balancer_of_many,
}
"""By what sends them."""
