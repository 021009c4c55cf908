r"""Needles: texts of which one is in every line that can match, found at the speed of memory.

A string's needle is its JSON token with the quotes: ``"alice"``, whatever white space stands around it. JSON allows a
second spelling of each character, ``\u0061`` for ``a``. kube-apiserver writes it only for ``<``, ``>``, ``&`` and
characters that cannot be printed. So a line with such an escape of one of the value's characters may have the value
too. Each pattern is searched for by itself, because a search for several at once is twenty times as slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ahocorasick_rs import BytesAhoCorasick

Text: TypeAlias = "bytes | bytearray | memoryview"

_HARD = re.compile(r'["\\<>&]|[^ -~]')
_ESCAPE = rb"\u00"


class _Pattern(NamedTuple):
    find: BytesAhoCorasick
    followed_by: frozenset[bytes] | None
    """What the bytes behind it must be, where not all of its places count: the last digit of an escape, lower case."""


class Needle:
    """Patterns of which one is in every text that can match."""

    def __init__(self, plain: Iterable[bytes], characters: Iterable[str]) -> None:
        """Keep the ``plain`` patterns, and the ``characters`` whose escapes may hide one of them."""
        self._plain = dict.fromkeys(plain)
        self._characters = frozenset(characters)
        escapes: dict[bytes, set[bytes]] = {}
        for character in sorted(self._characters):
            digits = b"%02x" % ord(character)
            for first in {digits[:1], digits[:1].upper()}:
                escapes.setdefault(_ESCAPE + first, set()).add(digits[1:])
        slash = [rb"\/"] if "/" in self._characters else []
        self._patterns = [_Pattern(BytesAhoCorasick([text]), None) for text in (*self._plain, *slash)]
        self._patterns += [
            _Pattern(BytesAhoCorasick([text]), frozenset(followers)) for text, followers in escapes.items()
        ]

    def __bool__(self) -> bool:
        """Return whether there is a pattern. Without any, each text may match."""
        return bool(self._plain)

    def or_token(self, value: str) -> Needle:
        """Return the needle of the texts that have this one or the string ``value``."""
        return Needle([*self._plain, _token(value)], {*self._characters, *value})

    def places(self, text: Text) -> list[int]:
        """Return the offsets in ``text`` at which a pattern begins, in order."""
        found: list[int] = []
        for pattern in self._patterns:
            matches = pattern.find.find_matches_as_indexes(text)
            if pattern.followed_by is None:
                found += [start for _, start, _ in matches]
            elif matches:
                found += _escapes(text, matches, pattern.followed_by)
        return sorted(found)


def _escapes(text: Text, matches: Sequence[tuple[int, int, int]], digits: frozenset[bytes]) -> Iterator[int]:
    return (start for _, start, end in matches if bytes(text[end : end + 1]).lower() in digits)


def token(values: Sequence[str]) -> Needle:
    """Return the needle of the texts that have one of the strings ``values``.

    It is empty where a value has several usual spellings, or is empty.
    """
    if not all(values) or any(map(_HARD.search, values)):
        return Needle([], [])
    return Needle(map(_token, values), "".join(values))


def number_after(name: str, digits: Iterable[str]) -> Needle:
    """Return the needle of the texts with a member ``name`` whose number begins with one of ``digits``.

    Where white space stands around the colon, any number counts.
    """
    quoted = _token(name)
    compact = [quoted + b":" + start.encode() for start in digits]
    spaced = [quoted + between for between in (b" ", b"\t", b": ", b":\t")]
    return Needle([*compact, *spaced], name)


def _token(value: str) -> bytes:
    return b'"%s"' % value.encode()


def rarest(needles: Iterable[Needle], sample: Text) -> Needle | None:
    """Return the needle with the fewest places in ``sample``. None if there are no needles."""
    return min(needles, key=lambda needle: len(needle.places(sample)), default=None)
