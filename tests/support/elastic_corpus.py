"""Events in a real Elasticsearch, written by the sink itself, and as Python values to check its answers against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from elasticsearch import Elasticsearch

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink
from support.elastic_server import Node
from support.eventlists import eventlist

_MOST = 1000


class Corpus(NamedTuple):
    """Events of one cluster, and a client of the server that holds them; ``stream`` is where they lie."""

    client: Elasticsearch
    stream: str
    cluster: str
    events: list[dict[str, Any]]

    def answer(self, query: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Return the answer to a search of the cluster's events."""
        mine = {"bool": {"filter": [{"term": {"orchestrator.cluster.name": self.cluster}}, query]}}
        found: dict[str, Any] = self.client.search(index=self.stream, query=mine, size=_MOST, **more).body
        return found

    def found(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the documents that match, oldest first."""
        hits = self.answer(query, sort=["@timestamp", "kubernetes.audit.auditID"])["hits"]["hits"]
        return [hit["_source"] for hit in hits]

    def ids(self, query: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Return the audit id and stage of each event that matches."""
        return {(found["event"]["id"], found["kubernetes"]["audit"]["stage"]) for found in self.found(query)}


def store(node: Node, bodies: Sequence[bytes], cluster: str, target: str | None = None) -> Corpus:
    """Store the EventLists ``bodies`` as events of ``cluster``, by default in a data stream of Elastic's own name."""
    target = target or f"logs-kubernetes.audit_logs-{cluster}"
    stream = target.replace("{cluster}", cluster)
    scheme, _, host = node.url.partition("://")
    sink = cast(
        "ElasticsearchSink",
        sinks.from_url(f"elasticsearch+{scheme}://{host}?target={target}"),
    )
    template.install(sink.connected(), sink.streams)
    for body in bodies:
        sink.write(batches.read(body, cluster), Deadline.after(30))
    client = node.client()
    client.indices.refresh(index=stream)
    return Corpus(client, stream, cluster, [event for body in bodies for event in _items(body)])


def store_items(node: Node, items: Sequence[bytes], cluster: str, target: str | None = None) -> Corpus:
    """Store the events ``items``; see `store`."""
    return store(node, [eventlist(items)], cluster, target)


def _items(body: bytes) -> list[dict[str, Any]]:
    """Return a list's events; Python's own parser takes what the recorded bodies hold."""
    found: list[dict[str, Any]] = json.loads(body)["items"]
    return found
