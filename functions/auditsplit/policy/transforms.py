"""Apply transforms to a batch. An event that a transform refuses is rejected alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from auditsplit.decode.eventlist import MAX_BAD, explain
from auditsplit.errors import Undecodable
from auditsplit.event import BadItem, Batch, Event
from auditsplit.policy import Transform

Chain = Sequence[Transform]
"""Transforms that are applied one after the other."""


class Transformed(NamedTuple):
    """A batch after the transforms for all sinks, and the same for each sink after its own."""

    batch: Batch
    of_sinks: list[Batch]
    omitted: int
    """The number of events that the transforms for all sinks dropped."""


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
    left = _after(batch, shared)
    return Transformed(left, [_after(left, chain) for chain in own], len(batch.events) - len(left.events))


def _after(batch: Batch, chain: Chain) -> Batch:
    return msgspec.structs.replace(batch, events=_apply(batch.events, chain)) if chain else batch


def _apply(events: list[Event], chain: Chain) -> list[Event]:
    for each in chain:
        events = each.apply(events)
    return events


def _without_refused(batch: Batch, chains: Sequence[Chain], body: bytes, *, lines: bool) -> Batch:
    """Return the batch with the events that a chain refuses as malformed items, before any transform."""
    events: list[Event] = []
    bad = list(batch.bad)
    for index, event in zip(_indices(batch, body, lines=lines), batch.events, strict=True):
        try:
            for chain in chains:
                _apply([event], chain)
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
