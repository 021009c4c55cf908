"""OpenAPI, versions 2 and 3, so that ``kubectl explain`` works, and the documents that clients keep by their ETag.

The models have the fields that this API fills, under the names and with the descriptions of Kubernetes' own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from auditsplit.serve.messages import Response
from metricsapi.objects import GROUP, RESOURCES, Resource
from metricsapi.representations import JSON, PROTOBUF, VERSION, YAML

_OWN, _META = "io.k8s.metrics.pkg.apis.metrics.v1beta1.", "io.k8s.apimachinery.pkg.apis.meta.v1."
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INFO = {"title": "Kubernetes Metrics API, by auditsplit", "version": "v1beta1"}
_INTERVAL = (
    "The following fields define time interval from which metrics were collected from the interval "
    "[Timestamp-Window, Timestamp]."
)
_PARAMETERS = {
    "fieldSelector": "A selector to restrict the list of returned objects by their fields. Defaults to everything.",
    "labelSelector": "A selector to restrict the list of returned objects by their labels. Defaults to everything.",
}


def document(path: str) -> Mapping[str, Any] | None:
    """Return the OpenAPI document of a path, None where there is none."""
    return _documents().get(path)


def cacheable(body: Mapping[str, Any], headers: Mapping[str, str], media_type: str, cache_control: str) -> Response:
    """Return a document with its ETag, or 304 where the request has it already."""
    text = orjson.dumps(body)
    tag = f'"{hashlib.sha512(text).hexdigest().upper()}"'
    answered = {"Content-Type": media_type, "Cache-Control": cache_control, "Etag": tag, "Vary": "Accept"}
    if tag in headers.get("if-none-match", ""):
        del answered["Content-Type"]
        return Response(304, answered, b"")
    return Response(200, answered, text)


@functools.cache
def _documents() -> Mapping[str, Mapping[str, Any]]:
    """Return the documents by their paths. Version 3 has an index of groups, which names each by its hash."""
    group = {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": dict(_paths(_operation3)),
        "components": {"schemas": _models()},
    }
    digest = hashlib.sha512(orjson.dumps(group)).hexdigest().upper()
    index = {"paths": {f"apis/{VERSION}": {"serverRelativeURL": f"/openapi/v3/apis/{VERSION}?hash={digest}"}}}
    second = {"swagger": "2.0", "info": _INFO, "paths": dict(_paths(_operation2)), "definitions": _definitions()}
    return {"/openapi/v3": index, f"/openapi/v3/apis/{VERSION}": group, "/openapi/v2": second}


def _paths(operation: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for resource in RESOURCES.values():
        within = f"/apis/{VERSION}/" + ("namespaces/{namespace}/" if resource.namespaced else "")
        if resource.namespaced:
            yield f"/apis/{VERSION}/{resource.plural}", operation(resource, "list", (), _PARAMETERS)
        place = ("namespace",) if resource.namespaced else ()
        yield f"{within}{resource.plural}", operation(resource, "list", place, _PARAMETERS)
        yield f"{within}{resource.plural}/{{name}}", operation(resource, "get", (*place, "name"), {})


def _operation3(resource: Resource, action: str, place: tuple[str, ...], query: Mapping[str, str]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{_OWN}{resource.kind}{'List' if action == 'list' else ''}"}
    content = {media_type: {"schema": schema} for media_type in (JSON, PROTOBUF, YAML)}
    get = {**_described(resource, action), "responses": {"200": {"description": "OK", "content": content}}}
    text = {"schema": {"type": "string", "uniqueItems": True}}
    return {"get": get, "parameters": [{**parameter, **text} for parameter in _parameters(place, query)]}


def _operation2(resource: Resource, action: str, place: tuple[str, ...], query: Mapping[str, str]) -> dict[str, Any]:
    schema = {"$ref": f"#/definitions/{_OWN}{resource.kind}{'List' if action == 'list' else ''}"}
    responses = {"200": {"description": "OK", "schema": schema}}
    get = {**_described(resource, action), "produces": [JSON, YAML, PROTOBUF], "responses": responses}
    text = {"type": "string", "uniqueItems": True}
    return {"get": get, "parameters": [{**parameter, **text} for parameter in _parameters(place, query)]}


def _described(resource: Resource, action: str) -> dict[str, Any]:
    return {
        "description": f"{action} objects of kind {resource.kind}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": GROUP, "version": "v1beta1", "kind": resource.kind},
    }


def _parameters(place: tuple[str, ...], query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name in place:
        yield {"name": name, "in": "path", "description": f"the {name} of the object", "required": True}
    for name, description in query.items():
        yield {"name": name, "in": "query", "description": description}


def _models() -> dict[str, Any]:
    """Return the schemas of version 3."""
    models: dict[str, Any] = {
        _QUANTITY: {
            "description": "Quantity is a fixed-point representation of a number.",
            "oneOf": [{"type": "string"}, {"type": "number"}],
        },
        f"{_META}Time": {"description": "Time is a time in RFC 3339.", "type": "string", "format": "date-time"},
        f"{_META}Duration": {"description": "Duration is a duration in Go's notation.", "type": "string"},
        f"{_META}ListMeta": {"description": "ListMeta is empty in this API.", "type": "object"},
        f"{_META}ObjectMeta": _object_meta(),
        f"{_OWN}ContainerMetrics": {
            "description": "ContainerMetrics sets resource usage metrics of a container.",
            "type": "object",
            "required": ["name", "usage"],
            "properties": {
                "name": {
                    "description": "Container name corresponding to the one from pod.spec.containers.",
                    "type": "string",
                    "default": "",
                },
                "usage": _usage(),
            },
        },
    }
    containers = {
        "description": "Metrics for all containers are collected within the same time window.",
        "type": "array",
        "items": {"$ref": f"#/components/schemas/{_OWN}ContainerMetrics"},
        "x-kubernetes-list-type": "atomic",
    }
    return {**models, **_kinds("Node", {"usage": _usage()}), **_kinds("Pod", {"containers": containers})}


def _kinds(subject: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a kind and of its list."""
    kind = f"{subject}Metrics"
    types = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    metadata = {
        "description": "Standard object's metadata.",
        "default": {},
        "allOf": [_reference(f"{_META}ObjectMeta")],
    }
    one = {
        "description": f"{kind} sets resource usage metrics of a {subject.lower()}.",
        "type": "object",
        "required": ["timestamp", "window", *figures],
        "properties": {
            **types,
            "metadata": metadata,
            "timestamp": {"description": _INTERVAL, "allOf": [_reference(f"{_META}Time")]},
            "window": _reference(f"{_META}Duration"),
            **figures,
        },
        "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": kind, "version": "v1beta1"}],
    }
    items = {
        "description": f"List of {subject.lower()} metrics.",
        "type": "array",
        "items": _reference(f"{_OWN}{kind}"),
    }
    many = {
        "description": f"{kind}List is a list of {kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **types,
            "metadata": {
                "description": "Standard list metadata.",
                "default": {},
                "allOf": [_reference(f"{_META}ListMeta")],
            },
            "items": items,
        },
        "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": f"{kind}List", "version": "v1beta1"}],
    }
    return {f"{_OWN}{kind}": one, f"{_OWN}{kind}List": many}


