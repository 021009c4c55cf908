"""Cut parts out of an item's bytes.

All other bytes stay as they arrived. The annotation `MARK` names the parts that were cut. The result is still an
``audit.k8s.io/v1`` Event for every reader. A parser finds the parts of an event that is written as Go does. Any other
event, and any body that parsers refuse, is cut with `jsonscan`, which takes ten times as long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from msgspec import Raw

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import REFUSALS, Outline, adds_up, decode_object
from auditsplit.policy.edits import (
    ESCAPED_LETTER,
    MANAGED_SIGN,
    PATCH_SIGN,
    Annotations,
    Cuts,
    Edit,
    name_of,
)
from auditsplit.policy.parts import BODIES, MARK, mark

_MARK_SIGN = MARK.encode()
_SIGNS = {
    "requestObject": (b'"requestObject"', PATCH_SIGN),
    "responseObject": (b'"responseObject"',),
    "managedFields": (MANAGED_SIGN,),
}


def without(
    text: bytes,
    parts: Collection[str],
    members: Sequence[tuple[str, tuple[int, int]]] | None = None,
    marks: bytes | None = None,
) -> bytes | None:
    """Return the item ``text`` without ``parts``, some of `PARTS`, and with the mark. None if it has none of them.

    ``members`` and ``marks`` are what decoding found out: see `Event`. Raises `Undecodable` where brackets don't match.
    """
    if not any(sign in text for part in parts for sign in _SIGNS[part]) and not ESCAPED_LETTER.search(text):
        return None
    if members is None:
        with contextlib.suppress(*REFUSALS):
            quick = _parsed_without(decode_object(text), text, parts)
            if quick is not None:
                return quick
    return _outlined_without(Outline(text, name_of, members=members, marks=marks), parts)


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
    if PATCH_SIGN in annotations or _MARK_SIGN in annotations or ESCAPED_LETTER.search(annotations):
        return False
    return annotations.endswith(b'"}')


def _outlined_without(outline: Outline, parts: Collection[str]) -> bytes | None:
    """Return the same as `without`, with the spans of an ``outline``."""
    cuts = Cuts(outline)
    item = outline.whole
    annotations: Annotations | None = None
    kept = 0
    for name, value in cuts.kept(item, {body: body for body in BODIES if body in parts}):
        kept += 1
        if name == "annotations":
            annotations = cuts.annotations(value, parts)
        elif name in BODIES and "managedFields" in parts:
            cuts.managed_fields(value)
    return cuts.edited(_marking(outline.text, item, kept, annotations, cuts.mark)) if cuts.dropped else None


def _marking(text: bytes, item: Span, kept: int, annotations: Annotations | None, annotation: bytes) -> Edit:
    """Return the edit that adds the mark's ``annotation`` to an item of which ``kept`` members stay."""
    if annotations is None:
        end = item.end - 1
        return Edit(end, end, b'%b"annotations":{%b}' % (b"," if kept else b"", annotation))
    if text[annotations.span.start] != ord("{"):
        return Edit(*annotations.span, b"{%b}" % annotation)
    end = annotations.span.end - 1
    return Edit(end, end, (b"," if annotations.kept else b"") + annotation)
