"""``auditsplit split --only-missing``: what a sink does not hold is written, and nothing else."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.eventlists import line
from support.places import FilePlace
from support.recording import DATA

from auditsplit.cli import main

RECORDED = DATA / "audit.log"
LINES = RECORDED.read_bytes().splitlines(keepends=True)


def split(*arguments: object, **environ: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["split", *map(str, arguments)], env=environ)


def counts(*arguments: object, **environ: str) -> dict[str, int]:
    """Return the counts of the only sink that a backfill prints."""
    result = split("--only-missing", "--output", "json", *arguments, **environ)
    assert result.exit_code == 0, result.stderr
    [of_sink] = json.loads(result.stdout)["sinks"].values()
    return {name: of_sink[name] for name in ("present", "missing", "written")}


def held(place: FilePlace) -> Counter[bytes]:
    """Return the lines in the place."""
    bodies = (gzip.decompress(body) if body.startswith(b"\x1f") else body for body in place.held().values())
    return Counter(text for body in bodies for text in body.splitlines(keepends=True))


@pytest.mark.parametrize(
    "options",
    ["", "&key={user}/{date}/{hour}/audit.log.gz", "&format=logstash", "&drop=*=requestObject", "&maxsize=1"],
)
def test_only_what_is_missing_is_written(tmp_path: Path, options: str) -> None:
    """With other keys and formats, after a sink's own transforms. A second run writes nothing."""
    place, whole = FilePlace(tmp_path), FilePlace(tmp_path / "whole")
    part = tmp_path / "part.log"
    part.write_bytes(b"".join(LINES[:100] + LINES[300:]))
    split(RECORDED, AUDIT_SINKS=whole.url + options)
    split(part, AUDIT_SINKS=place.url + options)

    first = counts(RECORDED, AUDIT_SINKS=place.url + options)
    second = counts(RECORDED, AUDIT_SINKS=place.url + options)

    assert first == {"present": len(LINES) - 200, "missing": 200, "written": 200}
    assert second == {"present": len(LINES), "missing": 0, "written": 0}
    assert held(place) == held(whole)


def test_an_empty_sink_gets_all(tmp_path: Path) -> None:
    """And again after its files were removed, although it remembers the batch."""
    place = FilePlace(tmp_path)

    first = counts(RECORDED, AUDIT_SINKS=place.url)
    for audit in tmp_path.glob("log/kube-audit-*/audit"):
        audit.unlink()

    assert first["written"] == counts(RECORDED, AUDIT_SINKS=place.url)["written"] == len(LINES)
    assert held(place).total() == len(LINES)


def test_a_line_that_the_recording_has_twice_is_written_once(tmp_path: Path) -> None:
    """So that completeness finds no duplicate."""
    source = tmp_path / "audit.log"
    source.write_bytes(LINES[0] * 2)

    assert counts(source, AUDIT_SINKS=FilePlace(tmp_path).url)["written"] == 1


def test_each_sink_gets_what_it_lacks(tmp_path: Path) -> None:
    """Of several sinks in the settings."""
    full, empty = FilePlace(tmp_path / "full"), FilePlace(tmp_path / "empty")
    split(RECORDED, AUDIT_SINKS=full.url)

    result = split("--only-missing", "--output", "json", RECORDED, AUDIT_SINKS=f"{full.url} {empty.url}")
    written = [of_sink["written"] for of_sink in json.loads(result.stdout)["sinks"].values()]

    assert written == [0, len(LINES)]
    assert held(empty) == held(full)


def test_events_out_of_the_window_are_left_out(tmp_path: Path) -> None:
    """Also those that the webhook may still deliver, those without a time, and what is malformed."""
    source, place = tmp_path / "audit.log", FilePlace(tmp_path)
    times = ("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z", "9000-01-01T00:00:00Z")
    texts = [line("alice", stageTimestamp=time) for time in times]
    untimed = {"requestReceivedTimestamp": None, "stageTimestamp": None}
    source.write_bytes(b"\n".join([*texts, line("alice", **untimed), b"{}"]))
    window = ("--since", "2026-11-23T11:00:00Z", "--until", "2026-11-23T12:00:00Z")

    result = split("--only-missing", *window, source, AUDIT_SINKS=place.url)

    assert result.exit_code == 1
    assert "0 events were there, 1 were missing, 1 written, 4 are not from 2026-11-23T11:00:00Z" in result.stderr
    assert "1 items are not events" in result.stderr
    assert held(place) == Counter([texts[1] + b"\n"])
    assert counts_of_young(place, source) == 2


def counts_of_young(place: FilePlace, source: Path) -> int:
    """Return how many events are written without a window: not the event of the year 9000."""
    result = split("--only-missing", "--output", "json", source, AUDIT_SINKS=place.url)
    [of_sink] = json.loads(result.stdout)["sinks"].values()
    written: int = of_sink["written"]
    return written


def test_a_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    """And the events before its damage are written."""
    source = tmp_path / "audit.log.zst"
    source.write_bytes(b"(\xb5/\xfdno zstd")

    result = split("--only-missing", source, AUDIT_SINKS=FilePlace(tmp_path).url)

    assert result.exit_code == 1
    assert "Run the backfill again" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only-missing"], "cannot be read back"),
        (["--since", "2h"], "require --only-missing"),
        (["--only-missing", "--cluster", "a/b"], "--cluster"),
    ],
)
def test_misuse_is_refused(arguments: list[Any], message: str) -> None:
    """With exit code 2."""
    result = split(*arguments, RECORDED, AUDIT_SINKS="stdout:")

    assert result.exit_code == 2
    assert message in result.stderr
