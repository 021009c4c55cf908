"""Find the spans of the values in a JSON text, by its strings and brackets alone.

The fast parsers refuse a whole EventList because of one request body in it: a lone surrogate, nesting beyond their
limit, or a number that is too big. Any user can send such a body. This scan needs no recursion and reads no scalar, so
it finds every item as long as quotes and brackets match. All that kube-apiserver sends passes, since Go has checked it.

Any user can also send a body of a million brackets or strings, and the apiserver waits 30 s. So nested values are
skipped by blocks, and Python takes a step only where a value that the caller asked for begins or ends. The price: for
nested values, a ``]`` that closes a ``{`` is not noticed. It is noticed for the scanned value and those just inside it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from auditsplit.errors import Undecodable

_BETWEEN = b" \t\r\n,"
_SPACE = b" \t\r\n"
_SPACE_OR_STRING = re.compile(rb'[ \t\r\n]++|("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_STRING_OR_NAME = re.compile(rb'("\0*+")([ \t\r\n]*+:)?')
_BRACKET = re.compile(rb"[][{}]")
_CLOSING = {ord("}"): ord("{"), ord("]"): ord("[")}
_BLOCK_BYTES = 4096
_PARTS = 8
_FEW_BRACKETS = 24  # of which each takes a step; more are worth a look at each part of the block
_BLANKING_WINDOW_BYTES = 8192  # blanked at a time: a larger number takes more steps
_FEW_QUOTES = 128  # in a window
_INSIDE = 2  # the depth of a value right inside the scanned value

# The brackets of a block as steps of depth, in signed bytes. All other bytes are removed.
_OPEN, _CLOSE = b"\x01", b"\xff"
_STEPS = bytes.maketrans(b"{[}]", 2 * _OPEN + 2 * _CLOSE)
_NO_BRACKET = bytes(set(range(256)) - set(b"{}[]"))
_QUOTES = bytes(255 * (byte == ord('"')) for byte in range(256))

_PAIR, _VALLEY = _OPEN + _CLOSE, _CLOSE + _OPEN
_NEST_LEVELS = 4
_NEST = _OPEN * _NEST_LEVELS + _CLOSE * _NEST_LEVELS  # a single pass removes all of its levels
_SHRUNK = 16  # pairs are removed as long as a pass removes more than a 16th of the steps


class Span(NamedTuple):
    """The span of a value: ``text[start:end]``."""

    start: int
    end: int


class Scan:
    """A JSON text whose quotes match."""

    def __init__(self, text: bytes, marks: bytes | bytearray | None = None) -> None:
        """Find the strings, unless ``marks`` is a scan's `marks` for this text.

        Raises `Undecodable` with the position of the last quote where the quotes don't match.
        """
        self.text = text
        self.marks = _blanked(text) if marks is None else marks
        """The text with NULs in place of the contents of its strings. To find these takes most of the time."""

    @property
    def whole(self) -> Span:
        """The span of the whole text, without the white space around it."""
        return self._trim(0, len(self.text), _SPACE)

    def members(self, span: Span) -> Iterator[tuple[bytes, Span]]:
        """Yield the members of the object at ``span`` in order: the name's token with its quotes, the value's span.

        A name that is there twice is yielded twice. Raises `Undecodable` with the position where there is no object, or
        where its brackets don't match.
        """
        name: bytes | None = None
        begin, after = 0, span.start + 1  # where the value begins, and where the text behind the last bracket begins
        for position, depth in self._shallow(span, b"{"):
            if depth == 1:
                after = position + 1
                continue
            for token in _STRING_OR_NAME.finditer(self.marks, after, position):
                if token[2] is not None:
                    if name is not None:
                        yield name, self._trim(begin, token.start())
                    name, begin = self.text[token.start(1) : token.end(1)], token.end()
            if depth == 0 and name is not None:
                yield name, self._trim(begin, position)

    def elements(self, span: Span) -> Iterator[Span]:
        """Yield the spans of the elements of the array at ``span``, in order. A run of scalars has one span.

        Raises `Undecodable` as `members` does.
        """
        begin, after = 0, span.start + 1
        for position, depth in self._shallow(span, b"["):
            if depth == 1:
                yield Span(begin, position + 1)
                after = position + 1
                continue
            scalars = self._trim(after, position)
            if scalars.start < scalars.end:
                yield scalars
            begin = position

    def _shallow(self, span: Span, opening: bytes) -> Iterator[tuple[int, int]]:
        """Yield the brackets of the values right inside the value at ``span``, and the bracket that closes it.

        Each is a position and the depth behind it: 2 where a value begins, 1 where it ends, 0 at the end of the span.
        """
        if not self.marks.startswith(opening, span.start, span.end):
            raise Undecodable(f"expected {opening.decode()!r}", span.start)
        opened = [opening[0], 0]  # by the depth behind its closing bracket: the opening bracket of the value
        for position, mark, depth in self._brackets(span.start + 1, span.end):
            if depth == _INSIDE and mark not in _CLOSING:
                opened[1] = mark
                yield position, depth
            elif depth < _INSIDE:
                if _CLOSING[mark] != opened[depth]:
                    raise Undecodable(f"{chr(mark)!r} does not match the bracket that is open", position)
                yield position, depth
            if not depth:
                if position + 1 != span.end:
                    raise Undecodable("text after the end of the value", position + 1)
                return

    def _brackets(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the position of each bracket, the bracket, and the depth behind it.

        Blocks in which `_shallow` needs no bracket are skipped.
        """
        depth = 1
        for start in range(begin, end, _BLOCK_BYTES):
            depth = yield from self._block(start, min(start + _BLOCK_BYTES, end), depth)
        raise Undecodable(f"{depth} brackets are not closed at the end", end)

    def _block(self, begin: int, end: int, depth: int) -> Generator[tuple[int, int, int], None, int]:
        """Yield the brackets of a block that begins at ``depth``, as `_brackets` does. Return the depth at its end.

        A block with many brackets, of which `_shallow` needs any, is divided: most of its parts can be skipped.
        """
        block = self.marks[begin:end]
        steps = block.translate(_STEPS, _NO_BRACKET)
        if _stays_inside(depth, steps):
            return depth + len(steps) - 2 * steps.count(_CLOSE)
        if len(steps) <= _FEW_BRACKETS:
            for bracket in _BRACKET.finditer(block):
                mark = block[bracket.start()]
                depth += -1 if mark in _CLOSING else 1
                yield begin + bracket.start(), mark, depth
            return depth
        size = -(-len(block) // _PARTS)
        for start in range(begin, end, size):
            depth = yield from self._block(start, min(start + size, end), depth)
        return depth

    def _trim(self, start: int, end: int, around: bytes = _BETWEEN) -> Span:
        """Return the span without the bytes ``around`` it. It works by blocks, since padding can be long."""
        text, kept = self.text, 0
        while start < end and not kept:
            block = text[start : min(end, start + _BLOCK_BYTES)]
            kept = len(block.lstrip(around))
            start += len(block) - kept
        kept = 0
        while start < end and not kept:
            block = text[max(start, end - _BLOCK_BYTES) : end]
            kept = len(block.rstrip(around))
            end -= len(block) - kept
        return Span(start, end)


def compact(text: bytes) -> bytes:
    """Return ``text`` without the white space between its tokens. Strings stay as they are."""
    return _SPACE_OR_STRING.sub(lambda match: match[1] or b"", text)


def on_one_line(text: bytes) -> bytes:
    """Return ``text`` itself, or without the white space between its tokens if it has line breaks.

    Raises `Undecodable` if a line break is in a string.
    """
    if b"\n" not in text and b"\r" not in text:
        return text
    text = compact(text)
    if b"\n" in text or b"\r" in text:
        raise Undecodable("a line break inside a string. JSON requires it to be escaped")
    return text


def _blanked(text: bytes) -> bytearray:
    """Return ``text`` with NULs in place of the contents of its strings. Every bracket that is left is structure."""
    plain = text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")  # each quote that is left delimits a string
    if plain.count(b'"') % 2:
        raise Undecodable("a string is not closed", plain.rfind(b'"'))
    marks = bytearray(plain)
    inside = False
    for start in range(0, len(plain), _BLANKING_WINDOW_BYTES):
        window = plain[start : start + _BLANKING_WINDOW_BYTES]
        quotes = window.count(b'"')
        if quotes > _FEW_QUOTES:
            marks[start : start + len(window)] = _blanked_window(window, inside=inside)
        elif quotes or inside:
            marks[start : start + len(window)] = _blanked_parts(window.split(b'"'), inside=inside)
        inside ^= quotes % 2 == 1
    return marks


def _blanked_parts(parts: list[bytes], *, inside: bool) -> bytes:
    """Return the same as `_blanked_window` for a window's ``parts`` between its quotes. It is quick for few of them."""
    first = 0 if inside else 1
    parts[first::2] = [bytes(len(part)) for part in parts[first::2]]
    return b'"'.join(parts)


def _blanked_window(window: bytes, *, inside: bool) -> bytes:
    """Return a part of a text with NULs in place of the contents of strings. ``inside`` tells if it begins in a string.

    The work is done on all bytes at once, as a number of as many bytes. So it takes the same 5 ns a byte for any text.
    A step of Python for each string takes ten times as long where strings are short.
    """
    size = len(window)
    ones = (1 << 8 * size) - 1
    quotes = strings = int.from_bytes(window.translate(_QUOTES), "little")
    shift = 8
    while shift < 8 * size:  # then each byte is the exclusive or of all quotes up to it: in a string, or at its start
        strings ^= strings << shift
        shift *= 2
    strings = (strings ^ ones if inside else strings) & ones
    kept = strings & ~quotes ^ ones
    return (int.from_bytes(window, "little") & kept).to_bytes(size, "little")


def _stays_inside(depth: int, steps: bytes | bytearray) -> bool:
    """Return whether all steps from ``depth`` stay within one value right inside the scanned value."""
    if depth < _INSIDE:
        return not steps
    if depth - steps.count(_CLOSE) >= _INSIDE:
        return True
    if _NEST_LEVELS <= len(steps) // (2 * steps.count(_PAIR) or len(steps)) <= 4 * _NEST_LEVELS:
        steps = steps.replace(_NEST, b"")  # in longer runs the search for it takes longer than it saves
    length = 2 * len(steps)
    while len(steps) * _SHRUNK < length * (_SHRUNK - 1):  # else few pairs are left, and so few valleys
        length = len(steps)
        steps = steps.replace(_PAIR, b"")  # up and back: the lowest depth stays the same
    *before, last = steps.split(_VALLEY)
    for part in before:  # steps up, then steps down. Behind it come the valley's step down and step up
        depth += len(part) - 2 * part.count(_CLOSE)
        if depth <= _INSIDE:
            return False
    return depth + len(last) - 2 * last.count(_CLOSE) >= _INSIDE
