"""Elasticsearch, the real server: what it accepts, what it refuses and who may do what."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from elasticsearch import AuthorizationException
from support import elastic_places, elastic_server, servers
from support.elastic_places import ElasticsearchPlace
from support.eventlists import HOSTILE, carrying, event, eventlist

from auditsplit import sinks
from auditsplit.cli import main
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.policy.redaction import Redaction
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink
from auditsplit.sinks.elasticsearch.streams import Streams
from auditsplit.sinks.failures import Failure, SinkFailure

NOTHING: list[str] = []
REQUEST = ["requestObject"]

KEPT = {
    "lone surrogate": ["requestObject.a"],
    "surrogate in a name": [r"requestObject.\ud800"],
    "9,000 nested objects": [f"requestObject{'.a' * 93}."],
    "100,000 nested": [f"requestObject{'.a' * 93}."],
    "NaN": ["requestObject.a"],
    "infinities": REQUEST,
    "-1e400": REQUEST,
    "one name twice": ["requestObject.a"],
}
"""Members of `HOSTILE` that are fields without the part that is refused, and how that part is named."""

LEFT_OUT = {
    **dict.fromkeys(HOSTILE, REQUEST),
    **KEPT,
    **dict.fromkeys(
        (
            "brackets and quotes in strings",
            "an envelope",
            "routing fields in the body",
            "empty names",
            "a megabyte of white space",
        ),
        NOTHING,
    ),
}
"""Which members of `HOSTILE` can't be fields; white space alone is an empty list."""

MANAGED: dict[str, Any] = {"metadata": {"managedFields": [{"fieldsV1": {"f:metadata": {".": {}, "f:a.b": {".": {}}}}}]}}
TAKEN: dict[str, dict[str, Any]] = {
    "managedFields with dots": {"requestObject": MANAGED, "responseObject": MANAGED},
    "status as a string": {"responseObject": {"status": "Success"}},
    "status as an object": {"responseObject": {"status": {"phase": "Running"}}},
    "a patch": {"requestObject": [{"op": "add", "path": "/a", "value": 1}, {"op": "remove", "path": "/b"}]},
    "dotted keys in extra": {
        "user": {"username": "alice", "extra": {"a.b/c": ["x"], "a": ["y"], "a.b": ["z"], "": []}}
    },
    "null timestamps": {"stageTimestamp": None, "requestReceivedTimestamp": None},
    "invalid timestamps": {"stageTimestamp": "soon", "requestReceivedTimestamp": ""},
    "10,000 keys": {"requestObject": {f"key-{number}": number for number in range(10_000)}},
    "a megabyte": {"responseObject": {"items": [{"name": f"pod-{number}", "x": "y" * 80} for number in range(9000)]}},
    "a schema 200 deep": {"requestObject": json.loads('{"properties":' * 200 + "{}" + "}" * 200)},
    "long values": {"requestObject": {"a": "x" * 50_000}, "responseStatus": {"message": "x" * 50_000}},
    "annotations of all names": {"annotations": {"a.b": "1", "a_b": "2", "": "3", ".": "4", " ": "5", "a..b": "6"}},
    "no address": {"sourceIPs": ["@"]},
    "no user": {"user": {}},
    "another member": {"requestTrailer": {"a": [1, {"b.c": None}]}},
    "NUL": {"requestURI": "/\0", "requestObject": {"a": "\0"}},
}
"""Events that are indexed with all they have."""

CUT: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a string for a body": ({"requestObject": "x", "responseObject": {"a": 1}}, ["requestObject"]),
    "a list of numbers": ({"responseObject": [1, 2]}, ["responseObject"]),
    "NUL in a key": (
        {"requestObject": {"\0": 1}, "responseObject": {"\0": 1}},
        ["requestObject.\0", "responseObject.\0"],
    ),
    "a key of 33,000 characters": ({"responseObject": {"k" * 33_000: 1}}, [f"responseObject.{'k' * 185}"]),
    "300 deep": (
        {"requestObject": json.loads('{"a":' * 300 + "1" + "}" * 300)},
        [f"requestObject{'.a' * 93}."],
    ),
    "long words": ({"requestURI": "/" + "x" * 50_000, "userAgent": "x" * 50_000}, ["requestURI", "userAgent"]),
    "a status of another type": ({"responseStatus": "Failure"}, ["responseStatus"]),
    "annotations of another type": ({"annotations": {"a": {"b": 1}}}, ["annotations.a"]),
    "a member without a name": ({"": 1}, [""]),
    "NUL in extra": ({"user": {"username": "alice", "extra": {"\0": ["x"]}}}, ["user.extra.\0"]),
}
"""Events of which something can't be a field, and what."""


