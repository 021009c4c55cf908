"""Edit an item's bytes: remove members of objects, and put other text in the place of a value.

All other bytes stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import Outline
from auditsplit.policy.parts import MARK, PARTS, mark

ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
"""Part of a name that is spelled with escapes. Go escapes only & < > in names, but others may escape any letter."""

# The changes that a mutating webhook made to the request's object. The apiserver adds them at the levels that include
# the object:
# https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#mutating-webhook-auditing-annotations
PATCHES = "patch.webhook.admission.k8s.io/"
"""The beginning of the names of annotations that have parts of the request's object."""
PATCH_SIGN = b"admission"
"""Is in such a name, even if its dots and slash are escaped."""
MANAGED_SIGN = b'"managedFields"'

_SEPARATORS = re.compile(rb"[ \t\r\n,]*+")
_METADATA = {"metadata": {"managedFields": "managedFields"}}
_ESCAPED_SIGNS = [rb"\u00%d" % digit for digit in (4, 5, 6, 7)]
_MAX_UNCOUNTED_BYTES = 4096
_MIN_BYTES_PER_MANAGED = 256
"""Kubernetes' smallest objects with managed fields have some 400 bytes each: name, uid, times, a manager's entry."""
_MIN_OBJECT_BYTES = len('{"metadata":{"managedFields":0}}')
MANAGED = {**_METADATA, "items": [_METADATA], "rows": [{"object": _METADATA}]}
"""Where managed fields are in a body: in an object, a list of objects, or a table."""


class Annotations(NamedTuple):
    """The annotations of an event, after some are removed."""

    span: Span
    kept: int
    """The number of annotations that stay."""


class Edit(NamedTuple):
    """Text in the place of other text."""

    start: int
    end: int
    text: bytes = b""


class Cuts:
    """The spans of one item that are cut."""

    def __init__(self, outline: Outline) -> None:
        self.dropped: set[str] = set()
        """The names of the parts that are cut."""
        self._outline, self._text = outline, outline.text
        self._edits: list[Edit] = []
        self._earlier_mark = ""

    @property
    def mark(self) -> bytes:
        """The mark for the parts that are cut now and those that an earlier mark names."""
        return mark([part for part in PARTS if part in self.dropped or part in self._earlier_mark])

    def kept(self, span: Span, shape: Mapping[str, object]) -> Iterator[tuple[str, Span]]:
        """Yield the members of the object at ``span`` that stay. Cut those for which ``shape`` has a part's name.

        A name in ``shape`` that ends in a slash stands for all names that begin with it. A member is cut with the comma
        before it. When all members before the first that stays are cut, the comma before that member is cut too.
        """
        end, first = span.start + 1, True
        for name, value in self._outline.members(span):
            start, end = end, value.end
            part = shape.get(name) or shape.get(name.partition("/")[0] + "/")
            if isinstance(part, str):
                self._edits.append(Edit(start, end))
                self._note(part, value)
                continue
            if first and start > span.start + 1:
                separators = _SEPARATORS.match(self._text, start)
                self._edits.append(Edit(start, separators.end() if separators else start))
            first = False
            yield name, value

    def _note(self, part: str, value: Span) -> None:
        if part == MARK:
            self._earlier_mark = self._text[value.start : value.end].decode(errors="replace")
        else:
            self.dropped.add(part)

    def annotations(self, span: Span, parts: Collection[str]) -> Annotations:
        """Cut an earlier mark, and the patches of the request's object if that is cut. Return the rest."""
        if self._text[span.start] != ord("{"):
            return Annotations(span, 0)
        shape = {MARK: MARK, **({PATCHES: "requestObject"} if "requestObject" in parts else {})}
        return Annotations(span, sum(1 for _ in self.kept(span, shape)))

    def managed_fields(self, span: Span) -> None:
        """Cut the managed fields of the body at ``span``.

        A large body with more of them than Kubernetes' objects can have stays whole, and so does a large body that is
        nested more deeply than parsers accept. A user made it to cost time: each cut takes some microseconds, so a list
        of such bodies would take seconds.
        """
        size = span.end - span.start
        if size <= _MAX_UNCOUNTED_BYTES or (
            self._managed_names(span) * _MIN_BYTES_PER_MANAGED <= size and not self._outline.is_too_deep(span)
        ):
            self.walk(span, MANAGED)

    def _managed_names(self, span: Span) -> int:
        """Return how often the name is in a body at most: as it is, and with escaped letters."""
        names = self._text.count(MANAGED_SIGN, *span)
        if ESCAPED_LETTER.search(self._text, *span):
            names += sum(self._text.count(sign, *span) for sign in _ESCAPED_SIGNS)
        return names

    def walk(self, span: Span, shape: Mapping[str, object] | list[Mapping[str, object]]) -> None:
        """Cut the managed fields where ``shape`` has them below ``span``. A value of another type stays."""
        if self._text.find(MANAGED_SIGN, *span) < 0 and not ESCAPED_LETTER.search(self._text, *span):
            return
        opening = self._text[span.start : span.start + 1]
        if isinstance(shape, list) and opening == b"[":
            for element in self._outline.elements(span):
                if element.end - element.start >= _MIN_OBJECT_BYTES:  # so that a million of {} take 1 s, not 10 s
                    self.walk(element, shape[0])
        elif isinstance(shape, Mapping) and opening == b"{":
            self._walk_members(span, shape)

    def _walk_members(self, span: Span, shape: Mapping[str, object]) -> None:
        for name, value in self.kept(span, shape):
            inner = shape.get(name)
            if isinstance(inner, Mapping | list):
                self.walk(value, inner)

    def replace(self, span: Span, text: bytes) -> None:
        """Put ``text`` in the place of the value at ``span``."""
        self._edits.append(Edit(*span, text))

    def edited(self, *more: Edit) -> bytes:
        """Return the text after all edits, and ``more`` of them."""
        pieces, done = [], 0
        for edit in sorted([*self._edits, *more]):
            pieces += [self._text[done : edit.start], edit.text]
            done = edit.end
        return b"".join([*pieces, self._text[done:]])


def name_of(token: bytes) -> str:
    """Return the string that ``token`` stands for, or the token's text where it is not a valid JSON string."""
    text = token.decode(errors="replace")
    if "\\" not in text:
        return text[1:-1]
    try:
        return str(json.loads(text, strict=False))
    except ValueError:  # an escape that is not valid in JSON: msgspec ignores it in members that it skips
        return text
