"""Lower the level of an event that is laid out as Go's encoder does, without an outline of its members.

kube-apiserver writes the members of an event in one order: the level first, and after the bodies the timestamps and the
annotations. The end of the bodies is found from the timestamps, and their beginnings from their lengths. Every place is
checked, so an event with another layout is never edited here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import REFUSALS, adds_up, decode_object, spans_of
from auditsplit.event import LINE_START, PolicyHead
from auditsplit.policy.edits import ESCAPED_LETTER, MANAGED_SIGN, PATCH_SIGN
from auditsplit.policy.parts import BODIES
from auditsplit.policy.rules import LEVELS, Level

_REQUEST, _RESPONSE = BODIES
_REQUEST_KEY, _RESPONSE_KEY = (b',"%b":' % body.encode() for body in BODIES)
_NAME_END = b'Object"'  # of the names of both bodies
_CAPITAL = b"O"
_LEVEL = b'"level"'
_LISTED = b'{"level":"'  # as an item of an EventList begins
_LOGGED = LINE_START + b'"level":"'  # as a line of the log backend begins
_STARTS: dict[str | None, tuple[bytes, bytes]] = {
    level: (b'%b%b"' % (_LISTED, level.encode()), b'%b%b"' % (_LOGGED, level.encode())) for level in LEVELS
}
_BACKSLASH = b"\\"
_TIMES = b',"requestReceivedTimestamp":"'
_STAGE_KEY = b'","stageTimestamp":"'
_TIME_BYTES = len("2026-11-23T10:00:00.000000Z")
_TIMES_LENGTHS = (_TIME_BYTES, _TIME_BYTES)
_STAGE_AT = len(_TIMES) + _TIME_BYTES
_TIMES_BYTES = _STAGE_AT + len(_STAGE_KEY) + _TIME_BYTES + len('"')
_MAX_KEPT, _MAX_KEPT_BYTES = 10_000, 1000
_MAX_PARSED_BYTES = 64 * 1024  # what a parser returns takes 30 times the size of a body with many small members

_plain_ends: dict[Level, dict[bytes, bool]] = {level: {} for level in LEVELS}


def lowered(text: bytes, head: PolicyHead, level: Level, managed: Collection[str]) -> bytes | None:
    """Return the bytes of an event at another level. None if it has another layout, or parts that are not plain.

    Args:
        text: The event.
        head: Its head.
        level: The new level.
        managed: The bodies that stay and lose their managed fields. At RequestResponse, at least one.
    """
    starts = _STARTS.get(head.level)
    end = text.rfind(_TIMES)
    if starts is None or end < 0 or not _is_end(text, end, head, level):
        return None
    response = end - ((size := len(head.responseObject)) and size + len(_RESPONSE_KEY))
    request = response - ((size := len(head.requestObject)) and size + len(_REQUEST_KEY))
    form = not text.startswith(_LISTED)
    before = starts[form]
    prefix = text[len(before) : request]
    if not (
        text.startswith(before)
        and (response == end or text.startswith(_RESPONSE_KEY, response))
        and (request == response or text.startswith(_REQUEST_KEY, request))
        and _is_plain_prefix(prefix)
    ):
        return None
    if not managed:
        stays = prefix if level == "Metadata" else text[len(before) : response]
        return b"".join((_STARTS[level][form], stays, text[end:]))
    pieces = [_STARTS[level][form], prefix]
    bodies = ((_REQUEST, request, response), (_RESPONSE, response, end if level == "RequestResponse" else response))
    for body, start, stop in bodies:
        member = _without_managed_fields(text[start:stop]) if body in managed else text[start:stop]
        if member is None:
            return None
        pieces.append(member)
    return b"".join((*pieces, text[end:]))


def _is_plain_prefix(prefix: bytes) -> bool:
    """Return whether no member in ``prefix`` has the name of a body, or is another level.

    The places of the bodies follow from their lengths. They are right only if no member before has the name of a body.
    """
    return (
        not (_CAPITAL in prefix and _NAME_END in prefix)  # a search for a single byte is much faster
        and _LEVEL not in prefix
        and not has_escaped_letter(prefix)
    )


def _is_end(text: bytes, end: int, head: PolicyHead, level: Level) -> bool:
    """Return whether the timestamps of an event begin at ``end``, and nothing behind them must be removed.

    The parser found the last timestamps of these names. Both fill their places here, so nothing else is between them.
    """
    times = (len(head.requestReceivedTimestamp or ""), len(head.stageTimestamp or ""))
    if times != _TIMES_LENGTHS or not text.startswith(_STAGE_KEY, end + _STAGE_AT):
        return False
    rest = text[end + _TIMES_BYTES :]
    known = _plain_ends[level]
    plain = known.get(rest)
    if plain is None:
        plain = _is_plain_end(rest, level)
        if len(known) >= _MAX_KEPT:
            known.clear()
        if len(rest) <= _MAX_KEPT_BYTES:
            known[rest] = plain
    return plain


def _is_plain_end(rest: bytes, level: Level) -> bool:
    """Return whether ``rest`` is that of an event after its timestamps, and nothing in it must be removed.

    With one pair of braces, the annotations have no objects in them, so the last brace is the event's, and the
    timestamps are its own. Many events have the same annotations, so a caller keeps the answer.
    """
    return rest == b"}" or (
        rest.startswith(b',"annotations":{')
        and rest.endswith(b"}}")
        and rest.count(b"{") + rest.count(b"}") == len("{}}")
        and not has_escaped_letter(rest)
        and not (level == "Metadata" and (PATCH_SIGN in rest or b"truncated" in rest))
    )


def _without_managed_fields(member: bytes) -> bytes | None:
    """Return a body, with its name, without ``metadata.managedFields``.

    None if it is not an object of which they are the only member of that name.
    """
    if has_escaped_letter(member):
        return None
    if MANAGED_SIGN not in member:
        return member
    start = member.index(b":") + 1
    with contextlib.suppress(*REFUSALS):
        metadata = _span(member, Span(start, len(member)), "metadata")
        managed = metadata and _span(member, metadata, "managedFields")
        if metadata and managed and member.count(MANAGED_SIGN) == 1:
            before = managed.start - len(MANAGED_SIGN) - len(",:")
            if before > metadata.start:
                return member[:before] + member[managed.end :]
            after = managed.end + (managed.end + 1 < metadata.end)  # the comma, if there is another member
            return member[: metadata.start + 1] + member[after:]
    return None


def _span(text: bytes, span: Span, name: str) -> Span | None:
    """Return the span of the member ``name`` of the object at ``span``. None if that is not certain."""
    size = span.end - span.start
    if size > _MAX_PARSED_BYTES:
        return None
    members = decode_object(memoryview(text)[span.start : span.end])
    if name not in members or not adds_up(members, size):
        return None
    return next(value for each, value in spans_of(members, span.start) if each == name)


def has_escaped_letter(text: bytes) -> bool:
    """Return whether a name in ``text`` may be spelled with escapes."""
    return _BACKSLASH in text and ESCAPED_LETTER.search(text) is not None
