"""Places in Elasticsearch, with what a test must see and break there that the function may not."""

from __future__ import annotations

import base64
import itertools
import uuid
from collections.abc import Iterator
from typing import Any, cast

import pytest

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.sinks import Sink
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.bulk import BulkAnswer
from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink
from auditsplit.sinks.failures import Failure, SinkFailure
from support import elastic_server, servers


class ElasticsearchPlace:
    """Data streams of a prefix of their own, with the template that a deployer installs."""

    def __init__(self, node: elastic_server.Node) -> None:
        """Install the template."""
        self.prefix = f"place-{uuid.uuid4().hex[:12]}-"
        self.url = f"elasticsearch+{node.url}?target={self.prefix}{{user}}"
        self._client = node.client(request_timeout=60)
        template.install(self._client, self.sink().streams)

    def close(self) -> None:
        """Delete all data streams, because a node may hold only a thousand shards."""
        self._client.indices.delete_data_stream(name=f"{self.prefix}*")
        self._client.close()

    def sink(self) -> ElasticsearchSink:
        """See `Place.sink`."""
        return cast("ElasticsearchSink", sinks.from_url(self.url))

    def dying(self, puts: int) -> Sink:
        """See `Place.dying`; sends a document at a time."""
        sink = cast("ElasticsearchSink", sinks.from_url(f"{self.url}&bulk_bytes=1"))
        left, send = itertools.count(puts, -1), sink._send

        def dying_send(body: bytes, count: int, deadline: Deadline) -> BulkAnswer:
            if next(left) <= 0:
                raise SinkFailure(Failure.NOT_ALLOWED, "the process died")
            return send(body, count, deadline)

        sink._send = dying_send  # type: ignore[method-assign]
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        return sinks.from_url(f"elasticsearch+http://127.0.0.1:{servers.free_port()}?timeout=2")

    def held(self) -> dict[str, bytes]:
        """See `Place.held`; the lines are those in the documents, in the order of indexing."""
        lines: dict[str, bytes] = {}
        for name, hit in self.documents():
            source = hit["_source"]
            if name == f"{self.prefix}_rejected":
                place = f"_rejected/{source['orchestrator']['cluster']['name']}/{hit['_id']}"
                lines[place] = base64.b64decode(source["auditsplit"]["original_base64"])
            else:
                lines[name] = lines.get(name, b"") + original(source) + b"\n"
        return lines

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the data streams' names and all their hits."""
        pattern = f"{self.prefix}*"
        self._client.indices.refresh(index=pattern)
        for stream in self._client.indices.get_data_stream(name=pattern)["data_streams"]:
            answer = self._client.search(index=stream["name"], size=10_000, sort="_seq_no")
            for hit in answer["hits"]["hits"]:
                yield stream["name"], hit

    def matching(self, query: dict[str, Any]) -> list[str]:
        """Return the audit ids of the events that a query finds."""
        hits = self._client.search(index=f"{self.prefix}*", query=query)["hits"]["hits"]
        return [hit["_source"]["event"]["id"] for hit in hits]

    def mappings(self, stream: str) -> dict[str, Any]:
        """Return the mappings of a data stream as they are now."""
        (answer,) = self._client.indices.get_mapping(index=stream).values()
        return cast("dict[str, Any]", answer["mappings"])

    def override(self, name: str, more: dict[str, Any]) -> None:
        """Have the data stream ``name`` made by another template, with ``more`` in it."""
        streams = self.sink().streams
        (index_template,) = [body for path, body in template.documents(streams).items() if "_index_template" in path]
        self._client.indices.put_index_template(
            name=f"override-{self.prefix}{name}",
            index_patterns=[f"{self.prefix}{name}"],
            data_stream={},
            composed_of=index_template["composed_of"],
            priority=index_template["priority"] + 1,
            template=more,
        )

    def set(self, name: str, settings: dict[str, Any]) -> None:
        """Change settings of the data stream ``name``."""
        self._client.indices.put_settings(index=f"{self.prefix}{name}", settings=settings)


def original(source: dict[str, Any]) -> bytes:
    """Return the log line in a document."""
    text = source["event"].get("original")
    return base64.b64decode(source["auditsplit"]["original_base64"]) if text is None else text.encode()


def elasticsearch_place(request: pytest.FixtureRequest) -> ElasticsearchPlace:
    """Return a place on the Elasticsearch server."""
    place = ElasticsearchPlace(request.getfixturevalue("elastic"))
    request.addfinalizer(place.close)
    return place
