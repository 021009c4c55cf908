"""The template: what setup asks of a server, and what it does where the server is older or the names are another's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple, cast

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError, Elasticsearch

from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.streams import Streams
from auditsplit.sinks.failures import Failure, SinkFailure

OLD = "unknown parameter [properties] on mapper [extra] of type [flattened]"


class Answer(NamedTuple):
    """An answer of the server."""

    body: Any


class Server:
    """The part of the client that setup uses: a server with data streams, which may refuse mappings."""

    def __init__(self, streams: Mapping[str, str | None], refuse: str = "") -> None:
        """Have ``streams`` with their templates. ``refuse`` is the reason for refusing types of keys."""
        self.put: list[dict[str, Any]] = []
        self._streams = [{"name": name, **({"template": made} if made else {})} for name, made in streams.items()]
        self._refuse = refuse

    def perform_request(self, method: str, path: str, *, body: dict[str, Any] | None, headers: Any) -> Answer:
        """Answer a request."""
        assert headers["accept"] == "application/json"
        if method == "GET":
            return Answer({"data_streams": self._streams})
        if self._refuse and "pod-name" in json.dumps(body):
            node = NodeConfig("http", "127.0.0.1", 9200)
            meta = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.0, node)
            raise BadRequestError("x", meta, {"error": {"type": "mapper_parsing_exception", "reason": self._refuse}})
        self.put.append({"path": path, "body": deepcopy(body)})
        return Answer({})


def install(server: Server, target: str) -> None:
    """Set up ``target`` on ``server``."""
    template.install(cast("Elasticsearch", server), Streams(target))


def test_a_server_before_9_4_gets_the_mappings_without_types_of_keys() -> None:
    """The other keys are searched all the same."""
    new, old = Server({}), Server({}, refuse=OLD)
    for server in (new, old):
        install(server, "kube-audit-{user}")

    users = [
        server.put[0]["body"]["template"]["mappings"]["properties"]["kubernetes"]["properties"]["audit"]["properties"]
        for server in (new, old)
    ]
    extra = users[0]["user"]["properties"].pop("extra")
    assert extra.pop("properties") == {template.POD_NAME: {"type": "keyword", "ignore_above": 1024}}
    assert users[1]["user"]["properties"].pop("extra") == extra
    assert [one["path"] for one in new.put] == [one["path"] for one in old.put]


def test_another_refusal_is_an_error() -> None:
    """Only a server that does not know the parameter gets less."""
    with pytest.raises(SinkFailure):
        install(Server({}, refuse="this cluster is full"), "kube-audit-{user}")


@pytest.mark.parametrize(
    ("target", "streams"),
    [
        ("web-{user}", {"web-shop": "shop"}),
        ("web-shop", {"web-shop": "shop"}),
        ("web-shop", {"web-shop-_rejected": "shop"}),
    ],
)
def test_a_data_stream_of_another_template_is_not_taken_over(target: str, streams: dict[str, str | None]) -> None:
    """Nothing is put."""
    server = Server(streams)

    with pytest.raises(SinkFailure, match="is of the template shop") as caught:
        install(server, target)

    assert caught.value.failure is Failure.OCCUPIED
    assert server.put == []


@pytest.mark.parametrize(
    ("target", "streams"),
    [
        ("web-{user}", {"web-alice": "auditsplit-web"}),
        ("web-{user}", {"web-alice": None}),
        ("web-shop", {"web-shop2": "shop"}),
    ],
)
def test_data_streams_of_auditsplit_and_other_names_are_no_hindrance(
    target: str, streams: dict[str, str | None]
) -> None:
    """Setup is run again after an upgrade, also where the template was deleted."""
    server = Server(streams)

    install(server, target)

    assert len(server.put) == 2