def administrator(request: pytest.FixtureRequest, node: elastic_server.Node) -> pytest.MonkeyPatch:
    """Be the administrator of the server with users, whose data is removed at the end. Return what sets variables."""

    def remove() -> None:
        with node.client() as client:
            client.indices.delete_data_stream(name="secured-*")

    request.addfinalizer(remove)
    environ: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    environ.setenv("ELASTICSEARCH_USERNAME", elastic_server.USER)
    environ.setenv("ELASTICSEARCH_PASSWORD", elastic_server.PASSWORD)
    return environ


def batch_of(*items: bytes, cluster: str = "default") -> Batch:
    """Return the batch of ``items``."""
    return batches.read(eventlist(items), cluster)


def sink_of(url: str) -> ElasticsearchSink:
    """Return the sink of a URL."""
    sink = sinks.from_url(url)
    assert isinstance(sink, ElasticsearchSink)
    return sink


def soon() -> Deadline:
    """Return a deadline that no test reaches."""
    return Deadline.after(30)


def log_lines(*several: Batch) -> Counter[bytes]:
    """Return the lines that the log backend would write."""
    return Counter(lines.render([one], "log")[:-1] for batch in several for one in batch.events)


def sources(place: ElasticsearchPlace) -> list[dict[str, Any]]:
    """Return all documents."""
    return [hit["_source"] for _, hit in place.documents()]


def test_the_recorded_events_are_all_indexed_and_come_back(
    request: pytest.FixtureRequest, recorded: list[bytes]
) -> None:
    """No event of a real kube-apiserver is refused or cut, and each line comes back byte for byte."""
    place = elastic_places.elasticsearch_place(request)
    several = [batches.read(body, "default") for body in recorded]
    sink = place.sink()

    assert all([sink.write(batch, soon()).new for batch in several])  # noqa: C419 - each must be written

    found = sources(place)
    assert Counter(map(elastic_places.original, found)) == log_lines(*several)
    assert not [source["auditsplit"] for source in found if "auditsplit" in source]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_costs_its_fields_and_no_event(request: pytest.FixtureRequest, name: str) -> None:
    """The event is there and names the part that is not. Its line comes back byte for byte."""
    place = elastic_places.elasticsearch_place(request)
    batch = batch_of(event("alice"), HOSTILE[name], event("bob"))

    assert place.sink().write(batch, soon()).new
    assert not place.sink().write(batch, soon()).new

    found = sources(place)
    assert Counter(map(elastic_places.original, found)) == log_lines(batch)
    (mallory,) = [source for source in found if source["user"]["name"] == "mallory"]
    assert mallory.get("auditsplit", {}).get("left_out", []) == LEFT_OUT[name]
    assert ("requestObject" in mallory["kubernetes"]["audit"]) is (name in KEPT or not LEFT_OUT[name])
    assert bool(mallory.get("error", {}).get("message")) is bool(LEFT_OUT[name])


@pytest.mark.parametrize("name", TAKEN)
def test_an_event_that_breaks_other_mappings_is_indexed_whole(request: pytest.FixtureRequest, name: str) -> None:
    """Nothing is left out, and nothing new is in the mappings."""
    place = elastic_places.elasticsearch_place(request)
    place.sink().write(batch_of(event("plain")), soon())
    stream = f"{place.prefix}{'_no-user' if name == 'no user' else 'alice'}"

    assert place.sink().write(batch_of(event(**TAKEN[name])), soon()).new

    (source,) = [hit["_source"] for found, hit in place.documents() if found == stream]
    assert "auditsplit" not in source
    assert place.mappings(stream) == place.mappings(f"{place.prefix}plain")


@pytest.mark.parametrize("name", CUT)
def test_an_event_that_is_refused_goes_in_with_less(request: pytest.FixtureRequest, name: str) -> None:
    """The document names what Elasticsearch refuses, the line is whole, and a retry is a duplicate."""
    place = elastic_places.elasticsearch_place(request)
    fields, left_out = CUT[name]
    batch = batch_of(event(**fields))

    assert place.sink().write(batch, soon()).new
    assert not place.sink().write(batch, soon()).new

    (source,) = sources(place)
    assert sorted(source["auditsplit"]["left_out"]) == left_out
    assert source["error"]["message"]
    assert Counter([elastic_places.original(source)]) == log_lines(batch)


