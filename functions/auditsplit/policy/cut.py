"""Cut parts out of an item's bytes.

All other bytes stay as they arrived. The annotation `MARK` names the parts that were cut. The result is still an
``audit.k8s.io/v1`` Event for every reader. A parser finds the parts of an event that is written as Go does. Any other
event, and any body that parsers refuse, is cut with `jsonscan`, which takes ten times as long.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Raw

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import REFUSALS, Outline, adds_up, decode_object
from auditsplit.policy.parts import BODIES, MARK, PARTS, mark

_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")  # Go escapes only & < >, but others may spell a name with it
_SEPARATORS = re.compile(rb"[ \t\r\n,]*+")

# The changes that a mutating webhook made to the request's object. The apiserver adds them at the levels that include
# the object:
# https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#mutating-webhook-auditing-annotations
_PATCHES = "patch.webhook.admission.k8s.io/"
_PATCH_SIGN = b"admission"  # is in such a name, even if its dots and slash are escaped
_MARK_SIGN = MARK.encode()
_MANAGED_SIGN = b'"managedFields"'
_SIGNS = {
    "requestObject": (b'"requestObject"', _PATCH_SIGN),
    "responseObject": (b'"responseObject"',),
    "managedFields": (_MANAGED_SIGN,),
}
_METADATA = {"metadata": {"managedFields": "managedFields"}}
_MIN_OBJECT_BYTES = len('{"metadata":{"managedFields":0}}')
_MANAGED = {**_METADATA, "items": [_METADATA], "rows": [{"object": _METADATA}]}  # an object, a list of them, a table


def without(
    text: bytes,
    parts: Collection[str],
    members: Sequence[tuple[str, tuple[int, int]]] | None = None,
    marks: bytes | None = None,
) -> bytes | None:
    """Return the item ``text`` without ``parts``, some of `PARTS`, and with the mark. None if it has none of them.

    ``members`` and ``marks`` are what decoding found out: see `Event`. Raises `Undecodable` where brackets don't match.
    """
    if not any(sign in text for part in parts for sign in _SIGNS[part]) and not _ESCAPED_LETTER.search(text):
        return None
    if members is None:
        with contextlib.suppress(*REFUSALS):
            quick = _parsed_without(decode_object(text), text, parts)
            if quick is not None:
                return quick
    return _outlined_without(Outline(text, _name, members=members, marks=marks), parts)


def _parsed_without(members: dict[str, Raw], text: bytes, parts: Collection[str]) -> bytes | None:
    """Return the same as `without` for an item with these ``members``. None where it takes more than to join them."""
    if "managedFields" in parts or not adds_up(members, len(text)):
        return None
    dropped = [body for body in BODIES if body in parts and body in members]
    annotations = bytes(members.get("annotations", b"{}"))
    if not dropped or not _is_plain(annotations):
        return None
    return _joined(members, text, dropped)


def _joined(members: dict[str, Raw], text: bytes, dropped: Collection[str]) -> bytes:
    """Return ``text`` without the ``dropped`` members, and with the mark in its annotations."""
    pieces: list[bytes] = []
    end = done = 0
    for name, value in members.items():
        start, end = end, end + len(name) + len(value) + 4  # a brace or a comma, two quotes, a colon
        if name in dropped:
            pieces.append(text[done:start])
            done = end
        elif name == "annotations":
            pieces += [text[done : end - 1], b",", mark(dropped), b"}"]
            done = end
    return b"{%b" % b"".join([*pieces, text[done:]])[1:]  # instead of a comma, if the first member was dropped


def _is_plain(annotations: bytes) -> bool:
    """Return whether the mark can be added at the end of ``annotations``, and nothing in them must be cut."""
    if _PATCH_SIGN in annotations or _MARK_SIGN in annotations or _ESCAPED_LETTER.search(annotations):
        return False
    return annotations.endswith(b'"}')


def _outlined_without(outline: Outline, parts: Collection[str]) -> bytes | None:
    """Return the same as `without`, with the spans of an ``outline``."""
    cuts = _Cuts(outline)
    item = outline.whole
    annotations: _Annotations | None = None
    kept = 0
    for name, value in cuts.kept(item, {body: body for body in BODIES if body in parts}):
        kept += 1
        if name == "annotations":
            annotations = cuts.annotations(value, parts)
        elif name in BODIES and "managedFields" in parts:
            cuts.walk(value, _MANAGED)
    return cuts.edited(_marking(outline.text, item, kept, annotations, cuts.mark)) if cuts.dropped else None


class _Annotations(NamedTuple):
    span: Span
    kept: int
    """The number of annotations that stay."""


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes = b""


def _marking(text: bytes, item: Span, kept: int, annotations: _Annotations | None, annotation: bytes) -> _Edit:
    """Return the edit that adds the mark's ``annotation`` to an item of which ``kept`` members stay."""
    if annotations is None:
        end = item.end - 1
        return _Edit(end, end, b'%b"annotations":{%b}' % (b"," if kept else b"", annotation))
    if text[annotations.span.start] != ord("{"):
        return _Edit(*annotations.span, b"{%b}" % annotation)
    end = annotations.span.end - 1
    return _Edit(end, end, (b"," if annotations.kept else b"") + annotation)


class _Cuts:
    """The spans of one item that are cut."""

    def __init__(self, outline: Outline) -> None:
        self.dropped: set[str] = set()
        """The names of the parts that are cut."""
        self._outline, self._text = outline, outline.text
        self._edits: list[_Edit] = []
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
                self._edits.append(_Edit(start, end))
                self._note(part, value)
                continue
            if first and start > span.start + 1:
                separators = _SEPARATORS.match(self._text, start)
                self._edits.append(_Edit(start, separators.end() if separators else start))
            first = False
            yield name, value

    def _note(self, part: str, value: Span) -> None:
        if part == MARK:
            self._earlier_mark = self._text[value.start : value.end].decode(errors="replace")
        else:
            self.dropped.add(part)

    def annotations(self, span: Span, parts: Collection[str]) -> _Annotations:
        """Cut an earlier mark, and the patches of the request's object if that is cut. Return the rest."""
        if self._text[span.start] != ord("{"):
            return _Annotations(span, 0)
        shape = {MARK: MARK, **({_PATCHES: "requestObject"} if "requestObject" in parts else {})}
        return _Annotations(span, sum(1 for _ in self.kept(span, shape)))

    def walk(self, span: Span, shape: Mapping[str, object] | list[Mapping[str, object]]) -> None:
        """Cut the managed fields where ``shape`` has them below ``span``. A value of another type stays."""
        if self._text.find(_MANAGED_SIGN, *span) < 0 and not _ESCAPED_LETTER.search(self._text, *span):
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

    def edited(self, last: _Edit) -> bytes:
        """Return the text without the parts, and with the edit ``last``."""
        pieces, done = [], 0
        for edit in sorted([*self._edits, last]):
            pieces += [self._text[done : edit.start], edit.text]
            done = edit.end
        return b"".join([*pieces, self._text[done:]])


def _name(token: bytes) -> str:
    """Return the string that ``token`` stands for, or the token's text where it is not a valid JSON string."""
    text = token.decode(errors="replace")
    if "\\" not in text:
        return text[1:-1]
    try:
        return str(json.loads(text, strict=False))
    except ValueError:  # an escape that is not valid in JSON: msgspec ignores it in members that it skips
        return text
