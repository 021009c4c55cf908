"""The bodies: JSON, YAML and protobuf, as objects, as a Table or as metadata alone, by the request's Accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import yaml

from metricsapi import protobuf
from metricsapi.errors import NotAcceptable
from metricsapi.objects import Item, Resource, cpu, instant, memory

VERSION = "metrics.k8s.io/v1beta1"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_TYPES = (JSON, YAML, PROTOBUF)
_MAX_CLAUSES = 32
_AVAILABLE = ", ".join([*_TYPES, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch"])
_COLUMNS = [
    {"name": "Name", "type": "string", "format": "name", "description": "Name of the resource", "priority": 0},
    {"name": "cpu", "type": "string", "format": "quantity", "description": "", "priority": 0},
    {"name": "memory", "type": "string", "format": "quantity", "description": "", "priority": 0},
    {"name": "Window", "type": "string", "format": "duration", "description": "", "priority": 0},
]


class Form(NamedTuple):
    """A representation: the media type, and what the objects are converted to, ``""`` for nothing."""

    media_type: str
    convert: str = ""
    version: str = "v1"
    """Of a conversion."""


class Clause(NamedTuple):
    """A clause of an Accept header, in lower case but for the parameters' values."""

    media_type: str
    parameters: Mapping[str, str]


def clauses(accept: str) -> list[Clause]:
    """Return the clauses of an Accept header, the preferred clause first. No header accepts everything."""
    found = []
    for position, text in enumerate((accept or "*/*").split(",")[:_MAX_CLAUSES]):
        media_type, *rest = (part.strip() for part in text.split(";"))
        parameters = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
        quality = _quality(parameters.pop("q", "1"))
        if quality > 0:
            found.append((-quality, media_type.count("*"), position, Clause(media_type.lower(), parameters)))
    return [clause for *_, clause in sorted(found, key=lambda entry: entry[:3])]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def negotiate(accept: str, *, is_list: bool) -> Form:
    """Return the representation that the header prefers. `NotAcceptable` where none is available."""
    for clause in clauses(accept):
        media_type = _available(clause.media_type)
        form = media_type and _form(media_type, clause.parameters, is_list=is_list)
        if form:
            return form
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_AVAILABLE}", {})


def _available(media_type: str) -> str:
    if media_type == "*/*":
        return JSON
    return next((kind for kind in _TYPES if media_type in (kind, f"{kind.partition('/')[0]}/*")), "")


def _form(media_type: str, parameters: Mapping[str, str], *, is_list: bool) -> Form | None:
    convert = parameters.get("as", "")
    if not convert:
        return Form(media_type)
    metadata = "PartialObjectMetadataList" if is_list else "PartialObjectMetadata"
    known = convert in ("Table", metadata) and parameters.get("g") == "meta.k8s.io"
    if not known or media_type == PROTOBUF or parameters.get("v") not in ("v1", "v1beta1"):
        return None
    return Form(media_type, convert, parameters["v"])


def of_items(form: Form, resource: Resource, items: Sequence[Item], now: int, include: str) -> bytes | dict[str, Any]:
    """Return the list of ``items`` as protobuf, or as a document for `encode`."""
    if form.media_type == PROTOBUF:
        return protobuf.envelope(VERSION, f"{resource.kind}List", protobuf.items(items, now))
    if form.convert == "Table":
        return _table(form, items, now, include)
    if form.convert:
        members = [_partial(form, item, now) for item in items]
        return {"kind": form.convert, "apiVersion": f"meta.k8s.io/{form.version}", "metadata": {}, "items": members}
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": VERSION,
        "metadata": {},
        "items": [_members(item, now) for item in items],
    }


def of_item(form: Form, resource: Resource, item: Item, now: int, include: str) -> bytes | dict[str, Any]:
    """Return one item as protobuf, or as a document for `encode`."""
    if form.media_type == PROTOBUF:
        return protobuf.envelope(VERSION, resource.kind, protobuf.item(item, now))
    if form.convert == "Table":
        return _table(form, [item], now, include)
    if form.convert:
        return _partial(form, item, now)
    return {"kind": resource.kind, "apiVersion": VERSION, **_members(item, now)}


def status(document: Mapping[str, Any]) -> bytes:
    """Return a ``Status`` document as protobuf."""
    return protobuf.envelope("v1", "Status", protobuf.status(document))


def encode(document: Mapping[str, Any], media_type: str, *, pretty: bool) -> bytes:
    """Return a document as JSON or YAML."""
    if media_type == YAML:
        return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, encoding="utf-8")
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0))


class _Dumper(yaml.SafeDumper):
    """Without anchors: every object is written where it stands."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _members(item: Item, now: int) -> dict[str, Any]:
    members = {
        "metadata": _metadata(item, now),
        "timestamp": instant(item.time),
        "window": f"{item.window_s}s",
    }
    if "" in item.usage:
        return {**members, "usage": {"cpu": item.cpu(), "memory": item.memory()}}
    containers = [
        {"name": name, "usage": {"cpu": cpu(usage.nanocores), "memory": memory(usage.memory_bytes)}}
        for name, usage in item.usage.items()
    ]
    return {**members, "containers": containers}


def _metadata(item: Item, now: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": item.metadata.name}
    if item.metadata.namespace:
        metadata["namespace"] = item.metadata.namespace
    metadata["creationTimestamp"] = instant(now)
    if item.metadata.labels:
        metadata["labels"] = item.metadata.labels
    return metadata


def _partial(form: Form, item: Item, now: int) -> dict[str, Any]:
    version = f"meta.k8s.io/{form.version}"
    return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": _metadata(item, now)}


def _table(form: Form, items: Sequence[Item], now: int, include: str) -> dict[str, Any]:
    """Return a Table. ``include`` is what a row's object is: ``None``, ``Object``, or the metadata."""
    kinds: Mapping[str, Callable[[Item], Any]] = {
        "None": lambda _: None,
        "Object": lambda item: {"kind": _kind(item), "apiVersion": VERSION, **_members(item, now)},
    }
    row_object = kinds[include] if include in kinds else lambda item: _partial(form, item, now)
    rows = [
        {
            "cells": [item.metadata.name, item.cpu(), item.memory(), f"{item.window_s}s"],
            "object": row_object(item),
        }
        for item in items
    ]
    table = {"kind": "Table", "apiVersion": f"meta.k8s.io/{form.version}", "metadata": {}}
    return {**table, "columnDefinitions": _COLUMNS if rows else None, "rows": rows or None}


def _kind(item: Item) -> str:
    return "NodeMetrics" if "" in item.usage else "PodMetrics"
