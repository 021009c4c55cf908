"""Redaction: the events that lose parts by the settings. No sink gets those parts."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, event, eventlist, items
from support.recording import DATA
from support.requests import receive, sink_of

from auditsplit import bootstrap, replay
from auditsplit.decode.eventlist import decode
from auditsplit.errors import Undecodable
from auditsplit.policy import Transform
from auditsplit.policy.parts import BODIES, MARK, PARTS
from auditsplit.policy.redaction import DEFAULT, NOTHING, Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve.messages import Request
from auditsplit.sinks.memory import MemorySink

PASSWORD = "c3VwZXItc2VjcmV0"  # noqa: S105 - a made-up password, which must not be stored
CHOICES = "must be none, or some of requestObject, responseObject, managedFields"
BODY = {"metadata": {"managedFields": [{}]}, "data": {"password": PASSWORD}}


def of(resource: str | None, subresource: str | None = None, **more: Any) -> bytes:
    """Return an event on a resource, with both bodies."""
    reference = {"resource": resource, "subresource": subresource, "apiVersion": "v1"}
    named = {name: value for name, value in reference.items() if value is not None}
    return event("alice", **{"objectRef": named, "requestObject": BODY, "responseObject": BODY, **more})


def redacted(item: bytes, redaction: Redaction) -> bytes:
    """Return an item after redaction."""
    [after] = redaction.apply(decode(eventlist([item])).events)
    return bytes(after.raw)


def parts_left(item: bytes, text: str = "") -> set[str]:
    """Return the parts that an item still has after redaction by ``AUDIT_DROP``."""
    return parts_after(item, Redaction.parse(text))


def parts_after(item: bytes, redaction: Redaction) -> set[str]:
    """Return the parts that an item still has after ``redaction``."""
    document = json.loads(redacted(item, redaction))
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
def test_credentials_are_redacted_by_default(resource: str | None, subresource: str | None) -> None:
    """Secrets, tokens, token reviews and events without a resource lose both bodies, and an annotation names them."""
    document = json.loads(redacted(of(resource, subresource), Redaction()))

    assert PASSWORD not in str(document)
    assert document["annotations"] == {MARK: "requestObject,responseObject"}


@pytest.mark.parametrize("reference", [None, {}, {"resource": None}, {"namespace": "team-a"}])
def test_an_event_without_a_resource_is_redacted(reference: Any) -> None:
    """It could be on any resource, so it loses every part that any resource loses."""
    assert parts_left(of("x", objectRef=reference)) == set()
    assert parts_left(of("x", objectRef=reference), "none pods=requestObject *=none") == {
        "responseObject",
        "managedFields",
    }
    assert parts_left(of("x", objectRef=reference), "none") == set(PARTS)


def test_secrets_of_another_group_are_redacted() -> None:
    """A resource with that name in an aggregated API may hold credentials too."""
    assert parts_left(of("x", objectRef={"resource": "secrets", "apiGroup": "vault.example.com"})) == set()


@pytest.mark.parametrize(
    ("resource", "subresource"),
    [("configmaps", None), ("serviceaccounts", None), ("certificatesigningrequests", "status"), ("pods", "token")],
)
def test_other_resources_keep_their_bytes(resource: str, subresource: str | None) -> None:
    """Events on other resources stay byte for byte."""
    item = of(resource, subresource)

    assert redacted(item, Redaction()) == item


def test_an_event_without_bodies_keeps_its_bytes() -> None:
    """Secrets are usually audited at the level Metadata, which has no bodies."""
    item = event(objectRef={"resource": "secrets", "name": "requestObject"}, userAgent='a\\"requestObject":1')

    assert redacted(item, Redaction()) == item


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
    """A rule for a subresource precedes that for its resource, which precedes ``*``. Other defaults stay."""
    remaining = [
        parts_left(of("secrets"), text),
        parts_left(of("deployments", "scale"), text),
        parts_left(of("configmaps"), text),
    ]

    assert remaining == [secrets, scale, configmaps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " ".join(f"{name}=requestObject,responseObject" for name in DEFAULT)),
        ("none", "none"),
        ("none secrets=none *=responseObject,requestObject", "secrets=none *=requestObject,responseObject"),
    ],
)
def test_the_text_of_a_redaction_is_a_valid_setting(text: str, expected: str) -> None:
    """The text is an ``AUDIT_DROP`` with the same meaning."""
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
def test_a_mistake_is_refused_with_the_correct_form(text: str, expected: str) -> None:
    """An invalid rule is refused with what is wrong and what to write instead."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        Redaction.parse(text)

    assert str(caught.value).startswith(expected)


