"""The files of a log: the one that kube-apiserver writes, and those that it became by rotation.

A file is known by the hash of its first line, which holds an audit id and times. So a file stays the same when it is
renamed, compressed or copied, and a new file in its place is another one.

Rotated files of ``audit.log`` are those of lumberjack, which kube-apiserver uses
(``audit-2026-11-26T10-00-00.000.log``), and those of logrotate and of the kubelet (``audit.log.1``,
``0.log.20261126-100000``), each also with ``.gz``.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from blake3 import blake3
from isal import igzip

_BLOCK_BYTES = 64 * 1024
ZIPPED = ".gz"


class LogFile(NamedTuple):
    """A file on the disk. ``id`` is None while its first line is not complete."""

    path: Path
    id: str | None
    size: int
    """In bytes, as on the disk."""
    changed: float
    """When it was written last, in seconds since 1970."""
    inode: int
    active: bool
    """Whether kube-apiserver writes to it. A rotated file does not change again."""

    @property
    def zipped(self) -> bool:
        """Whether it is compressed with gzip."""
        return self.path.suffix == ZIPPED


class Files:
    """Finds the files of logs. It remembers the hashes of files that did not change."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Keep the ``patterns``: paths of logs, in which ``*`` stands for any part of a name."""
        self.patterns = tuple(patterns)
        self._ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]] = {}

    def folders(self) -> set[Path]:
        """Return the folders of all logs that exist now."""
        return {path.parent for pattern in self.patterns for path in _active(pattern) if path.parent.is_dir()}

    def find(self) -> list[LogFile]:
        """Return the files, oldest first, each log's active file last. A file with two names is returned once."""
        found: dict[tuple[int, int], LogFile] = {}
        ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]] = {}
        for pattern in self.patterns:
            for path in _active(pattern):
                rotated = [keyed for each in _rotated(path) if (keyed := self._file(each, ids, active=False))]
                rotated.sort(key=lambda keyed: (keyed[1].changed, keyed[1].path))
                active = self._file(path, ids, active=True)
                found |= dict(rotated)
                if active:
                    found.setdefault(*active)
        self._ids = ids
        return list(found.values())

    def _file(
        self, path: Path, ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]], *, active: bool
    ) -> tuple[tuple[int, int], LogFile] | None:
        """Return the file at ``path`` by its device and inode. None if it is gone, or not a regular file."""
        try:
            with path.open("rb") as opened:
                status = os.fstat(opened.fileno())
                key, state = (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)
                known = self._ids.get(key)
                found = known[1] if known and known[0] == state else identify(text_of(opened, path).read)
        except (OSError, EOFError):
            return None
        ids[key] = state, found
        return key, LogFile(path, found, status.st_size, status.st_mtime, status.st_ino, active)


def identify(read: Callable[[int], bytes]) -> str | None:
    """Return the hash of a file's first line, in 32 hex digits. None if that line has no end yet.

    The whole line counts. A client chooses the audit id and the URI, so it could make the beginnings of two lines
    equal, but not their times.

    Args:
        read: Returns the next bytes of the file, as many as it is asked for at most.
    """
    digest = blake3()
    while block := read(_BLOCK_BYTES):
        end = block.find(b"\n")
        if end >= 0:
            return digest.update(block[: end + 1]).hexdigest(length=16)
        digest.update(block)
    return None


def text_of(raw: BinaryIO, path: Path) -> BinaryIO:
    """Return the text of the open file ``raw``, decompressed if its name says that it is compressed."""
    if path.suffix != ZIPPED:
        return raw
    return cast("BinaryIO", igzip.GzipFile(fileobj=raw))  # type: ignore[no-untyped-call]


def _active(pattern: str) -> Iterator[Path]:
    """Yield the paths of logs. A path without a pattern is one also while no file is there."""
    if not glob.has_magic(pattern):
        yield Path(pattern)
        return
    yield from (Path(path) for path in sorted(glob.glob(pattern)))  # noqa: PTH207 - the pattern may be absolute


def _rotated(path: Path) -> Iterator[Path]:
    """Yield the rotated files of the log at ``path``. A compressed file counts once its original is gone."""
    stem, suffix = glob.escape(path.stem), glob.escape(path.suffix)
    names = {
        *path.parent.glob(f"{stem}-*{suffix}"),
        *path.parent.glob(f"{stem}-*{suffix}{ZIPPED}"),
        *path.parent.glob(f"{glob.escape(path.name)}.*"),
    }
    for name in sorted(names):
        if name.suffix != ZIPPED or name.with_suffix("") not in names:
            yield name
