"""Lower the level of a recorded event: return the bytes that kube-apiserver would have written at that level.

Bodies, managed fields and what belongs to a body are removed, and ``level`` is written again. All other bytes stay as
they arrived. There is no mark of what was removed, because ``level`` tells it.

Of an event that is laid out as Go does, the end of the bodies is found from its timestamps, and the beginnings from the
bodies' lengths. Any other event is edited by an outline of its members, which takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from copy import copy
from typing import cast

from msgspec import Raw

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import Outline
from auditsplit.event import Event, PolicyHead
from auditsplit.policy.decisions import Action
from auditsplit.policy.edits import ESCAPED_LETTER, MANAGED, MANAGED_SIGN, PATCH_SIGN, PATCHES, Cuts, Edit, name_of
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import LEVELS, Level

_REQUEST, _RESPONSE = BODIES
_ABSENT = Raw()
_DROPPED: dict[Level, tuple[str, ...]] = {"Metadata": BODIES, "Request": (_RESPONSE,), "RequestResponse": ()}
_TRUNCATED = "audit.k8s.io/truncated"
_REQUEST_KEY, _RESPONSE_KEY = (b',"%b":' % body.encode() for body in BODIES)
_STARTS: dict[str | None, bytes] = {level: b'{"level":"%b"' % level.encode() for level in LEVELS}
_ESCAPE, _ESCAPED_AMPERSAND, _ESCAPED_ANGLE = rb"\u00", rb"\u0026", rb"\u003"
_TIMES = b',"requestReceivedTimestamp":"'
_TIMES_BYTES = len(
    ',"requestReceivedTimestamp":"2026-11-23T10:00:00.000000Z","stageTimestamp":"2026-11-23T10:00:00.000000Z"'
)
_MAX_KEPT = 10_000


def lowered(event: Event, action: Action) -> Event:
    """Return ``event``, which has a `PolicyHead`, as it would have been recorded at a lower level.

    A body that stays loses its managed fields if the policy omits them. That of a patch keeps them: it is what the user
    sent, and kube-apiserver does not change it.

    Raises `Undecodable` where brackets of the event don't match.
    """
    head = cast("PolicyHead", event.head)
    level, text = action.level, bytes(event.raw)
    managed = _managed(text, head, action) if action.omit_managed_fields else ()
    if not managed and level in (head.level, "RequestResponse"):
        return event
    raw = None if managed or event.members is not None else _quickly(text, head, level)
    if raw is None:
        outline = Outline(text, name_of, members=event.members, marks=event.marks)
        raw = _by_outline(outline, level, managed)
    if level == "RequestResponse":
        return Event(head, memoryview(raw))
    head = copy(head)
    head.level = level
    head.responseObject = _ABSENT
    if level == "Metadata":
        head.requestObject = _ABSENT
    return Event(head, memoryview(raw))


def _managed(text: bytes, head: PolicyHead, action: Action) -> tuple[str, ...]:
    """Return the bodies that stay and that may lose managed fields."""
    dropped = _DROPPED[action.level]
    kept = (body for body in BODIES if body not in dropped and (body == _RESPONSE or head.verb != "patch"))
    return tuple(kept) if len(dropped) < len(BODIES) and (MANAGED_SIGN in text or _has_escaped_letter(text)) else ()


def _quickly(text: bytes, head: PolicyHead, level: Level) -> bytes | None:
    """Return the bytes at Metadata or Request of an event that is laid out as Go does. None for any other."""
    before = _STARTS.get(head.level)
    end = text.rfind(_TIMES)
    if end < 0 or before is None or not text.startswith(before):
        return None
    if not _is_plain_end(text[end + _TIMES_BYTES :], level):
        return None
    start = _start_of_bodies(text, head, level, end)
    if start is None:
        return None
    rest = text[len(before) : start]
    if _RESPONSE_KEY in rest or (level == "Metadata" and _REQUEST_KEY in rest) or _has_escaped_letter(rest):
        return None
    return b"".join((_STARTS[level], rest, text[end:]))


def _start_of_bodies(text: bytes, head: PolicyHead, level: Level, end: int) -> int | None:
    """Return where the bodies begin that an event at ``level`` does not have, and that end at ``end``.

    It follows from the lengths of the bodies. It is right only if it is the first place that has a body's name: then no
    member before it has that name. So a caller must look for the names before it. None if the place has another name.
    """
    start = end
    if response := len(head.responseObject):
        start -= response + len(_RESPONSE_KEY)
        if not text.startswith(_RESPONSE_KEY, start):
            return None
    if level == "Metadata" and (request := len(head.requestObject)):
        start -= request + len(_REQUEST_KEY)
        if not text.startswith(_REQUEST_KEY, start):
            return None
    return start


_plain_ends: dict[tuple[bytes, Level], bool] = {}


def _is_plain_end(end: bytes, level: Level) -> bool:
    """Return whether ``end`` is that of an event after its timestamps, and nothing in it must be removed.

    With one pair of braces, the annotations have no objects in them, so the last brace is the event's, and the
    timestamps are its own. Many events have the same annotations, so what was found is kept.
    """
    plain = _plain_ends.get((end, level))
    if plain is None:
        plain = end == b"}" or (
            end.startswith(b',"annotations":{')
            and end.endswith(b"}}")
            and end.count(b"{") + end.count(b"}") == len("{}}")
            and not _has_escaped_letter(end)
            and not (level == "Metadata" and (PATCH_SIGN in end or b"truncated" in end))
        )
        if len(_plain_ends) >= _MAX_KEPT:
            _plain_ends.clear()
        _plain_ends[end, level] = plain
    return plain


def _has_escaped_letter(text: bytes) -> bool:
    """Return whether ``text`` has an escaped letter. Most have only the escapes of Go, for & < and >: it is quick."""
    escapes = text.count(_ESCAPE)
    if escapes == 0 or escapes == text.count(_ESCAPED_AMPERSAND) + text.count(_ESCAPED_ANGLE):
        return False
    return ESCAPED_LETTER.search(text) is not None


def _by_outline(outline: Outline, level: Level, managed: Collection[str]) -> bytes:
    """Return the bytes at ``level``, by the spans of an ``outline``. ``managed`` bodies lose their managed fields."""
    dropped = _DROPPED[level]
    cuts = Cuts(outline)
    item = outline.whole
    unwanted = _unwanted_annotations(level)
    shape: dict[str, object] = {body: body for body in dropped}
    if _loses_all_annotations(outline, item, unwanted):
        shape["annotations"] = "annotations"
    kept = levels = 0
    for name, value in cuts.kept(item, shape):
        kept += 1
        if name == "level" and dropped:
            levels += 1
            cuts.replace(value, b'"%b"' % level.encode())
        elif name == "annotations" and unwanted and outline.text[value.start] == ord("{"):
            list(cuts.kept(value, unwanted))
        elif name in managed:
            cuts.walk(value, MANAGED)
    if levels or not dropped:
        return cuts.edited()
    end = item.end - 1
    return cuts.edited(Edit(end, end, b'%b"level":"%b"' % (b"," if kept else b"", level.encode())))


def _unwanted_annotations(level: Level) -> dict[str, str]:
    """Return the annotations that an event of ``level`` does not have.

    They are a mutating webhook's changes to the request's object, and the note that kube-apiserver removed bodies
    because they were too large: an event at Metadata has none.
    """
    return {PATCHES: _REQUEST, _TRUNCATED: _TRUNCATED} if level == "Metadata" else {}


def _loses_all_annotations(outline: Outline, item: Span, unwanted: dict[str, str]) -> bool:
    """Return whether all annotations are unwanted. kube-apiserver then writes none."""
    spans = [value for name, value in outline.members(item) if name == "annotations"] if unwanted else []
    names = [name for span in spans for name in _names(outline, span)]
    return bool(names) and all(name in unwanted or f"{name.partition('/')[0]}/" in unwanted for name in names)


def _names(outline: Outline, span: Span) -> Iterator[str]:
    if outline.text[span.start] == ord("{"):
        yield from (name for name, _ in outline.members(span))
