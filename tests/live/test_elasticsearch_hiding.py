"""Nobody hides from a search: a hostile value in any field of an event leaves out that value alone.

Every field that a caller can choose gets every value that Elasticsearch or a strict parser refuses. They come in
batches of the size of a sender's. Each event must then be found by all of its other fields.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from elasticsearch import Elasticsearch
from support import elastic_places, elastic_server
from support.eventlists import eventlist

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink

AUDIT = "kubernetes.audit"
STREAM = "hiding-audit"
POD_NAME = "authentication.kubernetes.io/pod-name"
BATCH = 60
NO_LIST = str.maketrans("", "", "[]")
PLACEHOLDER = "the hostile value"
ASTRAL = "\U0001f600"


def fields(number: int) -> dict[str, Any]:
    """Return the members of an event that has them all. Their values differ between events."""
    extra = {POD_NAME: [f"pod-{number}"], "team": [f"team-{number}"]}
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "requestURI": f"/api/{number}",
        "verb": f"verb-{number}",
        "user": {"username": f"user-{number}", "uid": f"uid-{number}", "groups": [f"group-{number}"], "extra": extra},
        "impersonatedUser": {
            "username": f"other-{number}",
            "uid": f"otheruid-{number}",
            "groups": [f"othergroup-{number}"],
            "extra": extra,
        },
        "authenticationMetadata": {"impersonationConstraint": f"constraint-{number}"},
        "sourceIPs": [f"10.0.{number // 250}.{number % 250}", "203.0.113.7"],
        "userAgent": f"agent-{number}",
        "objectRef": {
            name: f"{name}-{number}"
            for name in (
                *("resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource"),
            )
        },
        "responseStatus": {
            "metadata": {},
            "status": f"status-{number}",
            "reason": f"reason-{number}",
            "message": f"message{number}",
            "code": 403,
            "details": {"name": f"detail-{number}"},
        },
        "requestObject": {"spec": {"type": f"request-{number}"}},
        "responseObject": {"spec": {"type": f"response-{number}"}},
        "requestReceivedTimestamp": "2026-11-23T11:29:49.380360Z",
        "stageTimestamp": "2026-11-23T11:29:50.380360Z",
        "annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": f"why{number}"},
    }


NAMES = {
    "auditID": ("event.id", f"{AUDIT}.auditID"),
    "verb": ("event.action", f"{AUDIT}.verb"),
    "requestURI": (f"{AUDIT}.requestURI",),
    "userAgent": ("user_agent.original", f"{AUDIT}.userAgent"),
    "user.username": ("user.name", f"{AUDIT}.user.username"),
    "user.uid": ("user.id", f"{AUDIT}.user.uid"),
    "impersonatedUser.username": ("user.effective.name", f"{AUDIT}.impersonatedUser.username"),
    "sourceIPs": ("source.ip", "client.ip", f"{AUDIT}.sourceIPs"),
    "objectRef.name": ("orchestrator.resource.name", f"{AUDIT}.objectRef.name"),
    "objectRef.namespace": ("orchestrator.namespace", f"{AUDIT}.objectRef.namespace"),
    "objectRef.resource": ("orchestrator.resource.type", f"{AUDIT}.objectRef.resource"),
    "objectRef.apiVersion": ("orchestrator.api_version", f"{AUDIT}.objectRef.apiVersion"),
    "annotations.authorization.k8s.io/decision": (f"{AUDIT}.annotations.authorization_k8s_io/decision",),
    "annotations.authorization.k8s.io/reason": (f"{AUDIT}.annotations.authorization_k8s_io/reason",),
}
"""The names under which a member is searched, if it is not its own."""

NOT_SEARCHED = ("kind", "apiVersion", "level", "stage", "requestReceivedTimestamp", "stageTimestamp")
"""Members that no caller chooses, and that are the same in all events."""

OPEN = ("user.extra", "impersonatedUser.extra", "requestObject", "responseObject", "responseStatus.details")
"""Members with any keys."""

MEMBERS = {
    "NUL in a key": r'"\u0000":["x"]',
    "a key of 33,000 characters": f'"{"k" * 33_000}":["x"]',
    "a key of 60,000 characters": f'"{"k" * 60_000}":["x"]',
    "a key of 12,000 long characters": f'"{ASTRAL * 12_000}":["x"]',
    "a key and a value that are too long together": f'"{"k" * 29_800}":["{"€" * 1024}"]',
    "one key twice": '"twice":["x"],"twice":["y"]',
    "a surrogate in a key": r'"\ud800":["x"]',
    "a surrogate in a value": r'"x":["\ud800"]',
    "a control character": '"x":["\x01"]',
    "an empty key": '"":["x"]',
    "a key of dots": '"..":["x"]',
    "a key of a blank": '" ":["x"]',
    "the beginning of another key": '"authentication":["x"],"authentication.kubernetes.io":["y"]',
}
"""Members for an object with any keys, whose values are lists of strings."""

BODY_MEMBERS = {
    "260 levels": '"x":' + '{"a":' * 260 + "1" + "}" * 260,
    "9,000 levels": '"x":' + "[" * 9000 + "]" * 9000,
    "a long path": '"x":' + f'{{"{"k" * 1000}":' * 40 + "1" + "}" * 40,
    "5,000 digits": '"x":' + "9" * 5000,
    "1e400": '"x":1e400',
    "NaN": '"x":NaN',
    "40,000 characters": f'"x":"{"x" * 40_000}"',
}
"""Members for a body."""

STRINGS = {
    "NUL": r'"\u0000"',
    "a surrogate": r'"\ud800"',
    "40,000 characters": f'"{"x" * 40_000}"',
    "12,000 long characters": f'"{ASTRAL * 12_000}"',
    "a control character": '"\x01"',
    "no characters": '""',
}
"""Strings."""

TYPES = {"an object": '{"a":{"b":1}}', "a list of lists": "[[[1]]]", "a number": "1e30", "truth": "true"}
"""Values of another type than the API's."""


