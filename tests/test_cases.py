"""Cases: inputs of each kind that people have, and what becomes of each. The table is the whole of ``data/cases``."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from support.eventlists import line
from support.recording import DATA
from support.requests import ask, document, ingest_into, problem, receiver, sink_of

from auditsplit import replay
from auditsplit.cli import main
from auditsplit.policy.redaction import Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.memory import MemorySink

CASES = DATA / "cases"
NDJSON = {"content-type": "application/x-ndjson"}
GOOD = [line("carol", auditID=f"good-{number}") for number in range(3)]


class Case(NamedTuple):
    """What ``split`` makes of a file: the users of the stored events in their order, and the reasons of the others."""

    users: list[str]
    reasons: list[str]


SPLIT: dict[str, Case] = {
    "decode/eventlist-word-first.log": Case(["alice"], ["expected '{'"]),
    "decode/torn-first-line.log": Case(["alice", "bob"], ["expected '{'"]),
    "decode/lists-first-v1beta1.ndjson": Case(["alice"], ["--audit-webhook-version=audit.k8s.io/v1"]),
    "decode/v1beta1-two-lines.log": Case([], ["'audit.k8s.io/v1beta1'. Start kube-apiserver with --audit-log-v"] * 2),
    "decode/one-both.json": Case(["user@example.com"], []),
    "decode/one-kind-only.json": Case(["user@example.com"], []),
    "decode/one-version-only.json": Case(["user@example.com"], []),
    "decode/one-neither.json": Case(["user@example.com"], []),
    "decode/bare-items.ndjson": Case(["alice@example.com"] * 3, []),
    "decode/logstash-event.ndjson": Case(["aksService"], []),
    "decode/two-lines.json": Case(["admin", "admin"], []),
    "decode/bom-crlf.log": Case(["aksService", "alice"], []),
    "decode/one-without-time.log": Case(["alice"] * 3, []),
    "decode/all-without-time.log": Case(["alice"] * 2, []),
    "envelopes/cri-prefixed.log": Case(["aksService"], ["expected '{'"]),
    "envelopes/docker-json-log.json": Case(["aksService"], []),
    "hostile/items-twice-small.json": Case([], ["items twice"]),
    "hostile/kind-twice.json": Case([], ["kind twice"]),
    "hostile/redaction-refuses.json": Case(["alice"], ["item 1"]),
    "identity/eks-shared-role.log": Case(["kubernetes-admin"] * 2, []),
    "identity/rancher-two-stages.log": Case(["system:serviceaccount:cattle-system:kontainer-engine"] * 2, []),
}
ELSEWHERE = {"hostile/redaction-refuses.json"}
"""The case that requires another redaction than the default."""


def split(data: bytes) -> tuple[MemorySink, list[str], Counter[str]]:
    """Return the sink, the complaints and the counts of a file that is split."""
    sink = MemorySink(KeyTemplate("all"))
    done = list(replay.split(io.BufferedReader(io.BytesIO(data)), "prod", ingest_into([sink]), 100_000_000))
    return (
        sink,
        [text for piece in done for text in piece.complaints],
        sum((Counter(p.counts) for p in done), Counter()),
    )


def stored(sink: MemorySink) -> list[bytes]:
    """Return the stored lines."""
    return sink.objects.get("all", b"").splitlines()


def users(lines: list[bytes]) -> list[str]:
    """Return the users of lines."""
    return [json.loads(each)["user"]["username"] for each in lines]


def test_the_table_is_complete() -> None:
    """Every case is in it."""
    assert {str(path.relative_to(CASES)) for path in CASES.rglob("*") if path.is_file()} == set(SPLIT)


@pytest.mark.parametrize("name", sorted(SPLIT.keys() - ELSEWHERE))
def test_split_stores_and_rejects_the_lines_of_a_case(name: str) -> None:
    """With the true reason for each rejected line."""
    case = SPLIT[name]

    sink, complaints, counts = split((CASES / name).read_bytes())

    assert users(stored(sink)) == case.users
    assert (counts["events"], counts["rejected"]) == (len(case.users), len(case.reasons))
    for complaint, reason in zip(complaints, case.reasons, strict=True):
        assert complaint.startswith("line ")
        assert reason in complaint


@pytest.mark.parametrize("name", sorted(SPLIT.keys() - ELSEWHERE))
@pytest.mark.parametrize("before", [b"", GOOD[0] + b"\n", b'torn "EventList"}]\n', GOOD[0][:-9] + b"\n", b'{"a":\n'])
def test_the_lines_around_a_case_make_no_difference(name: str, before: bytes) -> None:
    """Behind good lines and torn ones, and in front of good ones, a case's lines have the same fate."""
    case = SPLIT[name]
    text = (CASES / name).read_bytes()
    alone = stored(split(text)[0])

    sink, _, counts = split(before + text.rstrip(b"\n") + b"\n" + b"\n".join(GOOD[1:]))

    good = [each for each in GOOD if each in before.splitlines() + GOOD[1:]]
    lost = 0 if before in (b"", GOOD[0] + b"\n") else 1
    assert Counter(stored(sink)) == Counter(alone + good)
    assert counts["rejected"] == len(case.reasons) + lost


