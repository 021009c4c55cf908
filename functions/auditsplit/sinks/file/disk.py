"""Complete reads, complete writes and syncs. The system calls alone may read or write less than asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def write(file: int, chunks: Sequence[bytes], offset: int) -> None:
    """Write all of ``chunks``, one after the other, from ``offset`` on."""
    for first in range(0, len(chunks), _IOV_MAX):
        some: list[bytes | memoryview] = list(chunks[first : first + _IOV_MAX])
        while some:
            written = os.pwritev(file, some, offset)
            offset += written
            while some and written >= len(some[0]):
                written -= len(some.pop(0))
            if written:
                some[0] = memoryview(some[0])[written:]


def read(file: int, length: int, offset: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or fewer where the file ends before."""
    parts = []
    while length and (part := os.pread(file, length, offset)):
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def sync(file: int, *, really: bool) -> None:
    """Sync an open file's data to the disk, if ``really``."""
    if really:
        _sync_data(file)


def sync_folder(folder: Path, *, really: bool) -> None:
    """Sync a folder's entries to the disk, if ``really``."""
    if really:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def make_folder(folder: Path, *, really: bool) -> None:
    """Make the folder and the missing folders above it, private to this user. With ``really``, sync their entries."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent, really=really)


def replace(path: Path, data: bytes, new: Path, *, really: bool) -> None:
    """Replace ``path`` by a file of ``data``, whole or not at all, private to this user.

    ``new`` is the file's name until it is complete. No file of that name is left, also after an error.
    """
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write(file, [data], 0)
            sync(file, really=really)
        finally:
            os.close(file)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent, really=really)
