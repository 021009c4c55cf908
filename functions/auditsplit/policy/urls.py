"""Parse the URL of a request as kube-apiserver does (``k8s.io/apiserver/pkg/endpoints/request``).

The work is linear in the length of a URL, because any user chooses it.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

_PREFIXES = {"api": 0, "apis": 1}
"""The first parts of resources' paths, and whether an API group follows them."""

_SPECIAL_VERBS = ("proxy", "watch")
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_MIN_PARTS = 3
_NAMED_PARTS = 3  # as many parts as are looked at: resource, name, subresource


class Url(NamedTuple):
    """What the path of a URL asks for. The fields after ``is_resource`` are empty if that is false."""

    path: str
    """The decoded path. Bytes that are not UTF-8 are lone surrogates in it, so that it equals no text."""
    is_resource: bool = False
    api_group: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


def parse(uri: str) -> Url:
    """Return what ``uri``, an event's ``requestURI``, asks for.

    A path that is empty or ``/`` both give ``/``, because ``requestURI`` does not tell them apart.
    """
    path = uri.partition("?")[0]
    if "%" in path:
        path = unquote(path, errors="surrogateescape")
    parts = path.strip("/").split("/")
    grouped = _PREFIXES.get(parts[0])
    if grouped is None or len(parts) < _MIN_PARTS + grouped:
        return Url(path)
    group = parts[1] if grouped else ""
    special, parts = _after_verb(parts[2 + grouped :])
    if not parts:  # kube-apiserver answers 500 before it records anything
        return Url(path)
    namespace, parts = _after_namespace(parts)
    resource, name, subresource = (*parts[:_NAMED_PARTS], "", "")[:_NAMED_PARTS]
    return Url(path, True, group, namespace, resource, "" if special == "proxy" else subresource, name)  # noqa: FBT003


def _after_verb(parts: list[str]) -> tuple[str, list[str]]:
    """Return the verb that a path may have before the resource, and the parts after it."""
    return (parts[0], parts[1:]) if parts[0] in _SPECIAL_VERBS else ("", parts)


def _after_namespace(parts: list[str]) -> tuple[str, list[str]]:
    """Return the namespace, and the parts from the resource on. A namespace is a resource too."""
    if parts[0] != "namespaces" or len(parts) == 1:
        return "", parts
    if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:  # noqa: PLR2004 - namespaces, its name, a resource
        return parts[1], parts[2:]
    return parts[1], parts