@pytest.mark.parametrize("word", [b"EventList", b'"EventList"', b"Event", b'{"kind":"EventList"', b'"items":['])
def test_10_mb_of_other_lines_before_the_first_event_hide_none(word: bytes) -> None:
    """A torn line, and then many lines of another program."""
    noise = b"I1007 16:19:20.000000       1 controller.go:1] quota admission added evaluator\n"

    sink, _, _ = split(word + b" torn\n" + noise * (10_000_000 // len(noise)) + b"\n".join(GOOD))

    assert stored(sink) == GOOD


@pytest.mark.parametrize("name", [name for name in SPLIT if name.startswith("decode/one-") and name.endswith(".json")])
def test_a_single_event_is_accepted_by_post(name: str) -> None:
    """As a document and as a line, with or without its kind and version."""
    here, text = receiver(), (CASES / name).read_bytes()

    answers = [ask(here, text), ask(here, text + b"\n\n", headers=NDJSON)]

    assert [answer.status for answer in answers] == [200, 200]
    assert [document(answer)["events"] for answer in answers] == [1, 1]
    assert len(sink_of(here).objects["user@example.com"].splitlines()) == 2


@pytest.mark.parametrize("name", ["one-neither.json", "one-kind-only.json", "one-version-only.json"])
@pytest.mark.parametrize("wrong", [b'"kind":"Pod"', b'"apiVersion":"v1"', b'"apiVersion":"audit.k8s.io/v1beta1"'])
def test_a_wrong_kind_or_version_is_refused_by_post(name: str, wrong: bytes) -> None:
    """Where it may be absent, it may not be another one."""
    fields: dict[str, Any] = json.loads((CASES / "decode" / name).read_bytes())

    answer = ask(receiver(), json.dumps(fields | json.loads(b"{" + wrong + b"}")).encode())

    assert problem(answer, 400).startswith("expected ")


def test_an_item_whose_redaction_fails_is_rejected_alone() -> None:
    """``redaction-refuses.json`` with ``AUDIT_DROP='*=managedFields'``. The other items are stored."""
    text = (CASES / "hostile/redaction-refuses.json").read_bytes()
    here = receiver(redaction=Redaction.parse("*=managedFields"))

    receipt = document(ask(here, text))

    assert (receipt["events"], [item["index"] for item in receipt["rejected"]]) == (1, [1])
    assert list(sink_of(here).objects) == ["alice"]


def test_lines_as_json_are_refused_with_the_type_that_accepts_them() -> None:
    """``two-lines.json`` is refused as ``application/json``, and stored as ``application/x-ndjson``."""
    text = (CASES / "decode/two-lines.json").read_bytes()

    assert "application/x-ndjson" in problem(ask(receiver(), text), 400)
    assert document(ask(receiver(), text, headers=NDJSON))["events"] == 2


def test_another_version_by_post_names_the_webhooks_flag() -> None:
    """Of a file, it is the flag of the log backend."""
    text = (CASES / "decode/v1beta1-two-lines.log").read_bytes()

    detail = problem(ask(receiver(), text, headers=NDJSON), 400)

    assert "--audit-webhook-version=audit.k8s.io/v1" in detail
    assert "--audit-log-version" not in detail


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("one-without-time.log", "events: 2, from 2025-10-07T16:00:00Z to 2025-10-07T16:00:05Z\n"),
        ("all-without-time.log", "events: 0\n"),
    ],
)
def test_completeness_counts_events_without_a_time_outside_every_range(name: str, shown: str) -> None:
    """They make no gap. Without any known time, there is no all-clear."""
    result = CliRunner().invoke(main, ["completeness", "lines", str(CASES / "decode" / name)])

    untimed = 3 - 2 if name.startswith("one") else 2
    assert shown in result.stdout
    assert f"events without a time: {untimed}\n" in result.stdout
    assert "gaps of over 300 s: 0\n" in result.stdout
    assert result.exit_code == (0 if name.startswith("one") else 1)


def test_persons_who_share_a_role_have_places_of_their_own() -> None:
    """By a key of ``user.extra``, where user name and uid are the same."""
    sink = MemorySink(KeyTemplate("{user}/{uid}/{extra:sessionName}"))
    text = io.BytesIO((CASES / "identity/eks-shared-role.log").read_bytes())

    list(replay.split(io.BufferedReader(text), "prod", ingest_into([sink]), 1_000_000))

    assert [key.rpartition("/")[2] for key in sink.objects] == ["alice", "bob"]
    assert len({key.rpartition("/")[0] for key in sink.objects}) == 1


def test_the_impersonated_user_is_unknown_at_the_first_stage() -> None:
    """So a request's two stages are in two places with ``AUDIT_USER=impersonated``, as the README tells."""
    sink = MemorySink(KeyTemplate("{user}", user="impersonated"))
    text = io.BytesIO((CASES / "identity/rancher-two-stages.log").read_bytes())

    list(replay.split(io.BufferedReader(text), "prod", ingest_into([sink]), 1_000_000))

    assert list(sink.objects) == ["system:serviceaccount:cattle-system:kontainer-engine", "user-gpr69"]
