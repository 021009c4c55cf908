"""Where the values of a JSON text lie, found by its strings and brackets alone.

The fast parsers refuse a whole EventList for one request body in it (a lone surrogate, nesting beyond their limit, a
number too big), and any user can send such a body. This scan needs no recursion and looks at no scalar, so it finds
every item as long as quotes and brackets match: what kube-apiserver sends always passes, since Go has checked it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from auditsplit.errors import Undecodable

# A string with the colon behind it (a member's name), a string, a bracket, or a quote that nothing closes.
# Possessive, so that a megabyte of escapes needs no memory and an open quote no second try.
_TOKEN = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:)?|[][{}]|"', re.DOTALL)
_BETWEEN = b" \t\r\n,"
_SPACE = b" \t\r\n"
_BLOCK_BYTES = 4096
_SPACE_OR_STRING = re.compile(rb'[ \t\r\n]++|("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_DEEPEST = 2  # of the depths after a token that `members` and `elements` look at
_OPENING, _CLOSING, _QUOTE = frozenset(b"{["), {ord("}"): b"{", ord("]"): b"["}, ord('"')


class Span(NamedTuple):
    """A value's place: ``text[start:end]``."""

    start: int
    end: int


def members(text: bytes, span: Span) -> Iterator[tuple[bytes, Span]]:
    """Yield the members of the object at ``span``: each name as its string token, with quotes, and its value's span.

    In order, duplicates and all. Raises `Undecodable` with the position where ``text`` is no object or its quotes and
    brackets don't match.
    """
    name: bytes | None = None
    start = span.start
    for token, depth in _tokens(text, span, opening=b"{"):
        closes_object = depth == 0
        names_member = depth == 1 and token[2] is not None
        if name is not None and (names_member or closes_object):
            yield name, _trim(text, start, token.start())
        if names_member:
            name, start = token[1], token.end()


def elements(text: bytes, span: Span) -> Iterator[Span]:
    """Yield the spans of the array's elements at ``span``, in order; scalars between two brackets come as one.

    Raises `Undecodable` as `members` does.
    """
    after = span.start + 1
    for token, depth in _tokens(text, span, opening=b"["):
        mark = text[token.start()]
        opens = depth == _DEEPEST and mark in _OPENING
        if opens or depth == 0:
            scalars = _trim(text, after, token.start())
            if scalars.start < scalars.end:
                yield scalars
        if opens:
            start = token.start()
        elif depth == 1 and mark in _CLOSING:
            yield Span(start, token.end())
            after = token.end()


def compact(text: bytes) -> bytes:
    """Return ``text`` without the white space between its tokens; strings stay as they are."""
    return _SPACE_OR_STRING.sub(lambda match: match[1] or b"", text)


def whole(text: bytes) -> Span:
    """Return the span of the value that ``text`` is, without the white space around it."""
    return _trim(text, 0, len(text), _SPACE)


def _tokens(text: bytes, span: Span, opening: bytes) -> Iterator[tuple[re.Match[bytes], int]]:
    """Yield the tokens of the value at ``span`` that leave a depth of 2 or less, with that depth, to its end."""
    if text[span.start : span.start + 1] != opening:
        raise Undecodable(f"expected {opening.decode()!r}", span.start)
    open_brackets = bytearray()
    for token in _TOKEN.finditer(text, *span):
        mark = text[token.start()]
        if mark in _OPENING:
            open_brackets.append(mark)
        elif mark in _CLOSING:
            if not open_brackets.endswith(_CLOSING[mark]):
                raise Undecodable(f"{chr(mark)!r} does not match the bracket that is open", token.start())
            del open_brackets[-1:]
        elif mark == _QUOTE and token[1] is None:
            raise Undecodable("a string is not closed", token.start())
        depth = len(open_brackets)
        if depth <= _DEEPEST:
            yield token, depth
        if not depth:
            if token.end() != span.end:
                raise Undecodable("text after the end of the value", token.end())
            return
    raise Undecodable(f"{len(open_brackets)} brackets are not closed at the end", span.end)


def _trim(text: bytes, start: int, end: int, around: bytes = _BETWEEN) -> Span:
    """Return the span without the bytes ``around`` it; by blocks, since padding can be long."""
    kept = 0
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
