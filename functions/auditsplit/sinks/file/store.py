"""The file store: a batch is appended whole or not at all, over all of its files, and once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from isal import igzip

from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines
from auditsplit.sinks.file import disk
from auditsplit.sinks.file.journal import Journal, Piece, Record
from auditsplit.sinks.file.rotation import Rotation
from auditsplit.sinks.lock import StoreLock
from auditsplit.sinks.options import Target
from auditsplit.telemetry import observation

DEFAULT_KEY = "kube-audit-{user}/audit"

_OWN_FOLDER = ".auditsplit"
_JOURNAL_BYTES = 32 * 1024 * 1024  # then the files are synced and the journal begins anew
_log = logging.getLogger(__name__)


def from_target(target: Target) -> FileSink:
    """Return the store for a ``file:`` URL; ``file:var/log`` is relative to the process's folder."""
    if target.host or not target.path:
        target.mistakes.append(f"{target.url!r} names no folder; write file:///var/log, or file:var/log")
    rotation = Rotation(
        target.integer("maxsize", 100, least=1), target.integer("maxbackup", 0), target.integer("maxage", 0)
    )
    return FileSink(
        Path(target.path),
        target.key(DEFAULT_KEY),
        target.line_format(),
        rotation,
        sync=target.flag("fsync", default=True),
    )


