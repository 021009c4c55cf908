"""Elasticsearch, the real server: what it takes, what it refuses and who may do what."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from elasticsearch import AuthorizationException
from support import elastic_server, places, servers
from support.eventlists import HOSTILE, carrying, event, eventlist
from support.places import ElasticsearchPlace

from auditsplit import ingest, sinks
from auditsplit.cli import main
from auditsplit.decode import batch as batches
from auditsplit.decode.batch import Batch
from auditsplit.sinks import lines
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError, Failure
from auditsplit.sinks.elasticsearch.store import ElasticsearchSink
from auditsplit.sinks.elasticsearch.streams import Streams

NOTHING: list[str] = []
REQUEST = ["requestObject"]

LEFT_OUT = {
    **dict.fromkeys(HOSTILE, REQUEST),
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
"""Which members of `HOSTILE` can't be had; white space alone is an empty list."""

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
    "timestamps that are none": {"stageTimestamp": "soon", "requestReceivedTimestamp": ""},
    "10,000 keys": {"requestObject": {f"key-{number}": number for number in range(10_000)}},
    "a megabyte": {"responseObject": {"items": [{"name": f"pod-{number}", "x": "y" * 80} for number in range(9000)]}},
    "a schema 200 deep": {"requestObject": json.loads('{"properties":' * 200 + "{}" + "}" * 200)},
    "long values": {"requestURI": "/" + "x" * 50_000, "userAgent": "x" * 50_000, "requestObject": {"a": "x" * 50_000}},
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
    "NUL in a key": ({"requestObject": {"\0": 1}, "responseObject": {"\0": 1}}, ["requestObject", "responseObject"]),
    "a key of 33,000 characters": ({"responseObject": {"k" * 33_000: 1}}, ["responseObject"]),
    "300 deep": ({"requestObject": json.loads('{"a":' * 300 + "1" + "}" * 300)}, ["requestObject"]),
    "a status of another type": ({"responseStatus": "Failure"}, ["responseStatus"]),
    "annotations of another type": ({"annotations": {"a": {"b": 1}}}, ["annotations"]),
    "a member without a name": ({"": 1}, [""]),
    "NUL in extra": ({"user": {"username": "alice", "extra": {"\0": ["x"]}}}, ["kubernetes.audit"]),
}
"""Events of which something can't be a field, and what."""


@pytest.fixture
def place(request: pytest.FixtureRequest) -> ElasticsearchPlace:
    """Return a fresh place on the server without users."""
    return places.elasticsearch_place(request)


