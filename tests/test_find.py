"""``auditsplit find``: which events are found, which files are read, and what is printed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result
from support.eventlists import event, eventlist, line
from support.questions import QUESTIONS, day
from support.recording import DATA

from auditsplit.archive.find.criteria import Criteria, Resource
from auditsplit.archive.find.places import Places
from auditsplit.archive.find.search import MAX_LINE_BYTES, Search, Seen
from auditsplit.cli import main
from auditsplit.routing.template import KeyTemplate

PROGRAM = Path(sys.executable).parent / "auditsplit"
RECORDED = DATA / "audit.log"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def find(*arguments: object, **environ: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["find", *map(str, arguments)], env=environ)


def found(*arguments: object, **environ: str) -> list[dict[str, Any]]:
    """Return the events that the command prints as JSON."""
    events: list[dict[str, Any]] = json.loads(find(*arguments, "--output", "json", **environ).stdout)["events"]
    return events


def searched(criteria: Criteria, text: bytes) -> tuple[list[int], Seen]:
    """Return the numbers of the lines of ``text`` that match, and what was seen."""
    seen = Seen()
    stream = io.BufferedReader(io.BytesIO(text))
    return [each.line for each in Search(criteria).events(stream, seen)], seen


def plainly(criteria: Criteria, path: Path) -> int:
    """Return how many lines of ``path`` match, by decoding every line."""
    everything = Search(Criteria())
    tests = criteria.tests()
    with path.open("rb") as stream:
        return sum(all(test(each.head) for test in tests) for each in everything.events(stream, Seen()))


def test_the_needles_lose_no_event(tmp_path: Path) -> None:
    """Each question has the answer that decoding every line gives."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(day(20_000)))

    def by_search(criteria: Criteria) -> int:
        with path.open("rb") as stream:
            return len(list(Search(criteria).events(stream, Seen())))

    assert {name: by_search(each) for name, each in QUESTIONS.items()} == {
        name: plainly(each, path) for name, each in QUESTIONS.items()
    }
    assert by_search(QUESTIONS["who deleted the deployment web in shop between 14:00 and 15:00"]) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--user", "bob"), 26),
        (("--verb", "delete", "--failed"), 2),
        (("--resource", "leases.coordination.k8s.io", "--verb", "delete", "--code", "4xx"), 1),
        (("--resource", "leases.apps", "--verb", "delete"), 0),
        (("--source-ip", "127.0.0.0/8", "--user", "bob", "--stage", "RequestReceived"), 12),
        (("--source-ip", "192.0.2.1"), 0),
        (("--since", "2026-11-23T11:29:47Z", "--until", "2026-11-23T11:29:48", "--user", "bob"), 7),
        (("--until", "2026-11-23", "--user", "bob"), 0),
    ],
)
def test_options_choose_events(options: tuple[str, ...], expected: int) -> None:
    """Of the recorded events. Nothing found is exit code 1."""
    result = find(*options, "--output", "json", RECORDED)

    assert len(json.loads(result.stdout)["events"]) == json.loads(result.stdout)["found"] == expected
    assert result.exit_code == (0 if expected else 1)


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(lambda text: gzip.compress(text[:5000]) + gzip.compress(text[5000:]), id="gzip"),
        pytest.param(lambda text: zstandard.compress(text[:5000]) + zstandard.compress(text[5000:]), id="zstd"),
    ],
)
def test_compressed_files_are_searched(tmp_path: Path, pack: Any) -> None:
    """Joined gzip members and zstd frames are one file."""
    (tmp_path / "audit.log").write_bytes(pack(RECORDED.read_bytes()))

    assert len(found("--user", "bob", tmp_path)) == 26


def test_every_form_of_a_recording_is_searched(tmp_path: Path) -> None:
    """An EventList, a document of several lines, a container's log, and lines with spaces."""
    alice = json.loads(line("alice", auditID="1"))
    (tmp_path / "list.json").write_bytes(eventlist([event("alice", auditID="2"), event("bob")]))
    (tmp_path / "pretty.json").write_text(json.dumps(alice | {"auditID": "3"}, indent=2))
    (tmp_path / "cri.log").write_bytes(b"2026-11-23T10:00:00Z stdout F " + line("alice", auditID="4") + b"\n")
    (tmp_path / "spaced.log").write_text(json.dumps(alice | {"auditID": "5"}))

    assert {each["auditID"] for each in found("--user", "alice", tmp_path)} == {"2", "3", "4", "5"}


def test_escapes_hide_no_event() -> None:
    """JSON has a second spelling of each character."""
    text = line("alice") + b"\n"
    escaped = text.replace(b'"alice"', rb'"\u0061li\u0063e"')

    assert searched(Criteria(users=("alice",)), text + escaped)[0] == [1, 2]


