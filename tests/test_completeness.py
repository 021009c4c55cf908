"""Completeness: losses, gaps and duplicates are found, and complete events have no finding."""

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
    """Return an apiserver's /metrics."""
    errors = "".join(f'apiserver_audit_error_total{{plugin="{plugin}"}} {count}\n' for plugin, count in lost.items())
    return (
        "# HELP apiserver_audit_event_total Counter\n# TYPE apiserver_audit_event_total counter\n"
        f"apiserver_audit_event_total {made}\n# TYPE apiserver_audit_error_total counter\n{errors}"
    )


def receiver(**stored: int) -> str:
    """Return the receiver's /metrics, with the stored events of some clusters."""
    lines = "".join(f'auditsplit_events_stored_total{{cluster="{name}"}} {count}.0\n' for name, count in stored.items())
    return f"# TYPE auditsplit_events_stored_total counter\n{lines}"


def test_nothing_is_missing_if_all_events_are_stored() -> None:
    """Of two apiservers and one of two clusters. Earlier events and losses do not count."""
    before = apiserver(1000) + apiserver(50, webhook=3) + receiver(prod=900, test=5)
    after = apiserver(1400) + apiserver(150, webhook=3) + receiver(prod=1400, test=77)

    balance = completeness.balance(before, after, "prod")

    assert (balance.made, balance.stored, balance.missing, balance.lost) == (500, 500, 0, {})


def test_lost_events_are_not_counted_as_missing() -> None:
    """They are counted by the apiserver's plugin."""
    before = apiserver(0) + receiver(prod=0)
    after = apiserver(1000, buffered=20, webhook=400) + receiver(prod=573)

    balance = completeness.balance(before, after, "prod")

    assert balance.lost == {"buffered": 20, "webhook": 400}
    assert balance.missing == 7


