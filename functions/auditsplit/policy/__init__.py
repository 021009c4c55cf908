"""Policy: which events a sink gets, and which parts of them."""

from __future__ import annotations

from typing import Protocol

from auditsplit.event import Event


class Transform(Protocol):
    """A change to events before a sink gets them: before all sinks, or before a single sink.

    The result depends on the events alone, so that a retry gives the same events.
    """

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events that the sink gets, in their order. ``events`` itself stays as it is.

        Raises `Undecodable` for an event that it cannot change. Such an event is rejected.
        """
