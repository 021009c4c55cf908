"""Search: the matching events of a stream of lines.

A chunk whose lines all begin as the log backend writes them is searched for a `Needle`, and only the lines that have it
are decoded. Any other chunk goes through the layouts and wrappers of `auditsplit.decode.pieces` first.
"""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

import msgspec
from ahocorasick_rs import BytesAhoCorasick

from auditsplit.archive.find.criteria import Criteria
from auditsplit.archive.find.needles import Needle, rarest
from auditsplit.decode import compression, eventlines, eventlist, pieces
from auditsplit.decode.outline import REFUSALS
from auditsplit.decode.wrappers import Line
from auditsplit.errors import Undecodable
from auditsplit.event import LINE_START, Event, FoundHead

_CHUNK_BYTES = 1024 * 1024  # fits into the processor's cache, since a chunk is read several times
MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is read. kube-apiserver's longest have some 20 MB: two bodies of 3 MB, with escapes."""

_MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
_NEXT_LINE = b"}\n" + LINE_START
_find_next_lines = BytesAhoCorasick([_NEXT_LINE]).find_matches_as_indexes
_decode = cast("Callable[[bytes], FoundHead]", eventlist.decoders[FoundHead])


class Found(NamedTuple):
    """An event that matches, and the number of its line in the stream, which counts from 1."""

    event: Event
    head: FoundHead
    line: int


class Seen(msgspec.Struct):
    """What a search has read."""

    size_bytes: int = 0
    malformed: int = 0
    """Lines that may match, but are not events."""
    first_malformed: str = ""
    """Where the first of them is, and why it is not an event."""
    too_long: int = 0
    """Lines of over `MAX_LINE_BYTES`, which are not searched."""

    def note_malformed(self, line: int, reason: str) -> None:
        """Count a malformed line."""
        self.malformed += 1
        self.first_malformed = self.first_malformed or f"line {line}: {reason}"


class _Chunk(NamedTuple):
    """Whole lines, and the number of the first."""

    text: memoryview
    number: int
    lines: int
    plain: bool
    """Whether each line begins and ends as the log backend writes events."""


class Search:
    """A search for the events that match ``criteria``. It may be used for any number of streams, one after another."""

    def __init__(self, criteria: Criteria) -> None:
        """Prepare the tests and needles."""
        self._tests = criteria.tests()
        self._needles = criteria.needles()

    def events(self, stream: BinaryIO, seen: Seen, progress: Callable[[], object] = lambda: None) -> Iterator[Found]:
        """Yield the matching events of a stream of lines or documents, which is decompressed already.

        Args:
            stream: A binary stream. What a pipe gives is searched at once.
            seen: What was read is added to it.
            progress: Called after each chunk.

        Raises:
            Undecodable: The stream is broken gzip, UTF-16, a tar archive or Google Cloud's log.
            BodyTooLarge: A document of several lines is too large.
        """
        needle: Needle | None = None
        sampled = False
        chunks = _chunks(stream, seen, progress)
        for plain, group in itertools.groupby(chunks, lambda chunk: chunk.plain):
            if not plain:
                yield from self._in_other_layouts(group, seen)
                continue
            for chunk in group:
                if not sampled:
                    needle, sampled = rarest(self._needles, chunk.text), True
                yield from self._in_lines(chunk, needle, seen)

    def _in_lines(self, chunk: _Chunk, needle: Needle | None, seen: Seen) -> Iterator[Found]:
        """Yield the matching events of a plain chunk."""
        for text, number in _candidates(chunk, needle):
            try:
                head = _decode(text)
            except REFUSALS:
                yield from self._in_text(text, [number], seen, document=False)
                continue
            if self._matches(head):
                yield Found(Event(head, memoryview(text)[:-1]), head, number)  # without the line feed

    def _in_other_layouts(self, chunks: Iterable[_Chunk], seen: Seen) -> Iterator[Found]:
        lines = (line for chunk in chunks for line in _lines(chunk))
        for piece in pieces.of_lines(lines, _MAX_DOCUMENT_BYTES, lambda _: None):
            if piece.document:
                if self._may_match(piece.text):
                    yield from self._in_text(piece.text, piece.numbers, seen, document=True)
                continue
            for text, number in zip(io.BytesIO(piece.text), piece.numbers, strict=True):
                if self._may_match(text):
                    yield from self._in_text(text, [number], seen, document=False)

    def _may_match(self, text: bytes) -> bool:
        return all(needle.places(text) for needle in self._needles)

    def _in_text(self, text: bytes, numbers: Sequence[int], seen: Seen, *, document: bool) -> Iterator[Found]:
        """Yield the matching events of a line, or of a document of several lines."""
        try:
            decoded = (
                eventlist.decode(text, "log", FoundHead)
                if document
                else eventlines.decode(text, "log", FoundHead, recorded=True)
            )
        except Undecodable as error:
            seen.note_malformed(numbers[0], eventlist.explain(error))
            return
        for item in decoded.bad:
            seen.note_malformed(numbers[0], item.reason)
        seen.malformed += decoded.more_bad
        for event in decoded.events:
            head = cast("FoundHead", event.head)
            if self._matches(head):
                yield Found(event, head, numbers[0])

    def _matches(self, head: FoundHead) -> bool:
        return all(test(head) for test in self._tests)


