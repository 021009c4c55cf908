"""Which events a sink gets, and how much of each: transforms of events before they are written."""

from __future__ import annotations

from typing import Protocol

from auditsplit.event import Event


class Transform(Protocol):
    """What is done to events before a sink gets them: for all sinks, or for one."""

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events in their order: some left out, some replaced. ``events`` itself stays as it is."""
