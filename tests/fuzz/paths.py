"""The decode paths: what each of them makes of a body."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from auditsplit.decode import eventlines, eventlist
from auditsplit.decode.jsonscan import compact
from auditsplit.errors import Undecodable
from auditsplit.event import Event
from auditsplit.policy.redaction import Redaction


class Outcome(NamedTuple):
    """What came of a body."""

    refused: bool = False
    events: tuple[tuple[bytes, tuple[tuple[str, str], ...]], ...] = ()
    """The stored bytes of each event, and its head's fields by their paths."""
    bad: bytes = b""
    """The malformed items, with commas between. The scan has one span for a run of scalars."""


def _no_split(*_: object) -> None:
    return None


def _refuse(_: object) -> None:
    raise msgspec.DecodeError


_REFUSING = dict.fromkeys(eventlist.decoders, _refuse)
_NO_SPLIT: Mapping[str, Any] = {"_split_at_starts": _no_split}
PATHS: Mapping[str, Mapping[str, Any]] = {
    "as served": {},
    "without the split": _NO_SPLIT,
    "each item refused by the parser": {**_NO_SPLIT, "decoders": _REFUSING},
    "split, each item refused by the parser": {"decoders": _REFUSING},
    "list refused by the parser": {**_NO_SPLIT, "parse_envelope": _no_split},
    "list and items refused by the parser": {**_NO_SPLIT, "parse_envelope": _no_split, "decoders": _REFUSING},
}
"""What each path replaces in `eventlist`, so that the paths before it give up."""

AS_LINES = "as a line"
"""The path of a body of one line that is sent as lines."""

_REDACTION = Redaction()


def outcomes(body: bytes) -> dict[str, tuple[Outcome, tuple[bytes | None, ...]]]:
    """Return by path what came of ``body``, and the bytes of each event after redaction, None if that fails."""
    found = {}
    for path, replaced in PATHS.items():
        with contextlib.ExitStack() as stack:
            for name, function in replaced.items():
                stack.enter_context(mock.patch.object(eventlist, name, function))
            found[path] = _outcome(eventlist.decode, body)
    if found["as served"][0].events and b"\n" not in body and b"\r" not in body:  # without events, lines are refused
        found[AS_LINES] = _outcome(eventlines.decode, body)
    return found


def _outcome(decode: Callable[[bytes], eventlist.Decoded], body: bytes) -> tuple[Outcome, tuple[bytes | None, ...]]:
    try:
        decoded = decode(body)
    except Undecodable:
        return Outcome(refused=True), ()
    events = tuple((bytes(event.raw), tuple(sorted(_fields(event).items()))) for event in decoded.events)
    bad = compact(b",".join(item.raw for item in decoded.bad))
    return Outcome(events=events, bad=bad), tuple(map(_redacted, decoded.events))


def _fields(event: Event) -> dict[str, str]:
    """Return the fields of the head that are present, but for the kind and the version."""
    found: dict[str, str] = {}
    for name, value in msgspec.structs.asdict(event.head).items():
        if isinstance(value, str) and name not in ("kind", "apiVersion"):
            found[name] = value
        elif isinstance(value, msgspec.Struct):
            fields = msgspec.structs.asdict(value)
            names = dict(zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True))
            found |= {f"{name}.{names[key]}": text for key, text in fields.items() if text is not None}
    return found


def _redacted(event: Event) -> bytes | None:
    try:
        [redacted] = _REDACTION.apply([event])
    except Undecodable:
        return None
    return bytes(redacted.raw)
