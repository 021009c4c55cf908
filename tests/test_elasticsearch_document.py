"""Documents: ECS from an event's bytes, and less of it where something can't be a field."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from support.eventlists import HOSTILE, PROPERTY, carrying, event, eventlist, items, line

from auditsplit.decode import batch as batches
from auditsplit.decode.eventlist import decode
from auditsplit.event import Batch, Event, Origin
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import document
from auditsplit.sinks.elasticsearch.document import AS_ARRIVED, EVERYTHING, FACTS

ORIGIN = Origin("prod-1", datetime(2026, 11, 23, 12, tzinfo=UTC))
FULL: dict[str, Any] = {
    "user": {"username": "alice", "uid": "u-1", "groups": ["g"], "extra": {"a.b/c": ["x"]}},
    "impersonatedUser": {"username": "bob"},
    "sourceIPs": ["10.0.0.1", "10.0.0.2"],
    "userAgent": "kubectl/v1.37.2",
    "objectRef": {"resource": "pods", "namespace": "ns", "name": "web-0", "apiVersion": "v1", "subresource": "exec"},
    "responseStatus": {"metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403},
    "requestObject": {"metadata": {"managedFields": [{"fieldsV1": {".": {}}}]}},
    "annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""},
}


def event_of(item: bytes) -> Event:
    """Return the event in ``item``."""
    (content,) = batches.read(eventlist([item]), "prod-1").events
    return content


def rendered(item: bytes, without: frozenset[str] | None = AS_ARRIVED, reason: str = "") -> dict[str, Any]:
    """Return the document of ``item``."""
    content: dict[str, Any] = json.loads(document.render(event_of(item), ORIGIN, without, reason).text)
    return content


def test_a_document_has_elastics_own_fields() -> None:
    """All fields, for an event that has all members."""
    content = rendered(event(**FULL))

    assert content.pop("kubernetes") == {
        "audit": {
            **json.loads(event(**FULL)),
            "annotations": {"authorization_k8s_io/decision": "forbid", "authorization_k8s_io/reason": ""},
        }
    }
    assert content.pop("event") == {
        "kind": "event",
        "dataset": "kubernetes.audit_logs",
        "module": "kubernetes",
        "outcome": "failure",
        "ingested": "2026-11-23T12:00:00Z",
        "action": "list",
        "id": "3df2e8a2-c03a-405f-bbd5-ebf725831bbf",
        "original": line(**FULL).decode(),
    }
    assert content == {
        "@timestamp": "2026-11-23T11:29:49.380360Z",
        "ecs": {"version": "8.17.0"},
        "data_stream": {"type": "logs", "dataset": "kubernetes.audit_logs", "namespace": "prod_1"},
        "orchestrator": {
            "type": "kubernetes",
            "cluster": {"name": "prod-1"},
            "namespace": "ns",
            "resource": {"name": "web-0", "type": "pods"},
            "api_version": "v1",
        },
        "user": {"name": "alice", "id": "u-1", "effective": {"name": "bob"}},
        "source": {"ip": ["10.0.0.1", "10.0.0.2"]},
        "client": {"ip": ["10.0.0.1", "10.0.0.2"]},
        "user_agent": {"original": "kubectl/v1.37.2"},
    }


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"responseStatus": {"code": 200}}, "success"),
        ({"responseStatus": {"code": 404}}, "failure"),
        ({"annotations": {"authorization.k8s.io/decision": "forbid"}}, "failure"),
        ({"annotations": {"authorization.k8s.io/decision": "allow"}}, "unknown"),
        ({"stage": "RequestReceived"}, "unknown"),
        ({"annotations": None}, "unknown"),
    ],
)
def test_the_outcome_is_the_answers(fields: dict[str, Any], outcome: str) -> None:
    """Unknown while an event has no answer."""
    assert rendered(event(**fields))["event"]["outcome"] == outcome


def test_an_event_without_times_has_the_time_of_arrival() -> None:
    """A document in a data stream must have a time."""
    content = rendered(event(stageTimestamp=None, requestReceivedTimestamp="soon"))

    assert content["@timestamp"] == "2026-11-23T12:00:00Z"


def test_annotations_are_read_wherever_they_are() -> None:
    """A sender other than kube-apiserver may write them first. The same text in a body is not an annotation."""
    body = b'{"annotations":{"a.b":"1"}}'
    first = b'{"annotations":{"a.b":"1"},' + carrying(body)[1:]

    content = rendered(first)["kubernetes"]["audit"]

    assert content["annotations"] == {"a_b": "1"}
    assert content["requestObject"] == {"annotations": {"a.b": "1"}}
    assert "auditsplit" not in rendered(first)


def test_names_of_annotations_that_can_not_be_fields_are_replaced() -> None:
    """Blank names, and names with dots, which Elasticsearch reads as levels."""
    content = rendered(event(annotations={"": "1", "a..b": "2"}))

    assert content["kubernetes"]["audit"]["annotations"] == {"_": "1", "a__b": "2"}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_event_has_a_document_with_its_line(name: str) -> None:
    """Byte for byte, on one line. A body is a field only if a strict parser accepts it, or the server decides."""
    item = event_of(HOSTILE[name])

    text = document.render(item, ORIGIN).text
    bare = json.loads(document.render(item, ORIGIN, {EVERYTHING}, "why").text)

    assert b"\n" not in text
    assert original(bare) == lines.render([item], "log")[:-1]
    assert bare["auditsplit"]["left_out"] == [EVERYTHING]
    assert bare["error"]["message"] == "why"
    assert bare["user"]["name"] == "mallory"
    assert bare["event"]["action"] == "list"
    assert bare["kubernetes"] == {"audit": {}}


def original(content: dict[str, Any]) -> bytes:
    """Return the line in a document."""
    text = content["event"].get("original")
    return base64.b64decode(content["auditsplit"]["original_base64"]) if text is None else text.encode()


@PROPERTY
@given(item=items)
def test_any_item_has_a_document_in_every_form(item: bytes) -> None:
    """As it arrived, cleaned, without one body, both, all audit fields, and ECS's. Each form has the line."""
    batch: Batch = batches.read(eventlist([item]), "prod-1")
    without: frozenset[str] | None = AS_ARRIVED
    for one in batch.events:
        for _ in range(6):
            content = json.loads(document.render(one, ORIGIN, without).text)
            assert original(content) == lines.render([one], "log")[:-1]
            without = document.less(without, f"failed to parse field [{EVERYTHING}.requestObject] of type [flattened]")
        assert without is None


