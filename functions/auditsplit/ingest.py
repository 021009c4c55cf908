"""Ingest: the use case. Decode a body, transform its events, write them to every sink, and return a receipt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import UNSET

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode import eventlist
from auditsplit.decode.batch import DOCUMENT, Form
from auditsplit.errors import Busy, SenderLeft, SinkError, Undecodable
from auditsplit.event import Batch, Head, PolicyHead
from auditsplit.policy import Transform
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.transforms import Transformed, transform
from auditsplit.policy.truncation import Truncation
from auditsplit.receipts import Receipt, Recent, Rejected, whereabouts
from auditsplit.sinks import Remembers, Sink, Written
from auditsplit.telemetry.figures import Figures

T = TypeVar("T")
V = TypeVar("V")


NOTHING_WRITTEN = Written(new=False, size_bytes=0)
"""Of a sink whose events were all dropped, by policies or because they were too large."""


class Destination(NamedTuple):
    """A sink, and what is done to events for this sink alone."""

    sink: Sink
    transforms: Sequence[Transform] = ()


class _Known(NamedTuple):
    """The receipt of a stored batch without malformed items, and the figures that it does not have."""

    receipt: Receipt
    users: int
    truncated: int


class Ingest:
    """Takes bodies to all destinations. Any number of threads may use one at once."""

    def __init__(self, destinations: Sequence[Destination], transforms: Sequence[Transform] = ()) -> None:
        """Keep the destinations, and the ``transforms`` that apply to all of them, in their order."""
        self.sinks = tuple(destination.sink for destination in destinations)
        self._destinations = tuple(destinations)
        self._own_transforms = [destination.transforms for destination in destinations]
        self._transforms = tuple(transforms)
        every = [*self._transforms, *(each for chain in self._own_transforms for each in chain)]
        self._heads: type[Head] = PolicyHead if _has(AppliedPolicy, every) else Head
        self._remembering = [sink for sink in self.sinks if isinstance(sink, Remembers)]
        self._receipts: Recent[_Known] = Recent()

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
            Busy: the deadline was over before all was done. A retry with the same bytes is safe.
            SenderLeft: the sender left before a sink was given anything.
            SinkError: a sink failed. The other sinks hold the batch, and find it stored when the sender retries.
            Undecodable: the whole body is malformed; it is written to ``_rejected/`` of every sink.
        """
        _expect_sender(deadline, "decoding")
        try:
            with figures.phase("decode"):
                batch_id = batches.digest(body, cluster)
                if (known := self._known(batch_id, form, deadline, figures)) is not None:
                    return known
                batch = batches.read(body, cluster, form, batch_id, self._heads)
        except Undecodable as error:
            raise self.reject(error, body, cluster, deadline, figures) from error
        _expect_sender(deadline, "redaction")
        with figures.phase("transform"):
            transformed = transform(batch, self._transforms, self._own_transforms, body, lines=form.lines)
        figures.decoded(transformed.batch)
        self._note_dropped(transformed, figures)
        _expect_sender(deadline, "writing")
        receipt = self._deliver(transformed, body, deadline, figures)
        if not receipt.rejected and not receipt.undelivered:
            self._receipts.add((batch_id, form), _Known(receipt, figures.users, figures.truncated))
        return receipt

    def _known(self, batch_id: str, form: Form, deadline: Deadline, figures: Figures) -> Receipt | None:
        """Return the receipt of a batch that this process stored, if every sink tells that it still holds it."""
        known = self._receipts.get((batch_id, form))
        if known is None or len(self._remembering) < len(self.sinks):
            return None
        if not all(sink.remembers(batch_id, deadline) for sink in self._remembering):
            return None
        figures.batch, figures.events, figures.duplicate = batch_id, known.receipt.events, True
        figures.users, figures.truncated = known.users, known.truncated
        figures.omitted, figures.omitted_by_sink = known.receipt.omitted or 0, known.receipt.omittedBySink or {}
        figures.too_large, figures.too_large_by_sink = known.receipt.tooLarge or 0, known.receipt.tooLargeBySink or {}
        return msgspec.structs.replace(known.receipt, alreadyStored=True)

    def _note_dropped(self, transformed: Transformed, figures: Figures) -> None:
        """Note how many events the policies and the limits dropped."""
        figures.omitted, figures.too_large = transformed.dropped
        for destination, dropped in zip(self._destinations, transformed.dropped_by_sinks, strict=True):
            name, transforms = destination.sink.name, destination.transforms
            if _has(AppliedPolicy, transforms):
                figures.omitted_by_sink[name] = dropped.omitted
            if _has(Truncation, transforms):
                figures.too_large_by_sink[name] = dropped.too_large

    def _deliver(self, transformed: Transformed, body: bytes, deadline: Deadline, figures: Figures) -> Receipt:
        """Return the receipt of a batch once every sink holds its own events, and the malformed items."""
        batch, cluster = transformed.batch, transformed.batch.origin.cluster
        bad = [(batches.digest(item.raw, cluster), item.raw) for item in batch.bad]
        if batch.more_bad:
            bad.append((batch.id, body))

        def deliver(sink: Sink, own: Batch) -> tuple[Written, list[str]]:
            _expect_time(deadline, f"writing to {sink.name}")
            all_dropped = not own.events and bool(figures.omitted or figures.too_large or batch.events)
            written = NOTHING_WRITTEN if all_dropped else sink.write(own, deadline)
            figures.wrote(sink.name, written.size_bytes)
            figures.undelivered.update(written.undelivered)
            return written, [_reject(sink, cluster, *each, deadline) for each in bad]

        delivered = self._everywhere(deliver, transformed.of_sinks, figures)
        places = [list(filter(None, of_one)) for of_one in zip(*[places for _, places in delivered], strict=True)]
        tells = [written.new for written, _ in delivered if written is not NOTHING_WRITTEN]
        figures.duplicate = False in tells and True not in tells
        return Receipt(
            cluster,
            batch.id,
            len(batch.events),
            _rejected(batch, places),
            alreadyStored=figures.duplicate,
            omitted=figures.omitted if _has(AppliedPolicy, self._transforms) else UNSET,
            omittedBySink=figures.omitted_by_sink or UNSET,
            tooLarge=figures.too_large if _has(Truncation, self._transforms) else UNSET,
            tooLargeBySink=figures.too_large_by_sink or UNSET,
            undelivered={name: count for name, count in figures.undelivered.items() if count} or UNSET,
        )

    def reject(
        self, error: Undecodable, body: bytes, cluster: str, deadline: Deadline, figures: Figures
    ) -> Undecodable:
        """Write a malformed ``body`` to every sink; return the ``error`` with the places in its words."""
        digest = batches.digest(body, cluster)
        places = self._everywhere(lambda sink, _: _reject(sink, cluster, digest, body, deadline), self.sinks, figures)
        kept = list(filter(None, places))
        return Undecodable(f"{eventlist.explain(error)}. {whereabouts(kept)}", error.position)

    def _everywhere(self, act: Callable[[Sink, V], T], values: Sequence[V], figures: Figures) -> list[T]:
        """Return what ``act`` returns for each sink and its value. `SinkError` once all were tried and any failed."""
        results: list[T] = []
        errors: list[SinkError] = []
        for sink, value in zip(self.sinks, values, strict=True):
            try:
                with figures.phase("write", sink.name):
                    results.append(act(sink, value))
            except SinkError as error:
                figures.wrote(sink.name, error.size_bytes)
                errors.append(error)
        if len(errors) > 1:
            raise SinkError("; ".join(map(str, errors)))
        if errors:
            raise errors[0]
        return results


def _has(kind: type[Transform], transforms: Sequence[Transform]) -> bool:
    return any(isinstance(each, kind) for each in transforms)


def _expect_sender(deadline: Deadline, before: str) -> None:
    """Raise an error if nobody waits for the answer, or not for long enough."""
    if deadline.sender_left():
        raise SenderLeft(f"the sender closed the connection before {before}. It must send the request again")
    _expect_time(deadline, before)


def _expect_time(deadline: Deadline, before: str) -> None:
    if not deadline.left_s():
        raise Busy(f"the time for this request was over before {before}. Send it again")


def _reject(sink: Sink, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
    place = sink.reject(cluster, digest, body, deadline)
    return place and f"{sink.name.rstrip('/')}/{place}"


def _rejected(batch: Batch, places: list[list[str]]) -> list[Rejected]:
    """Return the receipt's entries; ``places`` has those of each bad item, and of the body where there are more."""
    entries = [Rejected(item.index, item.reason, kept) for item, kept in zip(batch.bad, places, strict=False)]
    if batch.more_bad:
        entries.append(
            Rejected(None, "more items are malformed, so the whole body is stored", places[-1], batch.more_bad)
        )
    return entries
