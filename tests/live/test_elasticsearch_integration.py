"""Beside Elastic's own Kubernetes integration: its data streams stay as they are, and a search over both has one type.

The fields are those of elastic/integrations, packages/kubernetes/data_stream/audit_logs: ``fields/*.yml``, with the
types that ECS gives to the names that are only ``external: ecs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from elasticsearch import Elasticsearch
from support import elastic_corpus, elastic_server
from support.eventlists import event

from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.streams import Streams
from auditsplit.sinks.failures import Failure, SinkFailure

AUDIT = "kubernetes.audit"
THEIRS = "logs-kubernetes.audit_logs-default"
TARGET = "logs-kubernetes.audit_logs-auditsplit_{cluster}"
PIPELINE = "logs-kubernetes.audit_logs-1.84.1"
POD_NAME = "authentication.kubernetes.io/pod-name"

TYPES = {
    "keyword": (
        *("ecs.version", "event.action", "event.dataset", "event.kind", "event.outcome", "orchestrator.api_version"),
        *("orchestrator.cluster.name", "orchestrator.namespace", "orchestrator.resource.name"),
        *("orchestrator.resource.type", "orchestrator.type", "user.id", "user.name", "user_agent.original"),
        *(f"{AUDIT}.{name}" for name in ("apiVersion", "kind", "level", "auditID", "stage", "requestURI", "verb")),
        *(f"{AUDIT}.{user}.{name}" for user in ("user", "impersonatedUser") for name in ("username", "uid")),
        *(f"{AUDIT}.objectRef.{name}" for name in ("resource", "namespace", "name", "uid", "apiGroup", "apiVersion")),
        *(f"{AUDIT}.{name}" for name in ("userAgent", "objectRef.resourceVersion", "objectRef.subresource")),
        *(f"{AUDIT}.responseStatus.{name}" for name in ("status", "reason")),
        f"{AUDIT}.annotations.authorization_k8s_io/decision",
        *(f"{AUDIT}.requestObject.spec.{name}" for name in ("type", "serviceAccountName", "restartPolicy")),
        f"{AUDIT}.responseObject.roleRef.kind",
    ),
    "text": (
        *(f"{AUDIT}.user.groups", f"{AUDIT}.impersonatedUser.groups", f"{AUDIT}.sourceIPs"),
        *(f"{AUDIT}.responseStatus.message", f"{AUDIT}.annotations.authorization_k8s_io/reason"),
        f"{AUDIT}.requestObject.spec.containers.image",
    ),
    "match_only_text": ("error.message",),
    "ip": ("source.ip", "client.ip"),
    "integer": (f"{AUDIT}.responseStatus.code",),
    "date": ("@timestamp", "event.ingested", f"{AUDIT}.requestReceivedTimestamp", f"{AUDIT}.stageTimestamp"),
    "boolean": tuple(f"{AUDIT}.requestObject.spec.{name}" for name in ("hostNetwork", "hostIPC", "hostPID")),
    "constant_keyword": ("data_stream.type", "data_stream.dataset", "data_stream.namespace"),
}
"""The integration's fields by type."""

OBJECTS = {f"{AUDIT}.{name}" for name in ("requestObject", "responseObject", "user.extra", "impersonatedUser.extra")}
"""Objects of the integration that are ``flattened`` here. No rule asks for them as such, only for what is in them."""


def mappings() -> dict[str, Any]:
    """Return the integration's mappings."""
    properties: dict[str, Any] = {}
    for kind, names in TYPES.items():
        for name in names:
            *outer, last = name.split(".")
            holder = properties
            for part in outer:
                holder = holder.setdefault(part, {}).setdefault("properties", {})
            holder[last] = {"type": {"match_only_text": "text", "constant_keyword": "keyword"}.get(kind, kind)}
    for user in ("user", "impersonatedUser"):
        properties["kubernetes"]["properties"]["audit"]["properties"][user]["properties"]["extra"] = {
            "type": "object",
            "dynamic": True,
        }
    extra = {"path_match": [f"{AUDIT}.*.extra.*"], "match_mapping_type": "string", "mapping": {"type": "keyword"}}
    return {"dynamic": False, "properties": properties, "dynamic_templates": [{"extra": extra}]}


class Beside(NamedTuple):
    """A server with a data stream of the integration and one of auditsplit's, each with an event."""

    client: Elasticsearch
    before: dict[str, Any]
    ours: str


