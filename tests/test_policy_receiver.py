"""A policy at the receiver: for all sinks and for one, and what receipts, commands and metrics count of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.eventlists import event, eventlist
from support.recording import DATA
from support.requests import memory_sinks, soon
from support.server import Server

from auditsplit import bootstrap
from auditsplit.archive.completeness import balance
from auditsplit.cli import main
from auditsplit.errors import SettingsError
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.settings import Settings
from auditsplit.sinks.memory import MemorySink
from auditsplit.telemetry.figures import Figures

LIST = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
QUIET = f"{LIST}- level: None\n  users: [bob]\n- level: Metadata\n"
"""A policy that drops the events of bob, and lowers all others."""
NOTHING = f"{LIST}- level: None\n"
ITEMS = [event("alice", requestObject={"a": 1}), event("bob"), event("carol")]


def lines(sink: MemorySink) -> list[str]:
    """Return the users and levels of the lines in a memory sink."""
    found = [json.loads(line) for text in sink.objects.values() for line in text.splitlines()]
    return sorted(f"{each['user']['username']} {each['level']}" for each in found)


def test_a_policy_is_for_all_sinks_or_for_one() -> None:
    """A sink's own policy applies after the policy for all. The receipt and the figures count what each dropped."""
    every, own, empty = memory_sinks(3)
    own.name, empty.name = "memory:own", "memory:empty"
    alice = AppliedPolicy.parse(f"{LIST}- level: None\n  users: [carol]\n- level: RequestResponse\n")
    sinks = [Destination(every), Destination(own, [alice]), Destination(empty, [AppliedPolicy.parse(NOTHING)])]
    figures = Figures()

    receipt = Ingest(sinks, [AppliedPolicy.parse(QUIET)]).receive(eventlist(ITEMS), "prod", soon(), figures)

    assert [lines(sink) for sink in (every, own, empty)] == [
        ["alice Metadata", "carol Metadata"],
        ["alice Metadata"],
        [],
    ]
    assert (receipt.events, receipt.omitted, receipt.alreadyStored) == (2, 1, False)
    assert receipt.omittedBySink == {own.name: 1, empty.name: 2}
    assert (figures.fields()["omitted"], figures.fields()["events"]) == (1, 2)


def test_a_retry_of_a_batch_under_a_policy_is_recognised() -> None:
    """Also where a sink gets nothing of it, and by a process that did not store it."""
    sinks = memory_sinks(2)
    destinations = [Destination(sinks[0]), Destination(sinks[1], [AppliedPolicy.parse(NOTHING)])]

    receipts = [
        Ingest(destinations, [AppliedPolicy.parse(QUIET)]).receive(eventlist(ITEMS), "prod", soon(), Figures())
        for _ in range(2)
    ]

    assert [receipt.alreadyStored for receipt in receipts] == [False, True]
    assert [receipt.omitted for receipt in receipts] == [1, 1]
    assert lines(sinks[0]) == ["alice Metadata", "carol Metadata"]


def test_a_batch_of_which_nothing_stays_is_acknowledged() -> None:
    """The policy drops all of it. No sink is written to."""
    [sink] = memory_sinks(1)

    receipt = Ingest([Destination(sink)], [AppliedPolicy.parse(NOTHING)]).receive(
        eventlist(ITEMS), "prod", soon(), Figures()
    )

    assert (receipt.events, receipt.omitted, receipt.alreadyStored, lines(sink)) == (0, 3, False, [])


def test_without_a_policy_the_receipt_does_not_mention_it() -> None:
    """A sender sees the same answer as before."""
    receipt = Ingest([Destination(memory_sinks(1)[0])]).receive(eventlist(ITEMS), "prod", soon(), Figures())

    assert receipt.to_dict().keys() == {"cluster", "batch", "events", "rejected", "alreadyStored"}


BROKEN = f"{LIST}- level: metadata\n"
MISTAKE = "policy.yaml:4:10: rules[0].level: must be None, Metadata, Request or RequestResponse, not 'metadata'"


@pytest.mark.usefixtures("workspace")
def test_a_malformed_policy_is_a_mistake_in_the_settings() -> None:
    """For all sinks, and for one. The function does not start, and tells the same as a check of the policy."""
    Path("policy.yaml").write_text(BROKEN)

    with pytest.raises(SettingsError) as caught:
        Settings.read({"AUDIT_POLICY": "policy.yaml", "AUDIT_SINKS": "file:a?policy=policy.yaml"})

    assert caught.value.mistakes == (
        f"AUDIT_SINKS: file:a: policy: {MISTAKE}",
        f"AUDIT_POLICY: {MISTAKE}",
    )


@pytest.mark.usefixtures("workspace")
def test_the_settings_name_policies(caplog: pytest.LogCaptureFixture) -> None:
    """A file for one sink, and an inline policy for all. What kube-apiserver warns about is logged."""
    Path("policy.yaml").write_text(f"{LIST}- level: Metadata\n  verb: [get]\n")
    environ = {"AUDIT_POLICY": QUIET, "AUDIT_SINKS": "file:a?policy=policy.yaml file:b"}
    settings = Settings.read(environ)

    ingest = bootstrap.ingest(settings, environ)
    ingest.receive(eventlist(ITEMS), "prod", soon(), Figures())

    assert [len(settings.policy.policy.rules), str(settings.sinks[0].options.policy)] == [2, "policy.yaml"]
    assert not settings.sinks[1].options.policy
    assert "policy.yaml:5:3: rules[0].verb: there is no such field" in caplog.text


@pytest.mark.usefixtures("workspace")
def test_commands_apply_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`split` stores what is left of a recording, and `check` prints the policy."""
    Path("policy.yaml").write_text(f"{LIST}- level: None\n  verbs: [get, list, watch]\n- level: Metadata\n")
    monkeypatch.setenv("AUDIT_POLICY", "policy.yaml")

    split = CliRunner().invoke(main, ["split", str(DATA / "eventlist-003.json")])
    check = CliRunner().invoke(main, ["check"])

    stored = [json.loads(line) for path in Path("var").rglob("audit") for line in path.read_text().splitlines()]
    assert {each["level"] for each in stored} == {"Metadata"}
    assert 0 < len(stored) < 35
    assert f"{35 - len(stored)} dropped by policy" in split.output
    assert "policy: policy.yaml, 2 rules" in check.output


@pytest.mark.usefixtures("workspace")
def test_check_refuses_a_malformed_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the message of the settings."""
    Path("policy.yaml").write_text(BROKEN)
    monkeypatch.setenv("AUDIT_POLICY", "policy.yaml")

    result = CliRunner().invoke(main, ["check"])

    assert (result.exit_code, f"AUDIT_POLICY: {MISTAKE}" in result.output) == (2, True)


def test_metrics_count_what_a_policy_dropped(serve: Callable[..., Server]) -> None:
    """Once for each batch, so that the counters of apiserver and receiver balance."""
    server = serve(AUDIT_POLICY=QUIET)

    for _ in range(2):
        server.post(eventlist(ITEMS))
    text = server.request("GET", "/metrics").body.decode()

    assert 'auditsplit_events_omitted_total{cluster="default",sink=""} 1.0' in text
    assert 'auditsplit_events_received_total{cluster="default"} ' in text
    made = "apiserver_audit_event_total 3\n"
    counted = balance("", made + text, "default")
    assert (counted.stored, counted.omitted, counted.duplicates, counted.missing) == (2, 1, 2, 0)
