"""Redaction: which events lose their bodies, by the settings, and that no store ever gets them."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from typing import Any

import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, event, eventlist, items

from auditsplit import ingest, replay
from auditsplit.decode.eventlist import decode
from auditsplit.errors import Undecodable
from auditsplit.policy.cut import BODIES, MARK, PARTS
from auditsplit.policy.redaction import DEFAULT, Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve.receiver import Receiver, Request
from auditsplit.settings import Settings
from auditsplit.sinks.memory import MemorySink

PASSWORD = "c3VwZXItc2VjcmV0"  # noqa: S105 - what must not be stored
CHOICES = "must be none, or some of requestObject, responseObject, managedFields"
BODY = {"metadata": {"managedFields": [{}]}, "data": {"password": PASSWORD}}


def of(resource: str | None, subresource: str | None = None, **more: Any) -> bytes:
    """Return an event on a resource, with both bodies."""
    reference = {"resource": resource, "subresource": subresource, "apiVersion": "v1"}
    named = {name: value for name, value in reference.items() if value is not None}
    return event("alice", **{"objectRef": named, "requestObject": BODY, "responseObject": BODY, **more})


def cut(item: bytes, redaction: Redaction) -> bytes:
    """Return what becomes of an item."""
    [found] = redaction.apply(decode(eventlist([item])).events)
    return bytes(found.raw)


def left(item: bytes, text: str = "") -> set[str]:
    """Return which parts an item has once ``AUDIT_DROP`` is applied."""
    document = json.loads(cut(item, Redaction.parse(text)))
    managed = {"managedFields" for body in BODIES if "managedFields" in document.get(body, {}).get("metadata", {})}
    return set(BODIES) & set(document) | managed


@pytest.mark.parametrize(
    ("resource", "subresource"),
    [
        ("secrets", None),
        ("secrets", "status"),
        ("serviceaccounts", "token"),
        ("tokenreviews", None),
        (None, None),
        ("", None),
    ],
)
def test_credentials_are_cut_by_default(resource: str | None, subresource: str | None) -> None:
    """Secrets, tokens, token reviews, and what doesn't say what it is, lose both bodies, and say so."""
    document = json.loads(cut(of(resource, subresource), Redaction()))

    assert PASSWORD not in str(document)
    assert document["annotations"] == {MARK: "requestObject,responseObject"}


@pytest.mark.parametrize("reference", [None, {}, {"resource": None}, {"namespace": "team-a"}])
def test_an_event_on_nothing_known_is_cut_too(reference: Any) -> None:
    """Where no resource is named, it could be any: it loses what any resource loses."""
    assert left(of("x", objectRef=reference)) == set()
    assert left(of("x", objectRef=reference), "none pods=requestObject *=none") == {"responseObject", "managedFields"}
    assert left(of("x", objectRef=reference), "none") == set(PARTS)


def test_another_groups_secrets_are_secret() -> None:
    """An aggregated API's resource of that name is cut, whatever its group."""
    assert left(of("x", objectRef={"resource": "secrets", "apiGroup": "vault.example.com"})) == set()


@pytest.mark.parametrize(
    ("resource", "subresource"),
    [("configmaps", None), ("serviceaccounts", None), ("certificatesigningrequests", "status"), ("pods", "token")],
)
def test_all_else_stays_byte_for_byte(resource: str, subresource: str | None) -> None:
    """Other resources keep their bodies, and the bytes that came."""
    item = of(resource, subresource)

    assert cut(item, Redaction()) == item


def test_an_event_without_bodies_stays_byte_for_byte() -> None:
    """At the level Metadata, which is the usual one for Secrets, nothing changes."""
    item = event(objectRef={"resource": "secrets", "name": "requestObject"}, userAgent='a\\"requestObject":1')

    assert cut(item, Redaction()) == item


