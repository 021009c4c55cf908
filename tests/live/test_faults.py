"""A store behind a bad network: what the apiserver was told is stored, once."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import object_places, servers
from support.eventlists import event, eventlist
from support.faults import post, proxy
from support.server import Server

SEED = 20261123
BATCHES, EVENTS, USERS = 250, 400, 8
SENDERS = 8


def body_of(number: int) -> bytes:
    """Return the EventList of batch ``number``, of `EVENTS` events by `USERS`."""
    start = f"2026-01-31T{number % 24:02}:59:59"
    return eventlist(
        event(f"user-{item % USERS}", auditID=f"{number}-{item}", stageTimestamp=f"{start}.{item:06}Z")
        for item in range(EVENTS)
    )


def test_nothing_is_lost_and_nothing_comes_twice(
    request: pytest.FixtureRequest, s3_url: str, serve: Callable[..., Server]
) -> None:
    """100,000 events through a proxy that refuses, breaks, resets and delays two of five puts."""
    place = object_places.s3_place(request)
    with proxy(s3_url, SEED) as faulty:
        server = serve(AUDIT_SINKS=place.url.replace(s3_url, faulty.url))
        with ThreadPoolExecutor(SENDERS) as pool:
            told = list(
                pool.map(lambda number: post(server, body_of(number), give_up_first=number % 10 == 0), range(BATCHES))
            )

    ids = read(s3_url, place.prefix)

    assert all(statuses[-1] == 200 for statuses in told)
    assert {status for statuses in told for status in statuses[:-1]} == {503}
    assert sum(map(len, told)) > BATCHES, "no batch met a failure that came through; the proxy is too kind"
    assert sum(faulty.done.values()) - faulty.done["nothing"] > BATCHES
    assert ids == Counter(f"{number}-{item}" for number in range(BATCHES) for item in range(EVENTS))


def read(url: str, prefix: str) -> Counter[str]:
    """Return how often each event is there; each in the place of its user."""
    client = object_places.s3_client(url)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=servers.BUCKET, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]

    def ids(key: str) -> list[str]:
        text = gzip.decompress(client.get_object(Bucket=servers.BUCKET, Key=key)["Body"].read())
        documents = [json.loads(line) for line in text.splitlines()]
        assert {f"user={document['user']['username']}" for document in documents} == {key.split("/")[2]}
        return [document["auditID"] for document in documents]

    with ThreadPoolExecutor(SENDERS) as pool:
        return Counter(found for several in pool.map(ids, keys) for found in several)
