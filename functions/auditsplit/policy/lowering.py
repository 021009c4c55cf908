"""Lower the level of a recorded event: return the bytes that kube-apiserver would have written at that level.

Bodies, managed fields and what belongs to a body are removed, and ``level`` is written again. All other bytes stay as
they arrived. There is no mark of what was removed, because ``level`` tells it.

Of an event that is laid out as Go does, the end of the bodies is found from its timestamps, and the beginnings from the
bodies' lengths. Any other event is edited by an outline of its members, which takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import Outline
from auditsplit.event import Event, PolicyHead
from auditsplit.policy.edits import ESCAPED_LETTER, MANAGED, MANAGED_SIGN, PATCH_SIGN, PATCHES, Cuts, Edit, name_of
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import Level

_REQUEST, _RESPONSE = BODIES
_DROPPED: dict[Level, tuple[str, ...]] = {"Metadata": BODIES, "Request": (_RESPONSE,), "RequestResponse": ()}
_TRUNCATED = "audit.k8s.io/truncated"
_KEYS = {body: b',"%b":' % body.encode() for body in BODIES}
_LEVELS = {
    recorded: b'{"level":"%b"' % recorded.encode() for recorded in ("None", "Metadata", "Request", "RequestResponse")
}
_ANNOTATIONS = b',"annotations":{'


def lowered(event: Event, head: PolicyHead, level: Level, *, omit_managed_fields: bool) -> bytes:
    """Return the bytes of ``event`` at ``level``, which is not None and not above the level that was recorded.

    Args:
        event: What was recorded.
        head: Its fields.
        level: The level to write.
        omit_managed_fields: Whether bodies that stay lose their managed fields. The body of a patch keeps them: it is
            what the user sent, and kube-apiserver does not change it.

    Raises:
        Undecodable: Brackets of the event don't match.
    """
    text = bytes(event.raw)
    dropped = _DROPPED[level]
    managed = [body for body in BODIES if body not in dropped and (body == _RESPONSE or head.verb != "patch")]
    if not omit_managed_fields or not (MANAGED_SIGN in text or ESCAPED_LETTER.search(text)):
        managed = []
    if (level == head.level or not dropped) and not managed:
        return text
    if not managed and event.members is None:
        quick = _quickly(text, head, level, dropped)
        if quick is not None:
            return quick
    return _by_outline(Outline(text, name_of, members=event.members, marks=event.marks), level, dropped, managed)


def _quickly(text: bytes, head: PolicyHead, level: Level, dropped: tuple[str, ...]) -> bytes | None:
    """Return the same as `lowered` for an event that is laid out as Go does. None for any other."""
    prefix = _LEVELS.get(head.level or "", b"")
    times = b',"requestReceivedTimestamp":"%b","stageTimestamp":"%b"' % (
        (head.requestReceivedTimestamp or "").encode(errors="replace"),
        (head.stageTimestamp or "").encode(errors="replace"),
    )
    end = text.rfind(times)
    if end < 0 or not prefix or not text.startswith(prefix) or not _is_plain_end(text[end + len(times) :]):
        return None
    start = end
    for body in reversed(dropped):
        raw = head.responseObject if body == _RESPONSE else head.requestObject
        if not len(raw):
            continue
        member = _KEYS[body] + bytes(raw)
        start -= len(member)
        if text[start : start + len(member)] != member:
            return None
    rest = text[len(prefix) : start]
    if b"\\u00" in rest and ESCAPED_LETTER.search(rest):
        return None
    if any(_KEYS[body] in rest for body in dropped):  # a body is there twice, or a user has a member of that name
        return None
    return b"".join((_LEVELS[level], rest, text[end:]))


def _is_plain_end(end: bytes) -> bool:
    """Return whether ``end``, after the timestamps, is that of the event, and nothing in it must be removed.

    With a single pair of braces the annotations have no objects in them. So the last brace is the event's, and the
    timestamps are the event's too.
    """
    if end == b"}":
        return True
    if not (end.startswith(_ANNOTATIONS) and end.endswith(b"}}")):
        return False
    if end.count(b"{") + end.count(b"}") != len("{}}"):
        return False
    return PATCH_SIGN not in end and b"truncated" not in end and ESCAPED_LETTER.search(end) is None


def _by_outline(outline: Outline, level: Level, dropped: tuple[str, ...], managed: list[str]) -> bytes:
    """Return the same as `lowered`, with the spans of an ``outline``."""
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
