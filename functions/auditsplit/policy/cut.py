"""Excision: parts of an event cut out of its own bytes.

All else stays byte for byte as it came. The annotation `MARK` says what is missing; a line with it is an
``audit.k8s.io/v1`` Event still, for every reader of those. Where an event is written as Go does, a parser finds its
members; any other, and any body that parsers refuse, is cut by `structure` alone, ten times as slowly.
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
"""The annotation of an event that something was cut from; its value is those of `PARTS`, with commas between."""

BODIES = ("requestObject", "responseObject")
PARTS = (*BODIES, "managedFields")
"""What can be cut: the bodies, or of both just their ``metadata.managedFields``."""

_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")  # Go escapes & < > alone, others may spell a name with it
_SEPARATORS = re.compile(rb"[ \t\r\n,]*+")

# What a mutating webhook changed in the request's object, which the apiserver adds at the levels that have the object:
# https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#mutating-webhook-auditing-annotations
_PATCHES = "patch.webhook.admission.k8s.io/"
_PATCHED = b"admission"  # stands in such a name, however its dots and slash are written
_MARKED = MARK.encode()
_SIGNS = {
    "requestObject": (b'"requestObject"', _PATCHED),
    "responseObject": (b'"responseObject"',),
    "managedFields": (b'"managedFields"',),
}
_METADATA = {"metadata": {"managedFields": "managedFields"}}
_LEAST_BYTES = len('{"metadata":{"managedFields":0}}')
_MANAGED = {**_METADATA, "items": [_METADATA], "rows": [{"object": _METADATA}]}  # an object, a list of them, a table


def without(text: bytes, parts: Collection[str]) -> bytes | None:
    """Return the item ``text`` without those of `PARTS`, and with the mark; None if it has none of them."""
    if not any(sign in text for part in parts for sign in _SIGNS[part]) and not _ESCAPED_LETTER.search(text):
        return None
    return _parsed_without(text, parts) or _scanned_without(text, parts)


class _Members(msgspec.Struct, gc=False):
    requestObject: msgspec.Raw | UnsetType = UNSET  # noqa: N815 - the API's own name
    responseObject: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    annotations: msgspec.Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Members).decode


def _parsed_without(text: bytes, parts: Collection[str]) -> bytes | None:
    """Return what `_scanned_without` does, None where that can't be told for sure.

    A member's name may stand elsewhere in the event too, or twice; so the bodies must stand side by side and the
    annotations behind all else, as Go writes them, and the bodies must be gone from the result as it is parsed.
    """
    try:
        members = _decode(text)
        dropped = [body for body in BODIES if body in parts and getattr(members, body) is not UNSET]
        noted = b"" if members.annotations is UNSET else bytes(members.annotations)
        special = "managedFields" in parts or _PATCHED in noted or _MARKED in noted or _ESCAPED_LETTER.search(noted)
        if special or not dropped or not noted.endswith(b'"}') or not text.endswith(noted + b"}"):
            return None
        cut = b"".join([b',"%s":%b' % (body.encode(), getattr(members, body)) for body in dropped])
        start = text.find(b',"%s":' % dropped[0].encode())
        if not text.startswith(cut, start):  # to search for all of it takes longer: Python prepares itself
            return None
        marked = b"%b,%b}" % (noted[:-1], _mark(dropped))
        text = b"%b%b%b}" % (text[:start], text[start + len(cut) : -len(noted) - 1], marked)
        left = _decode(text)
    except (ValueError, RecursionError):  # what msgspec raises is a ValueError too
        return None
    gone = all(getattr(left, body) is UNSET for body in dropped)
    return text if gone and left.annotations is not UNSET and bytes(left.annotations) == marked else None


def _mark(dropped: Collection[str]) -> bytes:
    return f'"{MARK}":"{",".join(dropped)}"'.encode()


def _scanned_without(text: bytes, parts: Collection[str]) -> bytes | None:
    cuts = _Cuts(text)
    item, annotations = cuts.scan.whole, None
    members = others = 0  # that are kept, of the item and of the annotations
    for name, value in cuts.kept(item, {body: body for body in BODIES if body in parts}):
        members += 1
        if name == "annotations":
            annotations, others = value, cuts.annotations(value, parts)
        elif name in BODIES and "managedFields" in parts:
            cuts.walk(value, _MANAGED)
    dropped = [part for part in PARTS if part in cuts.dropped]
    if not dropped:
        return None
    dropped = [part for part in PARTS if part in dropped or part in cuts.marked]
    mark = _mark(dropped)
    if annotations is None:
        edit = _Edit(item.end - 1, item.end - 1, b'%s"annotations":{%s}' % (b"," if members else b"", mark))
    elif text[annotations.start] == ord("{"):
        edit = _Edit(annotations.end - 1, annotations.end - 1, (b"," if others else b"") + mark)
    else:
        edit = _Edit(*annotations, b"{%s}" % mark)
    return cuts.edited(edit)


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes = b""


class _Cuts:
    """The places of one item that are cut, found by its strings and brackets alone."""

    def __init__(self, text: bytes) -> None:
        self.scan = Scan(text)
        self.dropped: set[str] = set()
        self.marked = ""
        """What an earlier cut says it took."""
        self._text = text
        self._edits: list[_Edit] = []

    def kept(self, span: Span, shape: Mapping[str, object]) -> Iterator[tuple[str, Span]]:
        """Yield the members of the object at ``span`` that stay, and cut those for which ``shape`` has a part's name.

        A name in it that ends in a slash stands for all names that begin with it. A member goes with the comma before
        it; if none is left before one that stays, that one's comma goes too.
        """
        end, first = span.start + 1, True
        for token, value in self.scan.members(span):
            start, end = end, value.end
            name = _name(token)
            part = shape.get(name) or shape.get(name.partition("/")[0] + "/")
            if isinstance(part, str):
                self._edits.append(_Edit(start, end))
                self.dropped.add(part)
                if part == MARK:
                    self.marked = self._text[value.start : value.end].decode(errors="replace")
                continue
            if first and start > span.start + 1:
                separators = _SEPARATORS.match(self._text, start)
                self._edits.append(_Edit(start, separators.end() if separators else start))
            first = False
            yield name, value

    def annotations(self, span: Span, parts: Collection[str]) -> int:
        """Cut patches of the request's object, if that is cut, and the mark; return how many are left."""
        if self._text[span.start] != ord("{"):
            return 0
        shape = {MARK: MARK, **({_PATCHES: "requestObject"} if "requestObject" in parts else {})}
        return sum(1 for _ in self.kept(span, shape))

    def walk(self, span: Span, shape: Mapping[str, object] | list[Mapping[str, object]]) -> None:
        """Cut what ``shape`` names below ``span``; what is no object, or no array, where it has one stays."""
        opening = self._text[span.start : span.start + 1]
        if isinstance(shape, list) and opening == b"[":
            for element in self.scan.elements(span):
                if element.end - element.start >= _LEAST_BYTES:  # a million of {} take a second, not ten
                    self.walk(element, shape[0])
        elif isinstance(shape, Mapping) and opening == b"{":
            for name, value in self.kept(span, shape):
                inner = shape.get(name)
                if isinstance(inner, Mapping | list):
                    self.walk(value, inner)

    def edited(self, last: _Edit) -> bytes:
        """Return the text without what was cut, and with one more edit made."""
        pieces, done = [], 0
        for edit in sorted([*self._edits, last]):
            pieces += [self._text[done : edit.start], edit.text]
            done = edit.end
        return b"".join([*pieces, self._text[done:]])


def _name(token: bytes) -> str:
    """Return the string that ``token`` stands for; what is no JSON string is none of the names that are looked for."""
    text = token.decode(errors="replace")
    if "\\" not in text:
        return text[1:-1]
    try:
        return str(json.loads(text, strict=False))
    except ValueError:  # an escape that JSON doesn't have: msgspec lets it pass where it skips
        return text