def test_an_event_that_is_refused_for_good_is_rejected_with_the_reason(request: pytest.FixtureRequest) -> None:
    """A foreign mapping refuses every document of one user. The event is in _rejected, and the others are stored."""
    place = elastic_places.elasticsearch_place(request)
    place.override("bob", {"mappings": {"properties": {"user": {"type": "keyword"}}}})
    batch = batch_of(event("alice"), event("bob"))

    assert place.sink().write(batch, soon()).new
    assert not place.sink().write(batch, soon()).new

    found = {name.removeprefix(place.prefix): hit["_source"] for name, hit in place.documents()}
    assert found.keys() == {"alice", "_rejected"}
    assert base64.b64decode(found["_rejected"]["auditsplit"]["original_base64"]) == event("bob")
    assert "[user]" in found["_rejected"]["error"]["message"]


def test_events_that_differ_in_bytes_or_cluster_are_all_stored(request: pytest.FixtureRequest) -> None:
    """An auditID that a caller chose suppresses nothing. The same item twice is one document."""
    place = elastic_places.elasticsearch_place(request)
    sink = place.sink()
    items = [event(auditID="same", verb="get"), event(auditID="same", verb="delete"), event(auditID="same", verb="get")]

    several = [batch_of(*items), batch_of(*items, cluster="prod")]

    assert [sink.write(batch, soon()).new for batch in several] == [True, True]

    found = sorted((s["orchestrator"]["cluster"]["name"], s["event"]["action"]) for s in sources(place))
    assert found == [("default", "delete"), ("default", "get"), ("prod", "delete"), ("prod", "get")]


def test_a_redacted_body_is_in_no_field_and_the_event_is_found(request: pytest.FixtureRequest) -> None:
    """The line, the fields and the id are those of the event without the body. A retry is a duplicate."""
    place = elastic_places.elasticsearch_place(request)
    items = [
        event(auditID=name, objectRef={"resource": name}, requestObject={"data": "hunter2"}, annotations={})
        for name in ("secrets", "configmaps")
    ]
    sink, batch = place.sink(), batch_of(*items)
    redacted = msgspec.structs.replace(batch, events=Redaction().apply(batch.events))

    assert [sink.write(redacted, soon()).new for _ in range(2)] == [True, False]

    cut, whole = sorted(sources(place), key=lambda source: str(source["event"]["id"]), reverse=True)
    assert ("hunter2" in json.dumps(cut), "hunter2" in json.dumps(whole)) == (False, True)
    assert json.loads(cut["event"]["original"])["annotations"] == {"auditsplit/dropped": "requestObject"}
    assert "auditsplit" not in cut
    found = place.matching({"kql": {"query": "kubernetes.audit.annotations.auditsplit/dropped : *"}})
    assert found == ["secrets"]


def test_a_server_without_the_template_is_a_deployers_mistake(elastic: elastic_server.Node) -> None:
    """No index of guessed mappings is made; the message says what to run."""
    sink = sink_of(f"elasticsearch+{elastic.url}?target=nowhere-{{user}}")

    with pytest.raises(SinkFailure, match="'auditsplit elasticsearch setup'") as caught:
        sink.check(soon())
    with pytest.raises(SinkFailure):
        sink.write(batch_of(event()), soon())

    assert caught.value.needs_deployer
    with elastic.client() as client:
        assert not client.indices.exists(index="nowhere-*", allow_no_indices=False)


@pytest.mark.parametrize(
    ("block", "failure"),
    [("write", Failure.BLOCKED), ("read_only", Failure.BLOCKED), ("read_only_allow_delete", Failure.THROTTLED)],
)
def test_an_index_that_is_read_only_costs_no_other_event(
    request: pytest.FixtureRequest, block: str, failure: Failure
) -> None:
    """The batch fails, and the others' events are stored. Once the block is gone, the retry stores the rest."""
    place = elastic_places.elasticsearch_place(request)
    sink = place.sink()
    sink.write(batch_of(event("bob", auditID="first")), soon())
    batch = batch_of(event("alice"), event("bob"))
    place.set("bob", {f"index.blocks.{block}": True})

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch, soon())
    assert caught.value.failure is failure
    place.set("bob", {f"index.blocks.{block}": None})
    assert sink.write(batch, soon()).new

    assert Counter(source["user"]["name"] for source in sources(place)) == {"alice": 1, "bob": 2}


