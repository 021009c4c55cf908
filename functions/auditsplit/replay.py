"""Recorded files: EventLists and audit logs, read in pieces and delivered like requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from auditsplit import ingest
from auditsplit.decode import compression, eventlist
from auditsplit.errors import BodyTooLarge, Undecodable
from auditsplit.settings import Settings

_PIECE_BYTES = 4 * 1024 * 1024
_GZIP_MAGIC = b"\x1f"  # of two bytes, the first; no text begins with it, and a slow pipe may give no more


class Done(NamedTuple):
    """What one piece of a file came to: ``counts`` of events, again (stored before) and rejected; the reasons."""

    counts: dict[str, int]
    complaints: list[str]


def split(stream: io.BufferedReader[Any], cluster: str, settings: Settings) -> Iterator[Done]:
    """Deliver what ``stream`` holds, piece by piece, each durable when it is yielded.

    A file of lines may be of any size, a single document or line of ``max_body_bytes``: `BodyTooLarge`. What is no
    event is kept in the stores' ``_rejected/``. Raises `SinkError` too; after it, the same file can be split again:
    what is stored and still remembered (15 minutes in the file store) is not stored twice.
    """
    number = 0  # of the lines before the piece
    for piece, lines in _pieces(decompressed(stream), settings.max_body_bytes):
        first, number = number, number + piece.count(b"\n")
        try:
            receipt = ingest.receive(piece, cluster, settings.sinks, lines=lines, redaction=settings.redaction)
        except Undecodable as error:
            yield Done({"rejected": 1}, [error.detail])
            continue
        again = receipt.events if receipt.alreadyStored else 0
        complaints = [
            f"{_place(item, first, lines)}: {item.reason}; kept as {', '.join(item.kept)}" for item in receipt.rejected
        ]
        rejected = sum(item.items for item in receipt.rejected)
        yield Done({"events": receipt.events, "again": again, "rejected": rejected}, complaints)


def _place(item: ingest.Rejected, first: int, lines: bool) -> str:  # noqa: FBT001 - as `fanout.receive` names it
    """Return where in the file the item stands; ``first`` is the number of lines before its piece."""
    if item.index is None:
        return "several items"
    return f"line {first + item.index + 1}" if lines else f"item {item.index}"


def decompressed(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return what the stream reads as, unpacked where it is gzip."""
    return compression.unzipped(stream) if stream.peek(1)[:1] == _GZIP_MAGIC else stream


def _pieces(stream: BinaryIO, max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield bodies, each with whether it has a document on each line; what comes before broken gzip data too."""
    piece: list[bytes] = []
    size, lines, begun = 0, False, False  # begun: the first line begins a list that goes on
    try:
        while line := _line(stream, max_bytes):
            begun = begun or (not piece and b'"EventList"' in line and not _is_document(line))
            lines = lines or (not begun and size <= _PIECE_BYTES and _is_document(line))
            if lines and piece and size + len(line) > _PIECE_BYTES:
                yield b"".join(piece), True
                piece, size = [], 0
            piece.append(line)
            size += len(line)
            if not lines and size > max_bytes:
                raise BodyTooLarge(f"a document of over {max_bytes} bytes; raise AUDIT_MAX_BODY_BYTES")
    except Undecodable:
        if lines:
            yield b"".join(piece), True
        raise
    if piece:
        yield b"".join(piece), lines


def _line(stream: BinaryIO, max_bytes: int) -> bytes:
    with compression.gzip_errors():
        line = stream.readline(max_bytes + 1)
    if len(line) > max_bytes:
        raise BodyTooLarge(f"a line of over {max_bytes} bytes; raise AUDIT_MAX_BODY_BYTES")
    return line


def _is_document(line: bytes) -> bool:
    try:
        eventlist.decode(line)
    except Undecodable:
        return False
    return True
