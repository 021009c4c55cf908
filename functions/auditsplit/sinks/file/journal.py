"""The file sink's journal: it makes a batch durable with one sync, whole over all of its files, and written once.

A batch is first written to the journal, whole, with the place of each of its pieces (a redo log). Once the journal is
synced the batch is durable, and the files need no sync of their own until the journal begins anew. The next writer that
holds the sink's lock finds a record that its writer did not finish, and finishes it. The journal also remembers the
batches of the last minutes, so a batch that is sent again is not stored again.

The first record of a file has no data: it has the machine's boot and the remembered batches. Within one boot, the
system's cache has all that a killed process wrote, so only an unfinished record is replayed. After another boot, all
records since the last sync are replayed.

Records are checked when they are read (`records`). A damaged one is set aside in a file of its own, with a line in the
log, and the records behind it are read as usual.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from auditsplit.sinks.file import disk, records
from auditsplit.sinks.file.records import Piece, Record, Stored

REMEMBERED_S = 15 * 60
"""How long a batch is remembered. kube-apiserver gives a batch up after some 250 s at the latest."""

MAX_REMEMBERED = 200_000
"""The most batches that are remembered, the newest ones (some 40 MB of memory)."""

_log = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """The journal file ``path``. Every method requires the sink's lock, and may raise ``OSError``."""

    def __init__(
        self,
        path: Path,
        *,
        sync: bool,
        replay: Callable[[Record, bytes], None],
        undo: Callable[[Record], None],
        sync_all: Callable[[], None],
    ) -> None:
        """Name the file.

        Args:
            path: the file.
            sync: whether records are synced to the disk.
            replay: writes a record's data to its places.
            undo: removes what an unfinished record may have written to its places.
            sync_all: syncs all `touched` files, and calls `begin_anew`.
        """
        self.path = path
        self.seen: dict[bytes, float] = {}
        self.touched: set[str] = set()
        self.size = 0
        self._sync, self._replay, self._undo, self._sync_all = sync, replay, undo, sync_all
        self._file: int | None = None
        self._inode = 0
        self._last = 0
        self._unfinished = self._rebooted = False

    def catch_up(self) -> None:
        """Read the records that other processes wrote, and finish a record that its writer could not."""
        if not self.path.exists():
            self.begin_anew()
        if self._file is None or self._unfinished or self.path.stat().st_ino != self._inode:
            self._open()
        damaged = self._read_on()
        if damaged or self._rebooted or not self.size:
            self._sync_all()

    def _read_on(self) -> bool:
        """Read the records from `size` to the file's end. Return whether any of them was damaged."""
        file = self._descriptor()
        damaged = False
        while self.size < (end := os.fstat(file).st_size):
            stored = records.read(file, self.size, end)
            if stored:
                damaged |= not self._accept(stored)
                continue
            following = records.find_next(file, self.size, end)
            if following == end and records.is_torn(file, self.size, end):
                _log.warning(
                    "journal %s: %d bytes of an incomplete batch are dropped; its sender was not answered, and retries",
                    self.path,
                    end - self.size,
                )
                os.ftruncate(file, self.size)
            else:
                damaged = True
                self._set_aside(following - self.size)
        return damaged

    def _accept(self, stored: Stored) -> bool:
        """Take over the record at `size`, replayed where its data may be missing. Return whether its data was whole."""
        record = stored.record
        if not self.size:
            self._rebooted = not record.boot or record.boot != _boot_id()
        self._last = self.size
        if record.pieces and (self._rebooted or not stored.done):
            data = records.read_data(self._descriptor(), stored)
            if data is None:
                if not stored.done:
                    self._undo(record)
                self._set_aside(stored.size)
                return False
            self._replay(record, data)
            self.mark_done()
        self._remember(record)
        self.size += stored.size
        return True

    def _set_aside(self, length: int) -> None:
        """Copy ``length`` damaged bytes at `size` to a file of their own, and go on behind them."""
        if not self.size:
            self._rebooted = True  # whether it is another boot is in the first record
        aside = self.path.with_name(f"damaged-{time.time_ns()}")
        disk.replace(
            aside,
            disk.read(self._descriptor(), length, self.size),
            aside.with_suffix(".new"),
            really=self._sync,
        )
        _log.error(
            "journal %s: %d bytes at %d are damaged and were set aside as %s; events of batches in them that had not "
            "reached their files are missing there. Check the disk",
            self.path,
            length,
            self.size,
            aside.name,
        )
        self.size += length

    def append(self, batch: bytes, pieces: list[Piece], chunks: Sequence[bytes]) -> None:
        """Write a batch to the journal, durably. After an ``OSError`` the journal does not have it."""
        file = self._descriptor()
        record = Record(batch, time.time(), pieces)
        try:
            size = records.write(file, self.size, record, chunks)
            disk.sync(file, really=self._sync)
        except OSError:
            os.ftruncate(file, self.size)
            raise
        self._unfinished = True
        self._last = self.size
        self.size += size
        self._remember(record)

    def mark_done(self) -> None:
        """Mark the last record: its data is in its places."""
        records.mark_done(self._descriptor(), self._last)
        self._unfinished = False

    def withdraw(self, batch: bytes) -> None:
        """Remove the last record, of ``batch``. Its data was removed from its places before."""
        os.ftruncate(self._descriptor(), self._last)
        self._unfinished = False
        self.size = self._last
        self.seen.pop(batch, None)

    def begin_anew(self) -> None:
        """Replace the file by one that has only the remembered batches. All `touched` files must be synced before."""
        oldest = time.time() - REMEMBERED_S
        recent = {batch: at for batch, at in self.seen.items() if at >= oldest}
        for batch in list(recent)[: max(0, len(recent) - MAX_REMEMBERED)]:
            del recent[batch]
        new = self.path.with_name(self.path.name + ".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            size = records.write(file, 0, Record(boot=_boot_id(), seen=recent), (), done=True)
            disk.sync(file, really=self._sync)
            new.replace(self.path)
            disk.sync_folder(self.path.parent, really=self._sync)
        except OSError:
            os.close(file)
            raise
        self._close()
        self._file, self._inode = file, os.fstat(file).st_ino
        self.seen, self.touched = recent, set()
        self.size, self._last = size, 0
        self._unfinished = self._rebooted = False

    def _open(self) -> None:
        self._close()
        self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self._inode = os.fstat(self._file).st_ino
        self.seen, self.touched = {}, set()
        self.size = self._last = 0
        self._unfinished = self._rebooted = False

    def _descriptor(self) -> int:
        if self._file is None:
            raise RuntimeError("the journal is not open; catch_up comes first")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _remember(self, record: Record) -> None:
        self.seen.update(record.seen)
        if record.batch:
            self.seen[record.batch] = record.at
        self.touched.update(piece.path for piece in record.pieces)


def _boot_id() -> str:
    """Return the id of the machine's boot, or an empty text where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
