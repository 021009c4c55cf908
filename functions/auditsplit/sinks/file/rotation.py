"""Rotation, with the knobs of kube-apiserver's log backend and their meaning.

``--audit-log-maxsize`` (megabytes of a file before it is rotated), ``--audit-log-maxbackup`` (rotated files that are
kept; 0 keeps all), ``--audit-log-maxage`` (days for which a rotated file is kept; 0 is for ever). The name of a rotated
file has the time of its rotation, as with the log backend, after a ``~``. No key has a ``~`` there, so no rotated file
has the name of a live one.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from auditsplit.sinks.file import disk

_MEGABYTE = 1024 * 1024
_STAMP = "%Y-%m-%dT%H-%M-%S.%f"
_MILLISECONDS = -3


class Rotation(msgspec.Struct, frozen=True):
    """When a file is rotated, and which rotated files are kept."""

    max_size_mb: int = 100
    max_backups: int = 0
    max_age_days: int = 0

    def due(self, size: int, more: int) -> bool:
        """Return whether a file of ``size`` bytes is rotated before ``more`` bytes are appended."""
        return size > 0 and size + more > self.max_size_mb * _MEGABYTE

    def rotate(self, folder: int, name: str, now: datetime | None = None) -> None:
        """Give a file of the open folder a rotated name that no other file has, and `prune` its rotated files."""
        now = now or datetime.now(UTC)
        at, names = now, set(disk.names_in(folder))
        while (backup := _backup_name(name, at)) in names:
            at += timedelta(milliseconds=1)
        os.rename(name, backup, src_dir_fd=folder, dst_dir_fd=folder)
        self.prune(folder, name, now)

    def prune(self, folder: int, name: str, now: datetime) -> None:
        """Remove the rotated files of ``name`` beyond the newest ``max_backups``, or over ``max_age_days`` old."""
        newest_first = sorted(backups(folder, name), reverse=True)
        too_many = newest_first[self.max_backups :] if self.max_backups else []
        oldest = now - timedelta(days=self.max_age_days)
        too_old = [file for at, file in newest_first if at < oldest] if self.max_age_days else []
        for file in {*too_old, *(file for _, file in too_many)}:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file, dir_fd=folder)


def backups(folder: int, name: str) -> list[tuple[datetime, str]]:
    """Return the names of the rotated files of ``name`` in the open folder, with the times in their names."""
    stem, suffix = _split(name)
    rotated = re.compile(re.escape(stem) + r"~(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})" + re.escape(suffix))
    return [
        (datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC), entry)
        for entry in disk.names_in(folder)
        if (match := rotated.fullmatch(entry))
    ]


def _backup_name(name: str, at: datetime) -> str:
    stem, suffix = _split(name)
    return f"{stem}~{at.strftime(_STAMP)[:_MILLISECONDS]}{suffix}"


def _split(name: str) -> tuple[str, str]:
    """Return the name in two parts, between which the time goes; ``.log.gz`` stays together."""
    suffix = ".log.gz" if name.endswith(".log.gz") else Path(name).suffix
    return name.removesuffix(suffix), suffix
