"""Lines that no receiver takes, because a single one is too long: they are set aside in files of their own."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from auditsplit.atomic import atomic_write

FOLDER_SUFFIX = ".set-aside"


def set_aside(checkpoint: Path, line: bytes) -> Path:
    """Write ``line`` beside the ``checkpoint``, durably, under its hash. Return the file. Twice leaves one file."""
    folder = checkpoint.with_name(checkpoint.name + FOLDER_SUFFIX)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{blake3(line).hexdigest()}.json"
    atomic_write(path, line, mode=0o600, overwrite=True)
    return path
