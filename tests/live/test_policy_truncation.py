"""Truncation against kube-apiserver's own truncating backend, ``k8s.io/apiserver/plugin/pkg/audit/truncate``."""

from __future__ import annotations

import random
from typing import Any

from support.eventlists import eventlist
from support.policies import judged

from auditsplit.decode.eventlist import decode
from auditsplit.event import NamedHead, PolicyHead
from auditsplit.policy.truncation import Truncation, batches
from auditsplit.sinks.lines import render

LEVELS = ("Metadata", "Request", "RequestResponse")
NAMES = ("a", "audit.k8s.io/truncated", "audit.k8s.io/u", "authorization.k8s.io/decision", "z.example/ü<&>")


def event(draw: random.Random, number: int) -> dict[str, Any]:
    """Return an event with bodies, names and annotations of any size."""
    some = {name: draw.choice(("true", "false", "", "x" * draw.randrange(200))) for name in NAMES}
    body = {
        "kind": "A",
        "metadata": {"name": "é\u2028<" * draw.randrange(60)},
        "requestObject": {"items": [1, None, {}]},
    }
    document: dict[str, Any] = {
        "level": draw.choice(LEVELS),
        "auditID": str(number),
        "stage": "ResponseComplete",
        "requestURI": "/api/" + "v" * draw.randrange(300),
        "verb": draw.choice(("get", "create")),
        "user": {"username": "alice", "groups": ["requestObject"]},
        "requestReceivedTimestamp": "2026-11-23T10:00:00.000000Z",
        "stageTimestamp": "2026-11-23T10:00:00.000000Z",
    }
    for name in ("requestObject", "responseObject"):
        if draw.random() < 0.7:
            document[name] = body
    if draw.random() < 0.7:
        document["annotations"] = {name: some[name] for name in NAMES if draw.random() < 0.5}
    return document


def test_each_event_and_batch_is_as_in_kubernetes_own_code() -> None:
    """Byte for byte, in 3,000 lists of up to nine events, as lines and as items of an EventList."""
    draw = random.Random(17)  # noqa: S311 - the same events each time
    tasks: list[dict[str, Any]] = [
        {
            "events": [event(draw, number) for number in range(draw.randrange(10))],
            "max_event_size": draw.choice((300, 450, 600, 800, 1200)),
            "max_batch_size": draw.choice((1, 500, 1000, 2500)),
        }
        for _ in range(3000)
    ]

    truncated = dropped = 0
    for task, theirs in zip(tasks, judged("policy-judge", tasks), strict=True):
        items = [line.strip().encode() for line in theirs["lines"]]
        listed = [b"{" + item.partition(b'v1",')[2] for item in items]
        for texts, heads in ((items, NamedHead), (listed, PolicyHead)):
            events = decode(eventlist(texts), heads=heads).events
            kept = Truncation(task["max_event_size"]).apply(events)
            ours = [
                render(batch, "log").decode().splitlines(keepends=True)
                for batch in batches(kept, task["max_batch_size"])
            ]
            assert ours == theirs["batches"]
        truncated += sum(line not in theirs["lines"] for batch in theirs["batches"] for line in batch)
        dropped += len(items) - sum(map(len, theirs["batches"]))
    assert truncated > 1000
    assert dropped > 1000
