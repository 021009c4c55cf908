"""Places: which keys of a template may hold events that match, so that the others need not be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from auditsplit.archive.find.criteria import Criteria
from auditsplit.routing.fields import field
from auditsplit.routing.template import KeyTemplate

_LAST_MONTH = 12
_TIMES = {"date", "year", "month", "day", "hour"}


class Interval(NamedTuple):
    """The times of the events that a key may hold."""

    start: datetime
    end: datetime
    """The first time after them."""


class Places:
    """The keys of a template that may hold matching events. A key that is not of the template may hold any event."""

    def __init__(self, template: KeyTemplate, criteria: Criteria) -> None:
        """Work out the names that each field of a key may have."""
        self._template = template
        self._since, self._until = criteria.since, criteria.until
        users = criteria.impersonated if template.user == "impersonated" else criteria.users
        if template.user == "impersonated" and "" in users:
            users = ()  # without an impersonated user, the key has the authenticated user
        values: Mapping[str, Sequence[str]] = {
            "user": users,
            "namespace": criteria.namespaces,
            "verb": criteria.verbs,
            "stage": criteria.stages,
            "resource": [resource.name for resource in criteria.resources],
        }
        self._allowed = {name: _names(name, template, of) for name, of in values.items() if of}

        deciding = set(self._allowed) | (_TIMES if self._since or self._until else set())
        self._beginnings = template.beginnings()
        decisive = [count for count, part in enumerate(self._beginnings, 1) if part.last_fields & deciding]
        self.depth = max(decisive, default=0)

    def may_lead(self, folder: str) -> bool:
        """See `auditsplit.archive.reader.Choice.may_lead`."""
        template = self._beginnings[min(folder.count("/"), len(self._beginnings) - 1)]
        return self._may_have(template.names_in(folder))

    def may_hold(self, place: str) -> bool:
        """Return whether an event with the key ``place``, perhaps without ``.gz`` at its end, may match."""
        return self._may_have(self._template.names_in(place) or self._template.names_in(f"{place}.gz"))

    def _may_have(self, names: Sequence[tuple[str, str]] | None) -> bool:
        """Return whether a key whose fields have these names may hold a match."""
        if names is None:
            return True
        if any(name in self._allowed and value not in self._allowed[name] for name, value in names):
            return False
        interval = _interval(dict(names))
        if interval is None:
            return True
        before = self._since is not None and interval.end <= self._since
        after = self._until is not None and interval.start >= self._until
        return not (before or after)


def _names(name: str, template: KeyTemplate, values: Iterable[str]) -> frozenset[str]:
    part = field(name, template.user)
    name_of: Callable[[str | None], str] = part.name if part else str
    return frozenset(name_of(value or None) for value in values)


def _interval(names: Mapping[str, str]) -> Interval | None:
    """Return the times of a key with these names. None if the key does not tell them."""
    parts = itertools.takewhile(names.__contains__, ("year", "month", "day"))
    text = names["date"] if "date" in names else "-".join(names[part] for part in parts)
    if not text:
        return None
    try:
        return _of([int(number) for number in text.split("-")], names.get("hour"))
    except (ValueError, OverflowError):
        return None


def _of(numbers: list[int], hour: str | None) -> Interval:
    """Return the interval of a year, month or day, or of an hour of a day."""
    match numbers:
        case [year]:
            return Interval(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
        case [year, month]:
            following = (year + 1, 1) if month == _LAST_MONTH else (year, month + 1)
            return Interval(datetime(year, month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC))
        case [year, month, day]:
            start = datetime(year, month, day, int(hour or 0), tzinfo=UTC)
            return Interval(start, start + (timedelta(hours=1) if hour else timedelta(days=1)))
        case _:
            raise ValueError("not a date")
