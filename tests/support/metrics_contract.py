"""What clients ask of a Metrics API, and what two servers' answers have in common whatever the figures are."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

from support.aggregating_cluster import Cluster

_RECORDED = Path(__file__).parents[1] / "data" / "metricsapi" / "aggregated"
_VOLATILE = {"creationTimestamp", "timestamp", "window", "hash"}
_FIELDS: dict[str, dict[int, str]] = {
    "list": {1: "empty", 2: "item"},
    "item": {1: "meta", 2: "any", 3: "any", 4: "usage", 5: "item"},
    "usage": {1: "text", 2: "any"},
    "meta": {1: "text", 3: "text", 8: "any", 11: "label"},
    "label": {1: "text", 2: "text"},
}
"""The messages of k8s.io/metrics as far as lists of nodes have them."""


class Case(NamedTuple):
    """A request."""

    method: str
    path: str
    accept: str


def cases() -> dict[str, Case]:
    """Return the recorded requests by name."""
    recorded = {path.stem: json.loads(path.read_text()) for path in sorted(_RECORDED.glob("*.json"))}
    return {name: Case(one["method"], one["path"], one["accept"]) for name, one in recorded.items()}


def recorded(name: str) -> tuple[int, Any]:
    """Return the status and the shape of metrics-server's recorded answer."""
    document = json.loads((_RECORDED / f"{name}.json").read_text())
    if "body" in document:
        body = json.dumps(document["body"]).encode()
    else:
        body = document["text"].encode() if "text" in document else base64.b64decode(document["base64"])
    return document["status"], shape(name, body)


def ask(cluster: Cluster, name: str, case: Case) -> tuple[int, Any]:
    """Return the status and the shape of the aggregator's answer."""
    body: dict[str, Any] | None = {} if case.method == "POST" else None
    headers = [("Accept", case.accept), *([("Content-Type", "application/json")] if body is not None else [])]
    answer = cluster.apiserver.request(case.method, case.path, body=body, headers=headers)
    return answer.status, shape(name, answer.body)


def shape(name: str, body: bytes) -> Any:
    """Return a body without its figures and times, and with containers in the order of their names."""
    if body.startswith(b"k8s\0"):
        return _protobuf(body)
    try:
        document = json.loads(body)
    except ValueError:
        return [line for line in body.decode().splitlines() if not _is_volatile(line)]
    if name == "discovery-aggregated":
        document["items"] = [one for one in document["items"] if one["metadata"]["name"] == "metrics.k8s.io"]
    if name == "openapi-v3-index":
        return sorted(path for path in document["paths"] if "metrics" in path)
    if "openapi" in document:
        del document["info"]  # the server's name
    return _masked(document)


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if key == "usage":
            return sorted(value)
        return {name: "*" if name in _VOLATILE else _masked(one, name) for name, one in value.items()}
    if isinstance(value, list):
        if key == "cells":  # a row's name, figures and window
            return [value[0], len(value)]
        items = [_masked(one, key) for one in value]
        return sorted(items, key=lambda one: str(one["name"])) if key == "containers" else items
    return value


def _is_volatile(line: str) -> bool:
    """Return whether a line of YAML is a figure or a time."""
    return line.strip().split(":")[0] in {*_VOLATILE, "cpu", "memory"}


def _protobuf(body: bytes) -> Any:
    """Return the strings and field numbers of a runtime.Unknown with a list."""
    unknown = dict(_fields(body[4:]))
    return [sorted(_fields(unknown[1])), _message(unknown[2], "list")]


def _message(data: bytes, kind: str) -> list[Any]:
    """Return the fields of a message as number and content."""
    known = _FIELDS.get(kind, {})
    found = []
    for number, value in _fields(data):
        inner = known.get(number, "any")
        if inner == "text":
            found.append((number, value))
        else:
            found.append((number, _message(value, inner) if inner in _FIELDS else inner))
    return sorted(found, key=str) if kind in {"item", "meta"} else found


def _fields(data: bytes) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 2:
            length, at = _varint(data, at)
            found.append((tag >> 3, data[at : at + length]))
            at += length
        else:
            value, at = _varint(data, at)
            found.append((tag >> 3, value))
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
