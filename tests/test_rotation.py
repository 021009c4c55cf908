"""Rotation: the log backend's knobs, with their meaning."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.file_logs import audit_ids, ids_of, make_batch, make_sink
from support.requests import write

from auditsplit.sinks.file.rotation import Rotation, backups

NOW = datetime(2026, 11, 23, 11, 29, 49, 380_000, UTC)


def opened(folder: Path) -> int:
    """Return the open folder, which stays open until the process ends."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


@pytest.mark.parametrize(
    ("name", "rotated"),
    [
        ("audit", "audit~2026-11-23T11-29-49.380"),
        ("audit.log", "audit~2026-11-23T11-29-49.380.log"),
        ("audit-ns.2026112311.log.gz", "audit-ns.2026112311~2026-11-23T11-29-49.380.log.gz"),
    ],
)
def test_rotated_names_carry_the_time(tmp_path: Path, name: str, rotated: str) -> None:
    """The time of the rotation in UTC stands before the extension, as with the log backend."""
    (tmp_path / name).write_text("x")

    Rotation().rotate(opened(tmp_path), name, NOW)

    assert [path.name for path in tmp_path.iterdir()] == [rotated]
    assert [at for at, _ in backups(opened(tmp_path), name)] == [NOW]


def test_two_rotations_in_one_moment_keep_both(tmp_path: Path) -> None:
    """A clock that stands still, or goes back, overwrites no rotated file."""
    for text in ("first", "second", "third"):
        (tmp_path / "audit").write_text(text)
        Rotation().rotate(opened(tmp_path), "audit", NOW)

    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_max_backups_keeps_the_newest(tmp_path: Path) -> None:
    """--audit-log-maxbackup is how many rotated files stay; another file's are not counted."""
    (tmp_path / "audit2~2026-11-23T11-29-49.380").write_text("another's")
    for day in range(5):
        (tmp_path / "audit").write_text(str(day))
        Rotation(max_backups=2).rotate(opened(tmp_path), "audit", NOW + timedelta(days=day))

    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["3", "4", "another's"]


def test_max_age_removes_the_old(tmp_path: Path) -> None:
    """--audit-log-maxage is how many days a rotated file stays."""
    for day in range(5):
        (tmp_path / "audit").write_text(str(day))
        Rotation(max_age_days=2).rotate(opened(tmp_path), "audit", NOW + timedelta(days=day))

    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["2", "3", "4"]


def test_without_bounds_everything_stays(tmp_path: Path) -> None:
    """0 means all and for ever, as with the log backend."""
    for day in range(5):
        (tmp_path / "audit").write_text(str(day))
        Rotation().rotate(opened(tmp_path), "audit", NOW + timedelta(days=365 * day))

    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_is_rotated_before_it_grows_over_its_size(tmp_path: Path) -> None:
    """--audit-log-maxsize in megabytes holds for every file, no event is lost, no batch is torn between two files."""
    sink = make_sink(tmp_path, rotation=Rotation(max_size_mb=1))
    made = [make_batch(number, ("alice", "bob"), size=300_000) for number in range(10)]

    for batch in made:
        write(sink, batch)

    files = [path for path in tmp_path.glob("kube-audit-*/*") if path.is_file()]
    assert len(files) == 8
    assert max(path.stat().st_size for path in files) <= 1024 * 1024
    assert audit_ids(tmp_path) == ids_of(*made)


def test_a_batch_over_the_size_has_a_file_of_its_own(tmp_path: Path) -> None:
    """What is larger than maxsize is stored all the same."""
    sink = make_sink(tmp_path, rotation=Rotation(max_size_mb=1))
    made = [make_batch(number, ("alice",), size=1_500_000) for number in range(2)]

    for batch in made:
        write(sink, batch)

    assert len(list((tmp_path / "kube-audit-alice").iterdir())) == 2
    assert audit_ids(tmp_path) == ids_of(*made)


def test_a_rotated_file_is_nobodys_live_file() -> None:
    """No user's encoded name, shortened or not, makes the name of another's rotated file."""
    from auditsplit.routing import names  # noqa: PLC0415 - beside the one test that wants it

    rotated = "bob~2026-11-23T11-29-49.380"

    assert names.encode(rotated) != rotated
    assert "T" not in names.encode("bob" + "x" * 300 + "T11-29").partition("~")[2]
