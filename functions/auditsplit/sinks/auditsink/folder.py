"""AuditSinks in files: one file, or the files of a folder, read again when they change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

from auditsplit.sinks.auditsink import manifest
from auditsplit.sinks.auditsink.manifest import AuditSink

_SUFFIXES = (".json", ".yaml", ".yml")
_log = getLogger(__name__)


class _File(NamedTuple):
    signature: tuple[int, int, int]
    sinks: tuple[AuditSink, ...]


class Folder:
    """The AuditSinks below a path. A file that is malformed keeps the sinks of its last good version."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._files: dict[Path, _File] = {}

    def mistakes(self) -> Iterator[str]:
        """Yield every problem of every file now, on a line each."""
        files = self._paths()
        if not self._path.exists():
            yield f"{self._path}: there is no such file or folder. Make a folder for files of AuditSinks"
        sinks: list[tuple[Path, AuditSink]] = []
        for path in files:
            try:
                read = manifest.read(path.read_bytes())
            except OSError as error:
                yield f"{path}: {error.strerror}"
                continue
            yield from _problems(path, read)
            sinks += [(path, sink) for sink in read.sinks]
        yield from _twice(sinks)

    def read(self, _: Mapping[str, str]) -> Mapping[str, AuditSink]:
        """See `Source.read`. Only files that changed are read. Problems are logged once."""
        paths = self._paths()
        before, self._files = self._files, {}
        for path in paths:
            kept = before.get(path)
            try:
                self._files[path] = self._changed(path, kept)
            except OSError as error:  # it was replaced in this moment, or nobody may read it
                _log.error("%s: %s. Its AuditSinks stay as they were", path, error.strerror)
                if kept:
                    self._files[path] = kept
        if before and before != self._files:
            for mistake in _twice((path, sink) for path, file in self._files.items() for sink in file.sinks):
                _log.error("%s", mistake)
        found: dict[str, AuditSink] = {}
        for file in self._files.values():
            for sink in file.sinks:
                found.setdefault(sink.name, sink)
        return found

    def _changed(self, path: Path, kept: _File | None) -> _File:
        """Return what is in a file now, or what it had before where it is malformed."""
        status = path.stat()
        signature = status.st_mtime_ns, status.st_size, status.st_ino
        if kept and kept.signature == signature:
            return kept
        read = manifest.read(path.read_bytes())
        for problem in _problems(path, read):
            _log.error("%s. The AuditSinks of this file stay as they were", problem)
        return _File(signature, (kept.sinks if kept else ()) if read.problems else read.sinks)

    def _paths(self) -> list[Path]:
        """Return the files in order of their names. A hidden file is that of an editor, or of a mounted ConfigMap."""
        if not self._path.is_dir():
            return [self._path] if self._path.exists() else []
        return sorted(
            path for path in self._path.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith(".")
        )


def _problems(path: Path, read: manifest.Read) -> Iterator[str]:
    yield from (problem.text(str(path)) for problem in read.problems)


def _twice(sinks: Iterable[tuple[Path, AuditSink]]) -> Iterator[str]:
    first: dict[str, Path] = {}
    for path, sink in sinks:
        if sink.name in first:
            yield f"{path}: metadata.name: {first[sink.name]} has the AuditSink {sink.name} already. Rename one of them"
        first.setdefault(sink.name, path)