def test_a_user_name_that_is_not_utf8_is_written_with_escapes() -> None:
    """A document can't have a lone surrogate."""
    item = rb'{"level":"Metadata","verb":"\udfff","user":{"username":"\ud800"},"x":"\ud800"}'

    content = rendered(item, frozenset({EVERYTHING, FACTS}))

    assert content["user"]["name"] == "\\ud800"
    assert content["event"]["action"] == "\\udfff"


@pytest.mark.parametrize(
    ("without", "reason", "more"),
    [
        (AS_ARRIVED, "failed to parse field [kubernetes.audit.requestObject] of", set()),
        ((), "failed to parse field [kubernetes.audit.requestObject] of", {"requestObject"}),
        ((), "failed to parse field [kubernetes.audit.user.extra] of type [flattened]", {"user.extra"}),
        (("user.extra",), "failed to parse field [kubernetes.audit.user.extra] of", {"user.extra", "user"}),
        (("user",), "field [kubernetes.audit.user.extra] of", {"user", "requestObject", "responseObject"}),
        ((), "failed to parse field [kubernetes.audit.responseObject] of", {"responseObject"}),
        ((), "failed to parse", {"requestObject", "responseObject"}),
        (("requestObject",), "field [kubernetes.audit.requestObject] of", {"requestObject", "responseObject"}),
        (("requestObject", "responseObject"), "x", {"requestObject", "responseObject", EVERYTHING}),
        ((EVERYTHING,), "x", {EVERYTHING, FACTS}),
        ((EVERYTHING, FACTS), "x", None),
    ],
)
def test_each_refusal_leaves_out_more(without: tuple[str, ...] | None, reason: str, more: set[str] | None) -> None:
    """First the event is cleaned. Then the member that the reason names goes, both bodies, all fields, ECS's."""
    assert document.less(without, reason) == more


def test_a_members_name_may_have_control_characters() -> None:
    """No parser accepts it, and the scan of members reads it."""
    content = rendered(b'{"level":"Metadata","verb":"get","\x01":1}')

    assert content["auditsplit"]["left_out"] == ["\x01"]
    assert content["event"]["action"] == "get"


def test_only_members_that_exist_are_named_as_left_out() -> None:
    """Members of the wrong type and members that the API does not have are named beside the body."""
    item = event(requestObject={"a": 1}, sourceIPs="10.0.0.1", requestTrailer=1)

    content = rendered(item, frozenset({"requestObject", "responseObject"}), "why")

    assert content["auditsplit"]["left_out"] == ["requestObject", "sourceIPs", "requestTrailer"]
    assert "source" not in content
    assert content["user"]["name"] == "alice"


