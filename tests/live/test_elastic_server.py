"""The Elasticsearch server of the tests is Elastic's own, and does what the other tests take for granted."""

from __future__ import annotations

from pathlib import Path

import pytest
from elastic_transport import TlsError
from elasticsearch import AuthorizationException, Elasticsearch
from support import elastic_server
from support.elastic_server import Node


def test_it_is_the_version_that_the_pom_names(elastic: Node) -> None:
    """The official client accepts it as Elasticsearch, and the stamp's version is its own."""
    pom = (Path(__file__).parent / "elasticsearch" / "pom.xml").read_text()

    version = elastic.client().info()["version"]["number"]

    assert f"<elasticsearch.version>{version}</elasticsearch.version>" in pom


def test_the_first_document_makes_a_data_stream(elastic: Node) -> None:
    """Through a composable template with the codec that wants libzstd."""
    client = elastic.client()
    client.indices.put_index_template(
        name="smoke",
        index_patterns=["smoke-*"],
        data_stream={},
        template={"settings": {"index.codec": "best_compression"}, "lifecycle": {"data_retention": "7d"}},
    )

    client.create(index="smoke-a", id="1", document={"@timestamp": "2026-01-31T00:00:00Z"}, refresh=True)

    assert [stream["name"] for stream in client.indices.get_data_stream(name="smoke-*")["data_streams"]] == ["smoke-a"]
    assert client.count(index="smoke-a", query={"kql": {"query": "@timestamp >= 2026-01-31"}})["count"] == 1


def test_a_key_can_do_what_its_role_says_and_no_more(secured_elastic: Node) -> None:
    """API keys are enforced."""
    key = secured_elastic.client().security.create_api_key(
        name="smoke",
        role_descriptors={
            "writer": {"indices": [{"names": ["smoke-*"], "privileges": ["create_doc", "auto_configure"]}]}
        },
    )
    limited = secured_elastic.client(basic_auth=None, api_key=key["encoded"])

    limited.create(index="smoke-b", id="1", document={"a": 1})

    with pytest.raises(AuthorizationException):
        limited.create(index="other-b", id="1", document={"a": 1})
    with pytest.raises(AuthorizationException):
        limited.search(index="smoke-b")


def test_it_speaks_tls_only_to_who_trusts_its_authority(secured_elastic: Node) -> None:
    """A client without the authority's certificate refuses the server."""
    with pytest.raises(TlsError), Elasticsearch(secured_elastic.url, max_retries=0) as stranger:
        stranger.info()


def test_a_killed_node_comes_back_with_its_data(tmp_path: Path) -> None:
    """On the same port."""
    with elastic_server.node(tmp_path / "node") as before:
        before.client().index(index="kept", id="1", document={"a": 1})
        before.process.kill()

    with elastic_server.node(tmp_path / "node") as after:
        assert after.url == before.url
        assert after.client().get(index="kept", id="1")["_source"] == {"a": 1}


def test_nodes_make_one_cluster(tmp_path: Path) -> None:
    """Each copy of a document outlives the other's node."""
    with elastic_server.nodes(tmp_path, 2) as [first, second]:
        first.client().indices.create(index="copied", settings={"number_of_replicas": 1}, wait_for_active_shards=2)
        first.client().index(index="copied", id="1", document={"a": 1})
        second.process.kill()

        assert first.client().get(index="copied", id="1")["_source"] == {"a": 1}