EXTRA = {"username": "alice", "groups": ["system:masters"], "extra": {POD_NAME: ["pod-1"], "team": ["blue"]}}
EVENT: dict[str, Any] = {"user": EXTRA, "impersonatedUser": EXTRA, "sourceIPs": ["127.0.0.1", "203.0.113.7"]}


def resolved(client: Elasticsearch, stream: str) -> dict[str, Any]:
    """Return the settings and mappings of the next index of a data stream."""
    answer: dict[str, Any] = client.indices.simulate_index_template(name=stream)["template"]
    return answer


@pytest.fixture(scope="module")
def beside(elastic: elastic_server.Node) -> Iterator[Beside]:
    """Install the integration's template as Fleet does, and auditsplit's after it."""
    with elastic.client() as client:
        client.indices.put_index_template(
            name="logs-kubernetes.audit_logs",
            index_patterns=["logs-kubernetes.audit_logs-*"],
            data_stream={},
            priority=200,
            template={"mappings": mappings(), "settings": {"index.default_pipeline": PIPELINE}},
        )
        audit = {"verb": "list", **EVENT}
        document = {"@timestamp": "2026-11-23T11:29:49Z", "kubernetes": {"audit": audit}, "source": {"ip": "127.0.0.1"}}
        client.index(index=THEIRS, document=document, op_type="create", pipeline="_none", refresh=True)
        before = resolved(client, THEIRS)
        ours = elastic_corpus.store_items(elastic, [event("alice", **EVENT)], "prod", TARGET)
        yield Beside(client, before, ours.stream)
        client.indices.delete_data_stream(name=f"{THEIRS},{ours.stream}")
        client.indices.delete_index_template(name="logs-kubernetes.audit_logs")


def test_the_integrations_data_stream_keeps_its_template(beside: Beside) -> None:
    """Its pipeline and mappings count for its next index too, and auditsplit's for auditsplit's."""
    client, before, ours = beside

    assert resolved(client, THEIRS) == before
    assert before["settings"]["index"]["default_pipeline"] == PIPELINE
    client.indices.rollover(alias=THEIRS)
    indices = client.indices.get_data_stream(name=THEIRS)["data_streams"][0]["indices"]
    newest = client.indices.get_mapping(index=indices[-1]["index_name"])[indices[-1]["index_name"]]["mappings"]
    assert newest["properties"] == before["mappings"]["properties"]
    assert "default_pipeline" not in resolved(client, ours)["settings"]["index"]


@pytest.mark.parametrize("target", ["logs-kubernetes.audit_logs-team", "logs-kubernetes.audit_logs-te{cluster}"])
def test_a_data_stream_of_the_integration_is_not_taken_over(beside: Beside, target: str) -> None:
    """In a namespace that an operator chose. Setup changes nothing and names the template."""
    client, before, _ = beside
    theirs = "logs-kubernetes.audit_logs-team"
    client.indices.create_data_stream(name=theirs)

    try:
        with pytest.raises(
            SinkFailure, match=r"audit_logs-team is of the template logs-kubernetes\.audit_logs"
        ) as error:
            template.install(client, Streams(target))
        assert resolved(client, theirs) == before
    finally:
        client.indices.delete_data_stream(name=theirs)

    assert error.value.failure is Failure.OCCUPIED


def test_a_field_has_one_type_in_both(beside: Beside) -> None:
    """So Kibana, EQL and ES|QL can use it over ``logs-kubernetes.audit_logs-*``."""
    client, _, ours = beside

    capabilities = client.field_caps(index=f"{THEIRS},{ours}", fields="*", filters="-metadata")["fields"]

    assert {name for name, types in capabilities.items() if len(types) > 1} == OBJECTS
    for name in (f"{AUDIT}.user.extra.{POD_NAME}", f"{AUDIT}.sourceIPs", f"{AUDIT}.user.groups", "client.ip"):
        assert len(capabilities[name]) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"match_phrase": {f"{AUDIT}.user.groups": "system:masters"}},
        {"match_phrase": {f"{AUDIT}.sourceIPs": "203.0.113.7"}},
        {"term": {f"{AUDIT}.user.extra.{POD_NAME}": "pod-1"}},
        {"term": {f"{AUDIT}.user.extra.team": "blue"}},
        {"term": {"source.ip": "127.0.0.1"}},
    ],
)
def test_a_search_finds_the_events_of_both(beside: Beside, query: dict[str, Any]) -> None:
    """By the same words."""
    client, _, ours = beside

    found = client.search(index=f"{THEIRS},{ours}", query=query)["hits"]["total"]["value"]

    assert found == 2
