"""The outline of an item: the spans of its members and elements.

A parser finds them at a nanosecond a byte. It returns the texts of the values, not their positions. The positions
follow from the lengths if these add up to the length of the whole: then there is no white space between the tokens, no
name twice and no escape in a name. Otherwise, and where a parser refuses the text, `jsonscan` finds the spans.

What users can send through kube-apiserver and a parser refuses: escapes of surrogates without their other half, and
nesting of more than 1,000 levels. Of the former, `harmless` makes a text that a parser accepts. Only nesting is left
for `jsonscan`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from auditsplit.decode.jsonscan import Scan, Span

REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a parser raises for a text that it refuses."""

SURROGATE = re.compile(rb"\\u[dD]")
"""What an item has that parsers refuse because of a surrogate."""

_SURROGATES = (rb"\ud", rb"\uD")
_MIN_BYTES_PER_COMMA = 16  # a parser's result for each value takes some 100 bytes of memory
_MAX_UNCHECKED_BYTES = 64 * 1024
decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode
decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def harmless(text: bytes) -> bytes:
    """Return ``text`` with other escapes of the same length in place of those of surrogates.

    All brackets, quotes, colons and commas stay in their places. A parser that refuses the result refuses ``text`` for
    another reason than surrogates.
    """
    if not any(escape in text for escape in _SURROGATES):
        return text
    text = text.replace(rb"\\", b"xx")  # so that each backslash that is left begins an escape
    for escape in _SURROGATES:
        text = text.replace(escape, rb"\u0")
    return text


def adds_up(members: dict[str, msgspec.Raw], size: int) -> bool:
    """Return whether ``members``, with quotes, colons, commas and braces alone, take ``size`` bytes."""
    if not members:
        return size == len("{}")
    return sum(map(len, members)) + sum(map(len, members.values())) + 4 * len(members) + 1 == size


def spans_of(members: dict[str, msgspec.Raw], start: int) -> Iterator[tuple[str, Span]]:
    """Yield the names and spans of ``members``, which add up, of the object that begins at ``start``."""
    end = start
    for name, value in members.items():
        begin = end + len(name) + 4  # a brace or a comma, two quotes, a colon
        end = begin + len(value)
        yield name, Span(begin, end)


def element_spans(elements: Sequence[msgspec.Raw], span: Span) -> list[Span] | None:
    """Return the spans of the ``elements`` of the array at ``span``. None if they do not add up."""
    if sum(map(len, elements)) + max(1, len(elements)) + 1 != span.end - span.start:
        return None
    spans, end = [], span.start
    for element in elements:
        begin = end + 1  # a bracket or a comma
        end = begin + len(element)
        spans.append(Span(begin, end))
    return spans


class Outline:
    """The spans of members and elements in a JSON text."""

    def __init__(
        self,
        text: bytes,
        name_of: Callable[[bytes], str],
        *,
        parse: bool = True,
        members: Sequence[tuple[str, tuple[int, int]]] | None = None,
        marks: bytes | bytearray | None = None,
    ) -> None:
        """Keep what is known of ``text``.

        Args:
            text: One JSON value, without white space around it if ``members`` are known.
            name_of: Returns the string that a name's token, with its quotes, stands for.
            parse: Whether a parser is tried before a scan.
            members: The members of ``text``, if they are known.
            marks: `Scan.marks` of ``text``, if it was scanned before.
        """
        self.text = text
        self._name_of, self._parse, self._members, self._marks = name_of, parse, members, marks
        self._scan: Scan | None = None

    @property
    def scan(self) -> Scan:
        """The scan of the text. It is made once, when it is needed."""
        if self._scan is None:
            self._scan = Scan(self.text, self._marks)
        return self._scan

    @property
    def whole(self) -> Span:
        """The span of the whole value."""
        padded = self.text[:1].isspace() or self.text[-1:].isspace()
        return self.scan.whole if padded else Span(0, len(self.text))

    def members(self, span: Span) -> Iterable[tuple[str, Span]]:
        """Return the members of the object at ``span`` in order. A name that is there twice is returned twice.

        Raises `Undecodable` with the position where there is no object, or where its brackets don't match.
        """
        if self._members is not None and span == (0, len(self.text)):
            return [(name, Span(*value)) for name, value in self._members]
        members = self._parsed(decode_object, span)
        if members is not None and adds_up(members, span.end - span.start):
            return spans_of(members, span.start)
        return ((self._name_of(token), value) for token, value in self.scan.members(span))

    def elements(self, span: Span) -> Iterable[Span]:
        """Return the spans of the elements of the array at ``span``, in order. A run of scalars may have one span.

        Raises `Undecodable` as `members` does.
        """
        elements = self._parsed(decode_array, span)
        spans = None if elements is None else element_spans(elements, span)
        return self.scan.elements(span) if spans is None else spans

    def is_too_deep(self, span: Span) -> bool:
        """Return whether the value at ``span`` has more levels than a parser reads, so that it must be scanned."""
        piece = self.text[span.start : span.end]
        for text in (piece, harmless(piece)):
            try:
                _skip(text)
            except RecursionError:
                return True
            except REFUSALS:
                continue
            return False
        return False

    def _parsed(self, decode: Callable[[bytes], Any], span: Span) -> Any:
        """Return what a parser makes of the value at ``span``. None if it refuses, or would take much memory."""
        if not self._parse:
            return None
        size = span.end - span.start
        if span.start and size > _MAX_UNCHECKED_BYTES and self.text.count(b",", *span) * _MIN_BYTES_PER_COMMA > size:
            return None
        piece = self.text[span.start : span.end]
        try:
            return decode(piece)
        except RecursionError:
            return None
        except REFUSALS:
            with contextlib.suppress(*REFUSALS):
                return decode(harmless(piece))
        return None
