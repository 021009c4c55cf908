"""Replay: recorded files, EventLists and audit logs, read in pieces and taken to the sinks like requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import compression, eventlist
from auditsplit.errors import BodyTooLarge, Undecodable
from auditsplit.ingest import Ingest, Rejected
from auditsplit.telemetry.figures import Figures

_PIECE_BYTES = 4 * 1024 * 1024
_GZIP_MAGIC = b"\x1f"  # of two bytes, the first; no text begins with it, and a slow pipe may give no more


class Delivered(NamedTuple):
    """The outcome of one piece of a file.

    ``counts`` has ``events``, the ``duplicate`` ones among them, and ``rejected`` items. ``complaints`` say where each
    rejected item stands and why it was rejected.
    """

    counts: dict[str, int]
    complaints: list[str]


class _Piece(NamedTuple):
    text: bytes
    lines: bool
    """Whether it has a document on each line."""


def split(stream: io.BufferedReader[Any], cluster: str, ingest: Ingest, max_bytes: int) -> Iterator[Delivered]:
    """Deliver what ``stream`` holds, piece by piece, each durable when it is yielded.

    A file of lines may be of any size, a single document or line of ``max_bytes``. A malformed item is rejected. After
    an error the same file can be split again: stored pieces that the sink still remembers (15 minutes in the file sink)
    are not stored twice.

    Raises:
        BodyTooLarge: a document or line is larger.
        SinkError: a sink failed.
        Undecodable: the gzip data is broken.
    """
    number = 0  # of the lines before the piece
    for piece in _pieces(decompressed(stream), max_bytes):
        first, number = number, number + piece.text.count(b"\n")
        try:
            receipt = ingest.receive(piece.text, cluster, Deadline.after(REQUEST_S), Figures(), lines=piece.lines)
        except Undecodable as error:
            yield Delivered({"rejected": 1}, [error.detail])
            continue
        complaints = [
            f"{_position(item, first, piece)}: {item.reason}; written to {', '.join(item.kept)}"
            for item in receipt.rejected
        ]
        counts = {
            "events": receipt.events,
            "duplicate": receipt.events if receipt.alreadyStored else 0,
            "rejected": sum(item.items for item in receipt.rejected),
        }
        yield Delivered(counts, complaints)


def decompressed(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return the stream's text, decompressed where it is gzip."""
    return compression.unzipped(stream) if stream.peek(1)[:1] == _GZIP_MAGIC else stream


def _position(item: Rejected, first: int, piece: _Piece) -> str:
    """Return where in the file the item stands; ``first`` is the number of lines before its piece."""
    if item.index is None:
        return "several items"
    return f"line {first + item.index + 1}" if piece.lines else f"item {item.index}"


def _pieces(stream: BinaryIO, max_bytes: int) -> Iterator[_Piece]:
    """Yield the pieces of a file. Where gzip data is broken, the lines before the damage are yielded first."""
    collected = _Collected()
    try:
        while line := _line(stream, max_bytes):
            if collected.is_full_for(line):
                yield collected.take()
            collected.add(line)
            if not collected.lines and collected.size > max_bytes:
                raise BodyTooLarge(f"a document of over {max_bytes} bytes; raise AUDIT_MAX_BODY_BYTES")
    except Undecodable:
        if collected.lines:
            yield collected.take()
        raise
    if collected.parts:
        yield collected.take()


class _Collected:
    """The lines of a piece so far. A file is read as lines once its first line is a document."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.lines = False
        self._in_list = False  # the first line begins a list that goes on

    def is_full_for(self, line: bytes) -> bool:
        """Return whether ``line`` belongs to the next piece; find out whether the file is one of lines."""
        self._in_list = self._in_list or (not self.parts and b'"EventList"' in line and not _is_document(line))
        self.lines = self.lines or (not self._in_list and self.size <= _PIECE_BYTES and _is_document(line))
        return self.lines and bool(self.parts) and self.size + len(line) > _PIECE_BYTES

    def add(self, line: bytes) -> None:
        self.parts.append(line)
        self.size += len(line)

    def take(self) -> _Piece:
        """Return the piece, and begin the next one."""
        piece = _Piece(b"".join(self.parts), self.lines)
        self.parts, self.size = [], 0
        return piece


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
