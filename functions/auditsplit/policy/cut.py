"""Cut parts out of an item's bytes.

All other bytes stay as they arrived. The annotation `MARK` names the parts that were cut. The result is still an
``audit.k8s.io/v1`` Event for every reader. A parser finds the parts of an event that is written as Go does. Any other
event, and any body that parsers refuse, is cut with `jsonscan`, which takes ten times as long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.decode.jsonscan import Scan, Span

MARK = "auditsplit/dropped"
"""The annotation of an event that a part was cut from. Its value is the names of the `PARTS`, with commas between."""

BODIES = ("requestObject", "responseObject")
PARTS = (*BODIES, "managedFields")
"""The parts that can be cut: a body, or ``metadata.managedFields`` of both bodies."""

_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")  # Go escapes only & < >, but others may spell a name with it
_SEPARATORS = re.compile(rb"[ \t\r\n,]*+")

# The changes that a mutating webhook made to the request's object. The apiserver adds them at the levels that include
# the object:
# https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#mutating-webhook-auditing-annotations
_PATCHES = "patch.webhook.admission.k8s.io/"
_PATCH_SIGN = b"admission"  # is in such a name, even if its dots and slash are escaped
_MARK_SIGN = MARK.encode()
_SIGNS = {
    "requestObject": (b'"requestObject"', _PATCH_SIGN),
    "responseObject": (b'"responseObject"',),
    "managedFields": (b'"managedFields"',),
}
_METADATA = {"metadata": {"managedFields": "managedFields"}}
_MIN_OBJECT_BYTES = len('{"metadata":{"managedFields":0}}')
_MANAGED = {**_METADATA, "items": [_METADATA], "rows": [{"object": _METADATA}]}  # an object, a list of them, a table


def without(text: bytes, parts: Collection[str]) -> bytes | None:
    """Return the item ``text`` without ``parts``, some of `PARTS`, and with the mark. None if it has none of them."""
    if not any(sign in text for part in parts for sign in _SIGNS[part]) and not _ESCAPED_LETTER.search(text):
        return None
    return _parsed_without(text, parts) or _scanned_without(text, parts)


class _Members(msgspec.Struct, gc=False):
    requestObject: msgspec.Raw | UnsetType = UNSET  # noqa: N815 - the API's own name
    responseObject: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    annotations: msgspec.Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Members).decode


def _parsed_without(text: bytes, parts: Collection[str]) -> bytes | None:
    """Return the same as `_scanned_without`, or None where a parser can't tell for sure.

    A member's name may also be inside another member, or be there twice. So the bodies must be next to each other and
    the annotations must be last, as Go writes them. And the result, parsed again, must not have the bodies.
    """
    if "managedFields" in parts:
        return None
    try:
        members = _decode(text)
        dropped = _present(members, parts)
        annotations = _plain_annotations(members)
        if not (dropped and annotations and text.endswith(annotations + b"}")):
            return None
        bodies = b"".join([b',"%s":%b' % (body.encode(), getattr(members, body)) for body in dropped])
        start = text.find(b',"%s":' % dropped[0].encode())  # of the first name: to find all the bytes takes longer
        if not text.startswith(bodies, start):
            return None
        marked = b"%b,%b}" % (annotations[:-1], _mark(dropped))
        cut = b"%b%b%b}" % (text[:start], text[start + len(bodies) : -len(annotations) - 1], marked)
        remaining = _decode(cut)
        return cut if not _present(remaining, dropped) and _bytes_of(remaining.annotations) == marked else None
    except (ValueError, RecursionError):  # a ValueError, since msgspec's error is one too
        return None


def _present(members: _Members, parts: Collection[str]) -> list[str]:
    return [body for body in BODIES if body in parts and getattr(members, body) is not UNSET]


def _plain_annotations(members: _Members) -> bytes:
    """Return the annotations if the mark can be added at their end and nothing in them must be cut, else no bytes."""
    annotations = _bytes_of(members.annotations)
    if _PATCH_SIGN in annotations or _MARK_SIGN in annotations or _ESCAPED_LETTER.search(annotations):
        return b""
    return annotations if annotations.endswith(b'"}') else b""


def _bytes_of(member: msgspec.Raw | UnsetType) -> bytes:
    return b"" if member is UNSET else bytes(member)


def _mark(dropped: Collection[str]) -> bytes:
    return f'"{MARK}":"{",".join(dropped)}"'.encode()


def _scanned_without(text: bytes, parts: Collection[str]) -> bytes | None:
    """Return the same as `without`, with the strings and brackets of ``text`` alone."""
    cuts = _Cuts(text)
    item = cuts.scan.whole
    annotations: _Annotations | None = None
    kept = 0
    for name, value in cuts.kept(item, {body: body for body in BODIES if body in parts}):
        kept += 1
        if name == "annotations":
            annotations = cuts.annotations(value, parts)
        elif name in BODIES and "managedFields" in parts:
            cuts.walk(value, _MANAGED)
    return cuts.edited(_marking(text, item, kept, annotations, cuts.mark)) if cuts.dropped else None


class _Annotations(NamedTuple):
    span: Span
    kept: int
    """The number of annotations that stay."""


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes = b""


def _marking(text: bytes, item: Span, kept: int, annotations: _Annotations | None, mark: bytes) -> _Edit:
    """Return the edit that adds ``mark`` to an item of which ``kept`` members stay."""
    if annotations is None:
        end = item.end - 1
        return _Edit(end, end, b'%b"annotations":{%b}' % (b"," if kept else b"", mark))
    if text[annotations.span.start] != ord("{"):
        return _Edit(*annotations.span, b"{%b}" % mark)
    end = annotations.span.end - 1
    return _Edit(end, end, (b"," if annotations.kept else b"") + mark)


class _Cuts:
    """The spans of one item that are cut, found by its strings and brackets alone."""

    def __init__(self, text: bytes) -> None:
        self.scan = Scan(text)
        self.dropped: set[str] = set()
        """The names of the parts that are cut."""
        self._text = text
        self._edits: list[_Edit] = []
        self._earlier_mark = ""

    @property
    def mark(self) -> bytes:
        """The mark for the parts that are cut now and those that an earlier mark names."""
        return _mark([part for part in PARTS if part in self.dropped or part in self._earlier_mark])

    def kept(self, span: Span, shape: Mapping[str, object]) -> Iterator[tuple[str, Span]]:
        """Yield the members of the object at ``span`` that stay. Cut those for which ``shape`` has a part's name.

        A name in ``shape`` that ends in a slash stands for all names that begin with it. A member is cut with the comma
        before it. When all members before the first that stays are cut, the comma before that member is cut too.
        """
        end, first = span.start + 1, True
        for token, value in self.scan.members(span):
            start, end = end, value.end
            name = _name(token)
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
        """Cut the members that ``shape`` names below ``span``. A value of another type than in ``shape`` stays."""
        opening = self._text[span.start : span.start + 1]
        if isinstance(shape, list) and opening == b"[":
            for element in self.scan.elements(span):
                if element.end - element.start >= _MIN_OBJECT_BYTES:  # so that a million of {} take 1 s, not 10 s
                    self.walk(element, shape[0])
        elif isinstance(shape, Mapping) and opening == b"{":
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
