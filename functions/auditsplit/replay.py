"""Replay: recorded files, EventLists and audit logs, read in pieces and taken to the sinks like requests."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import cloud_logs, compression, layout, wrappers
from auditsplit.decode.batch import Form
from auditsplit.decode.wrappers import Line
from auditsplit.errors import BodyTooLarge, Undecodable
from auditsplit.ingest import Ingest
from auditsplit.receipts import Rejected
from auditsplit.telemetry.figures import Figures

_PIECE_BYTES = 4 * 1024 * 1024
_PIECE_LINES = 50_000  # a body of more than `eventlist.MAX_ITEMS` lines is refused as a whole
TAR = "this is a tar archive. Extract it, and split the folder with its files"
"""Why an archive is refused: its headers stand between the lines of its files."""
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257  # in the first header, so in the first line
_BYTE_ORDER_MARK = codecs.BOM_UTF8
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP_MAGIC = b"\x1f"  # of two bytes, the first; no text begins with it, and a slow pipe may give no more


class Delivered(NamedTuple):
    """The outcome of one piece of a file.

    ``counts`` has ``events``, the ``duplicate`` ones among them, those that ``AUDIT_POLICY`` ``omitted``, those that
    were ``tooLarge``, those that sinks with ``required=0`` did not get (``undelivered``), ``rejected`` items, and
    records of other logs that were ``skipped``. ``complaints`` say where each rejected item stands and why it was
    rejected.
    """

    counts: dict[str, int]
    complaints: list[str]


class Piece(NamedTuple):
    """Some lines of a file, or a document of several lines."""

    text: bytes
    numbers: list[int]
    """The number of each line in the file, which counts from 1."""
    document: bool
    """Whether it is a document of several lines."""


def split(stream: io.BufferedReader[Any], cluster: str, ingest: Ingest, max_bytes: int) -> Iterator[Delivered]:
    """Deliver what ``stream`` holds, piece by piece, each durable when it is yielded.

    A file of lines may be of any size, a single document or line of ``max_bytes``. A malformed item is rejected. What
    becomes of a line does not depend on the other lines, unless they are a document of several lines together. After
    an error the same file can be split again: stored pieces that the sink still remembers (15 minutes in the file sink)
    are not stored twice.

    Raises:
        BodyTooLarge: a document or line is larger.
        SinkError: a sink failed.
        Undecodable: the gzip data is broken, or the file is UTF-16, a tar archive or Google Cloud's log.
    """
    skipped: list[int] = []
    for piece in pieces(decompressed(stream), max_bytes, skipped.append):
        deadline = Deadline.after(REQUEST_S)
        form = Form(lines=not piece.document, recorded=True)
        try:
            receipt = ingest.receive(piece.text, cluster, deadline, Figures(), form)
        except Undecodable as error:
            yield Delivered({"rejected": 1}, [f"line {piece.numbers[0]}: {error.detail}"])
            continue
        complaints = [
            f"{_position(item, piece)}: {item.reason}. Written to {', '.join(item.kept)}" for item in receipt.rejected
        ]
        counts = {
            "events": receipt.events,
            "duplicate": receipt.events if receipt.alreadyStored else 0,
            "omitted": receipt.omitted or 0,
            "tooLarge": receipt.tooLarge or 0,
            "undelivered": sum((receipt.undelivered or {}).values()),
            "rejected": sum(item.items for item in receipt.rejected),
        }
        yield Delivered(counts, complaints)
    if any(skipped):
        yield Delivered({"skipped": sum(skipped)}, [])


def decompressed(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return the stream's text, decompressed where it is gzip."""
    return compression.unzipped(stream) if stream.peek(1)[:1] == _GZIP_MAGIC else stream


def _position(item: Rejected, piece: Piece) -> str:
    """Return where in the file the item stands."""
    if item.index is None:
        return "several items"
    if piece.document:
        return f"line {piece.numbers[0]}: item {item.index}"
    return f"line {piece.numbers[item.index]}"


def pieces(stream: BinaryIO, max_bytes: int, skipped: Callable[[int], None]) -> Iterator[Piece]:
    """Yield the pieces of a file. Where gzip data is broken, the lines before the damage are yielded first.

    ``skipped`` is told of records of other logs in envelopes of clouds.
    """
    collected: list[Line] = []
    size = 0
    damage: list[Undecodable] = []
    whole = _until_damage(_lines(stream, max_bytes), damage)
    for block in layout.blocks(wrappers.unwrap(whole, skipped), max_bytes):
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
    if damage:
        raise damage[0]


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
        if number == 1 and text.startswith(_UTF_16):
            raise Undecodable("the file is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8")
        if number == 1 and text.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
            raise Undecodable(TAR)
        if number == 1:
            cloud_logs.refuse_log_entry(text)
        yield Line(number, text.removeprefix(_BYTE_ORDER_MARK))


def _line(stream: BinaryIO, max_bytes: int) -> bytes:
    with compression.gzip_errors():
        line = stream.readline(max_bytes + 1)
    if len(line) > max_bytes:
        raise BodyTooLarge(f"a line of over {max_bytes} bytes. Raise AUDIT_MAX_BODY_BYTES")
    return line
