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
from auditsplit.policy.edits import ESCAPED_LETTER, MANAGED_SIGN, PATCH_SIGN, PATCHES, Cuts, Edit, name_of
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import LEVELS, Level

_REQUEST, _RESPONSE = BODIES
_ABSENT = Raw()
_DROPPED: dict[Level, tuple[str, ...]] = {"Metadata": BODIES, "Request": (_RESPONSE,), "RequestResponse": ()}
_TRUNCATED = "audit.k8s.io/truncated"
_REQUEST_KEY, _RESPONSE_KEY = (b',"%b":' % body.encode() for body in BODIES)
_STARTS: dict[str | None, bytes] = {level: b'{"level":"%b"' % level.encode() for level in LEVELS}
_KEY_END = b'Object":'  # of the names of both bodies
_BACKSLASH = b"\\"
_TIMES = b',"requestReceivedTimestamp":"'
_TIMES_BYTES = len(
    ',"requestReceivedTimestamp":"2026-11-23T10:00:00.000000Z","stageTimestamp":"2026-11-23T10:00:00.000000Z"'
)
_MAX_KEPT, _MAX_KEPT_BYTES = 10_000, 1000


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
    starts = _starts_of_bodies(text, head, end)
    if starts is None:
        return None
    first, second = starts
    prefix = text[len(before) : first]
    if _KEY_END in prefix or _has_escaped_letter(prefix):
        return None
    rest = prefix if level == "Metadata" else text[len(before) : second]
    return b"".join((_STARTS[level], rest, text[end:]))


def _starts_of_bodies(text: bytes, head: PolicyHead, end: int) -> tuple[int, int] | None:
    """Return where the body of the request begins, and that of the response, which ends at ``end``.

    They follow from the lengths of the bodies. They are right only if no member before them has the name of a body, so
    a caller must look for these names. None if other names are at these places.
    """
    second = end
    if response := len(head.responseObject):
        second -= response + len(_RESPONSE_KEY)
        if not text.startswith(_RESPONSE_KEY, second):
            return None
    first = second
    if request := len(head.requestObject):
        first -= request + len(_REQUEST_KEY)
        if not text.startswith(_REQUEST_KEY, first):
            return None
    return first, second


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
        if len(end) <= _MAX_KEPT_BYTES:
            _plain_ends[end, level] = plain
    return plain


def _has_escaped_letter(text: bytes) -> bool:
    return _BACKSLASH in text and ESCAPED_LETTER.search(text) is not None


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
            cuts.managed_fields(value)
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