def _object_meta() -> dict[str, Any]:
    texts = {"name": "The name of the node or pod.", "namespace": "The namespace of the pod."}
    return {
        "description": "ObjectMeta is the metadata of the node or pod, as far as this API shows it.",
        "type": "object",
        "properties": {
            **{name: {"description": text, "type": "string"} for name, text in texts.items()},
            "creationTimestamp": {"description": "When the answer was made.", "allOf": [_reference(f"{_META}Time")]},
            "labels": {
                "description": "The labels of the node or pod.",
                "type": "object",
                "additionalProperties": {"type": "string", "default": ""},
            },
        },
    }


def _usage() -> dict[str, Any]:
    return {
        "description": "The memory usage is the memory working set.",
        "type": "object",
        "additionalProperties": _reference(_QUANTITY),
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _definitions() -> dict[str, Any]:
    """Return the models of version 2. kube-apiserver merges them with its own, so those of its own names are inline."""
    models = _models()
    return {name: _inline(model, models) for name, model in models.items() if name.startswith(_OWN)}


def _inline(part: Any, models: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inline(member, models) for member in part]
    if not isinstance(part, dict):
        return part
    if "oneOf" in part:  # not in version 2
        return {"description": part["description"], "type": "string"}
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return {"$ref": f"#/definitions/{name}"} if name.startswith(_OWN) else _inline(models[name], models)
    merged = {key: _inline(member, models) for key, member in part.items() if key != "allOf"}
    return {**(_inline(part["allOf"][0], models) if "allOf" in part else {}), **merged}
