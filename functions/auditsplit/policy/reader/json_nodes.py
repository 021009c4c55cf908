"""Read JSON as Go's ``encoding/json`` does, with the position of each value."""

from __future__ import annotations

import bisect
import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from typing import Any

from auditsplit.policy.reader.nodes import MAX_DEPTH, Member, Node, Position, Refusal

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile("|".join(_WORDS))
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def parse(text: bytes) -> Node:
    """Return the document in ``text``. `Refusal` where it is not valid JSON."""
    reader = _Reader(text.decode(errors="replace"))
    node, end = reader.value(reader.skip(0), 0)
    end = reader.skip(end)
    if end < len(reader.text):
        raise reader.refusal("one JSON document is expected, and more follows it", end)
    return node


class _Reader:
    """A text, and where its lines begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(self, index: int) -> Position:
        """Return the position of the character at ``index``."""
        line = bisect.bisect_right(self._lines, index)
        return Position(line, index - self._lines[line - 1] + 1)

    def refusal(self, reason: str, index: int) -> Refusal:
        """Return the error for the character at ``index``."""
        return Refusal(f"not valid JSON: {reason}", self.position(index))

    def skip(self, index: int) -> int:
        """Return the index of the next character at or after ``index`` that is not white space."""
        match = _SPACE.match(self.text, index)
        return match.end() if match else index

    def value(self, index: int, depth: int) -> tuple[Node, int]:
        """Return the value that begins at ``index``, and the index after it."""
        start = self.text[index : index + 1]
        position = self.position(index)
        if start in ("{", "["):
            if depth >= MAX_DEPTH:
                raise self.refusal(f"more than {MAX_DEPTH} levels", index)
            read = self._object if start == "{" else self._array
            value, end = read(self.skip(index + 1), depth + 1)
            return Node(value, position), end
        value, end = self._scalar(index)
        return Node(value, position), end

    def _scalar(self, index: int) -> tuple[Any, int]:
        if self.text[index : index + 1] == '"':
            return self._string(index)
        if word := _WORD.match(self.text, index):
            return _WORDS[word[0]], word.end()
        if number := _NUMBER.match(self.text, index):
            return (float if number[1] or number[2] else int)(number[0]), number.end()
        raise self.refusal("a value is expected", index)

    def _string(self, index: int) -> tuple[str, int]:
        if self.text[index : index + 1] != '"':
            raise self.refusal("a string is expected", index)
        try:
            text, end = scanstring(self.text, index + 1, True)  # noqa: FBT003 - it has no keywords
        except json.JSONDecodeError as error:
            raise self.refusal(error.msg[0].lower() + error.msg[1:], error.pos) from None
        return _LONE_SURROGATE.sub(_REPLACEMENT, text), end

    def _array(self, index: int, depth: int) -> tuple[list[Node], int]:
        items: list[Node] = []
        if self.text.startswith("]", index):
            return items, index + 1
        while True:
            item, end = self.value(index, depth)
            items.append(item)
            index = self.skip(end)
            if self.text.startswith("]", index):
                return items, index + 1
            index = self._after(",", index, "a comma or a bracket")

    def _object(self, index: int, depth: int) -> tuple[tuple[Member, ...], int]:
        members: list[Member] = []
        if self.text.startswith("}", index):
            return (), index + 1
        while True:
            position = self.position(index)
            name, end = self._string(index)
            index = self._after(":", self.skip(end), "a colon")
            value, end = self.value(index, depth)
            members.append(Member(name, position, value))
            index = self.skip(end)
            if self.text.startswith("}", index):
                return tuple(members), index + 1
            index = self._after(",", index, "a comma or a brace")

    def _after(self, token: str, index: int, expected: str) -> int:
        if not self.text.startswith(token, index):
            raise self.refusal(f"{expected} is expected", index)
        return self.skip(index + 1)
