"""Key templates: from an event to its place.

A template such as ``kube-audit-{user}/audit`` gives each event a key. Every value in the key is encoded by `names`.
So a key has only the template's own slashes and never leaves the template's literal prefix. A template in which two
different users could get the same key is refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any, ClassVar

from auditsplit.event import Event, Head, Origin
from auditsplit.routing.fields import EXTRA, FIELDS, Field, WhichUser, field

RESERVED = ("_rejected", "_joined", ".auditsplit")
"""The sinks' own places. No key begins with them."""

MAX_SEGMENT_BYTES = 225
"""The longest segment of a key. Usual file systems allow 255 bytes. 30 are for what rotation adds to a file's name."""

_LITERAL = re.compile(r"[A-Za-z0-9._@:=+,/-]*", re.ASCII)
_SLASH = re.compile(r"/(?![^{}]*\})")  # not that in {extra:example.com/key}
_MISTAKEN = FIELDS["user"]  # a field that does not exist is checked like this field


class KeyTemplate:
    """A valid template over `FIELDS` and the keys of ``user.extra``."""

    OPTION_WORDS: ClassVar[str] = "a key template"

    def __init__(self, text: str, *, user: WhichUser = "authenticated") -> None:
        """Check ``text``. ``user`` is whose name ``{user}`` is where an event has an impersonated user too.

        Raises:
            ValueError: With every mistake on a line of its own.
        """
        mistakes = list(_mistakes(text))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        self.text = text
        self.user = user
        self._parts = [(literal, field(name, user) if name else None) for literal, name in _parse(text)]
        self._fields = [part for _, part in self._parts if part]
        self._field_names = [name for _, name in _parse(text) if name]
        self._pattern = re.compile("".join(re.escape(literal) + _pattern(part) for literal, part in self._parts))
        self._getters = list(dict.fromkeys((part.value, part.of_event) for part in self._fields))

    def __str__(self) -> str:
        """Return the template's text."""
        return self.text

    @classmethod
    def from_option(cls, text: str, user: WhichUser) -> KeyTemplate:
        """Return the template of an option in a sink's URL. ``ValueError`` has every mistake on a line of its own."""
        return cls(text, user=user)

    def key(self, event: Event, origin: Origin) -> str:
        """Return the key of an event."""
        return self._render([column[0] for column in self._columns([event], origin)])

    def group(self, events: Sequence[Event], origin: Origin) -> dict[str, list[Event]]:
        """Return the events by key, in their order. Keys are in the order of their first event."""
        groups: dict[str, list[Event]] = {}
        by_values: dict[tuple[Any, ...], list[Event]] = {}
        columns = self._columns(events, origin)
        rows = zip(*columns, strict=True) if columns else itertools.repeat((), len(events))
        for event, values in zip(events, rows, strict=True):
            group = by_values.get(values)
            if group is None:
                group = by_values[values] = groups.setdefault(self._render(values), [])
            group.append(event)
        return groups

    def names_in(self, key: str) -> list[tuple[str, str]] | None:
        """Return the fields of a key and the name of each, in their order. None if the key is not of this template."""
        match = self._pattern.fullmatch(key)
        return list(zip(self._field_names, match.groups(), strict=True)) if match else None

    def beginnings(self) -> list[KeyTemplate]:
        """Return the templates of the first segment of a key, of the first two, and so on."""
        segments = _SLASH.split(self.text)
        return [KeyTemplate("/".join(segments[:count]), user=self.user) for count in range(1, len(segments) + 1)]

    @property
    def last_fields(self) -> set[str]:
        """The names of the fields in the last segment."""
        return {name for _, name in _parse(_SLASH.split(self.text)[-1]) if name}

    @property
    def max_bytes(self) -> int:
        """The length of the longest key."""
        return sum(part.max_bytes for part in self._fields) + sum(len(literal) for literal, _ in self._parts)

    @property
    def has_time(self) -> bool:
        """Whether a key depends on the event's time."""
        return any(part.is_time for part in self._fields)

    @property
    def has_cluster(self) -> bool:
        """Whether events of two clusters never share a key."""
        return FIELDS["cluster"] in self._fields

    def _columns(self, events: Sequence[Event], origin: Origin) -> list[list[Any]]:
        """Return the values of the events for each getter."""
        heads: list[Head] = [event.head for event in events]
        return [
            [value_of(subject, origin) for subject in (events if of_event else heads)]
            for value_of, of_event in self._getters
        ]

    def _render(self, values: Iterable[Any]) -> str:
        by_getter = {getter: value for (getter, _), value in zip(self._getters, values, strict=True)}
        return "".join(literal + (part.name(by_getter[part.value]) if part else "") for literal, part in self._parts)


def _pattern(part: Field | None) -> str:
    """Return what matches every name of a field. A segment has one field without a fixed length at most."""
    if part is None:
        return ""
    return f"([^/]{{{part.fixed_bytes}}})" if part.fixed_bytes else "([^/]+)"


def _parse(text: str) -> list[tuple[str, str | None]]:
    """Return the literals and the name of the field after each. A format or conversion is part of the name."""
    parts = []
    for literal, name, form, conversion in Formatter().parse(text):
        extra = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        parts.append((literal, name if name is None else name + extra))
    return parts


def _mistakes(text: str) -> Iterable[str]:
    try:
        parts = _parse(text)
    except ValueError as error:
        yield f"{text!r}: {error}. Write fields as {{user}}"
        return
    for literal, name in parts:
        if not _LITERAL.fullmatch(literal):
            yield f"{text!r}: {literal!r} has a character other than A-Z a-z 0-9 . _ @ : = + , - /"
        if name is not None and not field(name):
            known = " ".join(f"{{{known}}}" for known in (*FIELDS, f"{EXTRA}KEY"))
            yield f"{text!r}: {{{name}}} is not a field. Fields are {known}"
    if text.startswith((".", "_")):
        yield f"{text!r}: {', '.join(RESERVED)} are the sinks' own. Begin with another character than . and _"
    for segment in _SLASH.split(text):
        yield from _segment_mistakes(segment)


def _checked_as(name: str) -> Field:
    return field(name) or _MISTAKEN


def _segment_mistakes(segment: str) -> Iterable[str]:
    if segment in ("", ".", ".."):
        yield (
            f"{segment!r} is not a valid name between two slashes. Write a relative key such as "
            "kube-audit-{user}/audit"
        )
        return
    parts = _parse(segment)
    fields = [(name, _checked_as(name)) for _, name in parts if name is not None]
    free = [f"{{{name}}}" for name, part in fields if not part.fixed_bytes]
    if len(free) > 1:
        yield f"{segment!r}: two events could get the same key. Put / between {' and '.join(free)}"
        return
    longest = sum(len(literal) for literal, _ in parts) + sum(part.max_bytes for _, part in fields)
    if longest > MAX_SEGMENT_BYTES:
        yield f"{segment!r} can grow to {longest} bytes, over {MAX_SEGMENT_BYTES}. Shorten it, or put / in it"
