"""The journal's records on the disk: written, read and checked, and found again behind a damaged one.

A record is a header, a MessagePack `Record`, and the data. The header has a CRC over itself and the `Record`, and one
over the data. ``done`` is written later, so it is outside both: its two values differ in four bits, and any other value
counts as not done.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from isal import isal_zlib

from auditsplit.sinks.file import disk

_MAGIC = b"asj2"
_HEADER = struct.Struct(">4sB3xIIIQ")  # magic, done, the two CRC-32, the lengths of the record and of the data
_LENGTHS = struct.Struct(">IIQ")  # what the first CRC covers of the header: the second CRC and the lengths
_DONE_OFFSET = len(_MAGIC)
_DONE, _NOT_DONE = 0xA5, 0x00


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


class Stored(NamedTuple):
    """A record in the file, its own bytes checked; the data is read and checked by `read_data`."""

    record: Record
    done: bool
    """Whether the data is in its places."""
    size: int
    """Of the whole record, in bytes."""
    data_offset: int
    data_length: int
    data_crc: int


def write(file: int, offset: int, record: Record, chunks: Sequence[bytes], *, done: bool = False) -> int:
    """Write the record at ``offset``, and return its size in bytes."""
    encoded = _encode(record)
    data_crc = 0
    for chunk in chunks:
        data_crc = isal_zlib.crc32(chunk, data_crc)
    data_length = sum(map(len, chunks))
    crc = _own_crc(data_crc, encoded, data_length)
    header = _HEADER.pack(_MAGIC, _DONE if done else _NOT_DONE, crc, data_crc, len(encoded), data_length)
    disk.write(file, [header, encoded, *chunks], offset)
    return len(header) + len(encoded) + data_length


def mark_done(file: int, offset: int) -> None:
    """Mark the record at ``offset`` as done."""
    os.pwrite(file, bytes([_DONE]), offset + _DONE_OFFSET)


def read(file: int, offset: int, end: int) -> Stored | None:
    """Return the record at ``offset`` of a file of ``end`` bytes; None where there is no complete, undamaged one."""
    header = os.pread(file, _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return None
    magic, done, crc, data_crc, length, data_length = _HEADER.unpack(header)
    size = _HEADER.size + length + data_length
    if magic != _MAGIC or offset + size > end:
        return None
    encoded = disk.read(file, length, offset + _HEADER.size)
    if _own_crc(data_crc, encoded, data_length) != crc:
        return None
    try:
        record = _decode(encoded)
    except msgspec.DecodeError:
        return None
    return Stored(record, done == _DONE, size, offset + _HEADER.size + length, data_length, data_crc)


def read_data(file: int, stored: Stored) -> bytes | None:
    """Return the record's data, None where it is damaged."""
    data = disk.read(file, stored.data_length, stored.data_offset)
    return data if isal_zlib.crc32(data) == stored.data_crc else None


def is_torn(file: int, offset: int, end: int) -> bool:
    """Return whether the file ends within the record at ``offset``, as after a kill: then it was never acknowledged."""
    header = os.pread(file, _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return header[: len(_MAGIC)] == _MAGIC[: len(header)]
    magic, *_, length, data_length = _HEADER.unpack(header)
    return bool(magic == _MAGIC and offset + _HEADER.size + length + data_length > end)


def find_next(file: int, offset: int, end: int) -> int:
    """Return where the next undamaged record behind ``offset`` begins, ``end`` if there is none."""
    text = disk.read(file, end - offset, offset)
    at = text.find(_MAGIC, 1)
    while at >= 0:
        if read(file, offset + at, end):
            return offset + at
        at = text.find(_MAGIC, at + 1)
    return end


def _own_crc(data_crc: int, encoded: bytes, data_length: int) -> int:
    crc: int = isal_zlib.crc32(encoded, isal_zlib.crc32(_LENGTHS.pack(data_crc, len(encoded), data_length)))
    return crc