def _candidates(chunk: _Chunk, needle: Needle | None) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a plain chunk that have ``needle``, with their numbers. All lines if it is None."""
    if needle is None:
        yield from ((line.text, line.number) for line in _lines(chunk))
        return
    text: bytes | None = None
    end, number, counted = 0, chunk.number, 0
    for place in needle.places(chunk.text):
        if place < end:
            continue
        text = text or bytes(chunk.text)
        start = text.rfind(b"\n", 0, place) + 1
        end = text.find(b"\n", place) + 1
        number += text.count(b"\n", counted, start)
        counted = start
        yield text[start:end], number


def _lines(chunk: _Chunk) -> Iterator[Line]:
    lines = io.BytesIO(chunk.text)
    return (Line(number, text.removeprefix(codecs.BOM_UTF8)) for number, text in enumerate(lines, chunk.number))


def _chunks(stream: BinaryIO, seen: Seen, progress: Callable[[], object]) -> Iterator[_Chunk]:
    """Yield the lines of a stream in chunks. A chunk is valid until the next is asked for."""
    buffer = bytearray(_CHUNK_BYTES)
    kept, number, skipping = 0, 1, False
    while size := _read_into(stream, memoryview(buffer)[kept:]):
        seen.size_bytes += size
        filled = kept + size
        end = buffer.rfind(b"\n", kept, filled) + 1
        begin = 0
        if skipping and end:
            begin, skipping = buffer.find(b"\n", 0, filled) + 1, False
            number += 1
        if end > begin:
            chunk = _chunk(memoryview(buffer)[begin:end], number)
            if number == 1:
                pieces.expect_text(bytes(chunk.text))
            yield chunk
            number += chunk.lines
        kept = 0 if skipping else filled - end
        buffer[:kept] = buffer[end:filled] if kept else b""
        if kept > MAX_LINE_BYTES:
            seen.too_long, kept, skipping = seen.too_long + 1, 0, True
        elif kept == len(buffer):
            buffer = buffer + bytes(len(buffer))
        progress()
    if kept:
        if number == 1:
            pieces.expect_text(bytes(buffer[:kept]))
        yield _chunk(memoryview(bytes(buffer[:kept]) + b"\n"), number)


def _chunk(text: memoryview, number: int) -> _Chunk:
    lines = bytes(text).count(b"\n")
    plain = bytes(text[: len(LINE_START)]) == LINE_START and bytes(text[-2:]) == b"}\n"
    return _Chunk(text, number, lines, plain and len(_find_next_lines(text)) == lines - 1)


def _read_into(stream: BinaryIO, buffer: memoryview) -> int:
    """Read what the stream has. ``readinto1`` would wait for a pipe's next bytes though there are some."""
    with compression.gzip_errors():
        text: bytes = stream.read1(len(buffer))  # type: ignore[attr-defined]  # of every buffered stream
    buffer[: len(text)] = text
    return len(text)
