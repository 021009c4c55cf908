"""Explain a policy: which rule decides about recorded events and about requests that nobody has made yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from auditsplit.errors import Undecodable
from auditsplit.event import Event, NamedHead
from auditsplit.policy import attributes, builtin
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.rules import Decision, Policy, Request, evaluate

_FIELDS = ("verb", "user", "groups", "resource", "namespace", "name", "path")


class Explained(NamedTuple):
    """What a policy makes of a recorded event."""

    event: Event
    head: NamedHead
    request: Request
    decision: Decision
    kept_bytes: int
    """Of the event's line after the policy. 0 if the policy does not record it."""

    @property
    def recorded(self) -> bool:
        """Whether the policy records the event."""
        return self.kept_bytes > 0


def explained(events: Iterable[Event], policy: Policy) -> Iterable[Explained | Undecodable]:
    """Yield what ``policy`` makes of each event. An event whose fields cannot be decoded gives the error."""
    applied = AppliedPolicy(policy)
    for event in events:
        try:
            head = attributes.head_of(event)
            request = attributes.of(head)
            kept = applied.apply([Event(head, event.raw, event.members, event.marks)])
        except Undecodable as error:
            yield error
            continue
        size = sum(len(each.raw) + 1 for each in kept)
        yield Explained(event, head, request, evaluate(policy, request), size)


def request_of(text: str) -> Request:
    """Return the request in ``text``, such as ``verb=delete user=alice resource=apps/deployments name=y``.

    ``groups`` are separated by commas. ``resource`` is ``pods``, ``pods/exec``, ``apps/deployments`` or
    ``apps/deployments/scale``. ``path`` is that of a request without a resource.

    Raises:
        ValueError: A part is not one of these.
    """
    parts: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name not in _FIELDS or name in parts:
            valid = " ".join(f"{field}=…" for field in _FIELDS)
            raise ValueError(f"{word[:60]!r} is not valid. Write {valid}, each once")
        parts[name] = value
    if ("resource" in parts) == ("path" in parts):
        raise ValueError("write either resource=… or path=…")
    group, resource, subresource = _resource(parts.get("resource", ""))
    return Request(
        user=parts.get("user"),
        groups=tuple(filter(None, parts.get("groups", "").split(","))),
        verb=parts.get("verb", "get"),
        is_resource="resource" in parts,
        api_group=group,
        resource=resource,
        subresource=subresource,
        namespace=parts.get("namespace", ""),
        name=parts.get("name", ""),
        path=parts.get("path", ""),
    )


def described(request: Request) -> str:
    """Return a request in the form that `request_of` reads."""
    values: Mapping[str, str] = {
        "verb": request.verb,
        "user": request.user or "",
        "resource": resource_of(request) if request.is_resource else "",
        "namespace": request.namespace,
        "name": request.name,
        "path": "" if request.is_resource else request.path,
    }
    return " ".join(f"{name}={value}" for name, value in values.items() if value)


def resource_of(request: Request) -> str:
    """Return group, resource and subresource, such as ``apps/deployments/scale``. The path where there is none."""
    if not request.is_resource:
        return request.path
    return "/".join(part for part in (request.api_group, request.resource, request.subresource) if part)


def _resource(text: str) -> tuple[str, str, str]:
    """Return group, resource and subresource. The first of two parts is a group if it has a dot or is a known one."""
    parts = text.split("/")
    is_group = "." in parts[0] or (parts[0] in builtin.RESOURCES and bool(parts[0]))
    group = parts.pop(0) if is_group and len(parts) > 1 else ""
    resource, *rest = parts
    return group, resource, "/".join(rest)
