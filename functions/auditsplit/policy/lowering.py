"""Lower the level of a recorded event: return the bytes that kube-apiserver would have written at that level.

Bodies, managed fields and what belongs to a body are removed, and ``level`` is written again. All other bytes stay as
they arrived. There is no mark of what was removed, because ``level`` tells it.

An event that is laid out as Go does is lowered by `golayout`. Any other event is edited by an outline of its members,
which takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import cast

from msgspec import Raw
from msgspec.structs import replace

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import Outline
from auditsplit.event import Event, PolicyHead
from auditsplit.policy import golayout
from auditsplit.policy.decisions import Action
from auditsplit.policy.edits import MANAGED_SIGN, PATCHES, Cuts, Edit, name_of
from auditsplit.policy.golayout import has_escaped_letter
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import Level

_REQUEST, _RESPONSE = BODIES
_ABSENT = Raw()
_DROPPED: dict[Level, tuple[str, ...]] = {"Metadata": BODIES, "Request": (_RESPONSE,), "RequestResponse": ()}
_TRUNCATED = "audit.k8s.io/truncated"


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
    raw = golayout.lowered(text, head, level, managed) if event.members is None else None
    if raw is None:
        outline = Outline(text, name_of, members=event.members, marks=event.marks)
        raw = _by_outline(outline, level, managed)
    if level == "RequestResponse":
        return Event(head, memoryview(raw))
    request = _ABSENT if level == "Metadata" else head.requestObject
    return Event(replace(head, level=level, requestObject=request, responseObject=_ABSENT), memoryview(raw))


def _managed(text: bytes, head: PolicyHead, action: Action) -> tuple[str, ...]:
    """Return the bodies that stay and that may lose managed fields."""
    dropped = _DROPPED[action.level]
    kept = (body for body in BODIES if body not in dropped and (body == _RESPONSE or head.verb != "patch"))
    return tuple(kept) if len(dropped) < len(BODIES) and (MANAGED_SIGN in text or has_escaped_letter(text)) else ()


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