def test_an_event_is_printed_once(tmp_path: Path) -> None:
    """Also where an object and the objects that it was joined from are there. Another event with its auditID counts."""
    first = line("alice", auditID="1", stageTimestamp="2026-11-23T10:00:00Z", requestURI="/a") + b"\n"
    other = line("alice", auditID="1", stageTimestamp="2026-11-23T10:00:00Z", requestURI="/b") + b"\n"
    (tmp_path / "joined.jsonl.gz").write_bytes(gzip.compress(first) + gzip.compress(other))
    (tmp_path / "small.jsonl.gz").write_bytes(gzip.compress(first))

    assert [each["requestURI"] for each in found("--user", "alice", tmp_path)] == ["/a", "/b"]


def test_a_malformed_line_is_reported_with_its_place(tmp_path: Path) -> None:
    """The lines beside it are found. A line that cannot match is not looked at."""
    path = tmp_path / "audit.log"
    path.write_bytes(line("alice") + b'\n{"user":"alice"\n{"user":"bob"\n' + line("alice", verb="get") + b"\n")
    result = find("--user", "alice", path)

    assert len(result.stdout.splitlines()) == 3
    assert "1 lines may match, but are not events. The first: line 2" in result.stderr


def test_a_line_that_is_too_long_is_passed() -> None:
    """And counted. The numbers of the lines behind it are right."""
    text = line("alice") + b"\n"

    numbers, seen = searched(Criteria(users=("alice",)), text + b"x" * (2 * MAX_LINE_BYTES + 9) + b"\n" + text)

    assert (numbers, seen.too_long) == ([1, 3], 1)


def test_broken_files_are_named_and_the_others_searched(tmp_path: Path) -> None:
    """The exit code is 1 though something was found."""
    text = line("alice") + b"\n"
    (tmp_path / "a.gz").write_bytes(gzip.compress(text)[:-4])
    (tmp_path / "b.zst").write_bytes(zstandard.compress(text)[:-4])
    (tmp_path / "c.zst").write_bytes(b"(\xb5/\xfd" + b"no zstd at all")
    (tmp_path / "d.log").write_bytes(text)
    result = find("--user", "alice", tmp_path)

    assert result.exit_code == 1
    assert [text.split(":")[1].split("/")[-1] for text in result.stderr.splitlines()] == ["a.gz", "b.zst", "c.zst"]
    assert "alice" in result.stdout


def test_the_sinks_in_the_settings_are_searched(tmp_path: Path) -> None:
    """Of the default layout, with rotated files, only the user's files are read."""
    (tmp_path / "kube-audit-alice").mkdir()
    (tmp_path / "kube-audit-bob").mkdir()
    (tmp_path / "kube-audit-alice" / "audit").write_bytes(line("alice", verb="get") + b"\n")
    (tmp_path / "kube-audit-alice" / "audit~2026-11-23T11-29-49.380").write_bytes(line("alice", verb="list") + b"\n")
    (tmp_path / "kube-audit-bob" / "audit").write_bytes(line("alice", verb="not alice's file") + b"\n")

    by_setting = found("--user", "alice", AUDIT_SINKS=f"file:{tmp_path}")

    assert [each["verb"] for each in by_setting] == ["get", "list"]
    assert found("--user", "alice", f"file:{tmp_path}") == by_setting
    assert len(found("--user", "alice", tmp_path)) == 3