def test_a_red_index_is_waited_for_by_the_sender(request: pytest.FixtureRequest) -> None:
    """The answer arrives in time. When the shard is back, the retry stores the rest."""
    place = elastic_places.elasticsearch_place(request)
    place.override("bob", {"settings": {"index.routing.allocation.require.rack": "none"}})
    sink = sink_of(f"{place.url}&timeout=4")
    batch = batch_of(event("alice"), event("bob"))

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch, soon())
    place.set("bob", {"index.routing.allocation.require.rack": None})
    place.sink().write(batch, soon())  # new, unless the node has done what the first attempt gave up waiting for

    assert not caught.value.needs_deployer
    assert Counter(source["user"]["name"] for source in sources(place)) == {"alice": 1, "bob": 1}


def test_a_node_short_of_memory_gets_smaller_requests(tmp_path: Path) -> None:
    """A body over the node's limit is halved, an event over it is stored without its body, and the rest fails."""
    with elastic_server.node(tmp_path / "node", {"indexing_pressure.memory.limit": "1mb"}) as node:
        small = ElasticsearchPlace(node)
        batch = batch_of(*(event(auditID=f"{number}", x="x" * 9000) for number in range(60)))
        large = batch_of(carrying(b'{"a":"' + b"x" * 150_000 + b'"}'))

        assert small.sink().write(batch, soon()).new
        assert small.sink().write(large, soon()).new
        with pytest.raises(SinkFailure) as caught:
            small.sink().write(batch_of(carrying(b'"' + b"x" * 500_000 + b'"')), soon())

        found = sources(small)
        assert Counter(map(elastic_places.original, found)) == log_lines(batch, large)
        assert [one["auditsplit"]["left_out"] for one in found if "auditsplit" in one] == [["requestObject"]]
        assert caught.value.failure is Failure.TOO_LARGE
        small.close()


def test_a_node_that_dies_loses_nothing(tmp_path: Path) -> None:
    """Of two nodes one is killed between two batches, and its URL stays in the settings."""
    with elastic_server.nodes(tmp_path, 2) as (first, second):
        place = ElasticsearchPlace(first)
        sink = sink_of(place.url.replace(first.url, f"{second.url},{first.url.removeprefix('http://')}"))
        several = [batch_of(event("alice", auditID=f"{number}")) for number in range(6)]
        written = [sink.write(batch, soon()).new for batch in several[:3]]
        with first.client() as client:
            client.cluster.health(wait_for_status="green", timeout="30s")

        second.process.kill()
        for batch in several:
            while True:
                try:
                    sink.write(batch, soon())
                except SinkFailure as error:
                    assert not error.needs_deployer  # noqa: PT017 - the sender retries
                    continue
                break

        assert written == [True, True, True]
        assert Counter(map(elastic_places.original, sources(place))) == log_lines(*several)
        place.close()


def limited(request: pytest.FixtureRequest, node: elastic_server.Node, target: str = "secured-{user}") -> str:
    """Prepare the server with users as the commands do. Be the key, and return the sink's URL."""
    environ = administrator(request, node)
    url = f"elasticsearch+{node.url}?target={target}&ca_file={node.ca}"
    sink = sink_of(url)
    template.install(sink.connected(), sink.streams, "30d")
    key = template.create_key(sink.connected(), sink.streams, "tests")
    environ.delenv("ELASTICSEARCH_USERNAME")
    environ.delenv("ELASTICSEARCH_PASSWORD")
    environ.setenv("ELASTICSEARCH_API_KEY", key)
    return url


def test_a_key_that_may_only_create_is_enough(
    request: pytest.FixtureRequest, secured_elastic: elastic_server.Node
) -> None:
    """It may check, and write events of new users and rejected bodies. It may not read, delete or change a mapping."""
    sink = sink_of(limited(request, secured_elastic))
    batch = batch_of(event("alice"), event("bob"), HOSTILE["lone surrogate"])

    sink.check(soon())
    new = [sink.write(batch, soon()).new for _ in range(2)]
    sink.reject("default", "0" * 64, b"no event", soon())

    assert new == [True, False]
    key = sink.connected()
    with pytest.raises(AuthorizationException):
        key.search(index="secured-alice")
    with pytest.raises(AuthorizationException):
        key.indices.delete_data_stream(name="secured-alice")
    with pytest.raises(AuthorizationException):
        key.indices.put_mapping(index="secured-alice", properties={"x": {"type": "keyword"}})
    with secured_elastic.client() as client:
        client.indices.refresh(index="secured-*")
        assert client.count(index="secured-*")["count"] == 4


def test_a_key_for_other_names_is_reported(
    request: pytest.FixtureRequest, secured_elastic: elastic_server.Node
) -> None:
    """The key covers its own pattern. Another target needs a deployer."""
    url = limited(request, secured_elastic)

    with pytest.raises(SinkFailure) as caught:
        sink_of(url.replace("target=secured-", "target=elsewhere-")).check(soon())

    assert caught.value.failure is Failure.NOT_ALLOWED
    assert caught.value.needs_deployer