@pytest.fixture
def administrator(
    secured_elastic: elastic_server.Node, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Be the administrator of the server with users."""
    monkeypatch.setenv("ELASTICSEARCH_USERNAME", elastic_server.USER)
    monkeypatch.setenv("ELASTICSEARCH_PASSWORD", elastic_server.PASSWORD)
    yield monkeypatch
    with secured_elastic.client() as client:
        client.indices.delete_data_stream(name="secured-*")


def batch_of(*items: bytes, cluster: str = "default") -> Batch:
    """Return the batch of ``items``."""
    return batches.read(eventlist(items), cluster)


def sink_of(url: str) -> ElasticsearchSink:
    """Return the store of a URL."""
    sink = sinks.from_url(url, {}, "authenticated")
    assert isinstance(sink, ElasticsearchSink)
    return sink


def log_lines(*several: Batch) -> Counter[bytes]:
    """Return the lines that the log backend would write."""
    return Counter(lines.render([one], "log")[:-1] for batch in several for one in batch.events)


def sources(place: ElasticsearchPlace) -> list[dict[str, Any]]:
    """Return all documents."""
    return [hit["_source"] for _, hit in place.documents()]


def test_the_recorded_events_are_all_indexed_and_come_back(place: ElasticsearchPlace, recorded: list[bytes]) -> None:
    """No event of a real kube-apiserver is refused or cut, and each line comes back byte for byte."""
    several = [batches.read(body, "default") for body in recorded]
    sink = place.sink()

    assert all([sink.write(batch) for batch in several])  # noqa: C419 - each must be written

    found = sources(place)
    assert Counter(map(places.original, found)) == log_lines(*several)
    assert not [source["auditsplit"] for source in found if "auditsplit" in source]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_costs_its_fields_and_no_event(place: ElasticsearchPlace, name: str) -> None:
    """The event is there, says which body is not, and its line comes back byte for byte."""
    batch = batch_of(event("alice"), HOSTILE[name], event("bob"))

    assert place.sink().write(batch)
    assert not place.sink().write(batch)

    found = sources(place)
    assert Counter(map(places.original, found)) == log_lines(batch)
    (mallory,) = [source for source in found if source["user"]["name"] == "mallory"]
    assert mallory.get("auditsplit", {}).get("left_out", []) == LEFT_OUT[name]
    assert ("requestObject" in mallory["kubernetes"]["audit"]) is not bool(LEFT_OUT[name])
    assert bool(mallory.get("error", {}).get("message")) is bool(LEFT_OUT[name])


@pytest.mark.parametrize("name", TAKEN)
def test_an_event_that_breaks_other_mappings_is_indexed_whole(place: ElasticsearchPlace, name: str) -> None:
    """Nothing is left out, and nothing new is in the mappings."""
    place.sink().write(batch_of(event("plain")))
    stream = f"{place.prefix}{'_no-user' if name == 'no user' else 'alice'}"

    assert place.sink().write(batch_of(event(**TAKEN[name])))

    (source,) = [hit["_source"] for found, hit in place.documents() if found == stream]
    assert "auditsplit" not in source
    assert place.mappings(stream) == place.mappings(f"{place.prefix}plain")


@pytest.mark.parametrize("name", CUT)
def test_an_event_that_is_refused_goes_in_with_less(place: ElasticsearchPlace, name: str) -> None:
    """What Elasticsearch does not take is named, the line is whole, and a retry is no news."""
    fields, left_out = CUT[name]
    batch = batch_of(event(**fields))

    assert place.sink().write(batch)
    assert not place.sink().write(batch)

    (source,) = sources(place)
    assert sorted(source["auditsplit"]["left_out"]) == left_out
    assert source["error"]["message"]
    assert Counter([places.original(source)]) == log_lines(batch)


def test_an_event_refused_for_good_is_kept_apart_with_the_reason(place: ElasticsearchPlace) -> None:
    """Somebody's own mapping refuses every document of one user; the event lies in _rejected, and the others count."""
    place.override("bob", {"mappings": {"properties": {"user": {"type": "keyword"}}}})
    batch = batch_of(event("alice"), event("bob"))

    assert place.sink().write(batch)
    assert not place.sink().write(batch)

    found = {name.removeprefix(place.prefix): hit["_source"] for name, hit in place.documents()}
    assert found.keys() == {"alice", "_rejected"}
    assert base64.b64decode(found["_rejected"]["auditsplit"]["original_base64"]) == event("bob")
    assert "[user]" in found["_rejected"]["error"]["message"]


def test_events_that_differ_in_bytes_or_cluster_are_all_kept(place: ElasticsearchPlace) -> None:
    """An auditID that a caller chose suppresses nothing; the very same item twice is one."""
    sink = place.sink()
    items = [event(auditID="same", verb="get"), event(auditID="same", verb="delete"), event(auditID="same", verb="get")]

    assert [sink.write(batch_of(*items)), sink.write(batch_of(*items, cluster="prod"))] == [True, True]

    found = sorted((s["orchestrator"]["cluster"]["name"], s["event"]["action"]) for s in sources(place))
    assert found == [("default", "delete"), ("default", "get"), ("prod", "delete"), ("prod", "get")]


def test_what_was_cut_is_in_no_field_and_the_event_is_found(place: ElasticsearchPlace) -> None:
    """The line, the fields and the id are those of the event without it; a retry is no news."""
    items = [
        event(auditID=name, objectRef={"resource": name}, requestObject={"data": "hunter2"}, annotations={})
        for name in ("secrets", "configmaps")
    ]
    sink = place.sink()

    receipts = [ingest.receive(eventlist(items), "default", [sink]) for _ in range(2)]

    assert [receipt.alreadyStored for receipt in receipts] == [False, True]
    cut, whole = sorted(sources(place), key=lambda source: str(source["event"]["id"]), reverse=True)
    assert ("hunter2" in json.dumps(cut), "hunter2" in json.dumps(whole)) == (False, True)
    assert json.loads(cut["event"]["original"])["annotations"] == {"auditsplit/dropped": "requestObject"}
    assert "auditsplit" not in cut
    found = place.found({"kql": {"query": "kubernetes.audit.annotations.auditsplit/dropped : *"}})
    assert found == ["secrets"]


def test_a_server_without_the_template_is_a_deployers_mistake(elastic: elastic_server.Node) -> None:
    """No index of guessed mappings is made; the message says what to run."""
    sink = sink_of(f"elasticsearch+{elastic.url}?target=nowhere-{{user}}")

    with pytest.raises(ElasticsearchError, match="auditsplit elasticsearch setup") as caught:
        sink.check()
    with pytest.raises(ElasticsearchError):
        sink.write(batch_of(event()))

    assert caught.value.deployers
    with elastic.client() as client:
        assert not client.indices.exists(index="nowhere-*", allow_no_indices=False)


@pytest.mark.parametrize(
    ("block", "failure"),
    [("write", Failure.BLOCKED), ("read_only", Failure.BLOCKED), ("read_only_allow_delete", Failure.THROTTLED)],
)
def test_an_index_that_is_read_only_costs_no_other_event(
    place: ElasticsearchPlace, block: str, failure: Failure
) -> None:
    """The batch fails, with the others' events stored; once the block is gone, the retry brings the rest."""
    sink = place.sink()
    sink.write(batch_of(event("bob", auditID="first")))
    batch = batch_of(event("alice"), event("bob"))
    place.set("bob", {f"index.blocks.{block}": True})

    with pytest.raises(ElasticsearchError) as caught:
        sink.write(batch)
    assert caught.value.failure is failure
    place.set("bob", {f"index.blocks.{block}": None})
    assert sink.write(batch)

    assert Counter(source["user"]["name"] for source in sources(place)) == {"alice": 1, "bob": 2}


def test_a_red_index_is_waited_for_by_the_sender(place: ElasticsearchPlace) -> None:
    """The answer comes in time; when the shard is back, the retry brings the rest."""
    place.override("bob", {"settings": {"index.routing.allocation.require.rack": "none"}})
    sink = sink_of(f"{place.url}&timeout=4")
    batch = batch_of(event("alice"), event("bob"))

    with pytest.raises(ElasticsearchError) as caught:
        sink.write(batch)
    place.set("bob", {"index.routing.allocation.require.rack": None})
    place.sink().write(batch)  # news, or the node has done by now what the first try gave up waiting for

    assert not caught.value.deployers
    assert Counter(source["user"]["name"] for source in sources(place)) == {"alice": 1, "bob": 1}


def test_a_node_short_of_memory_gets_smaller_requests(tmp_path: Path) -> None:
    """A body over the node's limit is halved, an event over it goes in without its body, and what can't is told."""
    with elastic_server.node(tmp_path / "node", {"indexing_pressure.memory.limit": "1mb"}) as node:
        small = ElasticsearchPlace(node)
        batch = batch_of(*(event(auditID=f"{number}", x="x" * 9000) for number in range(60)))
        large = batch_of(carrying(b'{"a":"' + b"x" * 150_000 + b'"}'))

        assert small.sink().write(batch)
        assert small.sink().write(large)
        with pytest.raises(ElasticsearchError) as caught:
            small.sink().write(batch_of(carrying(b'"' + b"x" * 500_000 + b'"')))

        found = sources(small)
        assert Counter(map(places.original, found)) == log_lines(batch, large)
        assert [one["auditsplit"]["left_out"] for one in found if "auditsplit" in one] == [["requestObject"]]
        assert caught.value.failure is Failure.TOO_LARGE
        small.close()


def test_a_node_that_dies_loses_nothing(tmp_path: Path) -> None:
    """Of two nodes one is killed between two batches, and its URL stays in the settings."""
    with elastic_server.nodes(tmp_path, 2) as (first, second):
        place = ElasticsearchPlace(first)
        sink = sink_of(place.url.replace(first.url, f"{second.url},{first.url.removeprefix('http://')}"))
        several = [batch_of(event("alice", auditID=f"{number}")) for number in range(6)]
        written = [sink.write(batch) for batch in several[:3]]
        with first.client() as client:
            client.cluster.health(wait_for_status="green", timeout="30s")

        second.process.kill()
        for batch in several:
            while True:
                try:
                    sink.write(batch)
                except ElasticsearchError as error:
                    assert not error.deployers  # noqa: PT017 - the sender comes again
                    continue
                break

        assert written == [True, True, True]
        assert Counter(map(places.original, sources(place))) == log_lines(*several)
        place.close()


def limited(node: elastic_server.Node, administrator: pytest.MonkeyPatch, target: str = "secured-{user}") -> str:
    """Prepare the server with users as the commands do; be the key, and return the store's URL."""
    url = f"elasticsearch+{node.url}?target={target}&ca_file={node.ca}"
    sink = sink_of(url)
    template.install(sink.connected(), sink.streams, "30d")
    key = template.create_key(sink.connected(), sink.streams, "tests")
    administrator.delenv("ELASTICSEARCH_USERNAME")
    administrator.delenv("ELASTICSEARCH_PASSWORD")
    administrator.setenv("ELASTICSEARCH_API_KEY", key)
    return url


def test_a_key_that_may_only_create_is_enough(
    secured_elastic: elastic_server.Node, administrator: pytest.MonkeyPatch
) -> None:
    """It is checked, and takes events of new users and rejects; it can't read or delete them, or change a mapping."""
    sink = sink_of(limited(secured_elastic, administrator))
    batch = batch_of(event("alice"), event("bob"), HOSTILE["lone surrogate"])

    sink.check()
    new = [sink.write(batch), sink.write(batch)]
    sink.reject("default", "0" * 64, b"no event")

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


def test_a_key_for_other_names_is_told(secured_elastic: elastic_server.Node, administrator: pytest.MonkeyPatch) -> None:
    """The key does for its own pattern; another target is a deployer's mistake."""
    url = limited(secured_elastic, administrator)

    with pytest.raises(ElasticsearchError) as caught:
        sink_of(url.replace("target=secured-", "target=elsewhere-")).check()

    assert caught.value.failure is Failure.NOT_ALLOWED
    assert caught.value.deployers


@pytest.mark.parametrize("key", ["", base64.b64encode(b"no:key").decode(), "%%%"])
def test_wrong_credentials_are_told(
    secured_elastic: elastic_server.Node, administrator: pytest.MonkeyPatch, key: str
) -> None:
    """None, unknown ones, and what is no key at all."""
    url = limited(secured_elastic, administrator)
    administrator.setenv("ELASTICSEARCH_API_KEY", key)

    with pytest.raises(ElasticsearchError) as caught:
        sink_of(url).check()

    assert caught.value.failure is Failure.CREDENTIALS


def test_a_fingerprint_does_in_place_of_an_authority(
    secured_elastic: elastic_server.Node, administrator: pytest.MonkeyPatch
) -> None:
    """The node's own certificate's, with or without colons; another one is a deployer's mistake, as is no trust."""
    url = limited(secured_elastic, administrator).partition("&ca_file=")[0]
    fingerprint = servers.fingerprint(secured_elastic.url)

    sink_of(f"{url}&fingerprint={fingerprint}").check()

    for wrong in (f"{url}&fingerprint={'0' * 64}", url):
        with pytest.raises(ElasticsearchError) as caught:
            sink_of(wrong).check()
        assert caught.value.failure is Failure.CERTIFICATE


def test_the_commands_prepare_a_cluster(
    secured_elastic: elastic_server.Node, administrator: pytest.MonkeyPatch
) -> None:
    """Twice is once; the key that comes out is enough for `check`."""
    url = f"elasticsearch+{secured_elastic.url}?target=secured-{{user}}&ca_file={secured_elastic.ca}"
    run = CliRunner().invoke
    administrator.setenv("AUDIT_SINKS", url)

    twice = [run(main, ["elasticsearch", "setup", "--retention", "30d"]) for _ in range(2)]
    key = run(main, ["elasticsearch", "key"])
    name, _, secret = key.stdout.strip().partition("=")
    administrator.delenv("ELASTICSEARCH_USERNAME")
    administrator.delenv("ELASTICSEARCH_PASSWORD")
    administrator.setenv(name, secret)
    checked = run(main, ["check"])
    denied = run(main, ["elasticsearch", "setup"])

    assert [one.exit_code for one in (*twice, key, checked, denied)] == [0, 0, 0, 0, 1]
    assert "Documents are kept 30d" in twice[0].stderr
    assert "may not" in denied.stderr
    with secured_elastic.client() as client:
        (found,) = client.indices.get_index_template(name="auditsplit-secured")["index_templates"]
    assert found["index_template"]["template"]["lifecycle"]["data_retention"] == "30d"


@pytest.mark.parametrize("targets", [("beside-{cluster}", "beside-prod"), ("beside-prod", "beside-{cluster}")])
def test_a_target_beside_one_that_covers_it(elastic: elastic_server.Node, targets: tuple[str, str]) -> None:
    """Templates whose patterns overlap are taken in either order; the more exact one counts for its data stream."""
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
    """With the target of the documentation, all users' events lie in one data stream of their cluster."""
    sink = sink_of(f"elasticsearch+{elastic.url}?target=logs-kubernetes.audit_logs-{{cluster}}")
    with elastic.client() as client:
        template.install(client, sink.streams)

        sink.write(batch_of(event("alice"), event("bob"), cluster="prod-1"))

        client.indices.refresh(index="logs-*")
        found = client.search(index="logs-kubernetes.audit_logs-prod-1")["hits"]["hits"]
        client.indices.delete_data_stream(name="logs-kubernetes.audit_logs-prod-1")  # others' lie beside it
    assert sorted(hit["_source"]["user"]["name"] for hit in found) == ["alice", "bob"]
    assert {hit["_source"]["data_stream"]["dataset"] for hit in found} == {"kubernetes.audit_logs"}
