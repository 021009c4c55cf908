"""Atomic writes: a file is written as a whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from auditsplit.atomic import atomic_write


def names(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_new_file_has_the_given_mode(tmp_path: Path, umask: int) -> None:
    """The umask does not change it."""
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "file", b"text", mode=0o640, overwrite=False)
    finally:
        os.umask(before)

    assert (tmp_path / "file").read_bytes() == b"text"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["file"]


def test_a_replaced_file_gets_the_given_mode(tmp_path: Path) -> None:
    """A file that others could read becomes private."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)

    atomic_write(path, b"new", mode=0o600, overwrite=True)

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["file"]


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """Nor is a dangling link, and no temporary file is left."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("old")
    link.symlink_to("nowhere")

    for existing in (path, link):
        with pytest.raises(FileExistsError):
            atomic_write(existing, b"new", mode=0o600, overwrite=False)

    assert path.read_text() == "old"
    assert names(tmp_path) == ["file", "link"]


def test_only_one_of_many_writers_succeeds(tmp_path: Path) -> None:
    """Without overwriting, the others fail, and the file has one writer's whole text."""
    path, failed = tmp_path / "file", []

    def write(letter: bytes) -> None:
        try:
            atomic_write(path, letter * 10_000, mode=0o600, overwrite=False)
        except FileExistsError:
            failed.append(letter)

    threads = [threading.Thread(target=write, args=(bytes([number]),)) for number in b"abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(failed) == 7
    assert path.read_bytes() == path.read_bytes()[:1] * 10_000


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """For example on a full disk. No temporary file is left."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, b"new", mode=0o600, overwrite=True)

    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """No temporary file is left beside it."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "folder", b"new", mode=0o600, overwrite=True)

    assert names(tmp_path) == ["folder"]
