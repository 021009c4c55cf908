"""The file sink: a batch is appended whole or not at all, over all of its files, and once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from auditsplit.deadline import Deadline
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import Sink, Written, lines
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.file import disk
from auditsplit.sinks.file.clusters import Clusters
from auditsplit.sinks.file.ends import LINE_FEED, Ends, compress
from auditsplit.sinks.file.journal import Journal
from auditsplit.sinks.file.options import DEFAULT_KEY, Options, mistakes
from auditsplit.sinks.file.record import Piece
from auditsplit.sinks.file.replay import Replay
from auditsplit.sinks.file.rotation import Rotation
from auditsplit.sinks.file.tree import Tree
from auditsplit.sinks.lock import TIMEOUT_S, SinkLock
from auditsplit.sinks.options import Target

__all__ = ["DEFAULT_KEY", "FileSink", "Options", "build", "mistakes"]

OWN_FOLDER = ".auditsplit"
_JOURNAL_BYTES = 32 * 1024 * 1024  # then the files are synced and the journal begins anew
_log = logging.getLogger(__name__)


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink for a ``file:`` URL; ``file:var/log`` is relative to the process's folder."""
    chosen = target.options
    rotation = Rotation(chosen.maxsize, chosen.maxbackup, chosen.maxage)
    return FileSink(Path(target.path), chosen.key, chosen.format, rotation, sync=chosen.fsync)


