"""Routing: which place an event belongs to.

A key template such as ``kube-audit-{user}/audit`` names the place. Every value in it is encoded by `names`, so a
rendered key has just the template's own slashes and never leaves its literal prefix. Templates in which two different
users could meet in one place are refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from string import Formatter
from typing import Any, Literal, NamedTuple, TypeAlias

from auditsplit.event import Event, Head, Origin, event_time
from auditsplit.routing import names

WhichUser: TypeAlias = Literal["authenticated", "impersonated"]

RESERVED = ("_rejected", ".auditsplit")
"""What no key begins with: the stores' own places."""

MAX_SEGMENT_BYTES = 225
"""The longest segment of a key: 255, as the usual file systems have it, less what rotation adds to a file's name."""

_KNOWN_WORDS = frozenset(
    [
        "None",
        "Metadata",
        "Request",
        "RequestResponse",
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
    ]
)
_FIXED_BYTES = {"date": 10, "year": 4, "month": 2, "day": 2, "hour": 2}
_LITERAL = re.compile(r"[A-Za-z0-9._@:=+,/-]*", re.ASCII)


class _Field(NamedTuple):
    """What a template may name: its value in an event, as it came, and the name that this gets.

    Apart, since a batch has few values: each is encoded once, not once an event. Fields of one value share it.
    """

    value: Callable[[Head, Origin], Any]
    name: Callable[[Any], str]


class KeyTemplate:
    """A template over `FIELDS`, checked; ``ValueError`` names every mistake in it, a line each."""

    def __init__(self, text: str, *, user: WhichUser = "authenticated") -> None:
        """Check ``text``; ``user`` says whose name ``{user}`` is where an event has an impersonated user too."""
        mistakes = list(_mistakes(text))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        self.text = text
        self.user = user
        self._names = [field for _, field in _parse(text) if field]
        fields = {**_FIELDS, "user": _IMPERSONATED if user == "impersonated" else _AUTHENTICATED}
        self._fields = [fields[name] for name in self._names]
        self._values = list(dict.fromkeys(field.value for field in self._fields))

    @classmethod
    def from_option(cls, text: str, user: WhichUser, /) -> KeyTemplate:
        """Return the template that the option ``key`` of a sink's URL has."""
        return cls(text, user=user)

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    @property
    def has_time(self) -> bool:
        """Whether a key depends on an event's time."""
        return not _FIXED_BYTES.keys().isdisjoint(self._names)

    def key(self, head: Head, origin: Origin) -> str:
        """Return the key of one event."""
        return self._render([value(head, origin) for value in self._values])

    def group(self, events: Sequence[Event], origin: Origin) -> dict[str, list[Event]]:
        """Return the events by key, in their order; keys in the order of their first event."""
        groups: dict[str, list[Event]] = {}
        by_values: dict[tuple[Any, ...], list[Event]] = {}
        heads = [event.head for event in events]
        columns = [[value(head, origin) for head in heads] for value in self._values]
        rows = zip(*columns, strict=True) if columns else itertools.repeat((), len(events))
        for event, found in zip(events, rows, strict=True):
            group = by_values.get(found)
            if group is None:
                group = by_values[found] = groups.setdefault(self._render(found), [])
            group.append(event)
        return groups

    @property
    def max_bytes(self) -> int:
        """The length of the longest key that it can give."""
        fields = [_FIXED_BYTES.get(field, names.MAX_BYTES) for field in self._names]
        return sum(fields) + sum(len(literal) for literal, _ in _parse(self.text))

    def _render(self, found: Iterable[Any]) -> str:
        values = dict(zip(self._values, found, strict=True))
        encoded = [field.name(values[field.value]) for field in self._fields]
        return self.text.format_map(dict(zip(self._names, encoded, strict=True)))


def _parse(text: str) -> list[tuple[str, str | None]]:
    """Return the literals and the field after each; a format or conversion counts as part of the field's name."""
    parts = []
    for literal, field, form, conversion in Formatter().parse(text):
        extra = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        parts.append((literal, field if field is None else field + extra))
    return parts