@pytest.mark.parametrize(
    ("text", "secrets", "scale", "configmaps"),
    [
        ("", set(), set(PARTS), set(PARTS)),
        ("none", set(PARTS), set(PARTS), set(PARTS)),
        ("secrets=none", set(PARTS), set(PARTS), set(PARTS)),
        ("*=managedFields", set(), set(BODIES), set(BODIES)),
        ("none *=managedFields", set(BODIES), set(BODIES), set(BODIES)),
        ("*=requestObject,responseObject configmaps=none", set(), set(), set(PARTS)),
        ("secrets=requestObject", {"responseObject", "managedFields"}, set(PARTS), set(PARTS)),
        ("deployments=requestObject,managedFields", set(), {"responseObject"}, set(PARTS)),
        ("deployments=managedFields deployments/scale=none", set(), set(PARTS), set(PARTS)),
        ("deployments/status=requestObject", set(), set(PARTS), set(PARTS)),
    ],
)
def test_the_most_exact_rule_counts(text: str, secrets: set[str], scale: set[str], configmaps: set[str]) -> None:
    """A subresource's rule before its resource's before that for all; the defaults stay for what isn't named."""
    found = [left(of("secrets"), text), left(of("deployments", "scale"), text), left(of("configmaps"), text)]

    assert found == [secrets, scale, configmaps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " ".join(f"{name}=requestObject,responseObject" for name in DEFAULT)),
        ("none", "none"),
        ("none secrets=none *=responseObject,requestObject", "secrets=none *=requestObject,responseObject"),
    ],
)
def test_it_reads_as_it_is_written(text: str, expected: str) -> None:
    """Its text is an ``AUDIT_DROP`` that means the same."""
    assert str(Redaction.parse(text)) == expected
    assert str(Redaction.parse(f"none {expected}")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("requestObject", "'requestObject' is not a valid rule. Write <resource>=requestObject, or *=requestObject"),
        ("Secrets=requestObject", "'Secrets' is not a valid resource. Write it as in an audit policy, in lower"),
        ("secrets.v1=requestObject", "'secrets.v1' is not a valid resource. Write it as in an audit policy, in lower"),
        ("=requestObject", "'' is not a valid resource"),
        ("secrets=", f"secrets: {CHOICES}, not ''"),
        ("secrets=body", f"secrets: {CHOICES}, not 'body'"),
        ("secrets=none,requestObject", f"secrets: {CHOICES}, not 'none'"),
        ("secrets=none secrets=requestObject", "secrets has two rules. Write one rule with the parts of both"),
        ("secrets=none=none", f"secrets: {CHOICES}, not 'none=none'"),
    ],
)
def test_a_mistake_says_what_to_write(text: str, expected: str) -> None:
    """Whatever is wrong is told at the start."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        Redaction.parse(text)

    assert str(caught.value).startswith(expected)


def test_every_mistake_is_told() -> None:
    """All at once, a line each."""
    with pytest.raises(ValueError, match=r"\A.*\n.*\n.*\Z"):
        Redaction.parse("secrets pods=x,y")


def test_order_and_neighbours_stay() -> None:
    """Only the events that something is cut from are others than before."""
    before = decode(eventlist([event("a"), of("secrets"), of("configmaps"), of("tokenreviews"), event("b")])).events

    after = Redaction().apply(before)

    assert [new is old for old, new in zip(before, after, strict=True)] == [True, False, True, False, True]
    assert [new.head for new in after] == [old.head for old in before]


@PROPERTY
@given(st.lists(items, max_size=4))
def test_without_rules_nothing_is_looked_at(some: list[bytes]) -> None:
    """``none`` leaves any events as they came."""
    events = decode(eventlist(some)).events

    assert Redaction.parse("none").apply(events) is events


@PROPERTY
@given(st.lists(items, min_size=1), st.sampled_from(["", "*=requestObject,responseObject", "*=managedFields"]))
def test_any_event_goes_through(some: list[bytes], text: str) -> None:
    """Whatever is taken for an event can be cut, once: the result is an event of the same head, and stays."""
    events = decode(eventlist(some)).events

    after = Redaction.parse(text).apply(events)

    again = decode(eventlist([bytes(new.raw) for new in after]))
    assert (len(again.events), again.bad) == (len(events), [])
    assert [new.head.user for new in again.events] == [old.head.user for old in events]
    assert Redaction.parse(text).apply(again.events) == again.events


def test_real_secrets_are_cut(recorded: list[bytes]) -> None:
    """Of a real server's lists, the bodies of Secrets and of a token are gone, and no other byte of any event."""
    before = [found for body in recorded for found in decode(body).events]

    after = [bytes(found.raw) for found in Redaction().apply(before)]

    changed = [(old.head, new) for old, new in zip(before, after, strict=True) if bytes(old.raw) != new]
    resources = Counter(head.objectRef.resource for head, _ in changed if head.objectRef)
    assert resources == {"secrets": 3, "serviceaccounts": 1}
    assert all(MARK in json.loads(new)["annotations"] for _, new in changed)
    assert not [new for _, new in changed if b'"data"' in new or b'"token":' in new]


# On the way to the stores.


