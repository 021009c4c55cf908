"""Layout: which lines of a recorded file belong together.

Most files have a document on each line. In others a document goes on over several lines. Whether a line stands for
itself depends on the line, not on the file: a torn line, or noise, must hide no line behind it. A document of several
lines is only what a JSON parser could read as a single value. Where that fails, at the first line that cannot go on,
its lines are looked at again, each for itself. A document begins at the left margin: text further right may be part
of a request body, which users choose.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from auditsplit.decode.wrappers import Line, is_json
from auditsplit.errors import BodyTooLarge

_EVENT_LINE = b'{"kind":"Event","apiVersion":"audit.k8s.io/'  # as the log backend begins each line
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_BRACKET = re.compile(rb"[][{}]")
_OPENING = {ord("}"): ord("{"), ord("]"): ord("[")}
_VALUE_START = b'"{[-0123456789tfnNI'


class Block(NamedTuple):
    """Lines that belong together: a line that stands for itself, or the lines of a document."""

    lines: list[Line]
    document: bool
    """Whether they are a document, or the broken rest of a document, of several lines."""


def blocks(lines: Iterable[Line], max_bytes: int) -> Iterator[Block]:
    """Yield the blocks of a file in order, without empty lines between them.

    `BodyTooLarge` is raised for a document of several lines and more than ``max_bytes``.
    """
    source = _Source(lines)
    while line := source.take():
        if stands_alone(line.text):
            yield Block([line], document=False)
            continue
        scan = _Scan(max_bytes)
        complete = scan.read(line, source)
        if complete:
            yield Block(scan.lines, document=len(scan.lines) > 1)
        else:
            yield from _apart(scan)


def stands_alone(text: bytes) -> bool:
    """Return whether a line is no beginning of a document of several lines."""
    if text.startswith(_EVENT_LINE) and text.rstrip().endswith(b"}"):
        return True
    return not text.startswith(b"{") or is_json(text)


def _apart(scan: _Scan) -> Iterator[Block]:
    """Yield the blocks of a document that broke off.

    A line inside that stands for itself, or a document that begins inside, is a block of its own.
    """
    rest: list[Line] = []
    index = 0
    while index < len(scan.lines):
        line = scan.lines[index]
        last = scan.closed.get(index) if index else None
        alone = index and line.text.startswith(b"{") and (last is not None or is_json(line.text))
        if not alone:
            rest.append(line)
            index += 1
            continue
        if rest:
            yield Block(rest, document=len(rest) > 1)
            rest = []
        end = index + 1 if last is None else last + 1
        yield Block(scan.lines[index:end], document=end > index + 1)
        index = end
    if rest:
        yield Block(rest, document=len(rest) > 1)


class _Source:
    """The lines of a file, some of which were given back."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._returned: deque[Line] = deque()

    def take(self) -> Line | None:
        """Return the next line that is not empty."""
        if self._returned:
            return self._returned.popleft()
        return next((line for line in self._lines if not line.text.isspace()), None)

    def give_back(self, line: Line) -> None:
        self._returned.append(line)


class _Scan:
    """The lines of a document so far, and the brackets that are open."""

    def __init__(self, max_bytes: int) -> None:
        self.lines: list[Line] = []
        self.closed: dict[int, int] = {}
        """For a line at the left margin that begins an object: the line that ends with the end of this object."""
        self._max_bytes, self._size = max_bytes, 0
        self._open: list[tuple[int, int]] = []  # each bracket, and the line that begins with it, or -1
        self._end = b""  # the last character of the text so far

    def read(self, first: Line, source: _Source) -> bool:
        """Read a document of ``first`` and the next lines of ``source``. Return whether it is complete."""
        line: Line | None = first
        while line:
            if self.lines and not self._can_go_on(line.text):
                source.give_back(line)
                return False
            if self._size + len(line.text) > self._max_bytes:
                raise BodyTooLarge(f"a document of over {self._max_bytes} bytes. Raise AUDIT_MAX_BODY_BYTES")
            self.lines.append(line)
            self._size += len(line.text)
            if not self._add(line.text):
                return False
            if not self._open:
                return self.closed.get(0) == len(self.lines) - 1
            line = source.take()
        return False

    def _can_go_on(self, text: bytes) -> bool:
        """Return whether ``text`` may follow the text so far, by the two characters at the break."""
        start = text.lstrip()[:1]
        in_object = self._open[-1][0] == ord("{")
        value = b'"' if in_object else _VALUE_START
        match self._end:
            case b"{" | b"[":
                return start in value or start == (b"}" if in_object else b"]")
            case b",":
                return start in value
            case b":":
                return start in _VALUE_START
            case _:
                return start in (b",:}" if in_object else b",]")

    def _add(self, text: bytes) -> bool:
        """Follow the brackets of the next line. Return whether its strings end and its brackets match."""
        number = len(self.lines) - 1
        marks = _STRING.sub(lambda string: b" " * len(string[0]), text)
        if b'"' in marks:
            return False
        for bracket in _BRACKET.finditer(marks):
            mark, position = marks[bracket.start()], bracket.start()
            if mark not in _OPENING:
                self._open.append((mark, -1 if position else number))
                continue
            if not self._open or self._open[-1][0] != _OPENING[mark]:
                return False
            begin, at_end = self._open.pop()[1], text[position + 1 :].isspace() or position + 1 == len(text)
            if at_end:
                self.closed[begin] = number
            elif not self._open:
                return False
        self._end = text.rstrip()[-1:]
        return True