def test_every_mistake_is_reported() -> None:
    """The error has all mistakes, each on a line of its own."""
    with pytest.raises(ValueError, match=r"\A.*\n.*\n.*\Z"):
        Redaction.parse("secrets pods=x,y")


def test_redaction_keeps_order_and_other_events() -> None:
    """Only the events that lose a part are new objects, and their heads are the same."""
    before = decode(eventlist([event("a"), of("secrets"), of("configmaps"), of("tokenreviews"), event("b")])).events

    after = Redaction().apply(before)

    assert [new is old for old, new in zip(before, after, strict=True)] == [True, False, True, False, True]
    assert [new.head for new in after] == [old.head for old in before]


@PROPERTY
@given(st.lists(items, max_size=4))
def test_events_stay_without_rules(some: list[bytes]) -> None:
    """``none`` returns the list itself."""
    events = decode(eventlist(some)).events

    assert Redaction.parse("none").apply(events) is events


@PROPERTY
@given(st.lists(items, min_size=1), st.sampled_from(["", "*=requestObject,responseObject", "*=managedFields"]))
def test_any_event_can_be_redacted(some: list[bytes], text: str) -> None:
    """The result is an event with the same user, and redacting it again changes nothing."""
    events = decode(eventlist(some)).events

    after = Redaction.parse(text).apply(events)

    again = decode(eventlist([bytes(new.raw) for new in after]))
    assert (len(again.events), again.bad) == (len(events), [])
    assert [new.head.user for new in again.events] == [old.head.user for old in events]
    assert Redaction.parse(text).apply(again.events) == again.events


def test_recorded_secrets_are_redacted(recorded: list[bytes]) -> None:
    """In a real server's lists, Secrets and a token lose their bodies. All other events stay byte for byte."""
    before = [each for body in recorded for each in decode(body).events]

    after = [bytes(each.raw) for each in Redaction().apply(before)]

    changed = [(old.head, new) for old, new in zip(before, after, strict=True) if bytes(old.raw) != new]
    resources = Counter(head.objectRef.resource for head, _ in changed if head.objectRef)
    assert resources == {"secrets": 3, "serviceaccounts": 1}
    assert all(MARK in json.loads(new)["annotations"] for _, new in changed)
    assert not [new for _, new in changed if b'"data"' in new or b'"token":' in new]


def test_redaction_is_a_transform() -> None:
    """The use case applies any list of transforms, and mypy checks that redaction is one of them."""
    transforms: list[Transform] = [NOTHING, Redaction()]
    events = decode(eventlist([of("secrets")])).events

    for transform in transforms:
        events = transform.apply(events)

    assert json.loads(bytes(events[0].raw))["annotations"] == {MARK: "requestObject,responseObject"}


@pytest.mark.parametrize(
    ("text", "secrets", "pods"),
    [
        ("", set(PARTS), set(PARTS)),
        ("none", set(PARTS), set(PARTS)),
        (str(NOTHING), set(PARTS), set(PARTS)),
        ("pods=requestObject", set(PARTS), {"responseObject", "managedFields"}),
        ("none *=managedFields pods=none", set(BODIES), set(PARTS)),
    ],
)
def test_an_option_adds_no_defaults(text: str, secrets: set[str], pods: set[str]) -> None:
    """The option of a sink removes parts in addition to ``AUDIT_DROP``, so it has only its own rules."""
    redaction = Redaction.from_option(text, "authenticated")

    assert parts_after(of("secrets"), redaction) == secrets
    assert parts_after(of("pods"), redaction) == pods
    assert str(Redaction.from_option(str(redaction), "authenticated")) == str(redaction)


def test_every_mistake_of_an_option_is_reported() -> None:
    """The error has all mistakes, each on a line of its own, as that of the setting has."""
    with pytest.raises(ValueError, match=r"\A.*\n.*\n.*\Z"):
        Redaction.from_option("secrets pods=x,y", "authenticated")


# On the way to the sinks.


def stored(sink: MemorySink) -> bytes:
    """Return all events that a sink has."""
    return b"".join(sink.objects.values())


