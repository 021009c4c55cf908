"""Completeness: a loss, a gap and a duplicate are each noticed, and nothing else is."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.eventlists import event, eventlist, line
from support.server import Server

from auditsplit.archive import completeness
from auditsplit.cli import main

ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
HOSTILE_BODY = rb'{"data":"\ud800"}'
FIVE_MINUTES = timedelta(minutes=5)


def run(*arguments: str | Path) -> Result:
    """Run ``auditsplit completeness``."""
    return CliRunner().invoke(main, ["completeness", *map(str, arguments)])


def apiserver(made: int, **lost: int) -> str:
    """Return what an apiserver's /metrics says."""
    errors = "".join(f'apiserver_audit_error_total{{plugin="{plugin}"}} {count}\n' for plugin, count in lost.items())
    return (
        "# HELP apiserver_audit_event_total Counter\n# TYPE apiserver_audit_event_total counter\n"
        f"apiserver_audit_event_total {made}\n# TYPE apiserver_audit_error_total counter\n{errors}"
    )


def receiver(**stored: int) -> str:
    """Return what the receiver's /metrics says of clusters."""
    lines = "".join(f'auditsplit_events_stored_total{{cluster="{name}"}} {count}.0\n' for name, count in stored.items())
    return f"# TYPE auditsplit_events_stored_total counter\n{lines}"


def test_all_that_was_made_is_stored() -> None:
    """Two apiservers, one cluster of two; what was there before does not count."""
    before = apiserver(1000) + apiserver(50, webhook=3) + receiver(prod=900, test=5)
    after = apiserver(1400) + apiserver(150, webhook=3) + receiver(prod=1400, test=77)

    found = completeness.balance(before, after, "prod")

    assert (found.made, found.stored, found.missing, found.lost) == (500, 500, 0, {})


def test_what_was_given_up_is_told_apart_from_what_is_missing() -> None:
    """By the apiserver's plugin."""
    before = apiserver(0) + receiver(prod=0)
    after = apiserver(1000, buffered=20, webhook=400) + receiver(prod=573)

    found = completeness.balance(before, after, "prod")

    assert found.lost == {"buffered": 20, "webhook": 400}
    assert found.missing == 7


def test_a_server_that_was_started_anew_counts_from_nothing() -> None:
    """Its counter is lower than before."""
    found = completeness.balance(apiserver(9000) + receiver(prod=9000), apiserver(40) + receiver(prod=40), "prod")

    assert (found.made, found.stored, found.missing) == (40, 40, 0)


