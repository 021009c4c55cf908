"""The file sink's journal: it makes a batch durable with one sync, whole over all of its files, and written once.

A batch is first written to the journal, whole, with the place of each of its pieces (a redo log). Once the journal is
synced the batch is durable, and the files need no sync of their own until the journal begins anew. The next writer that
holds the sink's lock finds a record that its writer did not finish, and finishes it. The journal also remembers the
batches of the last minutes, so a batch that is sent again is not stored again.

Layout: records, each ``_HEADER``, a MessagePack `Record`, the data. The first record of a file has no data: it has the
machine's boot and the remembered batches. Within one boot, the system's cache has all that a killed process wrote, so
only an unfinished record is replayed. After another boot, all records since the last sync are replayed.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from isal import isal_zlib

from auditsplit.sinks.file import disk

REMEMBERED_S = 15 * 60
"""How long a batch is remembered. kube-apiserver gives a batch up after some 250 s at the latest."""

MAX_REMEMBERED = 200_000
"""The most batches that are remembered, the newest ones (some 40 MB of memory)."""

_log = logging.getLogger(__name__)
_MAGIC = b"asj1"
_HEADER = struct.Struct(">4s?3xIIQ")  # magic, done, CRC-32 and length of what follows: the record, then its data
_DONE_OFFSET = 4
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Piece(NamedTuple):
    """The place of a part of the data: ``length`` bytes at ``offset`` of the file ``path``, which is ``inode``."""

    path: str
    inode: int
    offset: int
    length: int


class Record(msgspec.Struct):
    """A batch in the journal. With ``seen`` it is the journal's first record."""

    batch: bytes = b""
    at: float = 0.0
    pieces: list[Piece] = []
    boot: str = ""
    seen: dict[bytes, float] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


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
        self.touched: set[str] = set()
        self.size = 0
        self._sync, self._replay, self._sync_all = sync, replay, sync_all
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
        while (read := self._read()) is not None:
            self._accept(*read)
        if (torn := os.fstat(self._descriptor()).st_size - self.size) > 0:
            _log.warning(
                "journal %s: %d bytes of an incomplete batch are dropped; its sender was not answered, and retries",
                self.path,
                torn,
            )
            os.ftruncate(self._descriptor(), self.size)
        if self._rebooted or not self.size:
            self._sync_all()

    def _accept(self, record: Record, data: Callable[[], bytes], done: bool, size: int) -> None:  # noqa: FBT001
        """Take over the record at `size`, which is ``done`` or must be replayed."""
        if not self.size:
            self._rebooted = not record.boot or record.boot != _boot_id()
        self._last = self.size
        if record.pieces and (self._rebooted or not done):
            self._replay(record, data())
            self.mark_done()
        self._remember(record)
        self.size += size

    def append(self, batch: bytes, pieces: list[Piece], chunks: Sequence[bytes]) -> None:
        """Write a batch to the journal, durably. After an ``OSError`` the journal does not have it."""
        file = self._descriptor()
        record = Record(batch, time.time(), pieces)
        try:
            size = self._write(file, self.size, record, chunks)
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
        os.pwrite(self._descriptor(), b"\x01", self._last + _DONE_OFFSET)
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
            size = self._write(file, 0, Record(boot=_boot_id(), seen=recent), (), done=True)
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

    def _read(self) -> tuple[Record, Callable[[], bytes], bool, int] | None:
        """Return the record at `size`, a function that reads its data, whether it is done, its size; None if none."""
        file = self._descriptor()
        header = os.pread(file, _HEADER.size, self.size)
        if len(header) < _HEADER.size:
            return None
        magic, done, crc, meta_length, data_length = _HEADER.unpack(header)
        size = _HEADER.size + meta_length + data_length
        if magic != _MAGIC or self.size + size > os.fstat(file).st_size:
            return None
        meta = disk.read(file, meta_length, self.size + _HEADER.size)
        data_offset = self.size + _HEADER.size + meta_length

        def data() -> bytes:
            return disk.read(file, data_length, data_offset)

        if (self._rebooted or not done) and isal_zlib.crc32(data(), isal_zlib.crc32(meta)) != crc:
            return None
        try:
            return _decode(meta), data, done, size
        except msgspec.DecodeError:
            return None

    def _write(self, file: int, offset: int, record: Record, chunks: Sequence[bytes], *, done: bool = False) -> int:
        """Write the record at ``offset``, and return its size in bytes."""
        meta = _encode(record)
        crc = isal_zlib.crc32(meta)
        for chunk in chunks:
            crc = isal_zlib.crc32(chunk, crc)
        length = sum(map(len, chunks))
        header = _HEADER.pack(_MAGIC, done, crc, len(meta), length)
        disk.write(file, [header, meta, *chunks], offset)
        return len(header) + len(meta) + length


def _boot_id() -> str:
    """Return the id of the machine's boot, or an empty text where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
