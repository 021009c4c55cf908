"""Apply transforms to a batch. An event that a transform refuses is rejected alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from auditsplit.decode.eventlist import MAX_BAD, explain
from auditsplit.errors import Undecodable
from auditsplit.event import BadItem, Batch, Event
from auditsplit.policy import Transform
from auditsplit.policy.truncation import Truncation

Chain = Sequence[Transform]
"""Transforms that are applied one after the other."""


class Dropped(NamedTuple):
    """The numbers of events that transforms dropped."""

    omitted: int = 0
    """By policies."""
    too_large: int = 0
    """Because they were too large without their bodies too."""


class Transformed(NamedTuple):
    """A batch after the transforms for all sinks, and the same for each sink after its own."""

    batch: Batch
    of_sinks: list[Batch]
    dropped: Dropped
    """By the transforms for all sinks."""
    dropped_by_sinks: list[Dropped]


def transform(batch: Batch, shared: Chain, own: Sequence[Chain], body: bytes, *, lines: bool) -> Transformed:
    """Return ``batch`` after the ``shared`` transforms, and for each sink after its ``own``.

    An event that any transform refuses becomes a malformed item, for all sinks.

    Args:
        batch: What was decoded.
        shared: The transforms for all sinks.
        own: The transforms of each sink.
        body: What the batch was decoded from.
        lines: Whether the body has a document on each line.
    """
    try:
        return _transform(batch, shared, own)
    except Undecodable:
        chains: list[Chain] = [(*shared, *chain) for chain in own] or [shared]
        return _transform(_without_refused(batch, chains, body, lines=lines), shared, own)


def _transform(batch: Batch, shared: Chain, own: Sequence[Chain]) -> Transformed:
    left, dropped = _after(batch, shared)
    of_sinks = [_after(left, chain) for chain in own]
    return Transformed(left, [each for each, _ in of_sinks], dropped, [each for _, each in of_sinks])


def _after(batch: Batch, chain: Chain) -> tuple[Batch, Dropped]:
    """Return the batch after the transforms, and how many events they dropped."""
    if not chain:
        return batch, Dropped()
    events, too_large = batch.events, 0
    for each in chain:
        left = each.apply(events)
        too_large += (len(events) - len(left)) if isinstance(each, Truncation) else 0
        events = left
    dropped = Dropped(len(batch.events) - len(events) - too_large, too_large)
    return msgspec.structs.replace(batch, events=events), dropped


def _without_refused(batch: Batch, chains: Sequence[Chain], body: bytes, *, lines: bool) -> Batch:
    """Return the batch with the events that a chain refuses as malformed items, before any transform."""
    events: list[Event] = []
    bad = list(batch.bad)
    for index, event in zip(_indices(batch, body, lines=lines), batch.events, strict=True):
        alone = msgspec.structs.replace(batch, events=[event])
        try:
            for chain in chains:
                _after(alone, chain)
            events.append(event)
        except Undecodable as error:
            bad.append(BadItem(index, explain(error), bytes(event.raw)))
    bad.sort(key=lambda item: item.index)
    more_bad = batch.more_bad + len(bad[MAX_BAD:])
    return msgspec.structs.replace(batch, events=events, bad=bad[:MAX_BAD], more_bad=more_bad)


def _indices(batch: Batch, body: bytes, *, lines: bool) -> Iterator[int]:
    """Yield the index of each event's item, or of its line."""
    if lines:
        yield from (body.count(b"\n", 0, body.find(event.raw)) for event in batch.events)
        return
    malformed = {item.index for item in batch.bad}
    every = range(len(batch.events) + len(batch.bad) + batch.more_bad)
    good = (index for index in every if index not in malformed)
    yield from (index for index, _ in zip(good, batch.events, strict=False))