def _mistakes(text: str) -> Iterable[str]:
    try:
        parts = _parse(text)
    except ValueError as error:
        yield f"{text!r}: {error}; write fields as {{user}}"
        return
    for literal, field in parts:
        if not _LITERAL.fullmatch(literal):
            yield f"{text!r}: {literal!r} has a character other than A-Z a-z 0-9 . _ @ : = + , - /"
        if field is not None and field not in FIELDS:
            yield f"{text!r}: there is no field {{{field}}}; there are {' '.join(f'{{{name}}}' for name in FIELDS)}"
    if text.startswith((".", "_")):
        yield f"{text!r}: {' and '.join(RESERVED)} are the store's own; begin with another character than . and _"
    for segment in text.split("/"):
        yield from _segment_mistakes(segment)


def _segment_mistakes(segment: str) -> Iterable[str]:
    if segment in ("", ".", ".."):
        yield f"{segment!r} is no name between two slashes; write a relative key such as kube-audit-{{user}}/audit"
        return
    parts = _parse(segment)
    free = [f"{{{field}}}" for _, field in parts if field is not None and field not in _FIXED_BYTES]
    if len(free) > 1:
        yield f"{segment!r}: two events could meet in one place; put / between {' and '.join(free)}"
        return
    longest = sum(len(literal) + (_FIXED_BYTES.get(field, names.MAX_BYTES) if field else 0) for literal, field in parts)
    if longest > MAX_SEGMENT_BYTES:
        yield f"{segment!r} can grow to {longest} bytes, over {MAX_SEGMENT_BYTES}; shorten it, or put / in it"


def _authenticated_user(head: Head, _: Origin) -> str | None:
    return head.user.username if head.user else None


def _impersonated_user(head: Head, origin: Origin) -> str | None:
    user = head.impersonatedUser
    return (user and user.username) or _authenticated_user(head, origin)


def _namespace(head: Head, _: Origin) -> str | None:
    return head.objectRef.namespace if head.objectRef else None


def _resource(head: Head, _: Origin) -> str | None:
    return head.objectRef.resource if head.objectRef else None


def _user_name(value: str | None) -> str:
    return names.encode(value) if value else names.NO_USER


def _name(value: str | None) -> str:
    return names.encode(value) if value else names.ABSENT


def _word(value: str | None) -> str:
    """Return a level or stage as Kubernetes spells it, and any other value encoded."""
    return value if value in _KNOWN_WORDS else _name(value)


def _cluster(_: Head, origin: Origin) -> str:
    return origin.cluster


def _hour(head: Head, origin: Origin) -> tuple[int, int, int, int]:
    time = event_time(head, origin.arrived)
    return time.year, time.month, time.day, time.hour


def _form(form: str) -> Callable[[tuple[int, int, int, int]], str]:
    """Return what names an event's year, month, day and hour as ``form`` does."""
    return lambda hour: form.format(*hour)


_AUTHENTICATED = _Field(_authenticated_user, _user_name)
_IMPERSONATED = _Field(_impersonated_user, _user_name)
_FIELDS: dict[str, _Field] = {
    "user": _AUTHENTICATED,
    "namespace": _Field(_namespace, _name),
    "cluster": _Field(_cluster, _name),
    "verb": _Field(lambda head, _: head.verb, _name),
    "resource": _Field(_resource, _name),
    "level": _Field(lambda head, _: head.level, _word),
    "stage": _Field(lambda head, _: head.stage, _word),
    "date": _Field(_hour, _form("{:04}-{:02}-{:02}")),
    "year": _Field(_hour, _form("{:04}")),
    "month": _Field(_hour, _form("{1:02}")),
    "day": _Field(_hour, _form("{2:02}")),
    "hour": _Field(_hour, _form("{3:02}")),
}

FIELDS = tuple(_FIELDS)
"""What a template may name."""
