"""What the API server of Kubernetes 1.18 refused of an AuditSink, and what it only found out when it posted.

The rules are those of ``pkg/apis/auditregistration/validation`` and ``k8s.io/apiserver/pkg/util/webhook``.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from auditsplit.policy.problems import Problem
from auditsplit.policy.reader.nodes import Position
from auditsplit.policy.rules import LEVELS, STAGES
from auditsplit.webhook.tls import context_for

_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:[.][a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_MAX_NAME = 253
_MAX_PORT = 65535
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def problems(
    document: Mapping[str, Any], positions: Mapping[str, Position], webhook: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what is wrong with a decoded AuditSink.

    Args:
        document: All fields.
        positions: Where each field is, by its path.
        webhook: The fields of ``spec.webhook`` that the file has.
    """
    for path, message in _mistakes(document, webhook):
        at = path
        while at and at not in positions:
            at = at.rpartition(".")[0]
        yield Problem.at(positions[at], path, message)


def _mistakes(document: Mapping[str, Any], webhook: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name = document["metadata"]["name"]
    if len(name) > _MAX_NAME or not _SUBDOMAIN.fullmatch(name):
        yield "metadata.name", f"must be a DNS name such as siem or siem.example, not {name[:60]!r}"
    if document["metadata"]["namespace"]:
        yield "metadata.namespace", "an AuditSink has no namespace. Remove it"
    yield from _policy(document["spec"]["policy"])
    throttle = webhook.get("throttle") or {}
    for field in ("qps", "burst"):
        if field in throttle and throttle[field] <= 0:
            yield f"spec.webhook.throttle.{field}", f"must be a positive number, not {throttle[field]}"
    yield from _client(document["spec"]["webhook"]["clientConfig"], webhook.get("clientConfig") or {})


def _policy(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    at = "spec.policy"
    level, stages = policy["level"], policy["stages"]
    for index, stage in enumerate(stages):
        if stage not in STAGES:
            yield f"{at}.stages[{index}]", f"must be one of {', '.join(STAGES)}, not {stage[:60]!r}"
    if level not in LEVELS:
        yield f"{at}.level", f"must be one of {', '.join(LEVELS)}, not {level[:60]!r}"
    if level != "None" and not stages:
        yield f"{at}.stages", "not set. Write the stages that the downstream gets, such as [ResponseComplete]"


def _client(client: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    at = "spec.webhook.clientConfig"
    if ("url" in given) == ("service" in given):
        yield at, "write exactly one of url and service"
    elif "url" in given:
        yield from _url(f"{at}.url", client["url"])
    else:
        yield from _service(f"{at}.service", client["service"])
    if client["caBundle"]:
        yield from _authorities(f"{at}.caBundle", client["caBundle"])


def _url(at: str, url: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        yield at, f"must be a URL such as https://siem.example.com/audit: {error}"
        return
    if _CONTROL.search(url) or _ESCAPE.search(url):
        yield at, "must be a URL such as https://siem.example.com/audit"
    if parts.scheme not in ("http", "https"):
        yield at, f"must begin with https:// or http://, not {parts.scheme[:20]!r}"
    if not parts.hostname:
        yield at, "must have a host"
    if "@" in parts.netloc:
        yield at, "must not have a user or a password"
    if parts.fragment:
        yield at, "must not have a fragment"
    if parts.query:
        yield at, "must not have a query"


def _service(at: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in ("name", "namespace"):
        if not service[field]:
            yield f"{at}.{field}", f"not set. Write the {field} of the service"
    port = service["port"]
    if port is not None and not 0 < port <= _MAX_PORT:
        yield f"{at}.port", f"must be a number from 1 to {_MAX_PORT}, not {port}"
    path = service["path"] or "/"
    if path == "/":
        return
    segments = path[1:].removesuffix("/").split("/")
    if not path.startswith("/") or not all(len(each) <= _MAX_NAME and _SUBDOMAIN.fullmatch(each) for each in segments):
        yield f"{at}.path", f"must be a path such as /audit, of DNS names between the slashes, not {path[:60]!r}"


def _authorities(at: str, bundle: str) -> Iterator[tuple[str, str]]:
    """Kubernetes refuses what is not base64. It finds out later that there is no certificate in it."""
    try:
        context_for(base64.b64decode(bundle, validate=True).decode("ascii"), b"", b"", verify=True)
    except (binascii.Error, ValueError, ssl.SSLError):
        yield at, "must be certificates in PEM, as base64"