class FileSink:
    """Appends lines to the files below ``root``; makes folders (0700) and files (0600) as they are needed."""

    def __init__(
        self,
        root: Path,
        template: KeyTemplate,
        line_format: str = "log",
        rotation: Rotation | None = None,
        *,
        sync: bool = True,
    ) -> None:
        """Name the store; nothing is touched before the first use. Without ``sync`` a power cut may lose batches."""
        self.name = f"file:{root}"
        self.root = root
        self._root = str(root)  # pathlib costs more than the system calls, for every file of every batch
        self._template, self._format = template, line_format
        self._rotation, self._sync = rotation or Rotation(), sync
        self._shape = hashlib.sha256(f"{template.text} {template.user} {line_format}".encode()).digest()
        self._lock = StoreLock(root / _OWN_FOLDER / "lock")
        self._journal = Journal(root / _OWN_FOLDER / "journal", sync=sync, replay=self._replay, sync_all=self._sync_all)
        self._remade: dict[tuple[str, int], int] = {}

    def write(self, batch: Batch) -> bool:
        """See `Sink.write`."""
        groups = self._template.group(batch.events, batch.origin)
        chunks = {key: self._render(key, lines.render(events, self._format)) for key, events in groups.items()}
        known_as = hashlib.sha256(self._shape + bytes.fromhex(batch.id)).digest()
        with self._own():
            if known_as in self._journal.seen:
                return False
            if chunks:
                self._append(known_as, chunks)
                observation.wrote(self.name, sum(map(len, chunks.values())))
            return True

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """See `Sink.reject`."""
        place = f"_rejected/{cluster}/{digest}"
        path = self.root / place
        with self._own():
            if not path.exists():
                disk.make_folder(path.parent, really=self._sync)
                disk.replace(path, body, self.root / _OWN_FOLDER / "rejected.new", really=self._sync)
        return place

    def recover(self) -> None:
        """See `Sink.recover`; does not make the folder."""
        if self._journal.path.exists():
            with self._own():
                pass

    def check(self) -> None:
        """See `Sink.check`; writes and syncs a byte beside the journal, and finishes what a killed process left."""
        with self._own():
            probe = self.root / _OWN_FOLDER / "probe"
            disk.replace(probe, b"\n", probe.with_suffix(".new"), really=self._sync)

    def _render(self, key: str, text: bytes) -> bytes:
        return igzip.compress(text, mtime=0) if key.endswith(".gz") else text

    def _append(self, known_as: bytes, chunks: dict[str, bytes]) -> None:
        stats = {key: self._stat(key) for key in chunks}
        self._rotate(chunks, stats)
        created: list[str] = []
        pieces: list[Piece] = []
        try:
            for key, chunk in chunks.items():
                found = stats[key]
                if found is None:
                    created.append(key)
                    found = self._create(key)
                pieces.append(Piece(key, found.st_ino, found.st_size, len(chunk)))
            self._journal.append(known_as, pieces, list(chunks.values()))
        except OSError:
            self._remove(created)
            raise
        try:
            for piece, chunk in zip(pieces, chunks.values(), strict=True):
                self._put(piece.path, chunk, piece.offset)
        except OSError:
            self._undo(pieces)
            self._remove(created)
            self._journal.withdraw(known_as)
            raise
        self._journal.mark_done()
        if self._journal.size > _JOURNAL_BYTES:
            self._sync_all()

    def _rotate(self, chunks: dict[str, bytes], stats: dict[str, os.stat_result | None]) -> None:
        """Rotate the files that would grow too big; the journal names no file across its rotation."""
        due = [key for key, found in stats.items() if found and self._rotation.due(found.st_size, len(chunks[key]))]
        if due:
            self._sync_all()
        for key in due:
            self._rotation.rotate(self.root / key)
            stats[key] = None

    def _sync_all(self) -> None:
        """Sync every file that the journal speaks of, and begin it anew."""
        folders: set[Path] = set()
        for key in self._journal.touched if self._sync else ():
            path = self.root / key
            with contextlib.suppress(FileNotFoundError):  # removed or renamed by somebody else
                with self._opened(key) as file:
                    disk.sync(file, really=True)
                folders.update(folder for folder in path.parents if folder.is_relative_to(self.root))
        for folder in folders:
            disk.sync_folder(folder, really=True)
        self._journal.begin_anew()

    def _replay(self, record: Record, data: bytes) -> None:
        """Write a record's data to its places, wherever it isn't there yet."""
        _log.warning("finishing a batch that a stopped process left: %d files", len(record.pieces))
        start = 0
        for piece in record.pieces:
            chunk = data[start : start + piece.length]
            start += piece.length
            found, offset = self._stat(piece.path), piece.offset
            if found is None:
                found, offset = self._create(piece.path), 0
                self._remade[piece.path, piece.inode] = found.st_ino
            if self._holds(piece.path, chunk, offset):
                continue
            same = found.st_ino == self._remade.get((piece.path, piece.inode), piece.inode)
            if not same or found.st_size < offset:
                offset = found.st_size  # somebody else renamed or emptied the file: rather twice than lost
            self._put(piece.path, chunk, offset)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _stat(self, key: str) -> os.stat_result | None:
        try:
            found = os.lstat(self._path(key))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ELOOP, f"{key} is no regular file; move it away")
        return found

    def _create(self, key: str) -> os.stat_result:
        path = self._path(key)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            disk.make_folder(Path(path).parent, really=False)  # synced with the file, before the journal begins anew
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return os.fstat(file)
        finally:
            os.close(file)

    def _put(self, key: str, chunk: bytes, offset: int) -> None:
        with self._opened(key) as file:
            disk.write(file, [chunk], offset)

    def _holds(self, key: str, chunk: bytes, offset: int) -> bool:
        with self._opened(key) as file:
            return disk.read(file, len(chunk), offset) == chunk

    def _undo(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            with self._opened(piece.path) as file:
                os.ftruncate(file, piece.offset)

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        file = os.open(self._path(key), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield file
        finally:
            os.close(file)

    def _remove(self, keys: list[str]) -> None:
        for key in keys:
            (self.root / key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _own(self) -> Iterator[None]:
        """Hold the store, with what others wrote known and what they left finished."""
        with self._errors():
            if not self._lock.path.exists():
                disk.make_folder(self._lock.path.parent, really=self._sync)
            with self._lock.hold():
                self._journal.catch_up()
                yield

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the disk's errors into the store's."""
        try:
            yield
        except OSError as error:
            raise SinkError(f"{self.name}: {error.strerror or error}") from error
