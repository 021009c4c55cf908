"""Cleaning: a member of an event without the parts that Elasticsearch or a strict JSON parser refuses.

Callers choose keys, values and nesting. Only the part that is refused is left out, and its path is named. What
Elasticsearch refuses of an object with any keys (type ``flattened``):

- a key with a NUL, because it separates the key from the value in a term
- a path and value of over 32,766 bytes, the longest term of Lucene
- objects deeper than the mapping's ``depth_limit``
- a name twice in one object. The last one counts, as for kube-apiserver
- NaN, infinities, and numbers of over 1,000 digits
- lone surrogates, invalid UTF-8 and control characters. They become U+FFFD, or are escaped
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_TERM_CHARACTERS = 8191
"""Lucene's longest term is 32,766 bytes, and a character has four at most. Longer values are not searched."""

MAX_DEPTH = 250
"""Objects and lists in each other, in a member: the mapping's ``depth_limit``."""

_MAX_PATH_BYTES = 28_000  # leaves room for a value of 1,024 characters, see `template`
_MAX_DIGITS = 1000
_MAX_NAME = 200
_MAX_LEFT_OUT = 50  # names in a document; the line has the rest
_MAX_BASIC = "\uffff"  # characters above have two units of UTF-16, which Elasticsearch counts

_LEFT_OUT = object()
"""Stands for a value that is refused wherever it is."""

_CONTAINERS = frozenset({dict, list})
_SCALARS = frozenset({int, float, bool, type(None)})
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NEXT_BRACKET = re.compile(r'[^][{}"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^][{}"]*+)*+([][{}])', re.DOTALL)

_Place = tuple[Any, str, int, int]
"""A container, its path, the bytes of its path, and its depth."""


class Clean(NamedTuple):
    """A value without the parts that are refused, None if that is all of it, and the paths of those parts."""

    value: Any
    left_out: list[str]


def clean(text: bytes, name: str, max_characters: int | None = None) -> Clean:
    """Return the JSON value ``text`` of the member ``name``, cleaned. Raises `ValueError` where it is not JSON.

    Strings of over ``max_characters`` are cut to that length.
    """
    characters = text.decode("utf-8", "surrogateescape")
    cleaner = _Cleaner(name, max_characters, any_surrogate=_has_surrogates(characters))
    try:
        value = cleaner.decode(characters)
    except RecursionError:
        value = cleaner.decode(_shallower(characters))
    return cleaner.clean(value)


