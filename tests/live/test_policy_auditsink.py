"""AuditSinks against the code that kube-apiserver had for them until version 1.18.

``tests/policy/auditsink`` runs ``plugin/pkg/audit/dynamic`` of k8s.io/apiserver 0.18.19 with its own webhook client,
and the defaults and the validation of the API. Where auditsplit differs on purpose:

- kube-apiserver raised the level of an event to that of the sink, although the bodies are not there.
- Its validation named the namespace of a service where the name was missing, and the other way round.
- A URL without a scheme that can be posted to, a CA that is no certificate and a field that the API does not know are
  refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from support import receiver
from support.eventlists import eventlist
from support.policies import judged

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode.batch import DOCUMENT
from auditsplit.policy.rules import LEVELS, STAGES
from auditsplit.sinks.auditsink import manifest
from auditsplit.sinks.auditsink.manifest import AuditSink
from auditsplit.sinks.auditsink.sink import AuditSinks, Options

MANIFEST = {"apiVersion": manifest.API_VERSION, "kind": manifest.KIND}
URLS = (
    *(
        "https://a.example",
        "https://a.example:8443/audit",
        "http://127.0.0.1:1/x",
        "https://[::1]:1/",
        "https://a.example/%2F",
    ),
    *(
        "https:///x",
        "https://u:p@a.example",
        "https://a.example/#x",
        "https://a.example/?x=1",
        "https://a b/",
        "https://a/%",
    ),
)
PATHS = (None, "", "/", "/audit", "/audit/", "/a/b.c", "audit", "//", "/a//b", "/A", "/-a", "/a_b", "/" + "a" * 254)
NAMES = ("siem", "a.b-c", "", "A", "-a", "a..b", "a_b", "a" * 253, "a" * 254)

SERVICE = "spec.webhook.clientConfig.service"
SWAPPED = {f"{SERVICE}.name": f"{SERVICE}.namespace", f"{SERVICE}.namespace": f"{SERVICE}.name"}


def fields(draw: random.Random, **choices: tuple[Any, ...]) -> dict[str, Any]:
    """Return some of the fields, each with one of its values."""
    return {name: draw.choice(values) for name, values in choices.items() if draw.random() < 0.8}


def spec(draw: random.Random) -> dict[str, Any]:
    """Return a spec of which most parts are right."""
    stages = [draw.choice(STAGES) for _ in range(draw.randrange(1, 4))]
    policy = {"level": draw.choice(LEVELS), "stages": stages}
    if draw.random() < 0.3:
        policy = fields(draw, level=("None", "Request", "all", ""), stages=([], ["Panic"], ["Panic", "Done"]))
    client: dict[str, Any] = {"url": draw.choice(URLS[:5])}
    match draw.randrange(6):
        case 0:
            client = {"url": draw.choice(URLS)}
        case 1:
            ports = (None, 443, 65535, 0, 65536, -1)
            client = {"service": fields(draw, name=("audit", ""), namespace=("ns", ""), path=PATHS, port=ports)}
        case 2:
            client = {"service": {"name": "audit", "namespace": "ns", "path": draw.choice(PATHS)}}
        case 3:
            client = draw.choice(({}, {"url": "https://a", "service": {"name": "a", "namespace": "b"}}, client))
    throttles: tuple[dict[str, int], ...] = (
        {},
        {"qps": 5},
        {"burst": 1},
        {"qps": 0},
        {"burst": -1},
        {"qps": 100000, "burst": 100000},
    )
    throttle = {"throttle": draw.choice(throttles)} if draw.random() < 0.3 else {}
    return {"policy": policy, "webhook": {"clientConfig": client, **throttle}}


def sink(draw: random.Random) -> dict[str, Any]:
    """Return an AuditSink of which most parts are right."""
    name = draw.choice(NAMES) if draw.random() < 0.2 else "siem"
    return {**MANIFEST, "metadata": {"name": name}, "spec": spec(draw)}


def test_the_same_manifests_are_refused_for_the_same_fields() -> None:
    """2,000 of them, of which a good part is right."""
    draw = random.Random(18)  # noqa: S311 - the same each time
    chosen = [sink(draw) for _ in range(2000)]

    [theirs] = judged("policy-auditsink", [{"sinks": chosen, "events": []}])

    refused = 0
    for document, expected in zip(chosen, theirs["refused"], strict=True):
        found = {problem.path for problem in manifest.read(json.dumps(document).encode()).problems}
        theirs_here = {SWAPPED.get(path, path) for path in expected}
        more = {"spec.policy.level"} if "spec.policy.stages" in expected else set()  # it stopped there
        assert theirs_here <= found <= theirs_here | more, document
        refused += bool(expected)
    assert 500 < refused < 1500


def event(draw: random.Random, number: int) -> dict[str, Any]:
    """Return an event that was recorded whole."""
    return {
        "level": "RequestResponse",
        "auditID": str(number),
        "stage": draw.choice(STAGES),
        "requestURI": "/api/v1/namespaces/x/pods/y",
        "verb": draw.choice(("get", "patch")),
        "user": {"username": "alice"},
        "objectRef": {"resource": "pods", "namespace": "x", "name": "y", "apiVersion": "v1"},
        "requestObject": [{"op": "replace", "path": "/x", "value": "é<"}],
        "responseObject": {"kind": "Pod", "metadata": {"managedFields": [{"manager": "m"}]}},
        "requestReceivedTimestamp": "2026-11-23T10:00:00.000000Z",
        "stageTimestamp": "2026-11-23T10:00:00.000000Z",
        **({"annotations": {"a": "b"}} if draw.random() < 0.5 else {}),
    }


class Given:
    """AuditSinks of a test."""

    def __init__(self, sinks: list[AuditSink]) -> None:
        """Keep them."""
        self._sinks = {each.name: each for each in sinks}

    def read(self, _: Mapping[str, str]) -> dict[str, AuditSink]:
        """Return them by name."""
        return self._sinks


def test_each_downstream_gets_the_same_events() -> None:
    """Item by item, for 150 batches with up to six AuditSinks each."""
    draw = random.Random(19)  # noqa: S311 - the same each time
    tasks = []
    for _ in range(150):
        sinks = []
        for number in range(draw.randrange(1, 7)):
            policy = {"level": draw.choice(LEVELS), "stages": draw.sample(STAGES, draw.randrange(1, 5))}
            client = {"url": "http://replaced.example"}
            throttle = {"throttle": {"qps": 1000, "burst": 1000}} if draw.random() < 0.5 else {}
            webhook = {"clientConfig": client, **throttle}
            sinks.append(
                {**MANIFEST, "metadata": {"name": f"sink-{number}"}, "spec": {"policy": policy, "webhook": webhook}}
            )
        tasks.append({"sinks": sinks, "events": [event(draw, number) for number in range(draw.randrange(1, 12))]})

    with receiver.receiving() as downstream:
        for task, theirs in zip(tasks, judged("policy-auditsink", tasks), strict=True):
            read = manifest.read("\n---\n".join(map(json.dumps, task["sinks"])).encode())
            ours = [each._replace(url=f"{downstream.url}/{each.name}", required=True) for each in read.sinks]
            body = eventlist([json.dumps(each).encode() for each in task["events"]])
            downstream.got.clear()
            batch = batches.read(body, "prod", DOCUMENT, batches.digest(body, "prod"))
            AuditSinks("auditsink:test", Given(ours), Options()).write(batch, Deadline.after(20))

            got: dict[str, list[Any]] = {}
            for posted in downstream.posts:
                got.setdefault(posted.target.strip("/").partition("?")[0], []).extend(posted.events)
            assert got == theirs["delivered"]
