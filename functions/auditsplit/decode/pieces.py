"""Pieces: the lines of a recorded file, EventLists and audit logs, in parts that fit into memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from auditsplit.decode import cloud_logs, compression, layout, wrappers, zstd
from auditsplit.decode.wrappers import Line
from auditsplit.errors import BodyTooLarge, Undecodable

_PIECE_BYTES = 4 * 1024 * 1024
_PIECE_LINES = 50_000  # a body of more than `eventlist.MAX_ITEMS` lines is refused as a whole
TAR = "this is a tar archive. Extract it, and split the folder with its files"
"""Why an archive is refused: its headers stand between the lines of its files."""
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257  # in the first header, so in the first line
_BYTE_ORDER_MARK = codecs.BOM_UTF8
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP_MAGIC = b"\x1f"  # of two bytes, the first; no text begins with it, and a slow pipe may give no more
_ZSTD_MAGIC = b"\x28"  # of four bytes, the first; it is a bracket with which no JSON begins


class Piece(NamedTuple):
    """Some lines of a file, or a document of several lines."""

    text: bytes
    numbers: list[int]
    """The number of each line in the file, which counts from 1."""
    document: bool
    """Whether it is a document of several lines."""


def decompressed(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return the stream's text, decompressed where it is gzip or zstd."""
    start = stream.peek(1)[:1]
    if start == _GZIP_MAGIC:
        return compression.unzipped(stream)
    return zstd.decompressed(stream) if start == _ZSTD_MAGIC else stream


def pieces(stream: BinaryIO, max_bytes: int, skipped: Callable[[int], None]) -> Iterator[Piece]:
    """Yield the pieces of a file. Where gzip data is broken, the lines before the damage are yielded first.

    ``skipped`` is told of records of other logs in envelopes of clouds.
    """
    damage: list[Undecodable] = []
    yield from of_lines(_until_damage(_lines(stream, max_bytes), damage), max_bytes, skipped)
    if damage:
        raise damage[0]


def of_lines(lines: Iterable[Line], max_bytes: int, skipped: Callable[[int], None]) -> Iterator[Piece]:
    """Yield the pieces of the ``lines`` of a file: see `pieces`."""
    collected: list[Line] = []
    size = 0
    for block in layout.blocks(wrappers.unwrap(lines, skipped), max_bytes):
        more = sum(len(line.text) for line in block.lines)
        full = block.document or size + more > _PIECE_BYTES or len(collected) >= _PIECE_LINES
        if collected and full:
            yield _piece(collected)
            collected, size = [], 0
        if block.document:
            yield _piece(block.lines, document=True)
        else:
            collected += block.lines
            size += more
    if collected:
        yield _piece(collected)


def _until_damage(lines: Iterator[Line], damage: list[Undecodable]) -> Iterator[Line]:
    """Yield the lines before an `Undecodable`, and put the error into ``damage``."""
    try:
        yield from lines
    except Undecodable as error:
        damage.append(error)


def _piece(lines: list[Line], *, document: bool = False) -> Piece:
    text = b"".join(line.text if line.text.endswith(b"\n") else line.text + b"\n" for line in lines)
    return Piece(text, [line.number for line in lines], document)


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[Line]:
    """Yield the lines of a file without byte order marks. Where files were joined, each may begin with its own."""
    number = 0
    while text := _line(stream, max_bytes):
        number += 1
        if number == 1:
            expect_text(text)
        yield Line(number, text.removeprefix(_BYTE_ORDER_MARK))


def expect_text(start: bytes) -> None:
    """Raise `Undecodable` if a file that begins with ``start`` has no lines of JSON, or is Google Cloud's log."""
    if start.startswith(_UTF_16):
        raise Undecodable("the file is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8")
    if start.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        raise Undecodable(TAR)
    cloud_logs.refuse_log_entry(start)


def _line(stream: BinaryIO, max_bytes: int) -> bytes:
    with compression.gzip_errors():
        line = stream.readline(max_bytes + 1)
    if len(line) > max_bytes:
        raise BodyTooLarge(f"a line of over {max_bytes} bytes. Raise AUDIT_MAX_BODY_BYTES")
    return line
