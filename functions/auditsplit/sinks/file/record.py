"""The records of the file sink's journal, checked by their CRC when they are read.

A record is `_HEADER`, a MessagePack `Record`, the data. The CRC leaves out the status, which is changed in place.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from isal import isal_zlib

from auditsplit.sinks.file import disk

_MAGIC = b"asj1"
_HEADER = struct.Struct(">4s4sIIQ")  # magic, status, CRC-32 and lengths of what follows: the record, then its data
_STATUS_OFFSET = 4
_NOT_DONE, _DONE = b"\0\0\0\0", b"done"  # no flipped bit makes a record done, and a done one may be replayed
_CANDIDATE = re.compile(_MAGIC + rb"[\s\S]{8}\0[\s\S]{3}\0{3}")  # JSON text has no NUL, so hardly an event is one


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


class Found(NamedTuple):
    """A whole record in the journal: its data, whether that is in its places, and its size in bytes."""

    record: Record
    data: bytes
    done: bool
    size: int


def read(file: int, offset: int, end: int) -> Found | None:
    """Return the record at ``offset`` of the file, which ends at ``end``; None where no whole record is there."""
    header = os.pread(file, _HEADER.size, offset)
    if len(header) < _HEADER.size:
        return None
    magic, status, crc, meta_length, data_length = _HEADER.unpack(header)
    length = meta_length + data_length
    if magic != _MAGIC or offset + _HEADER.size + length > end:
        return None
    body = disk.read(file, length, offset + _HEADER.size)
    if isal_zlib.crc32(body) != crc:
        return None
    try:
        record = _decode(memoryview(body)[:meta_length])
    except msgspec.DecodeError:
        return None
    return Found(record, body[meta_length:], status == _DONE, _HEADER.size + length)


def write(file: int, offset: int, record: Record, chunks: Sequence[bytes], *, done: bool = False) -> int:
    """Write the record at ``offset``, and return its size in bytes."""
    meta = _encode(record)
    crc = isal_zlib.crc32(meta)
    for chunk in chunks:
        crc = isal_zlib.crc32(chunk, crc)
    length = sum(map(len, chunks))
    header = _HEADER.pack(_MAGIC, _DONE if done else _NOT_DONE, crc, len(meta), length)
    disk.write(file, [header, meta, *chunks], offset)
    return len(header) + len(meta) + length


def mark_done(file: int, offset: int) -> None:
    """Mark the record at ``offset``: its data is in its places."""
    os.pwrite(file, _DONE, offset + _STATUS_OFFSET)


def candidates(data: bytes) -> Iterable[int]:
    """Return where in ``data`` a record may begin, but for the beginning."""
    return (match.start() for match in _CANDIDATE.finditer(data, 1))


def is_torn(data: bytes) -> bool:
    """Return whether ``data`` is the beginning of a record. With a wrong length it would have the right CRC."""
    if len(data) < _HEADER.size:
        return data[: len(_MAGIC)] == _MAGIC[: len(data)]
    magic, _, crc, meta_length, data_length = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    return bool(magic == _MAGIC and meta_length + data_length > len(body) and isal_zlib.crc32(body) != crc)
