"""Backfill: write to a sink the events of recordings that it does not hold, and no other.

An event is held if its line is, byte for byte, at its place. So the line is rendered as the sink would have stored it:
after the same transforms, in the sink's format. Events that may still be on their way to the sink are left out. For
these nobody could tell whether they are missing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from auditsplit.archive.files import place_of
from auditsplit.archive.reader import Reader
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import NO_TIME, Batch, Event, event_time
from auditsplit.policy.transforms import Chain, transform
from auditsplit.sinks import Sink, lines

_DIGEST_BYTES = 16


class Window(NamedTuple):
    """The times of the events that are written."""

    since: datetime
    until: datetime
    """The first time that no longer counts."""


class Counts(msgspec.Struct):
    """How many events of the recordings were there."""

    present: int = 0
    """The sink held them."""
    missing: int = 0
    written: int = 0
    outside: int = 0
    """Their time is outside of the window, or unknown."""
    dropped: int = 0
    """Policies or the limit of size dropped them."""
    malformed: int = 0
    """Items that are not events."""


class Backfill:
    """Writes missing events to one sink. Run one backfill of a sink at a time."""

    def __init__(
        self, sink: Sink, reader: Reader, line_format: lines.Format, transforms: tuple[Chain, Chain], window: Window
    ) -> None:
        """Choose the sink and its reader. ``transforms`` are those for all sinks, and those of this one."""
        self.sink, self.counts = sink, Counts()
        self._reader, self._format, self._window = reader, line_format, window
        self._shared, self._own = transforms
        self._held: dict[str, set[bytes]] = {}

    def take(self, batch: Batch, body: bytes, deadline: Deadline, *, document: bool) -> None:
        """Write the events of ``batch`` that the sink does not hold.

        It takes some 100 bytes of memory for each line that the sink holds at the events' places.

        Args:
            batch: What was decoded.
            body: What the batch was decoded from.
            deadline: Until when the sink may take.
            document: Whether ``body`` is a document, and not lines.

        Raises:
            SinkError: The sink failed. A second run writes what is missing then.
            Undecodable: A stored file is broken.
        """
        transformed = transform(batch, self._shared, [self._own], body, lines=not document)
        [own] = transformed.of_sinks
        self.counts.malformed += len(transformed.batch.bad) + transformed.batch.more_bad
        self.counts.dropped += sum(transformed.dropped) + sum(map(sum, transformed.dropped_by_sinks))
        events = [event for event in own.events if self._counts(event)]
        self.counts.outside += len(own.events) - len(events)
        missing = self._missing(msgspec.structs.replace(own, events=events))
        self.counts.missing += len(missing)
        if not missing:
            return
        # The sink may remember an equal batch whose files were removed since. A fresh id makes it write all the same.
        fresh = batches.digest(os.urandom(_DIGEST_BYTES), batch.origin.cluster)
        self.sink.write(msgspec.structs.replace(own, id=fresh, events=missing, bad=[], more_bad=0), deadline)
        self.counts.written += len(missing)

    def _counts(self, event: Event) -> bool:
        time = event_time(event.head, NO_TIME)
        return time != NO_TIME and self._window.since <= time < self._window.until

    def _missing(self, batch: Batch) -> list[Event]:
        """Return the events that the sink does not hold, and note that it does from now on."""
        groups = self._reader.template.group(batch.events, batch.origin)
        self._load(place_of(key) for key in groups)
        missing: set[int] = set()
        for key, events in groups.items():
            held = self._held[place_of(key)]
            for event in events:
                digest = _digest(lines.render([event], self._format)[:-1])
                if digest in held:
                    self.counts.present += 1
                else:
                    held.add(digest)
                    missing.add(id(event))
        return [event for event in batch.events if id(event) in missing]

    def _load(self, places: Iterable[str]) -> None:
        """Read the lines that the sink holds at ``places``, of which some may be known."""
        fresh = frozenset(places) - self._held.keys()
        if not fresh:
            return
        self._held.update((place, set()) for place in fresh)
        for source in self._reader.sources(_Exactly(fresh)):
            with source.open() as stream:
                self._held[place_of(source.place)].update(_digest(line.rstrip(b"\n")) for line in stream)


class _Exactly:
    """The choice of some places."""

    def __init__(self, places: frozenset[str]) -> None:
        self._places = places
        self._folders = {place.rsplit("/", count)[0] for place in places for count in range(place.count("/") + 1)}
        self.depth = max(place.count("/") + 1 for place in places)

    def may_lead(self, folder: str) -> bool:
        return folder in self._folders

    def may_hold(self, place: str) -> bool:
        return place_of(place) in self._places


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest()
