"""The Elasticsearch sink against the official client's own bulk helper, in turns on one server.

Both index the same recorded events into the same mappings and wait for each batch. The helper gets like documents,
built as its users do: the list parsed, dicts made, and the client writes them as JSON. The server shares the cores,
so events a second are a floor; CPU is that of the client's process alone.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # their server, from anywhere
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.workload import BATCH_EVENTS, Batches, described, mixed
from elasticsearch import Elasticsearch, helpers
from support import elastic_server

from auditsplit import sinks
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import batch as batches
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.streams import Streams

_BATCHES = 15  # in a round
_ROUNDS = 5
_CHUNK_BYTES = 5_000_000


def ours(url: str) -> Callable[[bytes], None]:
    """Return the sink's way for a body."""
    sink = sinks.from_url(url)

    def write(body: bytes) -> None:
        if not sink.write(batches.read(body, "default"), Deadline.after(REQUEST_S)).new:
            raise RuntimeError("these events were there before")

    return write


def theirs(client: Elasticsearch, stream: str) -> Callable[[bytes], None]:
    """Return the helper's way for a body."""

    def write(body: bytes) -> None:
        chunks = helpers.streaming_bulk(client, actions(body, stream), max_chunk_bytes=_CHUNK_BYTES)
        if not all(created for created, _ in chunks):
            raise RuntimeError("an event was refused")

    return write


def actions(body: bytes, stream: str) -> Iterator[dict[str, Any]]:
    """Yield a body's documents as dicts."""
    for event in json.loads(body)["items"]:
        original = json.dumps({"kind": "Event", "apiVersion": "audit.k8s.io/v1", **event}, separators=(",", ":"))
        annotations = {name.replace(".", "_"): value for name, value in event.get("annotations", {}).items()}
        yield {
            "_op_type": "create",
            "_index": stream,
            "_id": f"{event['auditID']}-{event['stage']}",
            "@timestamp": event["stageTimestamp"],
            "event": {"action": event["verb"], "id": event["auditID"], "original": original},
            "user": {"name": event["user"].get("username")},
            "source": {"ip": event["sourceIPs"][0]},
            "user_agent": {"original": event.get("userAgent")},
            "orchestrator": {"type": "kubernetes", "cluster": {"name": "default"}},
            "kubernetes": {"audit": {**event, "annotations": annotations}},
        }


def measure(write: Callable[[bytes], None], bodies: list[bytes]) -> tuple[float, float]:
    """Return events a second and CPU microseconds an event."""
    events = len(bodies) * BATCH_EVENTS
    began, used = time.perf_counter(), time.process_time()
    for body in bodies:
        write(body)
    return events / (time.perf_counter() - began), 1e6 * (time.process_time() - used) / events


def main() -> None:
    """Print the table."""
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    items = mixed(BATCH_EVENTS)
    source = Batches(items)
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder, elastic_server.node(Path(folder)) as node:
        client = node.client(request_timeout=60)
        template.install(client, Streams("bench-{user}"))
        url = f"elasticsearch+{node.url}?timeout=25&target=bench-"
        ways = {
            "the sink": ours(f"{url}store"),
            "the sink, `compress=0`": ours(f"{url}plain&compress=0"),
            "`helpers.streaming_bulk`": theirs(client, "bench-helper"),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        number = 0
        for turn in range(-1, _ROUNDS):  # the first warms up
            for name, write in ways.items():
                bodies = [source.body(number + index) for index in range(_BATCHES)]
                number += _BATCHES
                figures = measure(write, bodies)
                found[name] += [figures] if turn >= 0 else []
        client.close()
    print(f"Batches of {described(items)}:\n\n| way | events/s | CPU µs an event |\n| --- | ---: | ---: |")
    for name, several in found.items():
        rates, used = zip(*several, strict=True)
        print(f"| {name} | {statistics.median(rates):,.0f} | {statistics.median(used):.0f} |")


if __name__ == "__main__":
    main()