class Case(NamedTuple):
    """A hostile event: the member's path, what is in it, and the names by which the event must be found."""

    path: str
    way: str
    item: bytes
    searched: dict[str, Any]


class Stored(NamedTuple):
    """The hostile events that are stored, and a client that may read them."""

    client: Elasticsearch
    sink: ElasticsearchSink
    several: list[Batch]
    cases: list[Case]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the paths and values of all members that are not objects."""
    for name, member in value.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(member, dict):
            yield from leaves(member, inner)
        elif inner not in NOT_SEARCHED:
            yield inner, member


def case(number: int, path: str, way: str, text: str, *, keeps: bool = False) -> Case:
    """Return the event ``number`` with the JSON ``text`` at ``path``, beside the member's own value if it ``keeps``."""
    members = fields(number)
    holder: Any = members
    *outer, name = path.split(".") if not path.startswith("annotations.") else path.split(".", 1)
    for part in outer:
        holder = holder[part]
    searched = {
        field: value
        for leaf, value in leaves(members)
        if keeps or not (leaf == path or leaf.startswith(f"{path}."))
        for field in NAMES.get(leaf, (f"{AUDIT}.{leaf}",))
    }
    if keeps and isinstance(holder[name], dict):
        holder[name] = {PLACEHOLDER: 0, **holder[name]}
        item = json.dumps(members).replace(f'"{PLACEHOLDER}": 0', text, 1)
    elif keeps:
        holder[name] = [PLACEHOLDER, *holder[name]]
        item = json.dumps(members).replace(f'"{PLACEHOLDER}"', text, 1)
    else:
        holder[name] = PLACEHOLDER
        item = json.dumps(members).replace(f'"{PLACEHOLDER}"', text, 1)
    return Case(path, way, item.replace(": ", ":").encode(), searched)


def hostile() -> Iterator[tuple[str, str, str, bool]]:
    """Yield each member's path, a way of being refused, the JSON text, and whether the member keeps its own values."""
    for path in OPEN:
        ways = {**MEMBERS, **(BODY_MEMBERS if path.endswith("Object") else {})}
        yield from ((path, way, text, True) for way, text in ways.items())
    yield from (("annotations", way, text.translate(NO_LIST), True) for way, text in MEMBERS.items())
    for path, value in leaves(fields(0)):
        if not path.startswith(OPEN):
            yield from ((path, way, text, isinstance(value, list)) for way, text in STRINGS.items())
            yield from ((path, way, text, False) for way, text in TYPES.items())
    for path in (*OPEN, "annotations"):
        yield from ((path, way, text, False) for way, text in TYPES.items() if way != "an object")


CASES = [case(number, *one[:3], keeps=one[3]) for number, one in enumerate(hostile())]


def readable(item: bytes) -> bool:
    """Return whether ``item`` is an event at all. An item with a user of another type, for example, is rejected."""
    return bool(batches.read(eventlist([item]), "default").events)


@contextlib.contextmanager
def hiding(elastic: elastic_server.Node) -> Iterator[Stored]:
    """Write all hostile events."""
    url = f"elasticsearch+{elastic.url}?target={STREAM}&timeout=25"
    sink = cast("ElasticsearchSink", sinks.from_url(url))
    cases = [one for one in CASES if readable(one.item)]
    template.install(sink.connected(), sink.streams)
    several = [
        batches.read(eventlist([one.item for one in cases[start : start + BATCH]]), "default")
        for start in range(0, len(cases), BATCH)
    ]
    for batch in several:
        sink.write(batch, Deadline.after(60))
    with elastic.client() as client:
        client.indices.refresh(index=f"{STREAM}*")
        yield Stored(client, sink, several, cases)
        client.indices.delete_data_stream(name=f"{STREAM}*")


def query(one: Case) -> dict[str, Any]:
    """Return the query for all of the event's other members, as Kibana makes it of KQL."""
    filters = [
        {"match_phrase": {field: value}}
        for field, values in one.searched.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return {"bool": {"filter": filters}}


def test_all_ways_are_tried_on_all_fields() -> None:
    """Few of them are no events."""
    assert len(CASES) > 300
    assert sum(readable(one.item) for one in CASES) > 0.8 * len(CASES)


def test_a_hostile_value_leaves_out_that_value_alone(elastic: elastic_server.Node) -> None:
    """Each event is found by all its other members, names what is left out and has its line; none is rejected."""
    with hiding(elastic) as stored:
        _expect_found(stored)
        assert [batch for batch in stored.several if stored.sink.write(batch, Deadline.after(60)).new] == []


def _expect_found(stored: Stored) -> None:
    client, sink, several, cases = stored
    events = [event for batch in several for event in batch.events]
    searches: list[dict[str, Any]] = []
    for one in cases:
        searches += ({"index": STREAM}, {"query": query(one)})

    answers = client.msearch(searches=searches)["responses"]

    wrong = []
    for one, event, answer in zip(cases, events, answers, strict=True):
        hits = [hit["_source"] for hit in answer.get("hits", {"hits": []})["hits"]]
        names = [name for hit in hits for name in hit.get("auditsplit", {}).get("left_out", [])]
        lines_found = [elastic_places.original(hit) for hit in hits]
        if lines_found != [lines.render([event], "log")[:-1]] or any(not n.startswith(one.path) for n in names):
            wrong.append((one.path, one.way, len(hits), names, answer.get("error")))
    assert wrong == []
    assert not client.indices.exists(index=sink.streams.rejected)