def stored(sink: MemorySink) -> bytes:
    """Return all that a store holds of events."""
    return b"".join(sink.objects.values())


def test_no_store_gets_what_is_cut() -> None:
    """Whoever calls without a word gets the safe default, in every store, in the log backend's line."""
    sinks = [MemorySink(KeyTemplate("{user}")) for _ in range(2)]

    receipt = ingest.receive(eventlist([of("secrets"), of("configmaps", auditID="2")]), "prod", sinks)

    assert receipt.events == 2
    bare = event("alice", objectRef={"resource": "secrets", "apiVersion": "v1"})
    expected = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + bare[1:-1]
    expected += b',"annotations":{"auditsplit/dropped":"requestObject,responseObject"}}'
    for sink in sinks:
        assert stored(sink).splitlines()[0] == expected
        assert PASSWORD.encode() in stored(sink).splitlines()[1]


def test_a_retry_of_what_was_cut_is_known() -> None:
    """The batch's name is that of the bytes that came, so the same request again is the same batch."""
    sink = MemorySink(KeyTemplate("{user}"))
    first = ingest.receive(eventlist([of("secrets")]), "prod", [sink])
    before = stored(sink)

    second = ingest.receive(eventlist([of("secrets")]), "prod", [sink])

    assert second.alreadyStored
    assert second.batch == first.batch
    assert stored(sink) == before


def test_one_event_is_cut_alike_whatever_batch_brings_it() -> None:
    """The bytes that come out follow from those that go in, so content still names an event."""
    alone = cut(of("secrets"), Redaction())

    beside = Redaction().apply(decode(eventlist([event(), of("secrets")])).events)

    assert bytes(beside[1].raw) == alone


@pytest.mark.parametrize(("setting", "kept"), [("", False), ("none", True), ("secrets=requestObject", True)])
def test_the_setting_reaches_requests(setting: str, kept: bool) -> None:  # noqa: FBT001 - a row's expectation
    """A posted list is cut by ``AUDIT_DROP``, gzip'd and hostile beside it or not."""
    settings = Settings.read({"AUDIT_SINKS": "memory:?key={user}", "AUDIT_DROP": setting})
    [sink] = settings.sinks
    body = gzip.compress(eventlist([of("secrets"), HOSTILE["lone surrogate"]]))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    answer = Receiver(settings).handle(Request("POST", "/", headers, io.BytesIO(body), "127.0.0.1"))

    assert answer.status == 200
    assert isinstance(sink, MemorySink)
    assert (PASSWORD.encode() in stored(sink)) is kept


@pytest.mark.parametrize(("setting", "kept"), [("", False), ("none", True)])
def test_the_setting_reaches_recorded_files(setting: str, kept: bool) -> None:  # noqa: FBT001 - likewise
    """A log that was written before is cut on its way through, too."""
    settings = Settings.read({"AUDIT_SINKS": "memory:?key={user}", "AUDIT_DROP": setting})
    [sink] = settings.sinks
    log = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + of("secrets")[1:] + b"\n"

    [done] = replay.split(io.BufferedReader(io.BytesIO(log)), "prod", settings)

    assert done.counts["events"] == 1
    assert isinstance(sink, MemorySink)
    assert (PASSWORD.encode() in stored(sink)) is kept


def test_what_is_no_event_is_kept_as_it_came() -> None:
    """Nothing is cut from what can't be read: a bad item, and a body that is no list, keep what they hold."""
    sink = MemorySink(KeyTemplate("{user}"))
    bad = of("secrets", level=7)
    ingest.receive(eventlist([bad, event()]), "prod", [sink])
    with pytest.raises(Undecodable):
        ingest.receive(b"{" + bad, "prod", [sink])

    assert list(sink.rejected.values()) == [bad, b"{" + bad]


def test_the_recorded_log_is_cut_alike_by_each_way() -> None:
    """The same event from a list and from a log line loses the same."""
    log = (DATA / "audit.log").read_bytes().splitlines()
    lines = [text for text in log if b'"resource":"secrets"' in text]
    listed = [b"{" + text[len(b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",') :] for text in lines]

    from_lines, from_list = ([cut(text, Redaction()) for text in some] for some in (lines, listed))

    assert [text[1:] for text in from_list] == [text.split(b",", 2)[2] for text in from_lines]


def test_the_defaults_are_what_the_api_calls_credentials() -> None:
    """Three resources, both bodies."""
    assert DEFAULT == {"secrets": BODIES, "serviceaccounts/token": BODIES, "tokenreviews": BODIES}