def test_no_sink_gets_redacted_bodies() -> None:
    """The default redaction applies in every sink, also where a caller names no redaction."""
    sinks = [MemorySink(KeyTemplate("{user}")) for _ in range(2)]

    receipt = receive(eventlist([of("secrets"), of("configmaps", auditID="2")]), "prod", sinks)

    assert receipt.events == 2
    bare = event("alice", objectRef={"resource": "secrets", "apiVersion": "v1"})
    expected = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + bare[1:-1]
    expected += b',"annotations":{"auditsplit/dropped":"requestObject,responseObject"}}'
    for sink in sinks:
        assert stored(sink).splitlines()[0] == expected
        assert PASSWORD.encode() in stored(sink).splitlines()[1]


def test_a_retry_of_a_redacted_batch_is_recognised() -> None:
    """The batch's id is the hash of the bytes that were sent, so a retry has the same id."""
    sink = MemorySink(KeyTemplate("{user}"))
    first = receive(eventlist([of("secrets")]), "prod", [sink])
    before = stored(sink)

    second = receive(eventlist([of("secrets")]), "prod", [sink])

    assert second.alreadyStored
    assert second.batch == first.batch
    assert stored(sink) == before


def test_redaction_does_not_depend_on_the_batch() -> None:
    """The bytes after redaction follow from the event's bytes alone, so a hash of them still names the event."""
    alone = redacted(of("secrets"), Redaction())

    beside = Redaction().apply(decode(eventlist([event(), of("secrets")])).events)

    assert bytes(beside[1].raw) == alone


@pytest.mark.parametrize(("setting", "kept"), [("", False), ("none", True), ("secrets=requestObject", True)])
def test_the_setting_applies_to_requests(setting: str, kept: bool) -> None:  # noqa: FBT001 - a row's expectation
    """``AUDIT_DROP`` redacts a posted list that is compressed and has a hostile event."""
    here = bootstrap.receiver({"AUDIT_SINKS": "memory:?key={user}", "AUDIT_DROP": setting})
    body = gzip.compress(eventlist([of("secrets"), HOSTILE["lone surrogate"]]))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    answer = here.handle(Request("POST", "/", headers, io.BytesIO(body), "127.0.0.1"))

    assert answer.status == 200
    assert (PASSWORD.encode() in stored(sink_of(here))) is kept


@pytest.mark.parametrize(("setting", "kept"), [("", False), ("none", True)])
def test_the_setting_applies_to_recorded_files(setting: str, kept: bool) -> None:  # noqa: FBT001 - likewise
    """``AUDIT_DROP`` redacts the events of a log that is split later."""
    here = bootstrap.receiver({"AUDIT_SINKS": "memory:?key={user}", "AUDIT_DROP": setting})
    log = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + of("secrets")[1:] + b"\n"

    [piece] = replay.split(io.BufferedReader(io.BytesIO(log)), "prod", here.ingest, 1_000_000)

    assert piece.counts["events"] == 1
    assert (PASSWORD.encode() in stored(sink_of(here))) is kept


def test_malformed_items_are_not_redacted() -> None:
    """A malformed item, and a body that is not a list, are put aside with the bytes that were sent."""
    sink = MemorySink(KeyTemplate("{user}"))
    bad = of("secrets", level=7)
    receive(eventlist([bad, event()]), "prod", [sink])
    with pytest.raises(Undecodable):
        receive(b"{" + bad, "prod", [sink])

    assert list(sink.rejected.values()) == [bad, b"{" + bad]


def test_lists_and_log_lines_are_redacted_alike() -> None:
    """An event from a list and the same event from a log line lose the same bytes."""
    log = (DATA / "audit.log").read_bytes().splitlines()
    lines = [text for text in log if b'"resource":"secrets"' in text]
    listed = [b"{" + text[len(b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",') :] for text in lines]

    from_lines, from_list = ([redacted(text, Redaction()) for text in some] for some in (lines, listed))

    assert [text[1:] for text in from_list] == [text.split(b",", 2)[2] for text in from_lines]


def test_the_defaults_are_the_resources_with_credentials() -> None:
    """The defaults remove both bodies of three resources."""
    assert DEFAULT == {"secrets": BODIES, "serviceaccounts/token": BODIES, "tokenreviews": BODIES}