TEMPLATES: Mapping[str, tuple[Criteria, list[str], list[str]]] = {
    "kube-audit-{user}/audit": (
        Criteria(users=("Alice", "")),
        ["kube-audit-%41lice/audit", "kube-audit-_no-user/audit", "of/another/template"],
        ["kube-audit-alice/audit"],
    ),
    "{namespace}/{verb}/{resource}/{stage}.log": (
        Criteria(namespaces=("",), verbs=("get",), resources=(Resource("pods"),), stages=("Panic",)),
        ["none/get/pods/Panic.log"],
        ["shop/get/pods/Panic.log", "none/list/pods/Panic.log", "none/get/jobs/Panic.log", "none/get/pods/Other.log"],
    ),
    "{user}/{date}/{hour}": (
        Criteria(since=NOON, until=NOON.replace(hour=14)),
        ["a/2026-11-23/12", "a/2026-11-23/13", "a/no-date-10/12"],
        ["a/2026-11-23/11", "a/2026-11-23/14", "a/2026-11-22/12", "a/2026-11-24/12"],
    ),
    "{date}": (Criteria(since=NOON, until=NOON.replace(hour=14)), ["2026-11-23"], ["2026-11-22", "2026-11-24"]),
    "{year}/{month}": (Criteria(since=NOON), ["2026/11", "2026/12", "2027/01"], ["2026/10", "2025/12"]),
    "{year}": (Criteria(until=NOON), ["2026", "2025"], ["2027"]),
    "{month}/{hour}": (Criteria(until=NOON), ["12/23"], []),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_keys_that_cannot_hold_a_match_are_skipped(template: str) -> None:
    """By user, object, verb, stage and time. A key that the template cannot have made is read."""
    criteria, read, skipped = TEMPLATES[template]
    places = Places(KeyTemplate(template), criteria)

    assert [key for key in read if not places.may_hold(key)] == []
    assert [key for key in skipped if places.may_hold(key)] == []


def test_a_key_by_impersonated_user_is_not_skipped_by_authenticated_user() -> None:
    """Events of alice as admin are in admin's file."""
    template = KeyTemplate("{user}", user="impersonated")

    assert Places(template, Criteria(users=("alice",))).may_hold("admin")
    assert not Places(template, Criteria(impersonated=("alice",))).may_hold("admin")
    assert Places(template, Criteria(impersonated=("",))).may_hold("admin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no such file or folder"),
        (["file:nowhere"], "there is no such folder"),
        (["memory:"], "cannot be read back"),
        (["file:.?format=logstash"], "in the format log only"),
        (["--code", "9"], "not a valid code"),
        (["--source-ip", "x"], "not a valid address"),
        (["--since", "soon"], "not a valid time"),
        (["--resource", "pods/exec"], "Write it as --subresource"),
        (["--top", "user", "--output", "lines", str(RECORDED)], "Write table or json"),
    ],
)
def test_misuse_is_refused(arguments: list[str], message: str) -> None:
    """With exit code 2."""
    result = find(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_the_stored_lines_are_printed_as_they_are() -> None:
    """With --output lines."""
    expected = [text for text in RECORDED.read_bytes().splitlines(keepends=True) if b'"username":"bob"' in text]
    done = subprocess.run(
        [PROGRAM, "find", "--user", "bob", "--output", "lines", RECORDED], capture_output=True, check=True
    )

    assert done.stdout == b"".join(expected)


def test_events_are_counted_by_a_field() -> None:
    """The most first, as a table or as JSON."""
    rows = find("--top", "verb", "--user", "bob", RECORDED).stdout.splitlines()
    document = json.loads(find("--top", "code", "--user", "bob", "--output", "json", RECORDED).stdout)

    counts = [int(row.split()[0]) for row in rows[1:]]
    assert rows[0].split() == ["EVENTS", "VERB"]
    assert sum(counts) == document["found"] == 26
    assert counts == sorted(counts, reverse=True)
    assert sum(each["events"] for each in document["top"]) == 26
    for field in ("user", "resource", "namespace"):
        assert find("--top", field, RECORDED).exit_code == 0


def test_what_a_user_chose_cannot_move_the_cursor(tmp_path: Path) -> None:
    """Escapes are shown in the table, and JSON has no lone surrogate."""
    path = tmp_path / "audit.log"
    text = line("alice", verb="a\\b \x1b[2J é\u0085\U000e0001", userAgent="a b", requestURI="/x")
    path.write_bytes(text + b"\n" + line("alice", requestURI="/y").replace(b'"alice"', rb'"al\ud800"') + b"\n")

    wide = find("--output", "wide", path).stdout
    assert r"a\\b\x20\x1b[2J\x20é\x85\U000e0001" in wide
    assert "a b" in wide
    assert [each["user"] for each in found(path)] == ["alice", "al?"]


def test_results_come_before_the_end_of_a_pipe() -> None:
    """A match is printed while the sender of the pipe still has more."""
    command = [str(PROGRAM), "find", "--user", "alice", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(line("alice") + b"\n")
        process.stdin.flush()
        heading, row = process.stdout.readline(), process.stdout.readline()
        process.stdin.close()

    assert heading.startswith(b"TIME")
    assert b"alice" in row


def test_a_closed_pipe_ends_the_command_quietly(tmp_path: Path) -> None:
    """As with | head."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(day(5_000)))
    with subprocess.Popen(
        [PROGRAM, "find", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert errors == ""


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    """On standard error alone."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(day(200_000)))
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [PROGRAM, "find", path, "--top", "verb"], stdout=subprocess.PIPE, stderr=slave, check=True
        )
        os.close(slave)
        shown = terminal.read(100)

    assert b"MB read, " in shown
    assert done.stdout.startswith(b"EVENTS")
