"""Where the values of a JSON text lie, found by its strings and brackets alone.

The fast parsers refuse a whole EventList for one request body in it (a lone surrogate, nesting beyond their limit, a
number too big), and any user can send such a body. This scan needs no recursion and looks at no scalar, so it finds
every item as long as quotes and brackets match: what kube-apiserver sends always passes, since Go has checked it.

Any user can also send a body of a million brackets or strings, and the apiserver waits 30 s. So what lies deep is
skipped by blocks, and a step of Python's is taken only where a value that was asked for begins or ends. The price:
whether ``{`` is closed by ``}`` rather than ``]`` is seen only for the value itself and those right inside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from auditsplit.errors import Undecodable

_BETWEEN = b" \t\r\n,"
_SPACE = b" \t\r\n"
_SPACE_OR_STRING = re.compile(rb'[ \t\r\n]++|("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_STRING_OR_NAME = re.compile(rb'("\0*+")([ \t\r\n]*+:)?')
_BRACKET = re.compile(rb"[][{}]")
_CLOSING = {ord("}"): ord("{"), ord("]"): ord("[")}
_BLOCK_BYTES = 4096
_BLANKED_BYTES = 1024 * 1024  # at a time: a piece of a few bytes takes ten times as many
_INSIDE = 2  # the depth of a value right inside the one that is scanned

# A block's brackets as steps of depth, in signed bytes; all else is left out.
_OPEN, _CLOSE = b"\x01", b"\xff"
_STEPS = bytes.maketrans(b"{[}]", 2 * _OPEN + 2 * _CLOSE)
_NO_BRACKET = bytes(set(range(256)) - set(b"{}[]"))


class Span(NamedTuple):
    """A value's place: ``text[start:end]``."""

    start: int
    end: int


class Scan:
    """A JSON text whose quotes are known to match; `Undecodable` with the position of the last where they don't."""

    def __init__(self, text: bytes) -> None:
        """Tell the strings from the rest."""
        self.text = text
        self._marks = _blanked(text)

    @property
    def whole(self) -> Span:
        """The value that the text is, without the white space around it."""
        return self._trim(0, len(self.text), _SPACE)

    def members(self, span: Span) -> Iterator[tuple[bytes, Span]]:
        """Yield the members of the object at ``span``: each name as its string token, with quotes, and its value's.

        In order, duplicates and all. Raises `Undecodable` with the position where there is no object or its brackets
        don't match.
        """
        name: bytes | None = None
        begin, after = 0, span.start + 1  # of the value; of the text behind the last bracket, at the object's depth
        for position, depth in self._shallow(span, ord("{")):
            if depth == 1:
                after = position + 1
                continue
            for found in _STRING_OR_NAME.finditer(self._marks, after, position):
                if found[2] is not None:
                    if name is not None:
                        yield name, self._trim(begin, found.start())
                    name, begin = self.text[found.start(1) : found.end(1)], found.end()
            if depth == 0 and name is not None:
                yield name, self._trim(begin, position)

    def elements(self, span: Span) -> Iterator[Span]:
        """Yield the spans of the array's elements at ``span``, in order; scalars between two brackets come as one.

        Raises `Undecodable` as `members` does.
        """
        begin, after = 0, span.start + 1
        for position, depth in self._shallow(span, ord("[")):
            if depth == 1:
                yield Span(begin, position + 1)
                after = position + 1
                continue
            scalars = self._trim(after, position)
            if scalars.start < scalars.end:
                yield scalars
            begin = position

    def _shallow(self, span: Span, opening: int) -> Iterator[tuple[int, int]]:
        """Yield the positions of the brackets of the values right inside the one at ``span``, and of its last.

        Each with the depth behind it: 2 where a value begins, 1 where it ends, 0 at the end of all.
        """
        if span.start >= span.end or self._marks[span.start] != opening:
            raise Undecodable(f"expected {chr(opening)!r}", span.start)
        inner = 0
        for position, mark, depth in self._brackets(span.start + 1, span.end):
            if depth == _INSIDE and mark not in _CLOSING:
                inner = mark
                yield position, depth
            elif depth < _INSIDE:
                if _CLOSING[mark] != (inner if depth else opening):
                    raise Undecodable(f"{chr(mark)!r} does not match the bracket that is open", position)
                yield position, depth
            if not depth:
                if position + 1 != span.end:
                    raise Undecodable("text after the end of the value", position + 1)
                return

    def _brackets(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield position, bracket and the depth behind it, but for blocks that `_shallow` needs nothing of."""
        depth = 1
        for start in range(begin, end, _BLOCK_BYTES):
            block = self._marks[start : min(start + _BLOCK_BYTES, end)]
            steps = block.translate(_STEPS, _NO_BRACKET)
            if _stays_inside(depth, steps):
                depth += len(steps) - 2 * steps.count(_CLOSE)
                continue
            for bracket in _BRACKET.finditer(block):
                mark = block[bracket.start()]
                depth += -1 if mark in _CLOSING else 1
                yield start + bracket.start(), mark, depth
        raise Undecodable(f"{depth} brackets are not closed at the end", end)

    def _trim(self, start: int, end: int, around: bytes = _BETWEEN) -> Span:
        """Return the span without the bytes ``around`` it; by blocks, since padding can be long."""
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
    """Return ``text`` without the white space between its tokens; strings stay as they are."""
    return _SPACE_OR_STRING.sub(lambda match: match[1] or b"", text)


def _blanked(text: bytes) -> bytearray:
    """Return ``text`` with NULs for all that its strings hold: every bracket that is left is one."""
    plain = text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")  # every quote that is left begins or ends a string
    if plain.count(b'"') % 2:
        raise Undecodable("a string is not closed", plain.rfind(b'"'))
    marks = bytearray(plain)
    inside = False
    for start in range(0, len(plain), _BLANKED_BYTES):
        pieces = plain[start : start + _BLANKED_BYTES].split(b'"')
        strings = slice(0 if inside else 1, None, 2)
        pieces[strings] = map(bytes, map(len, pieces[strings]))
        marks[start : start + _BLANKED_BYTES] = b'"'.join(pieces)
        inside ^= len(pieces) % 2 == 0
    return marks


def _stays_inside(depth: int, steps: bytes | bytearray) -> bool:
    """Return whether no step from ``depth`` leaves a value right inside the scanned one, or enters one."""
    if depth < _INSIDE:
        return not steps
    if depth - steps.count(_CLOSE) >= _INSIDE:
        return True
    return depth + min(accumulate(memoryview(steps).cast("b")), default=0) >= _INSIDE