class FileSink:
    """Appends lines to the files below ``root``. It makes folders (0700) and files (0600) when they are needed."""

    required = True

    def __init__(
        self,
        root: Path,
        template: KeyTemplate,
        line_format: lines.Format = "log",
        rotation: Rotation | None = None,
        *,
        sync: bool = True,
    ) -> None:
        """Name the sink. The first use touches the disk. Without ``sync`` a power cut may lose batches."""
        self.name = f"file:{root}"
        self.root = root
        self._tree = Tree()
        packed = template.text.endswith(".gz")  # not the key: a user may have the name bob.gz
        self._ends = Ends(self.name, self._tree, packed=packed)
        self._template, self._format = template, line_format
        self._rotation, self._sync = rotation or Rotation(), sync
        self._shape = hashlib.sha256(f"{template.text} {template.user} {line_format}".encode()).digest()
        self._clusters = Clusters(root / OWN_FOLDER / "clusters", sync=sync)
        self._lock = SinkLock(root / OWN_FOLDER / "lock")
        replay = Replay(self._tree, self._ends).finish
        self._journal = Journal(root / OWN_FOLDER / "journal", sync=sync, replay=replay, sync_all=self._sync_all)
        self._made: set[str] = set()

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`."""
        groups = self._template.group(batch.events, batch.origin)
        chunks = {key: self._render(lines.render(events, self._format)) for key, events in groups.items()}
        known_as = self._known_as(batch.id)
        with self._held(deadline, chunks) as own:
            if known_as in self._journal.seen:
                return Written(new=False, size_bytes=0)
            if chunks:
                self._clusters.note(batch.origin.cluster, own)
                self._append(known_as, chunks)
            return Written(new=True, size_bytes=sum(map(len, chunks.values())))

    def remembers(self, batch_id: str, deadline: Deadline) -> bool:
        """See `auditsplit.sinks.Remembers`."""
        with self._held(deadline):
            return self._known_as(batch_id) in self._journal.seen

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`."""
        place = f"_rejected/{cluster}/{digest}"
        folders = (f"_rejected/{cluster}", "_rejected", "")
        with self._held(deadline) as own:
            if self._tree.status(place) is None:
                folder = self._tree.folder(folders[0], make=True)
                disk.replace(digest, body, "rejected.new", folder, own, really=self._sync)
                for name in folders:
                    disk.sync_folder(self._tree.folder(name), really=self._sync)
        return place

    def recover(self) -> None:
        """See `Sink.recover`; does not make the folder."""
        if self._rotation.max_backups:
            _log.warning(
                "%s: maxbackup=%d removes the oldest rotated files of a key, also of a user who fills them on purpose. "
                "Keep all with maxbackup=0, or bound them by time with maxage",
                self.name,
                self._rotation.max_backups,
            )
        if self._journal.path.exists():
            with self._held(Deadline.after(TIMEOUT_S)):
                pass

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`; writes and syncs a byte beside the journal, and finishes what a killed process left."""
        with self._held(deadline) as own:
            disk.replace("probe", b"\n", "probe.new", own, own, really=self._sync)

    def mixed_with(self, cluster: str) -> list[str]:
        """Return the other clusters whose events are in the files that those of ``cluster`` go to."""
        return [] if self._template.has_cluster else sorted(self._clusters.read() - {cluster})

    def _known_as(self, batch_id: str) -> bytes:
        return hashlib.sha256(self._shape + bytes.fromhex(batch_id)).digest()

    def _render(self, text: bytes) -> bytes:
        return compress(text) if self._ends.packed else text

    def _append(self, known_as: bytes, chunks: dict[str, bytes]) -> None:
        statuses, torn = self._ends.examine(chunks, self._journal.touched or {})
        self._rotate(chunks, statuses, torn)
        chunks |= {key: LINE_FEED + chunks[key] for key in torn if statuses[key]}
        created = self._created(statuses)
        try:
            pieces = [self._piece(key, statuses[key], len(chunk)) for key, chunk in chunks.items()]
            self._journal.append(known_as, pieces, list(chunks.values()))
        except OSError:
            self._tree.remove(created)
            raise
        try:
            self._write_pieces(pieces, chunks)
        except OSError:
            self._take_back(known_as, pieces, created)
            raise
        self._journal.mark_done()
        if torn:
            self._ends.warn(len(torn))
        if self._journal.size > _JOURNAL_BYTES:
            self._sync_all()

    def _created(self, statuses: Mapping[str, os.stat_result | None]) -> list[str]:
        """Return the keys whose files this batch creates, or has created empty."""
        made = [key for key in self._made if (status := statuses[key]) and not status.st_size]
        return made + [key for key, status in statuses.items() if status is None]

    def _write_pieces(self, pieces: Iterable[Piece], chunks: Mapping[str, bytes]) -> None:
        for piece, chunk in zip(pieces, chunks.values(), strict=True):
            self._tree.write(piece.path, chunk, piece.offset)

    def _piece(self, key: str, status: os.stat_result | None, length: int) -> Piece:
        """Return the place of the next ``length`` bytes of a file, which is created where it has no status."""
        status = status or self._tree.create(key)
        return Piece(key, status.st_ino, status.st_size, length)

    def _take_back(self, known_as: bytes, pieces: Sequence[Piece], created: Iterable[str]) -> None:
        """Remove a batch that the disk had no room for from its files and from the journal."""
        for piece in pieces:
            self._tree.truncate(piece.path, piece.offset)
        self._tree.remove(created)
        self._journal.withdraw(known_as)

    def _rotate(
        self, chunks: dict[str, bytes], statuses: dict[str, os.stat_result | None], torn: Collection[str]
    ) -> None:
        """Rotate the files that would grow too big, or are compressed and torn.

        The journal names no file across its rotation.
        """
        due: dict[str, int] = {}
        for key, status in statuses.items():
            if status and (
                (self._ends.packed and key in torn)
                or self._rotation.due(status.st_size, len(chunks[key]) + (key in torn))
            ):
                due[key] = status.st_size
        if not self._ends.packed:
            for key in due.keys() & torn:
                self._tree.write(key, LINE_FEED, due[key])
        if due:
            self._sync_all()
        for key in due:
            folder, _, name = key.rpartition("/")
            self._rotation.rotate(self._tree.folder(folder), name)
            statuses[key] = None
        if due:
            self._tree.close()  # they are open under their old names

    def _sync_all(self) -> None:
        """Sync every file that the journal names, and begin the journal anew."""
        if self._sync:
            self._tree.sync(self._journal.touched)
        self._journal.begin_anew()

    @contextlib.contextmanager
    def _held(self, deadline: Deadline, keys: Collection[str] = ()) -> Iterator[int]:
        """Hold the sink's lock, with the journal read to its end and what other processes left finished.

        Before that, make the folders of ``keys``, as `Tree.prepare` does. Give the open folder `OWN_FOLDER`.
        """
        try:
            with disk.closing(self._open_root()) as root:
                made = self._tree.prepare(root, keys)
                with (
                    disk.closing(_open_own(root)) as own,
                    self._lock.hold(deadline.within(TIMEOUT_S), beside=root),
                    self._tree.inside(root),
                ):
                    self._expect_current(root, own)
                    self._made = made
                    self._journal.catch_up(own)
                    yield own
        except TimeoutError as error:
            raise SinkFailure(Failure.SLOW, f"{self.name}: {error.strerror or error}") from error
        except OSError as error:
            raise SinkFailure(Failure.DISK, f"{self.name}: {error.strerror or error}") from error

    def _open_root(self) -> int:
        try:
            return disk.open_root(self.root)
        except FileNotFoundError:
            disk.make_root(self.root, really=self._sync)
            return disk.open_root(self.root)

    def _expect_current(self, root: int, own: int) -> None:
        """Raise ``OSError`` if somebody removed or replaced the folders while this thread waited for the lock."""
        now = self.root.stat(), os.stat(OWN_FOLDER, dir_fd=root, follow_symlinks=False)
        if not all(map(os.path.samestat, now, (os.fstat(root), os.fstat(own)))):
            raise OSError(errno.ESTALE, "its folder was removed or replaced meanwhile. The next try finds the new one")


def _open_own(root: int) -> int:
    try:
        return disk.open_folder(OWN_FOLDER, root)
    except FileNotFoundError:
        disk.make_folder(OWN_FOLDER, root)
        return disk.open_folder(OWN_FOLDER, root)
