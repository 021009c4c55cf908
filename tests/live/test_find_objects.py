"""``find`` and the backfill over object stores, on real servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from support.eventlists import event, eventlist
from support.object_places import ObjectPlace, azure_place, gcs_place, s3_place
from support.requests import write

from auditsplit.cli import main
from auditsplit.decode import batch as batches

OBJECTS = {"az": azure_place, "gs": gcs_place, "s3": s3_place}
HOURS = ("22", "23")


@pytest.fixture(params=OBJECTS)
def place(request: pytest.FixtureRequest) -> ObjectPlace:
    """Return a fresh place in each object store."""
    return OBJECTS[request.param](request)


def events() -> list[bytes]:
    """Return the events of two users in two hours."""
    times = [f"2026-01-31T{hour}:30:00Z" for hour in HOURS]
    return [event(user, auditID=f"{user} {at}", stageTimestamp=at) for user in ("alice", "bob") for at in times]


def run(*arguments: object, **environ: str) -> dict[str, Any]:
    """Return the JSON document that the command prints."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--output", "json"], env=environ)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_events_are_found_where_they_are_stored(place: ObjectPlace) -> None:
    """By user and hour. Each object's key is shown."""
    write(place.sink(), batches.read(eventlist(events()), "default"))

    found = run("find", "--user", "alice", "--since", "2026-01-31T23:00:00Z", place.url)["events"]

    assert [each["auditID"] for each in found] == ["alice 2026-01-31T23:30:00Z"]
    assert "user=alice/dt=2026-01-31/hour=23" in found[0]["place"]
    assert run("find", AUDIT_SINKS=place.url)["found"] == len(events())


def test_a_backfill_writes_what_is_missing(place: ObjectPlace, tmp_path: Any) -> None:
    """And nothing when it is run again."""
    log = tmp_path / "list.json"
    log.write_bytes(eventlist(events()))
    write(place.sink(), batches.read(eventlist(events()[:3]), "default"))

    runs = [run("split", "--only-missing", log, AUDIT_SINKS=place.url)["sinks"] for _ in range(2)]

    assert [(each["present"], each["written"]) for of_run in runs for each in of_run.values()] == [(3, 1), (4, 0)]
    assert run("find", place.url)["found"] == len(events())


def test_a_store_that_is_away_is_named(place: ObjectPlace) -> None:
    """With exit code 1."""
    result = CliRunner().invoke(main, ["find", place.dead_url])

    assert result.exit_code == 1
    assert "Other places were not searched" in result.stderr
