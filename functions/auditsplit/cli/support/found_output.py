"""How found events are printed: as a table, as JSON, as the stored lines, or counted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

import click
import orjson

from auditsplit.archive.find.search import Found
from auditsplit.cli.support import found as texts
from auditsplit.cli.support import tables
from auditsplit.cli.support.contract import print_json
from auditsplit.event import FoundHead
from auditsplit.sinks import lines


class Output(Protocol):
    """Prints found events."""

    def add(self, found: Found, place: str) -> None:
        """Print or count an event that was found in ``place``."""

    def end(self, events: int) -> None:
        """Print what comes after the last event. ``events`` is how many there were."""


class Table:
    """Prints each event as a line of a table at once."""

    def __init__(self, *, wide: bool) -> None:
        """Choose the columns."""
        self._columns = texts.WIDE if wide else texts.TABLE
        self._is_begun = False

    def add(self, found: Found, place: str) -> None:
        """Print a line, after the heading."""
        if not self._is_begun:
            click.echo(texts.heading(self._columns))
            self._is_begun = True
        click.echo(texts.row(found, place, self._columns))

    def end(self, events: int) -> None:
        """Print nothing."""


class Json:
    """Prints each event at once as an element of one JSON document."""

    def __init__(self) -> None:
        """Begin without an event."""
        self._before = '{"events":[\n'

    def add(self, found: Found, place: str) -> None:
        """Print an element."""
        element = orjson.dumps(_encodable(texts.members(found, place))).decode()
        click.echo(self._before + element, nl=False)
        self._before = ",\n"

    def end(self, events: int) -> None:
        """Print the end of the document."""
        click.echo(f'{"" if events else self._before}\n],"found":{events}}}')


class Lines:
    """Prints the events as they are stored, in the log backend's format."""

    def add(self, found: Found, place: str) -> None:  # noqa: ARG002 - an Output's
        """Print a line."""
        sys.stdout.buffer.write(lines.render([found.event], "log"))
        sys.stdout.buffer.flush()

    def end(self, events: int) -> None:
        """Print nothing."""


def _resource(head: FoundHead) -> str | None:
    reference = head.objectRef
    parts = (reference.resource, reference.apiGroup) if reference else ()
    return ".".join(part for part in parts if part) or None


TOPS: Mapping[str, Callable[[FoundHead], str | None]] = {
    "verb": lambda head: head.verb,
    "user": lambda head: head.user.username if head.user else None,
    "resource": _resource,
    "code": lambda head: str(head.responseStatus.code) if head.responseStatus else None,
    "namespace": lambda head: head.objectRef.namespace if head.objectRef else None,
}
"""What ``--top`` can count by."""


class Top:
    """Counts events by a field, and prints the counts at the end, the largest first."""

    def __init__(self, field: str, *, as_json: bool) -> None:
        """Choose the field of `TOPS`."""
        self._field, self._as_json = field, as_json
        self._counts: Counter[str] = Counter()

    def add(self, found: Found, place: str) -> None:  # noqa: ARG002 - an Output's
        """Count an event."""
        self._counts[TOPS[self._field](found.head) or ""] += 1

    def end(self, events: int) -> None:
        """Print the counts."""
        ranked = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        if self._as_json:
            print_json(
                {
                    "top": [_encodable({self._field: value, "events": count}) for value, count in ranked],
                    "found": events,
                }
            )
        elif ranked:
            rows = [(str(count), texts.shown(value)) for value, count in ranked]
            click.echo(tables.text([("EVENTS", self._field.upper()), *rows]), nl=False)


def _encodable(members: dict[str, object]) -> dict[str, object]:
    """Return ``members`` without lone surrogates, which JSON's encoder refuses."""
    return {name: _without_surrogates(value) for name, value in members.items()}


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    return [_without_surrogates(each) for each in value] if isinstance(value, tuple) else value
