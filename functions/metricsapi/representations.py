"""The bodies: JSON, YAML and protobuf, as objects, as a Table or as metadata alone, by the request's Accept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import yaml

from metricsapi import protobuf
from metricsapi.errors import NotAcceptable
from metricsapi.objects import Item, Resource, cpu, instant, memory

VERSION = "metrics.k8s.io/v1beta1"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_TYPES = {JSON: JSON, YAML: YAML, PROTOBUF: PROTOBUF, "*/*": JSON, "application/*": JSON}
_AVAILABLE = ", ".join([JSON, YAML, PROTOBUF, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch"])
_CONVERSIONS = ("v1", "v1beta1")
_MAX_CLAUSES = 32
_MAX_YAML_BYTES = 128 * 1024
_COLUMNS = [
    {"name": name, "type": "string", "format": kind, "description": text, "priority": 0}
    for name, kind, text in (
        ("Name", "name", "Name of the resource"),
        ("cpu", "quantity", ""),
        ("memory", "quantity", ""),
        ("Window", "duration", ""),
    )
]


class Form(NamedTuple):
    """A representation: the media type, and what the objects are converted to, ``""`` for nothing."""

    media_type: str
    convert: str = ""
    version: str = "v1"
    """Of a conversion."""


def clauses(accept: str) -> list[tuple[str, Mapping[str, str]]]:
    """Return the media types of an Accept header with their parameters, the preferred first. No header accepts all.

    Clients write qualities in more ways than werkzeug's parser accepts, ``q=.2`` for one.
    """
    found = []
    for text in (accept or "*/*").split(",")[:_MAX_CLAUSES]:
        media_type, *rest = (part.strip() for part in text.split(";"))
        parameters = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
        quality = _quality(parameters.pop("q", "1"))
        if quality > 0:
            found.append((-quality, media_type.count("*"), (media_type.lower(), parameters)))
    return [clause for *_, clause in sorted(found, key=lambda each: each[:2])]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def negotiate(accept: str, *, is_list: bool) -> Form:
    """Return the representation that the header prefers. `NotAcceptable` where none is available."""
    metadata = "PartialObjectMetadataList" if is_list else "PartialObjectMetadata"
    for asked, parameters in clauses(accept):
        media_type = _TYPES.get(asked, "")
        convert, version = parameters.get("as", ""), parameters.get("v", "")
        if media_type and not convert:
            return Form(media_type)
        known = convert in ("Table", metadata) and parameters.get("g") == "meta.k8s.io" and version in _CONVERSIONS
        if known and media_type in (JSON, YAML):
            return Form(media_type, convert, version)
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_AVAILABLE}", {})


def of_items(form: Form, resource: Resource, items: Sequence[Item], now: int, include: str) -> bytes | dict[str, Any]:
    """Return the list of ``items`` as protobuf, or as a document for `encode`."""
    kind = f"{resource.kind}List"
    if form.media_type == PROTOBUF:
        return protobuf.envelope(VERSION, kind, protobuf.items(items, now))
    if form.convert == "Table":
        return _table(form, items, now, include)
    if form.convert:
        return _typed(form.convert, form, {"metadata": {}, "items": [_partial(form, item, now) for item in items]})
    return {"kind": kind, "apiVersion": VERSION, "metadata": {}, "items": [_members(item, now) for item in items]}


def of_item(form: Form, item: Item, now: int, include: str) -> bytes | dict[str, Any]:
    """Return one item as protobuf, or as a document for `encode`."""
    if form.media_type == PROTOBUF:
        return protobuf.envelope(VERSION, item.kind, protobuf.item(item, now))
    if form.convert == "Table":
        return _table(form, [item], now, include)
    return _partial(form, item, now) if form.convert else _whole(item, now)


def status(document: Mapping[str, Any]) -> bytes:
    """Return a ``Status`` document as protobuf."""
    return protobuf.envelope("v1", "Status", protobuf.status(document))


def encode(document: Mapping[str, Any], media_type: str, *, pretty: bool) -> bytes:
    """Return a document as JSON or YAML. A long document is JSON, which is YAML too: YAML's own form takes seconds."""
    text = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0))
    if media_type == YAML and len(text) <= _MAX_YAML_BYTES:
        return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, encoding="utf-8")
    return text


class _Dumper(yaml.CSafeDumper):
    """Without anchors: every object is written where it stands. In C, because a list can be long."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _whole(item: Item, now: int) -> dict[str, Any]:
    return {"kind": item.kind, "apiVersion": VERSION, **_members(item, now)}


def _members(item: Item, now: int) -> dict[str, Any]:
    members = {"metadata": _metadata(item, now), "timestamp": instant(item.time), "window": f"{item.window_s}s"}
    usages = [
        {"name": name, "usage": {"cpu": cpu(used.nanocores), "memory": memory(used.memory_bytes)}}
        for name, used in item.usage.items()
    ]
    return {**members, "usage": usages[0]["usage"]} if item.is_node else {**members, "containers": usages}


def _metadata(item: Item, now: int) -> dict[str, Any]:
    namespace, labels = item.metadata.namespace, item.metadata.labels
    return {
        "name": item.metadata.name,
        **({"namespace": namespace} if namespace else {}),
        "creationTimestamp": instant(now),
        **({"labels": labels} if labels else {}),
    }


def _typed(kind: str, form: Form, members: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": f"meta.k8s.io/{form.version}", **members}


def _partial(form: Form, item: Item, now: int) -> dict[str, Any]:
    return _typed("PartialObjectMetadata", form, {"metadata": _metadata(item, now)})


def _table(form: Form, items: Sequence[Item], now: int, include: str) -> dict[str, Any]:
    """Return a Table. ``include`` is what a row's object is: ``None``, ``Object``, or the metadata."""

    def row(item: Item) -> dict[str, Any]:
        cells = [item.metadata.name, item.cpu(), item.memory(), f"{item.window_s}s"]
        if include == "None":
            return {"cells": cells, "object": None}
        return {"cells": cells, "object": _whole(item, now) if include == "Object" else _partial(form, item, now)}

    columns, rows = (_COLUMNS, [row(item) for item in items]) if items else (None, None)
    return _typed("Table", form, {"metadata": {}, "columnDefinitions": columns, "rows": rows})
