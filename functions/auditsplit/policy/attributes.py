"""From an event back to the request that kube-apiserver's policy saw.

A policy decides about a request. An event is what was recorded of it, and differs in some places:

- Of a create or an update, kube-apiserver fills ``objectRef.name`` and ``objectRef.namespace`` from the body where the
  URL has none. The policy did not see them, so a rule with ``resourceNames`` does not match a create.
- The name of a list or a watch is that of a field selector ``metadata.name``, which the policy did see.
- The policy saw the decoded path. ``requestURI`` has it escaped, with the query behind it.
- The policy saw the authenticated user, also where the request impersonates another. The stage ``RequestReceived`` has
  no impersonated user yet.

So ``objectRef`` decides, except that the URL has the name and the namespace of a create and an update. Where both name
different resources, ``objectRef`` counts: the sender is then not a kube-apiserver with the usual paths. Without an
``objectRef`` the URL decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from auditsplit.decode import eventlist, fallback
from auditsplit.decode.outline import REFUSALS
from auditsplit.event import Event, Head, NamedHead, NamedReference, PolicyReference
from auditsplit.policy import urls
from auditsplit.policy.rules import Request
from auditsplit.policy.urls import Url

FILLED = ("create", "update")
"""The verbs of which kube-apiserver fills ``objectRef`` from the body."""


def of(head: NamedHead) -> Request:
    """Return the request of the event with this ``head``."""
    url = urls.parse(head.requestURI or "")
    user, groups = (head.user.username, head.user.groups or ()) if head.user else (None, ())
    verb, reference = head.verb or "", head.objectRef
    if reference is None or not reference.resource or (verb in FILLED and agree(reference, url)):
        target = url
    else:
        target = _referred(reference, verb, url.path)
    return Request(
        user=user or ("" if groups else None),
        groups=groups,
        verb=verb,
        is_resource=target.is_resource,
        api_group=target.api_group,
        resource=target.resource,
        subresource=target.subresource,
        namespace=target.namespace,
        name=target.name,
        path=target.path,
    )


def agree(reference: PolicyReference, url: Url) -> bool:
    """Return whether ``objectRef`` and the URL name the same resource and subresource."""
    seen = (url.resource, url.subresource, url.api_group)
    return url.is_resource and seen == (reference.resource, reference.subresource or "", reference.apiGroup or "")


def _referred(reference: NamedReference, verb: str, path: str) -> Url:
    """Return what ``objectRef`` alone says. The name of a create is from its body, unless it is of a subresource."""
    subresource = reference.subresource or ""
    return Url(
        path,
        is_resource=True,
        api_group=reference.apiGroup or "",
        namespace=reference.namespace or "",
        resource=reference.resource or "",
        subresource=subresource,
        name="" if verb == "create" and not subresource else reference.name or "",
    )


def differences(head: NamedHead) -> Iterator[str]:
    """Yield, as sentences, where the event with this ``head`` differs from the request that the policy saw."""
    request = of(head)
    reference = head.objectRef or NamedReference()
    if reference.resource and request.is_resource:
        for field, value, seen in (
            ("name", reference.name, request.name),
            ("namespace", reference.namespace, request.namespace),
        ):
            if value and value != seen:
                yield f"objectRef.{field} {value!r} is from the body. The policy saw {seen!r}"
        if not agree(reference, urls.parse(head.requestURI or "")):
            yield "objectRef and requestURI name different resources. objectRef counts"
    elif request.is_resource:
        yield "objectRef is absent. The resource is that of requestURI"
    if not request.is_resource and (head.requestURI or "").partition("?")[0] != request.path:
        yield f"requestURI is escaped. The policy saw the path {request.path!r}"
    if head.impersonatedUser is not None:
        yield "the policy saw the authenticated user, not the impersonated user"


def decoded(event: Event, heads: type[Head]) -> Event:
    """Return ``event`` with another kind of head. `Undecodable` if a field is malformed."""
    try:
        return Event(eventlist.decoders[heads](event.raw), event.raw, event.members, event.marks)
    except REFUSALS:
        marks = None if event.marks is None else memoryview(event.marks)
        return fallback.read_event(event.raw, heads, marks=marks)


def head_of(event: Event) -> NamedHead:
    """Return the fields of ``event`` from which its request follows. They are decoded here if they were not.

    Raises `Undecodable` if such a field is malformed.
    """
    head = event.head if isinstance(event.head, NamedHead) else decoded(event, NamedHead).head
    return cast("NamedHead", head)


def name_of(event: Event) -> str:
    """Return ``objectRef.name`` of ``event``, empty without one."""
    reference = head_of(event).objectRef
    return (reference and reference.name) or ""


def request_of(event: Event) -> Request:
    """Return the request of ``event``. `Undecodable` if its fields cannot be decoded."""
    return of(head_of(event))
