"""Discovery and OpenAPI: the documents that clients read before they ask, and keep by their ETag.

The files are as metrics-server 0.9 answers, but for the title, which names this function, and the path ``/version``,
which it does not have. ``make metrics-test`` compares them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from auditsplit.serve.messages import Response
from metricsapi.representations import JSON, clauses

_FOLDER = Path(__file__).parent / "documents"
_GROUP = "apis/metrics.k8s.io"
_DISCOVERY = {"/apis": "groups", f"/{_GROUP}": "group", f"/{_GROUP}/v1beta1": "version"}
_OPENAPI_3 = {_GROUP: "openapi-v3-group", f"{_GROUP}/v1beta1": "openapi-v3-version"}
_AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@functools.cache
def _read(name: str) -> bytes:
    """Return a document without its white space."""
    return orjson.dumps(orjson.loads((_FOLDER / f"{name}.json").read_bytes()))


def discovery(path: str) -> dict[str, Any] | None:
    """Return the discovery document of a path, None where there is none."""
    document: dict[str, Any] | None = orjson.loads(_read(_DISCOVERY[path])) if path in _DISCOVERY else None
    return document


def cacheable(path: str, headers: Mapping[str, str]) -> Response | None:
    """Return an OpenAPI document or aggregated discovery, 304 where the sender has it, None for another path."""
    if path == "/apis" and clauses(headers.get("accept", ""))[:1] == clauses(_AGGREGATED):
        return _tagged(_read("aggregated"), headers, _AGGREGATED, "public")
    text = _openapi(path)
    return _tagged(text, headers, JSON, "no-cache, private") if text else None


def _openapi(path: str) -> bytes | None:
    """Return an OpenAPI document. Version 3 has an index, which names the other documents by their digests."""
    if path == "/openapi/v2":
        return _read("openapi-v2")
    if path == "/openapi/v3":
        urls = {name: f"/openapi/v3/{name}?hash={_digest(_read(file))}" for name, file in _OPENAPI_3.items()}
        return orjson.dumps({"paths": {name: {"serverRelativeURL": url} for name, url in urls.items()}})
    file = _OPENAPI_3.get(path.removeprefix("/openapi/v3/"))
    return _read(file) if file else None


@functools.cache
def _digest(text: bytes) -> str:
    return hashlib.sha512(text).hexdigest().upper()


def _tagged(text: bytes, headers: Mapping[str, str], media_type: str, cache_control: str) -> Response:
    tag = f'"{_digest(text)}"'
    answered = {"Cache-Control": cache_control, "Etag": tag, "Vary": "Accept"}
    if tag in headers.get("if-none-match", ""):
        return Response(304, answered, b"")
    return Response(200, {"Content-Type": media_type, **answered}, text)
