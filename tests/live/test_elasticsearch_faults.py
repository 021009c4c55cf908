"""Elasticsearch behind a bad network: every acknowledged event is stored, each in one document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from support import elastic_places, elastic_server
from support.eventlists import event, eventlist
from support.faults import post, proxy
from support.server import Server

SEED = 20261124
BATCHES, EVENTS, USERS = 500, 400, 8
SENDERS = 4
PAGE = 10_000


def body_of(number: int) -> bytes:
    """Return the EventList of batch ``number``, of `EVENTS` events by `USERS`."""
    return eventlist(event(f"user-{item % USERS}", auditID=f"{number}-{item}") for item in range(EVENTS))


def test_nothing_is_lost_and_nothing_comes_twice(
    request: pytest.FixtureRequest, elastic: elastic_server.Node, serve: Callable[..., Server]
) -> None:
    """200,000 events through a proxy that refuses, breaks, resets and delays two of five requests."""
    place = elastic_places.elasticsearch_place(request)
    with proxy(elastic.url, SEED) as faulty:
        server = serve(AUDIT_SINKS=place.url.replace(elastic.url, faulty.url))
        with ThreadPoolExecutor(SENDERS) as pool:
            statuses = list(
                pool.map(lambda number: post(server, body_of(number), give_up_first=number % 10 == 0), range(BATCHES))
            )

    with elastic.client(request_timeout=60) as client:
        found = counts(client, f"{place.prefix}*")

    assert all(each[-1] == 200 for each in statuses)
    assert {status for each in statuses for status in each[:-1]} <= {503}
    assert sum(faulty.done.values()) - faulty.done["nothing"] > BATCHES / 4
    assert found == Counter(
        {(f"user-{item % USERS}", f"{number}-{item}"): 1 for number in range(BATCHES) for item in range(EVENTS)}
    )


def counts(client: Elasticsearch, pattern: str) -> Counter[tuple[str, str]]:
    """Return in how many documents each event of each user is."""
    client.indices.refresh(index=pattern)
    found: Counter[tuple[str, str]] = Counter()
    sources = [{name: {"terms": {"field": field}}} for name, field in (("user", "user.name"), ("id", "event.id"))]
    after: dict[str, Any] = {}
    while True:
        composite = {"size": PAGE, "sources": sources, **after}
        answer = client.search(index=pattern, size=0, aggregations={"events": {"composite": composite}})
        events = answer["aggregations"]["events"]
        found.update({(one["key"]["user"], one["key"]["id"]): one["doc_count"] for one in events["buckets"]})
        if "after_key" not in events:
            return found
        after = {"after": events["after_key"]}