@pytest.mark.parametrize("key", ["", base64.b64encode(b"no:key").decode(), "%%%"])
def test_wrong_credentials_are_reported(
    request: pytest.FixtureRequest, secured_elastic: elastic_server.Node, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """No key, an unknown key, and a text that is not a key."""
    url = limited(request, secured_elastic)
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", key)

    with pytest.raises(SinkFailure) as caught:
        sink_of(url).check(soon())

    assert caught.value.failure is Failure.CREDENTIALS


def test_a_fingerprint_replaces_an_authority(
    request: pytest.FixtureRequest, secured_elastic: elastic_server.Node
) -> None:
    """That of the node's own certificate, with or without colons. Another fingerprint, or none, needs a deployer."""
    url = limited(request, secured_elastic).partition("&ca_file=")[0]
    fingerprint = servers.fingerprint(secured_elastic.url)

    sink_of(f"{url}&fingerprint={fingerprint}").check(soon())

    for wrong in (f"{url}&fingerprint={'0' * 64}", url):
        with pytest.raises(SinkFailure) as caught:
            sink_of(wrong).check(soon())
        assert caught.value.failure is Failure.CERTIFICATE


def test_the_commands_prepare_a_cluster(request: pytest.FixtureRequest, secured_elastic: elastic_server.Node) -> None:
    """Running setup twice changes nothing. The printed key is enough for `check`."""
    url = f"elasticsearch+{secured_elastic.url}?target=secured-{{user}}&ca_file={secured_elastic.ca}"
    run, environ = CliRunner().invoke, administrator(request, secured_elastic)
    environ.setenv("AUDIT_SINKS", url)

    twice = [run(main, ["elasticsearch", "setup", "--retention", "30d"]) for _ in range(2)]
    key = run(main, ["elasticsearch", "key"])
    name, _, secret = key.stdout.strip().partition("=")
    environ.delenv("ELASTICSEARCH_USERNAME")
    environ.delenv("ELASTICSEARCH_PASSWORD")
    environ.setenv(name, secret)
    checked = run(main, ["check"])
    denied = run(main, ["elasticsearch", "setup"])

    assert [one.exit_code for one in (*twice, key, checked, denied)] == [0, 0, 0, 0, 1]
    assert "Documents are kept 30d" in twice[0].stderr
    assert "may not" in denied.stderr
    with secured_elastic.client() as client:
        (found,) = client.indices.get_index_template(name="auditsplit-secured")["index_templates"]
    assert found["index_template"]["template"]["lifecycle"]["data_retention"] == "30d"


@pytest.mark.parametrize("targets", [("beside-{cluster}", "beside-prod"), ("beside-prod", "beside-{cluster}")])
def test_a_target_beside_a_target_that_covers_it(elastic: elastic_server.Node, targets: tuple[str, str]) -> None:
    """Templates whose patterns overlap are accepted in either order. The more exact counts for its data stream."""
    streams = [Streams(target) for target in targets]
    with elastic.client() as client:
        for days, one in enumerate(streams, start=1):
            template.install(client, one, f"{days}d")

        simulated = client.indices.simulate_index_template(name="beside-prod")
        for one in streams:
            (path,) = (path for path in template.documents(one) if "_index_template" in path)
            client.indices.delete_index_template(name=path.rpartition("/")[2])
    retention = simulated["template"]["lifecycle"]["data_retention"]
    assert retention == f"{targets.index('beside-prod') + 1}d"


def test_one_data_stream_for_all_in_elastics_own_shape(elastic: elastic_server.Node) -> None:
    """With the target of the documentation, all users' events are in one data stream of their cluster."""
    sink = sink_of(f"elasticsearch+{elastic.url}?target=logs-kubernetes.audit_logs-auditsplit_{{cluster}}")
    with elastic.client() as client:
        template.install(client, sink.streams)

        sink.write(batch_of(event("alice"), event("bob"), cluster="prod-1"), soon())

        client.indices.refresh(index="logs-*")
        found = client.search(index="logs-kubernetes.audit_logs-auditsplit_prod-1")["hits"]["hits"]
        client.indices.delete_data_stream(
            name="logs-kubernetes.audit_logs-auditsplit_prod-1"
        )  # those of other tests are beside it
    assert sorted(hit["_source"]["user"]["name"] for hit in found) == ["alice", "bob"]
    assert {hit["_source"]["data_stream"]["dataset"] for hit in found} == {"kubernetes.audit_logs"}
