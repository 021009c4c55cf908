"""The limit of an event's size: what is left of an event, and what receipts, commands and metrics count.

``tests/live/test_policy_truncation.py`` compares the bytes with those of kube-apiserver's own code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.eventlists import event, eventlist
from support.requests import memory_sinks, soon
from support.server import Server

from auditsplit.archive.completeness import balance
from auditsplit.cli import main
from auditsplit.decode.eventlist import decode
from auditsplit.errors import SettingsError
from auditsplit.event import PolicyHead, line_bytes
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.truncation import ANNOTATION, Truncation
from auditsplit.settings import Settings
from auditsplit.telemetry.figures import Figures

LARGE = event("alice", requestObject={"x": "y" * 1000})
HUGE = event("bob", userAgent="z" * 1000, responseObject={})
ITEMS = [LARGE, HUGE, event("carol")]
LIMIT = 600


def left(item: bytes, limit: int = LIMIT) -> list[bytes]:
    """Return what a limit leaves of one item."""
    return [bytes(each.raw) for each in Truncation(limit).apply(decode(eventlist([item])).events)]


def test_a_large_event_loses_its_bodies() -> None:
    """And gets the annotation. The other bytes stay."""
    [text] = left(LARGE)

    assert json.loads(text) == {**json.loads(event("alice")), "annotations": {ANNOTATION: "true"}}


@pytest.mark.parametrize("level", ["None", "Metadata"])
def test_an_event_without_bodies_to_lose_is_dropped(level: str) -> None:
    """Its level says that there are none, whatever it has."""
    assert left(event(level=level, requestObject={"x": "y" * 1000})) == []


def test_the_size_is_that_of_the_line_in_the_log() -> None:
    """With ``kind`` and ``apiVersion``, which items of a list lack, and with the line feed."""
    item = event("alice", requestObject={})
    [decoded] = decode(eventlist([item])).events
    size = line_bytes(decoded)

    assert size == len(item) + len('"kind":"Event","apiVersion":"audit.k8s.io/v1",') + 1
    assert left(item, size) == [item]
    assert left(item, size - 1) == []
    assert left(item, 0) == [item]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (b'"annotations":null', b'"annotations":{"audit.k8s.io/truncated":"true"}'),
        (b'"annotations":{}', b'"annotations":{"audit.k8s.io/truncated":"true"}'),
        (b'"annotations":{"a":"1","z":"2"}', b'"annotations":{"a":"1","audit.k8s.io/truncated":"true","z":"2"}'),
        (b'"annotations":{"audit.k8s.io/truncated":"no"}', b'"annotations":{"audit.k8s.io/truncated":"true"}'),
    ],
)
def test_the_annotation_has_its_place_in_the_order_of_names(members: bytes, expected: bytes) -> None:
    """As Go writes a map. A value that is there already is replaced."""
    item = LARGE[:-1] + b"," + members + b"}"

    [text] = left(item)

    assert text == event("alice")[:-1] + b"," + expected + b"}"


def test_an_event_that_parsers_refuse_is_truncated_too() -> None:
    """A user can send half of a surrogate. The event's own bytes stay."""
    broken = event("alice", requestObject={"x": "SURROGATE" + "y" * 1000}).replace(b"SURROGATE", rb"\ud800")

    [text] = left(broken)

    assert json.loads(text)["annotations"] == {ANNOTATION: "true"}
    assert b"requestObject" not in text


def test_a_policy_lowers_what_truncation_left() -> None:
    """A sink's own policy comes after the limit for all sinks."""
    [decoded] = decode(eventlist([LARGE]), heads=PolicyHead).events
    policy = AppliedPolicy.parse("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n")

    [lowered] = policy.apply(Truncation(LIMIT).apply([decoded]))

    expected = json.loads(event("alice"))
    assert json.loads(bytes(lowered.raw)) == {**expected, "level": "Metadata"}


def test_receipts_count_what_was_dropped() -> None:
    """For all sinks, and for the sink with a limit of its own. A retry has the same answer."""
    every, own = memory_sinks(2)
    own.name = "memory:own"
    ingest = Ingest([Destination(every), Destination(own, [Truncation(100)])], [Truncation(LIMIT)])
    figures = Figures()

    receipts = [ingest.receive(eventlist(ITEMS), "prod", soon(), figures) for _ in range(2)]

    assert [(each.events, each.tooLarge, each.tooLargeBySink) for each in receipts] == [(2, 1, {own.name: 2})] * 2
    assert [each.alreadyStored for each in receipts] == [False, True]
    assert [each.to_dict().keys() & {"omitted", "omittedBySink"} for each in receipts] == [set()] * 2
    assert (figures.fields()["tooLarge"], figures.fields()["tooLargeBySink"]) == (1, {own.name: 2})
    assert own.objects == {}


@pytest.mark.parametrize("text", ["-1", "1MB", "1" * 19, "\u0661"])
def test_a_limit_is_a_number_of_bytes(text: str) -> None:
    """For all sinks, and for one."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({"AUDIT_TRUNCATE_MAX_EVENT_SIZE": text, "AUDIT_SINKS": f"file:a?truncate_max_event_size={text}"})

    expected = f"must be a number of bytes, such as 102400, or 0 for no limit, not {text!r}"
    assert caught.value.mistakes == (
        f"AUDIT_SINKS: file:a: truncate_max_event_size: {expected}",
        f"AUDIT_TRUNCATE_MAX_EVENT_SIZE: {expected}",
    )


@pytest.mark.usefixtures("workspace")
def test_split_reports_what_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words and in JSON."""
    Path("list.json").write_bytes(eventlist(ITEMS))
    monkeypatch.setenv("AUDIT_TRUNCATE_MAX_EVENT_SIZE", str(LIMIT))

    words = CliRunner().invoke(main, ["split", "list.json"])
    counts = CliRunner().invoke(main, ["split", "list.json", "--output", "json"])

    assert "2 events stored" in words.output
    assert "1 dropped because they are too large" in words.output
    assert json.loads(counts.stdout)["tooLarge"] == 1


def test_metrics_count_what_was_dropped(serve: Callable[..., Server]) -> None:
    """Once for each batch, so that the counters of apiserver and receiver balance."""
    server = serve(AUDIT_TRUNCATE_MAX_EVENT_SIZE=str(LIMIT))

    for _ in range(2):
        server.post(eventlist(ITEMS))
    text = server.request("GET", "/metrics").body.decode()

    assert 'auditsplit_events_too_large_total{cluster="default",sink=""} 1.0' in text
    counted = balance("", "apiserver_audit_event_total 3\n" + text, "default")
    assert (counted.stored, counted.too_large, counted.duplicates, counted.missing) == (2, 1, 2, 0)