@pytest.mark.parametrize(
    ("made", "stored", "more", "code"),
    [
        (10, 10, (), 0),
        (10, 9, (), 1),
        (10, 9, ("--on-the-way", "1"), 0),
        (10, 11, (), 1),
        (10, 8, ("--on-the-way", "1"), 1),
    ],
)
def test_the_command_tells_by_its_exit(
    made: int, stored: int, more: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    """0 where nothing is missing, 1 where something is, or more was stored than made."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text(apiserver(0) + receiver(prod=0))
    after.write_text(apiserver(made) + receiver(prod=stored))

    result = run("counters", before, after, "--cluster", "prod", *more)

    assert result.exit_code == code
    assert f"missing: {made - stored}\n" in result.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "no apiserver_audit_event_total"), (apiserver(1), "no auditsplit_events_stored"), ("{", "Usage")],
)
def test_a_reading_of_something_else_is_misuse(text: str, told: str, tmp_path: Path) -> None:
    """Exit 2 says which side is missing."""
    reading = tmp_path / "reading"
    reading.write_text(text)

    result = run("counters", reading, reading)

    assert result.exit_code == 2
    assert told in result.stderr


def test_the_receivers_own_metrics_are_understood(serve: Callable[..., Server]) -> None:
    """From the real server; a batch that is posted twice is stored once."""
    server = serve()
    body = eventlist([event("alice"), event("bob")])
    server.post(eventlist([event("carol")]))
    before = apiserver(1) + server.request("GET", "/metrics").body.decode()
    for _ in range(2):
        server.post(body)
    after = apiserver(3) + server.request("GET", "/metrics").body.decode()

    found = completeness.balance(before, after, "default")

    assert (found.made, found.stored, found.again, found.missing) == (2, 2, 2, 0)


def at(minute: float, **fields: object) -> bytes:
    """Return a line ``minute`` minutes after ten."""
    time = datetime(2026, 1, 31, 10, tzinfo=UTC) + timedelta(minutes=minute)
    return line("alice", stageTimestamp=time.isoformat(timespec="microseconds").replace("+00:00", "Z"), **fields)


def test_lines_without_a_gap() -> None:
    """Whatever their order, and hostile ones too."""
    some = [at(minute, auditID=str(minute)) for minute in (8, 0, 4, 12)]
    hostile = at(6, auditID="h")[:-1] + b',"requestObject":' + HOSTILE_BODY + b"}"

    found = completeness.inspect([*some, hostile], *ALWAYS, FIVE_MINUTES)

    assert (found.events, found.twice, found.broken, found.unended, found.silences) == (5, 0, 0, 0, [])
    assert (found.first, found.last) == (
        datetime(2026, 1, 31, 10, tzinfo=UTC),
        datetime(2026, 1, 31, 10, 12, tzinfo=UTC),
    )


def test_a_gap_a_duplicate_and_a_broken_line() -> None:
    """Each is told; two events alike but for a byte are no duplicate."""
    first = at(0, auditID="a")

    found = completeness.inspect([first, at(0, auditID="b"), first, b"42", at(7, auditID="c")], *ALWAYS, FIVE_MINUTES)

    begin = datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert (found.events, found.twice, found.broken) == (4, 1, 1)
    assert found.silences == [(begin, begin + timedelta(minutes=7))]


def test_a_request_without_an_end() -> None:
    """One that began long before the last event; one that may go on is none."""
    some = [
        at(0, auditID="a", stage="RequestReceived"),
        at(0, auditID="b", stage="RequestReceived"),
        at(1, auditID="b", stage="ResponseStarted"),
        at(2, auditID="b", stage="ResponseComplete"),
        at(3, auditID="c", stage="RequestReceived"),
        at(3, auditID="c", stage="Panic"),
        at(5.5, auditID="d", stage="RequestReceived"),
        at(6, auditID="e"),
    ]

    found = completeness.inspect(some, *ALWAYS, FIVE_MINUTES)

    assert found.unended == 1


def test_only_the_time_that_is_asked_for() -> None:
    """From the first moment on, before the last."""
    hour = datetime(2026, 1, 31, 10, tzinfo=UTC)
    some = [at(minute, auditID=str(minute)) for minute in range(5)]

    found = completeness.inspect(some, hour + timedelta(minutes=1), hour + timedelta(minutes=3), FIVE_MINUTES)

    assert found.events == 2


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    """Packed and plain, but for the stores' own places; exit 1 says that there is something to look at."""
    (tmp_path / "alice").mkdir()
    (tmp_path / "_rejected").mkdir()
    (tmp_path / "_rejected" / "x").write_bytes(b"42")
    (tmp_path / "alice" / "audit").write_bytes(at(0, auditID="a") + b"\n" + at(1, auditID="b") + b"\n")
    whole = run("lines", tmp_path)
    (tmp_path / "more.jsonl.gz").write_bytes(gzip.compress(at(60, auditID="c") + b"\n"))

    gap = run("lines", tmp_path / "alice", tmp_path / "more.jsonl.gz")
    part = run("lines", tmp_path, "--until", "2026-01-31T11:00:00Z")

    assert (whole.exit_code, gap.exit_code, part.exit_code) == (0, 1, 0)
    assert "events: 2, from 2026-01-31T10:00:00Z to 2026-01-31T10:01:00Z\n" in whole.stdout
    assert "  nothing between 2026-01-31T10:01:00Z and 2026-01-31T11:00:00Z\n" in gap.stdout


def test_a_torn_file_is_told(tmp_path: Path) -> None:
    """It can't be read to its end; exit 2."""
    (tmp_path / "x.gz").write_bytes(gzip.compress(at(0))[:-9])

    result = run("lines", tmp_path / "x.gz")

    assert result.exit_code == 2
    assert "ends too early" in result.stderr
