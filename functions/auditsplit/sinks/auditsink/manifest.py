"""Read AuditSinks from manifests, with every mistake and its place.

The defaults are those of ``pkg/apis/auditregistration/v1alpha1`` in Kubernetes 1.18. Unknown fields are refused here,
because a mistyped field would send more than was meant. Kubernetes ignored them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from auditsplit.policy.problems import Problem
from auditsplit.policy.reader import json_nodes, yaml_nodes
from auditsplit.policy.reader.nodes import Node, Position, Refusal
from auditsplit.policy.reader.schema import ANYTHING, INTEGER, METADATA, TEXT, TEXTS, Decoder, Fields, Scalar
from auditsplit.policy.rules import Level
from auditsplit.sinks.auditsink import validation

API_VERSION, KIND = "auditregistration.k8s.io/v1alpha1", "AuditSink"
REQUIRED = "auditsplit/required"
"""The annotation with which a batch is acknowledged only once the downstream has it: ``"true"``."""

DEFAULT_QPS, DEFAULT_BURST, DEFAULT_PORT = 10, 15, 443

_OPTIONAL_TEXT = Scalar(str, "text", None, optional=True)
_OPTIONAL_INTEGER = Scalar(int, INTEGER.words, None, optional=True)
_SERVICE: Fields = {"namespace": TEXT, "name": TEXT, "path": _OPTIONAL_TEXT, "port": _OPTIONAL_INTEGER}
_CLIENT: Fields = {"url": _OPTIONAL_TEXT, "service": _SERVICE, "caBundle": TEXT}
_THROTTLE: Fields = {"qps": _OPTIONAL_INTEGER, "burst": _OPTIONAL_INTEGER}
FIELDS: Fields = {
    "kind": TEXT,
    "apiVersion": TEXT,
    "metadata": METADATA,
    "spec": {
        "policy": {"level": TEXT, "stages": TEXTS},
        "webhook": {"throttle": _THROTTLE, "clientConfig": _CLIENT},
    },
    "status": ANYTHING,
}
"""The fields of an AuditSink. ``status`` is auditsplit's own."""

_SEPARATOR = re.compile(rb"^---(?:[ \t].*)?$", re.MULTILINE)
_CONTENT = re.compile(rb"^[ \t]*[^\s#]", re.MULTILINE)


class AuditSink(NamedTuple):
    """One downstream."""

    name: str
    level: Level
    stages: tuple[str, ...]
    url: str
    """Of a service, the URL with its name in the cluster's DNS."""
    ca_bundle: str
    """The authorities of the server's certificate as base64, empty for the machine's own."""
    qps: int
    """Requests a second and process. 0 is no limit."""
    burst: int
    required: bool


class Read(NamedTuple):
    """What a file holds. ``sinks`` is empty if there is a problem."""

    sinks: tuple[AuditSink, ...]
    problems: tuple[Problem, ...]


def read(text: bytes) -> Read:
    """Return the AuditSinks in ``text``: JSON, or YAML of one or several documents."""
    sinks: list[AuditSink] = []
    problems: list[Problem] = []
    for document, line in _documents(text):
        sink, found = _read_one(document)
        problems += [each._replace(line=each.line + line if each.line else 0) for each in found]
        sinks += [sink] if sink else []
    if not sinks and not problems:
        problems.append(Problem("refused", "", 0, 0, f"there is no {KIND} in this file"))
    return Read(() if problems else tuple(sinks), tuple(problems))


def _documents(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each document that is not empty, and the number of lines before it."""
    start = 0
    for match in [*_SEPARATOR.finditer(text), None]:
        piece = text[start : match.start() if match else len(text)]
        if _CONTENT.search(piece):
            yield piece, text.count(b"\n", 0, start)
        start = match.end() if match else start


def _read_one(text: bytes) -> tuple[AuditSink | None, list[Problem]]:
    is_json = text.lstrip().startswith(b"{")
    try:
        node = (json_nodes if is_json else yaml_nodes).parse(text)
    except Refusal as refusal:
        return None, [Problem.at(refusal.position, "", refusal.reason)]
    decoder = Decoder(merges=is_json)
    document = decoder.decode(FIELDS, node)
    problems = [problem._replace(severity="refused") for problem in decoder.problems]
    problems += _type_problems(document, decoder.positions, node)
    if not problems:
        problems += validation.problems(document, decoder.positions, _given(node))
    return (None if problems else _sink(document, _given(node))), problems


def _given(node: Node, path: tuple[str, ...] = ("spec", "webhook")) -> Mapping[str, Any]:
    """Return the members of ``spec.webhook`` as they stand in the file: a field that is absent is not among them."""
    for name in path:
        members = node.value if isinstance(node.value, tuple) else ()
        node = next((member.value for member in members if member.name == name), Node(None, Position(0, 0)))
    return _plain(node) or {}


def _plain(node: Node) -> Any:
    if isinstance(node.value, tuple):
        return {member.name: _plain(member.value) for member in node.value if member.value.value is not None}
    return node.value


def _type_problems(document: Mapping[str, Any], positions: Mapping[str, Position], node: Node) -> Iterator[Problem]:
    for name, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document[name] != expected:
            position = positions.get(name, node.position)
            yield Problem.at(position, name, f"must be {expected}, not {document[name][:60]!r}")


def _sink(document: Mapping[str, Any], webhook: Mapping[str, Any]) -> AuditSink:
    policy, client = document["spec"]["policy"], document["spec"]["webhook"]["clientConfig"]
    throttle = document["spec"]["webhook"]["throttle"] if "throttle" in webhook else None
    service = client["service"]
    url = client["url"]
    if url is None:
        port = DEFAULT_PORT if service["port"] is None else service["port"]
        url = f"https://{service['name']}.{service['namespace']}.svc:{port}{service['path'] or ''}"
    return AuditSink(
        name=document["metadata"]["name"],
        level=policy["level"],
        stages=tuple(policy["stages"]),
        url=url,
        ca_bundle=client["caBundle"],
        qps=_or(throttle["qps"], DEFAULT_QPS) if throttle else 0,
        burst=_or(throttle["burst"], DEFAULT_BURST) if throttle else DEFAULT_BURST,
        required=document["metadata"]["annotations"].get(REQUIRED) == "true",
    )


def _or(number: int | None, default: int) -> int:
    return default if number is None else number
