"""The file sink's journal: it makes a batch durable with one sync, whole over all of its files, and written once.

A batch is first written to the journal, whole, with the place of each of its pieces (a redo log). Once the journal is
synced the batch is durable, and the files need no sync of their own until the journal begins anew. The next writer that
holds the sink's lock finds a record that its writer did not finish, and finishes it. The journal also remembers the
batches of the last minutes, so a batch that is sent again is not stored again.

Its file has records, see `record`. The first one has no data: it has the machine's boot and the remembered batches.
Within one boot, the system's cache has all that a killed process wrote, so only an unfinished record is replayed. After
another boot, all records since the last sync are replayed.

Every record is checked by its CRC when it is read. What is damaged is set aside in a file of its own, and reading goes
on at the next whole record. A journal that was damaged or removed doesn't say which files it named, so then the whole
file system is synced.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from auditsplit.sinks.file import disk, record
from auditsplit.sinks.file.record import Found, Piece, Record

REMEMBERED_S = 15 * 60
"""How long a batch is remembered. kube-apiserver gives a batch up after some 250 s at the latest."""

MAX_REMEMBERED = 200_000
"""The most batches that are remembered, the newest ones (some 40 MB of memory)."""

_log = logging.getLogger(__name__)
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """The journal file ``path``. Every method requires the sink's lock, and may raise ``OSError``."""

    def __init__(
        self, path: Path, *, sync: bool, replay: Callable[[Record, bytes], None], sync_all: Callable[[], None]
    ) -> None:
        """Name the file.

        Args:
            path: the file.
            sync: whether records are synced to the disk.
            replay: writes a record's data to its places.
            sync_all: syncs all `touched` files, and calls `begin_anew`.
        """
        self.path = path
        self.seen: dict[bytes, float] = {}
        self.touched: dict[str, int] | None = {}
        """The files that must be synced before the journal begins anew, each with its size after its last record.

        None where they are not known.
        """
        self.size = 0
        self._sync, self._replay, self._sync_all = sync, replay, sync_all
        self._folder = -1
        self._file: int | None = None
        self._inode = 0
        self._last = 0
        self._pending, self._rebooted = b"", False

    def __del__(self) -> None:
        """Close the file, which the sink holds open between batches."""
        self._close()

    def catch_up(self, folder: int) -> None:
        """Read the records that other processes wrote, and finish a record that its writer could not.

        ``folder`` is the open folder of the journal, for this call and those that follow while the lock is held.
        """
        self._folder = folder
        inode = self._current_inode()
        if self._file is None or self._pending or inode != self._inode:
            self._drain()
            if inode is None:
                self.touched = None
                self._sync_all()
            else:
                self._open()
        end = disk.size(self._descriptor())
        while self.size < end:
            if found := record.read(self._descriptor(), self.size, end):
                self._accept(found)
            else:
                end = self._drop(end)
        if self._rebooted or self.touched is None or not self.size:
            self._sync_all()

    def _accept(self, found: Found) -> None:
        """Take over the record at `size`, which is done or must be replayed."""
        if not self.size:
            self._rebooted = not found.record.boot or found.record.boot != _boot_id()
        self._last = self.size
        if found.record.pieces and (self._rebooted or not found.done):
            self._replay(found.record, found.data)
            self.mark_done()
        self._remember(found.record)
        self.size += found.size

    def _drop(self, end: int) -> int:
        """Pass over what is not a record, from `size` to the next record or to the ``end``. Return the file's new end.

        What a killed writer left incomplete is cut off. Anything else is damaged, and is set aside in a file.
        """
        file, start = self._descriptor(), self.size
        rest = disk.read(file, end - start, start)
        length = next((at for at in record.candidates(rest) if record.read(file, start + at, end)), len(rest))
        self.touched = None
        if length == len(rest) and record.is_torn(rest):
            _log.warning(
                "journal %s: %d bytes of an incomplete batch are dropped. Its sender was not answered, and retries",
                self.path,
                length,
            )
            os.ftruncate(file, start)
            return start
        aside = f"damaged-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}-{start}"
        disk.replace(aside, rest[:length], aside + ".new", self._folder, self._folder, really=self._sync)
        _log.error(
            "journal %s: %d bytes from byte %d on are damaged. They are set aside in %s. A batch in them is lost if "
            "the machine stopped before its files were synced; every other batch is whole. Check the disk",
            self.path,
            length,
            start,
            self.path.with_name(aside),
        )
        self._rebooted = self._rebooted or not start  # the first record would have said which boot this is
        self.size += length
        return end

    def append(self, batch: bytes, pieces: list[Piece], chunks: Sequence[bytes]) -> None:
        """Write a batch to the journal, durably. After an ``OSError`` the journal does not have it."""
        file = self._descriptor()
        entry = Record(batch, time.time(), pieces)
        try:
            size = record.write(file, self.size, entry, chunks)
            disk.sync(file, really=self._sync)
        except OSError:
            os.ftruncate(file, self.size)
            raise
        self._pending = batch
        self._last = self.size
        self.size += size
        self._remember(entry)

    def mark_done(self) -> None:
        """Mark the last record: its data is in its places."""
        record.mark_done(self._descriptor(), self._last)
        self._pending = b""

    def withdraw(self, batch: bytes) -> None:
        """Remove the last record, of ``batch``. Its data was removed from its places before."""
        os.ftruncate(self._descriptor(), self._last)
        self._pending = b""
        self.size = self._last
        self.seen.pop(batch, None)

    def begin_anew(self) -> None:
        """Replace the file by one that has only the remembered batches. All `touched` files must be synced before."""
        recent = self._recent()
        new = self.path.name + ".new"
        file = os.open(new, _OPEN | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._folder)
        try:
            size = record.write(file, 0, Record(boot=_boot_id(), seen=recent), (), done=True)
            disk.sync(file, really=self._sync)
            os.replace(new, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            disk.sync_folder(self._folder, really=self._sync)
        except OSError:
            os.close(file)
            raise
        self._close()
        self._file, self._inode = file, os.fstat(file).st_ino
        self.seen, self.touched = recent, {}
        self.size, self._last = size, 0
        self._pending, self._rebooted = b"", False

    def _recent(self) -> dict[bytes, float]:
        """Return the newest of the remembered batches."""
        oldest = time.time() - REMEMBERED_S
        recent = {batch: at for batch, at in self.seen.items() if at >= oldest}
        for batch in list(recent)[: max(0, len(recent) - MAX_REMEMBERED)]:
            del recent[batch]
        return recent

    def _current_inode(self) -> int | None:
        try:
            return os.stat(self.path.name, dir_fd=self._folder, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return None

    def _drain(self) -> None:
        """Remember the batches at the end of the open file, which another process has replaced, or somebody removed.

        Nothing is replayed: its places may have been written since.
        """
        self.seen.pop(self._pending, None)
        if self._file is None or self._pending:
            return
        end = disk.size(self._file)
        while (found := record.read(self._descriptor(), self.size, end)) and found.done:
            self._remember(found.record)
            self.size += found.size

    def _open(self) -> None:
        self._close()
        self._file = os.open(self.path.name, _OPEN, dir_fd=self._folder)
        self._inode = os.fstat(self._file).st_ino
        self.seen, self.touched = self._recent(), {}
        self.size = self._last = 0
        self._pending, self._rebooted = b"", False

    def _descriptor(self) -> int:
        if self._file is None:
            raise RuntimeError("the journal is not open; catch_up comes first")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _remember(self, entry: Record) -> None:
        self.seen.update(entry.seen)
        if entry.batch:
            self.seen[entry.batch] = entry.at
        if self.touched is not None:
            self.touched.update((piece.path, piece.offset + piece.length) for piece in entry.pieces)


def _boot_id() -> str:
    """Return the id of the machine's boot, or an empty text where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
