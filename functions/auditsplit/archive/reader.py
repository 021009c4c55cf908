"""Readers: stored events, read back from where a sink wrote them. Sinks themselves stay write-only.

A reader has its own credentials: it runs with the settings of the person who reads, not with those of the function.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from auditsplit.routing.template import KeyTemplate


class Choice(Protocol):
    """Which places are read."""

    @property
    def depth(self) -> int:
        """How many leading segments of a place decide. Folders below them are listed at once."""

    def may_lead(self, folder: str) -> bool:
        """Return whether a place that begins with the segments of ``folder`` may be read."""

    def may_hold(self, place: str) -> bool:
        """Return whether the place is read."""


class Source(Protocol):
    """The lines of a file or an object."""

    @property
    def name(self) -> str:
        """The path or key, as results show it."""

    @property
    def place(self) -> str:
        """The key that the template gave the events."""

    def open(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Return the lines as a stream, decompressed.

        Raises:
            OSError: A file cannot be read.
            Undecodable: The data is broken. Reading the stream may raise it too.
            SinkFailure: A store cannot be read.
        """


class Reader(Protocol):
    """Stored events of one sink, read back. Each line is read once, also while the sink writes or is compacted."""

    name: str
    """What messages call it: the sink's URL without options."""
    template: KeyTemplate

    def sources(self, choice: Choice) -> Iterator[Source]:
        """Yield what ``choice`` lets through. Where an hour has several objects, the order is by place and hour."""


class Everything:
    """The choice of all places."""

    depth = 0

    def may_lead(self, folder: str) -> bool:  # noqa: ARG002 - see `Choice`
        """See `Choice.may_lead`."""
        return True

    def may_hold(self, place: str) -> bool:  # noqa: ARG002 - see `Choice`
        """See `Choice.may_hold`."""
        return True