def beginning(text: str, max_characters: int = MAX_TERM_CHARACTERS) -> str:
    """Return the first characters of ``text``: as many as Elasticsearch searches."""
    text = text[:max_characters]
    return text if not text or max(text) <= _MAX_BASIC else text[: max_characters // 2]


def printable(text: str) -> str:
    """Return ``text`` with lone surrogates, which no UTF-8 has, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def short(name: str) -> str:
    """Return a name as ``left_out`` has it."""
    return printable(name)[:_MAX_NAME]


class _Cleaner:
    """The cleaning of one value."""

    def __init__(self, name: str, max_characters: int | None, *, any_surrogate: bool) -> None:
        self._name = name
        self._max_characters = max_characters
        self._reads_strings = any_surrogate or max_characters is not None
        self._scalars = _SCALARS if self._reads_strings else _SCALARS | {str}
        self._twice: dict[int, tuple[Any, list[str]]] = {}  # by id: the object, and the names that it has several times
        self._left_out: dict[str, None] = {}

    def decode(self, text: str) -> Any:
        self._twice.clear()
        decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_float=_number,
            parse_int=_integer,
            parse_constant=lambda _: _LEFT_OUT,
            strict=False,
        )
        return decoder.decode(text)

    def clean(self, value: Any) -> Clean:
        holder = [value]
        todo: list[_Place] = []
        self._visit((holder, self._name, 0, 0), [(0, value)], todo)
        while todo:
            place = todo.pop()
            if type(place[0]) is dict:
                self._clean_names(place)
            self._visit(place, _pairs(place[0]), todo)
            if type(place[0]) is list and _LEFT_OUT in place[0]:
                place[0][:] = [element for element in place[0] if element is not _LEFT_OUT]
        return Clean(holder[0] if holder[0] is not _LEFT_OUT else None, list(self._left_out))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            several = Counter(name for name, _ in pairs)
            self._twice[id(members)] = members, [name for name, count in several.items() if count > 1]
        return members

    def _clean_names(self, place: _Place) -> None:
        """Leave out the members of the object at ``place`` whose names are refused."""
        members, path, path_bytes, _ = place
        _, twice = self._twice.get(id(members), (None, ()))
        for name in twice:
            self._note(f"{path}.{name}")
        names = "".join(members)
        if len(names) * 4 + path_bytes < _MAX_PATH_BYTES and "\0" not in names and not self._reads_strings:
            return
        for name in list(members):
            if "\0" in name or path_bytes + 1 + len(name.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES:
                del members[name]
                self._note(f"{path}.{name}")
            elif _SURROGATE.search(name):
                members[_SURROGATE.sub("\ufffd", name)] = members.pop(name)
                self._note(f"{path}.{name}")

    def _visit(self, place: _Place, pairs: Sequence[tuple[Any, Any]], todo: list[_Place]) -> None:
        """Clean the strings at ``place``, cut what is too deep, and add the other containers to ``todo``."""
        for key, value in pairs:
            kind = type(value)
            if kind is str:
                if self._reads_strings:
                    self._put_string(place, key, value)
            elif kind in _CONTAINERS:
                if place[3] >= MAX_DEPTH:
                    self._cut(place, key)
                elif value and not (kind is list and self._scalars.issuperset(map(type, value))):
                    todo.append(_inside(place, key, value))
            elif value is _LEFT_OUT:
                self._cut(place, key)

    def _put_string(self, place: _Place, key: Any, text: str) -> None:
        cleaned = self._string(text)
        if cleaned != text:
            place[0][key] = cleaned
            self._note(_path(place, key))

    def _cut(self, place: _Place, key: Any) -> None:
        """Leave out a value. In a list, `clean` removes the mark that this puts there."""
        self._note(_path(place, key))
        if type(place[0]) is dict:
            del place[0][key]
        else:
            place[0][key] = _LEFT_OUT

    def _string(self, text: str) -> str:
        if not text.isascii():
            text = _SURROGATE.sub("\ufffd", text)
        if self._max_characters is not None and len(text) > self._max_characters // 2:
            return (
                text if text.isascii() and len(text) <= self._max_characters else beginning(text, self._max_characters)
            )
        return text

    def _note(self, path: str) -> None:
        if len(self._left_out) < _MAX_LEFT_OUT:
            self._left_out[short(path)] = None


def _path(place: _Place, key: Any) -> str:
    """Return the path of a value. Elasticsearch has no positions in lists."""
    return f"{place[1]}.{key}" if type(place[0]) is dict else place[1]


def _inside(place: _Place, key: Any, value: Any) -> _Place:
    more_bytes = len(key.encode()) + 1 if type(place[0]) is dict else 0
    return value, _path(place, key), place[2] + more_bytes, place[3] + 1


def _pairs(container: Any) -> list[tuple[Any, Any]]:
    return list(container.items() if type(container) is dict else enumerate(container))


def _number(text: str) -> Any:
    number = float(text)
    return number if math.isfinite(number) else _LEFT_OUT


def _integer(text: str) -> Any:
    return int(text) if len(text) <= _MAX_DIGITS else _LEFT_OUT


def _has_surrogates(text: str) -> bool:
    return bool(_SURROGATE_ESCAPE.search(text) or (not text.isascii() and _SURROGATE.search(text)))


def _shallower(text: str) -> str:
    """Return ``text`` with NaN, which is left out, in place of the values that are deeper than a parser reads."""
    pieces: list[str] = []
    depth = kept = begin = 0
    for bracket in _NEXT_BRACKET.finditer(text):
        if bracket[1] in "[{":
            depth += 1
            if depth == MAX_DEPTH + 2:
                begin = bracket.start(1)
        else:
            depth -= 1
            if depth == MAX_DEPTH + 1:
                pieces += (text[kept:begin], "NaN")
                kept = bracket.end(1)
    return "".join(pieces) + text[kept : begin if depth > MAX_DEPTH + 1 else None]