def test_the_id_is_of_the_clusters_name_and_the_line() -> None:
    r"""A known answer: base64 of the first 20 bytes of SHA-256, as ``printf 'prod\0{…}' | sha256sum`` begins."""
    line = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1"}'
    [item] = decode(line).events

    assert document.identity("prod", item) == base64.urlsafe_b64encode(
        bytes.fromhex("b0873915b9e02fc5a02466e135064779623f5454")
    ).decode().rstrip("=")
    assert document.identity("pro", item) != document.identity("prod", item)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_webhooks_and_the_logs_copy_of_an_event_have_one_id(name: str) -> None:
    """The log backend puts kind and version in front. Other bytes are another document."""
    item, other = HOSTILE[name], HOSTILE[name][:-1] + b',"x":1}'
    named = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item[1:]
    posted, written, third = (decode(body).events[0] for body in (eventlist([item]), named, eventlist([other])))

    assert document.identity("prod", posted) == document.identity("prod", written)
    assert document.identity("prod", posted) != document.identity("prod", third)


def test_a_rejected_body_is_stored_whole() -> None:
    """With the reason and the cluster."""
    content = json.loads(document.rejected(ORIGIN, b"\x1f\xff", "no\ud800 event"))

    assert base64.b64decode(content["auditsplit"]["original_base64"]) == b"\x1f\xff"
    assert content["error"]["message"] == "no\\ud800 event"
    assert content["orchestrator"]["cluster"]["name"] == "prod-1"
    assert content["event"]["kind"] == "pipeline_error"


def test_a_long_word_is_searched_by_its_beginning() -> None:
    """Elasticsearch does not search values beyond 8,191 characters. The line has the whole."""
    long = "/" + "x" * 50_000
    people = {"username": "alice", "groups": ["g", long]}

    content = rendered(event(requestURI=long, userAgent=long, user=people, sourceIPs=[long, "10.0.0.1"]))

    assert sorted(content["auditsplit"]["left_out"]) == ["requestURI", "sourceIPs", "user.groups", "userAgent"]
    assert content["user_agent"]["original"] == content["kubernetes"]["audit"]["requestURI"] == long[:8191]
    assert content["kubernetes"]["audit"]["user"]["groups"] == ["g", long[:8191]]
    assert content["source"]["ip"] == [long[:8191], "10.0.0.1"]
    assert long in content["event"]["original"]


def test_what_the_server_refuses_is_left_out_of_ecs_last() -> None:
    """The fields that the rules of a detection engine begin with stay as long as there are any fields."""
    without = frozenset({"impersonatedUser", "user.extra", "responseStatus", EVERYTHING})
    item = event(**FULL)

    content, less = rendered(item, without, "why"), rendered(item, without - {EVERYTHING}, "why")

    for name in ("user", "source", "client", "user_agent", "orchestrator"):
        assert content[name] == rendered(item)[name]
    assert content["event"]["outcome"] == "failure"
    assert content["kubernetes"]["audit"] == {}
    assert less["auditsplit"]["left_out"] == ["user.extra", "impersonatedUser", "responseStatus"]
    assert less["kubernetes"]["audit"]["user"] == {"username": "alice", "uid": "u-1", "groups": ["g"]}


def test_a_member_that_is_there_twice_is_named() -> None:
    """The last one counts, as for the apiserver."""
    item = event()[:-1] + b',"userAgent":"first","userAgent":"last","sourceIPs":["@"],"sourceIPs":["10.0.0.1"]}'

    content = rendered(item, frozenset())

    assert content["auditsplit"]["left_out"] == ["userAgent", "sourceIPs"]
    assert content["user_agent"]["original"] == "last"
    assert content["source"]["ip"] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("body", "left_out", "found"),
    [
        (rb'{"spec":{"type":"NodePort","\u0000":1}}', ["requestObject.spec.\0"], {"spec": {"type": "NodePort"}}),
        (rb'{"a":1,"spec":{"type":"NodePort"},"a":2}', ["requestObject.a"], {"a": 2, "spec": {"type": "NodePort"}}),
        (rb'{"a":"\ud800","b":"\ud83d\ude00"}', ["requestObject.a"], {"a": "\ufffd", "b": "\U0001f600"}),
        (b'[{"op":"add"},1,{"op":"remove"}]', ["requestObject"], [{"op": "add"}, {"op": "remove"}]),
        (b'{"a":"\x01"}', None, {"a": "\x01"}),
        (b'{"a" : 1.50}', None, {"a": 1.5}),
    ],
)
def test_a_body_stays_without_the_part_that_is_refused(body: bytes, left_out: list[str] | None, found: Any) -> None:
    """The part is named, and the line has it."""
    item = carrying(body)

    content = rendered(item, frozenset())

    assert content["kubernetes"]["audit"]["requestObject"] == found
    assert content.get("auditsplit", {}).get("left_out") == left_out
    assert original(content) == lines.render([event_of(item)], "log")[:-1]
