"""The files of a log: the one that kube-apiserver writes, and those that it became by rotation.

A file is known by the hash of its first line, which holds an audit id and times. So a file stays the same when it is
renamed, compressed or copied, and a new file in its place is another one.

Rotated files of ``audit.log`` are those of lumberjack, which kube-apiserver uses
(``audit-2026-11-26T10-00-00.000.log``), and those of logrotate and of the kubelet (``audit.log.1``,
``0.log.20261126-100000``, ``audit.log-20261126``), each also with ``.gz``.
"""

from __future__ import annotations

import bisect
import glob
import gzip
import itertools
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from blake3 import blake3
from isal import igzip, isal_zlib

_BLOCK_BYTES = 64 * 1024
ZIPPED = ".gz"

BROKEN_GZIP: tuple[type[Exception], ...] = (gzip.BadGzipFile, cast("type[Exception]", isal_zlib.IsalError))
"""What reading a compressed file raises whose data is damaged."""

_NOT_READ = (".tmp", ".bz2", ".lz4", ".xz", ".zst")
"""Names that a rotated file has while the kubelet compresses it, or where a program compressed it otherwise."""

_log = logging.getLogger(__name__)


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
        self._problems: dict[Path, str] = {}
        self._told: dict[Path, str] = {}
        self.unreadable = False
        """Whether the last call of `find` met a file that could not be read. Then not all files are known."""

    @property
    def complete(self) -> bool:
        """Whether the last call of `find` found each log, and could read all files."""
        return not self._told

    def folders(self) -> set[Path]:
        """Return the folders of all logs that exist now."""
        paths = {real for pattern in self.patterns for path in _active(pattern) for real in _places(path)}
        return {path.parent for path in paths if path.parent.is_dir()}

    def find(self) -> list[LogFile]:
        """Return the files, oldest first, each log's active file last. A file with two names is returned once.

        A file that cannot be read is reported in the log, once.
        """
        self._problems, self.unreadable = {}, False
        found: dict[tuple[int, int], LogFile] = {}
        ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]] = {}
        names: dict[Path, list[str]] = {}
        for pattern in self.patterns:
            of_pattern = [keyed for path in _active(pattern) for keyed in self._of_log(path, ids, names)]
            for key, file in of_pattern:
                if key not in found or not file.active:
                    found[key] = file
            if not of_pattern:
                missing = "there is no such file yet. The shipper waits for it"
                self._problems.setdefault(Path(pattern), missing)
        self._ids = ids
        self._report()
        return list(found.values())

    def _of_log(
        self,
        path: Path,
        ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]],
        names: dict[Path, list[str]],
    ) -> list[tuple[tuple[int, int], LogFile]]:
        """Return the files of the log at ``path`` with their devices and inodes, the active one last."""
        for place in _places(path):
            if place.parent not in names:
                names[place.parent] = self._names(place.parent)
        others = {each for place in _places(path) for each in _rotated(place, names[place.parent])}
        rotated = [keyed for each in others if (keyed := self._file(each, ids, active=False))]
        rotated.sort(key=lambda keyed: (keyed[1].changed, keyed[1].path))
        active = self._file(path, ids, active=True)
        return [*rotated, active] if active else rotated

    def _report(self) -> None:
        """Log what cannot be read, unless the last call did."""
        for path, problem in self._problems.items():
            if self._told.get(path) != problem:
                _log.warning("%s: %s", path, problem)
        self._told = self._problems

    def _names(self, folder: Path) -> list[str]:
        """Return the names in ``folder``, sorted."""
        try:
            return sorted(each.name for each in folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self._problems[folder] = f"{error.strerror}. Rotated files in it are not found"
            self.unreadable = True
            return []

    def _file(
        self, path: Path, ids: dict[tuple[int, int], tuple[tuple[int, int], str | None]], *, active: bool
    ) -> tuple[tuple[int, int], LogFile] | None:
        """Return the file at ``path`` by its device and inode. None if it is gone, or cannot be read."""
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for its writer
                self._problems[path] = "this is not a regular file, and is left alone"
                return None
            known = self._ids.get(_key(status))
            if known and known[0] == _state(status):
                found = known[1]
            else:
                with path.open("rb") as opened:
                    status = os.fstat(opened.fileno())
                    found = identify(text_of(opened, path).read)
        except (FileNotFoundError, EOFError):
            return None
        except BROKEN_GZIP as error:
            self._problems[path] = f"the gzip data is broken ({error}). The file is left alone"
            return None
        except OSError as error:
            self._problems[path] = f"{error.strerror}. Its lines are not shipped until it can be read"
            self.unreadable = True
            return None
        ids[_key(status)] = _state(status), found
        return _key(status), LogFile(path, found, status.st_size, status.st_mtime, status.st_ino, active)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


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


def _places(path: Path) -> tuple[Path, ...]:
    """Return the paths beside which rotated files of the log at ``path`` may be. A link's target may have its own."""
    return (path, path.resolve()) if path.is_symlink() else (path,)


def _rotated(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield the rotated files of the log at ``path``. A compressed file counts once its original is gone.

    Args:
        path: The log.
        names: All names in its folder, sorted.
    """
    found = {*_beginning(names, f"{path.name}."), *_beginning(names, f"{path.name}-")}
    found |= {name for name in _beginning(names, f"{path.stem}-") if name.removesuffix(ZIPPED).endswith(path.suffix)}
    for name in sorted(found):
        if name.endswith(_NOT_READ):
            continue
        if not name.endswith(ZIPPED) or name.removesuffix(ZIPPED) not in found:
            yield path.with_name(name)


def _beginning(names: Sequence[str], prefix: str) -> Iterator[str]:
    """Yield those of the sorted ``names`` that begin with ``prefix``."""
    start = bisect.bisect_left(names, prefix)
    return itertools.takewhile(lambda name: name.startswith(prefix), itertools.islice(names, start, None))