def test_a_reset_counter_counts_from_0() -> None:
    """It is lower than before, because its server was restarted."""
    balance = completeness.balance(apiserver(9000) + receiver(prod=9000), apiserver(40) + receiver(prod=40), "prod")

    assert (balance.made, balance.stored, balance.missing) == (40, 40, 0)


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
def test_the_exit_code_tells_if_events_are_missing(
    made: int, stored: int, more: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    """0 if none is missing. 1 if events are missing, or more were stored than made."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text(apiserver(0) + receiver(prod=0))
    after.write_text(apiserver(made) + receiver(prod=stored))

    result = run("counters", before, after, "--cluster", "prod", *more)

    assert result.exit_code == code
    assert f"missing: {made - stored}\n" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no apiserver_audit_event_total"),
        (apiserver(1), "no auditsplit_events_stored"),
        ("{", "not Prometheus' text format"),
    ],
)
def test_a_reading_without_both_sides_is_misuse(text: str, message: str, tmp_path: Path) -> None:
    """Exit 2, with the metric that is missing."""
    reading = tmp_path / "reading"
    reading.write_text(text)

    result = run("counters", reading, reading)

    assert result.exit_code == 2
    assert message in result.stderr


def test_an_invalid_cluster_name_is_misuse(tmp_path: Path) -> None:
    """Exit 2, before the readings are compared."""
    (tmp_path / "reading").touch()

    result = run("counters", tmp_path / "reading", tmp_path / "reading", "--cluster", "Prod")

    assert result.exit_code == 2
    assert "'Prod' is not a valid cluster name" in result.stderr


def test_the_real_servers_metrics_are_read(serve: Callable[..., Server]) -> None:
    """A batch that is posted twice is stored once and counted as a duplicate once."""
    server = serve()
    body = eventlist([event("alice"), event("bob")])
    server.post(eventlist([event("carol")]))
    before = apiserver(1) + server.request("GET", "/metrics").body.decode()
    for _ in range(2):
        server.post(body)
    after = apiserver(3) + server.request("GET", "/metrics").body.decode()

    balance = completeness.balance(before, after, "default")

    assert (balance.made, balance.stored, balance.duplicates, balance.missing) == (2, 2, 2, 0)


def at(minute: float, **fields: object) -> bytes:
    """Return a line ``minute`` minutes after 10:00."""
    time = datetime(2026, 1, 31, 10, tzinfo=UTC) + timedelta(minutes=minute)
    return line("alice", stageTimestamp=time.isoformat(timespec="microseconds").replace("+00:00", "Z"), **fields)


def test_complete_lines_have_no_gap() -> None:
    """In any order, and with hostile bodies."""
    some = [at(minute, auditID=str(minute)) for minute in (8, 0, 4, 12)]
    hostile = at(6, auditID="h")[:-1] + b',"requestObject":' + HOSTILE_BODY + b"}"

    result = completeness.inspect([*some, hostile], *ALWAYS, FIVE_MINUTES)

    assert (result.events, result.duplicates, result.malformed, result.unended, result.silences) == (5, 0, 0, 0, [])
    assert (result.first, result.last) == (
        datetime(2026, 1, 31, 10, tzinfo=UTC),
        datetime(2026, 1, 31, 10, 12, tzinfo=UTC),
    )


def test_a_gap_a_duplicate_and_a_malformed_line_are_found() -> None:
    """Two events that differ in one byte are not duplicates."""
    first = at(0, auditID="a")

    result = completeness.inspect([first, at(0, auditID="b"), first, b"42", at(7, auditID="c")], *ALWAYS, FIVE_MINUTES)

    begin = datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert (result.events, result.duplicates, result.malformed) == (4, 1, 1)
    assert result.silences == [(begin, begin + timedelta(minutes=7))]


def test_a_request_without_an_end_is_found() -> None:
    """It began long before the last event. A request that began later may still go on."""
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

    result = completeness.inspect(some, *ALWAYS, FIVE_MINUTES)

    assert result.unended == 1


def test_only_the_given_time_counts() -> None:
    """From its first moment, and before its last."""
    hour = datetime(2026, 1, 31, 10, tzinfo=UTC)
    some = [at(minute, auditID=str(minute)) for minute in range(5)]

    result = completeness.inspect(some, hour + timedelta(minutes=1), hour + timedelta(minutes=3), FIVE_MINUTES)

    assert result.events == 2


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    """Plain and compressed, except for the sinks' own folders. Exit 1 reports a finding."""
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
    assert "  no event between 2026-01-31T10:01:00Z and 2026-01-31T11:00:00Z\n" in gap.stdout


@pytest.mark.parametrize("arguments", [(), ("--since", "2027-01-01"), ("--until", "2025-01-01")])
def test_without_an_event_there_is_no_all_clear(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """An empty folder, or no event in the time: exit 1, with the reason."""
    if arguments:
        (tmp_path / "audit").write_bytes(at(0, auditID="a") + b"\n")

    result = run("lines", tmp_path, *arguments)

    assert result.exit_code == 1
    assert result.stdout.startswith("events: 0\n")
    assert "no event has a time from --since until --until" in result.stderr


def test_an_event_without_a_time_is_in_no_time() -> None:
    """It makes no gap, is not the first or last event, and is no duplicate."""
    untimed = line("alice", stageTimestamp=None, requestReceivedTimestamp="yesterday")

    result = completeness.inspect([untimed, at(0, auditID="a"), untimed], *ALWAYS, FIVE_MINUTES)

    assert (result.events, result.untimed, result.duplicates, result.silences) == (1, 2, 0, [])
    assert result.first == result.last == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert result.is_complete


def test_a_torn_file_is_misuse(tmp_path: Path) -> None:
    """It cannot be read to its end."""
    (tmp_path / "x.gz").write_bytes(gzip.compress(at(0))[:-9])

    result = run("lines", tmp_path / "x.gz")

    assert result.exit_code == 2
    assert "ends too early" in result.stderr
