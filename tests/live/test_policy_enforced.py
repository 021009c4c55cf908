"""A policy applied to events against the code that kube-apiserver had for that until version 1.18.

``tests/policy/enforced`` runs k8s.io/apiserver 0.18.19's ``plugin/pkg/audit/dynamic/enforced``. It saw only the event.
So it decides otherwise than kube-apiserver did about the request where the event does not have what the policy saw:

- the name and the namespace of a create and an update that are from the body,
- a request for a resource whose event has no ``objectRef``,
- a request whose authentication failed: it took the user's name for the empty text,
- a request for ``*``, which it did not read.

It also raises the level of an event to that of the policy, although the bodies are not there.
"""

from __future__ import annotations

import json
import random
from typing import Any

from support import policies
from support.eventlists import eventlist
from support.policies import judged, task
from support.recording import DATA

from auditsplit.decode.eventlist import decode
from auditsplit.event import Event, NamedHead, PolicyHead
from auditsplit.policy import attributes, urls
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.rules import LEVELS, Request

ORDER = {level: order for order, level in enumerate(LEVELS)}
BODIES = ("requestObject", "responseObject")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


def policy(draw: random.Random) -> str:
    """Return a policy without the field and the group that kube-apiserver did not know yet."""
    document = policies.policy(draw)
    for rules in (document, *document["rules"]):
        rules.pop("omitManagedFields", None)
        for group in rules.get("resources", ()):
            group["group"] = group["group"].replace("*", "apps")
    return json.dumps(document)


def uri(draw: random.Random, request: Request) -> str:
    """Return a URL of the request, escaped in parts."""
    if not request.is_resource:
        return request.path.replace(" ", "%20") + draw.choice(("", "?x=/api/v1/pods"))
    start = f"/apis/{request.api_group}/v1" if request.api_group else "/api/v1"
    if request.resource == "namespaces":
        parts = [start, "namespaces", request.namespace, request.subresource if request.namespace else ""]
        return "/".join(part for part in parts if part)
    namespace = f"/namespaces/{request.namespace}" if request.namespace else ""
    name = f"/{request.name}" if request.name else ""
    subresource = f"/{request.subresource}" if request.name and request.subresource else ""
    return f"{start}{namespace}/{request.resource}{name}{subresource}"


def event(draw: random.Random, number: int) -> dict[str, Any]:
    """Return an event whose ``objectRef`` is that of its URL, unless its body filled it or it has none."""
    request = policies.request(draw)
    url = urls.parse(path := uri(draw, request))
    reference = {
        "resource": url.resource,
        "namespace": url.namespace,
        "name": url.name or (draw.choice(policies.NAMES) if request.verb in ("create", "update", "list") else ""),
        "apiGroup": url.api_group,
        "subresource": url.subresource,
    }
    named = {"objectRef": {name: value for name, value in reference.items() if value}} if url.is_resource else {}
    return {
        "level": "RequestResponse",
        "auditID": str(number),
        "stage": draw.choice(STAGES),
        "requestURI": path,
        "verb": request.verb,
        "user": {} if request.user is None else {"username": request.user, "groups": list(request.groups)},
        **({} if draw.random() < 0.05 else named),
        "requestObject": {"kind": "A"},
        "responseObject": {"kind": "B"},
        "requestReceivedTimestamp": "2026-11-23T10:00:00.000000Z",
        "stageTimestamp": "2026-11-23T10:00:00.000000Z",
    }


def sees_the_request(head: NamedHead) -> bool:
    """Return whether the event has what the policy saw: see the module."""
    url, reference = urls.parse(head.requestURI or ""), head.objectRef
    if not (head.user and head.user.username and url.path.startswith("/")):
        return False
    if reference is None:
        return not url.is_resource
    filled = (reference.name or "", reference.namespace or "") != (url.name, url.namespace)
    return not (filled and head.verb in attributes.FILLED)


def outcome(document: Any) -> tuple[Any, ...] | None:
    """Return what a policy made of an event."""
    return document and (document["auditID"], document["level"], *(body in document for body in BODIES))


def ours(applied: AppliedPolicy, one: Event) -> Any:
    """Return the event that is left, None if it is dropped."""
    return next((json.loads(bytes(each.raw)) for each in applied.apply([one])), None)


def test_events_recorded_at_requestresponse_are_as_in_kubernetes_own_code() -> None:
    """Where the event has what the policy saw. Elsewhere, as kube-apiserver's evaluator decides about the request."""
    draw = random.Random(24)  # noqa: S311 - the same events each time
    chosen = [policy(draw) for _ in range(500)]
    events = [[event(draw, number) for number in range(40)] for _ in chosen]
    theirs = judged(
        "policy-enforced", [{"policy": text, "events": some} for text, some in zip(chosen, events, strict=True)]
    )

    same = better = 0
    for text, some, left in zip(chosen, events, theirs, strict=True):
        applied = AppliedPolicy.parse(text)
        decoded = decode(eventlist([json.dumps(each).encode() for each in some]), heads=PolicyHead).events
        requests = [attributes.request_of(each) for each in decoded]
        [judgement] = judged("policy-judge", [task(text.encode(), requests)]) if better < 3_000 else [None]
        for index, (one, their) in enumerate(zip(decoded, left, strict=True)):
            mine = outcome(ours(applied, one))
            if sees_the_request(attributes.head_of(one)):
                assert mine == outcome(their)
                same += 1
            elif judgement:
                decision = judgement["decisions"][index]
                dropped = decision["level"] == "None" or one.head.stage in decision["omit_stages"]
                assert (mine and mine[1] == decision["level"]) or (mine is None and dropped)
                better += 1
    assert same > 10_000
    assert better > 1_000


def test_events_recorded_lower_are_never_raised() -> None:
    """A real server's events: the level is the lower of both. Kubernetes' code wrote the policy's level."""
    draw = random.Random(25)  # noqa: S311
    lists = [path.read_bytes() for path in sorted(DATA.glob("eventlist-*.json"))]
    items = [item for body in lists for item in json.loads(body)["items"]]
    lowered = [{**item, "level": draw.choice(LEVELS[1:])} for item in items]
    for item in lowered:
        for body in BODIES[ORDER[item["level"]] - 1 :]:
            item.pop(body, None)
    chosen = [policy(draw) for _ in range(20)]
    theirs = judged("policy-enforced", [{"policy": text, "events": lowered} for text in chosen])

    decoded = decode(eventlist([json.dumps(each).encode() for each in lowered]), heads=PolicyHead).events
    compared = 0
    for text, left in zip(chosen, theirs, strict=True):
        applied = AppliedPolicy.parse(text)
        for item, one, their in zip(lowered, decoded, left, strict=True):
            if not sees_the_request(attributes.head_of(one)):
                continue
            if their:
                their["level"] = min(their["level"], item["level"], key=lambda level: ORDER[level])
            assert outcome(ours(applied, one)) == outcome(their)
            compared += 1
    assert compared > 500
