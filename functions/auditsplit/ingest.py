"""Ingest: the use case. Decode a body, transform its events, write them to every sink, and return a receipt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode import eventlist
from auditsplit.decode.batch import DOCUMENT, Form
from auditsplit.errors import SinkError, Undecodable
from auditsplit.event import Batch, Event
from auditsplit.policy import Transform
from auditsplit.sinks import Sink, Written
from auditsplit.telemetry.figures import Figures

T = TypeVar("T")


class Destination(NamedTuple):
    """A sink, and what is done to events for this sink alone."""

    sink: Sink
    transforms: Sequence[Transform] = ()


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A malformed item: its index, why it is malformed, and where each sink has it.

    ``index`` is None where the entry stands for several ``items``.
    """

    index: int | None
    reason: str
    kept: list[str]
    items: int = 1


class Receipt(msgspec.Struct, frozen=True):
    """The answer to a batch: the events that every sink now holds, and the malformed items."""

    cluster: str
    batch: str
    events: int
    rejected: list[Rejected]
    alreadyStored: bool  # noqa: N815 - the JSON answer's name
    """Whether every sink had this very batch before."""

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as the JSON answer has it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class Ingest:
    """Takes bodies to all destinations. Any number of threads may use one at once."""

    def __init__(self, destinations: Sequence[Destination], transforms: Sequence[Transform] = ()) -> None:
        """Keep the destinations, and the ``transforms`` that apply to all of them, in their order."""
        self.sinks = tuple(destination.sink for destination in destinations)
        self._destinations = tuple(destinations)
        self._transforms = tuple(transforms)

    def receive(
        self,
        body: bytes,
        cluster: str,
        deadline: Deadline,
        figures: Figures,
        form: Form = DOCUMENT,
    ) -> Receipt:
        """Return the receipt of ``body`` once every sink holds its events durably, and its malformed items.

        Transforms apply to events only. A malformed item is rejected as it arrived.

        Args:
            body: one document, or one document on each line.
            cluster: the cluster that the events are from.
            deadline: until when the sinks may take.
            figures: what became of the request; filled here, also where an error is raised.
            form: whether ``body`` is a document or lines, and of a request or of a recorded file.

        Raises:
            SinkError: a sink failed. The other sinks hold the batch, and find it stored when the sender retries.
            Undecodable: the whole body is malformed; it is written to ``_rejected/`` of every sink.
        """
        try:
            with figures.phase("decode"):
                batch = batches.read(body, cluster, form)
        except Undecodable as error:
            raise self.reject(error, body, cluster, deadline, figures) from error
        figures.decoded(batch)
        with figures.phase("transform"):
            events = transformed(batch.events, self._transforms)
            batch = msgspec.structs.replace(batch, events=events)
        bad = [(batches.digest(item.raw, cluster), item.raw) for item in batch.bad]
        if batch.more_bad:
            bad.append((batches.digest(body, cluster), body))

        def deliver(destination: Destination) -> tuple[Written, list[str]]:
            written = _write(destination, batch, deadline)
            figures.wrote(destination.sink.name, written.size_bytes)
            return written, [_reject(destination.sink, cluster, *one, deadline) for one in bad]

        delivered = self._everywhere(deliver, figures)
        places = [list(of_one) for of_one in zip(*[places for _, places in delivered], strict=True)]
        figures.duplicate = not any(written.new for written, _ in delivered)
        return Receipt(cluster, batch.id, len(batch.events), _rejected(batch, places), alreadyStored=figures.duplicate)

    def reject(
        self, error: Undecodable, body: bytes, cluster: str, deadline: Deadline, figures: Figures
    ) -> Undecodable:
        """Write a malformed ``body`` to every sink; return the ``error`` with the places in its words."""
        digest = batches.digest(body, cluster)
        places = self._everywhere(
            lambda destination: _reject(destination.sink, cluster, digest, body, deadline), figures
        )
        return Undecodable(f"{eventlist.explain(error)}; it is written to {', '.join(places)}", error.position)

    def _everywhere(self, act: Callable[[Destination], T], figures: Figures) -> list[T]:
        """Return what ``act`` returns for each destination. `SinkError` once all were tried and any failed."""
        results: list[T] = []
        errors: list[SinkError] = []
        for destination in self._destinations:
            name = destination.sink.name
            try:
                with figures.phase("write", name):
                    results.append(act(destination))
            except SinkError as error:
                figures.wrote(name, error.size_bytes)
                errors.append(error)
        if len(errors) > 1:
            raise SinkError("; ".join(map(str, errors)))
        if errors:
            raise errors[0]
        return results


def transformed(events: list[Event], transforms: Sequence[Transform]) -> list[Event]:
    """Return ``events`` after all ``transforms``, in their order."""
    for transform in transforms:
        events = transform.apply(events)
    return events


def _write(destination: Destination, batch: Batch, deadline: Deadline) -> Written:
    if destination.transforms:
        batch = msgspec.structs.replace(batch, events=transformed(batch.events, destination.transforms))
    return destination.sink.write(batch, deadline)


def _reject(sink: Sink, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
    return f"{sink.name.rstrip('/')}/{sink.reject(cluster, digest, body, deadline)}"


def _rejected(batch: Batch, places: list[list[str]]) -> list[Rejected]:
    """Return the receipt's entries; ``places`` has those of each bad item, and of the body where there are more."""
    entries = [Rejected(item.index, item.reason, kept) for item, kept in zip(batch.bad, places, strict=False)]
    if batch.more_bad:
        entries.append(Rejected(None, "more items are malformed; the whole body is kept", places[-1], batch.more_bad))
    return entries
