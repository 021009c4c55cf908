"""Fan-out: a batch into every store, and what is no event beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from auditsplit.decode import batch as batches
from auditsplit.decode import eventlist
from auditsplit.errors import SinkError, Undecodable
from auditsplit.policy.redaction import Redaction
from auditsplit.sinks import Sink
from auditsplit.telemetry import observation

T = TypeVar("T")
_SAFE = Redaction()


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is no event: its index, why, and where each store keeps it; no index where it is several ``items``."""

    index: int | None
    reason: str
    kept: list[str]
    items: int = 1


class Receipt(msgspec.Struct, frozen=True):
    """What became of a batch: the events that every store now holds, and the items that were none."""

    cluster: str
    batch: str
    events: int
    rejected: list[Rejected]
    alreadyStored: bool  # noqa: N815 - the JSON answer's name
    """Whether every store had this very batch before."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as the answer has it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def receive(
    body: bytes, cluster: str, stores: Sequence[Sink], *, lines: bool = False, redaction: Redaction = _SAFE
) -> Receipt:
    """Decode ``body`` and return once every store holds its events durably, and what is none beside them.

    No store gets what ``redaction`` cuts out of events; what is no event is kept as it came.
    `SinkError` where a store does not; the others hold it then, and find it stored when the sender tries again. A body
    that is none of audit events is kept, and raises `Undecodable`.
    """
    try:
        with observation.phase("split"):
            batch = batches.read(body, cluster, lines=lines)
            batch = msgspec.structs.replace(batch, events=redaction.apply(batch.events))
    except Undecodable as error:
        raise kept(error, body, cluster, stores) from error
    observation.current().take(batch)
    bad = [(batches.digest(item.raw, cluster), item.raw) for item in batch.bad]
    if batch.more_bad:
        bad.append((batches.digest(body, cluster), body))
    done = _everywhere(stores, lambda store: (store.write(batch), [_keep(store, cluster, *one) for one in bad]))
    places = [list(of_one) for of_one in zip(*[found for _, found in done], strict=True)]
    rejected = [Rejected(item.index, item.reason, kept) for item, kept in zip(batch.bad, places, strict=False)]
    if batch.more_bad:
        reason = "more items are no events; the whole body is kept"
        rejected.append(Rejected(None, reason, places[-1], batch.more_bad))
    already = not any(new for new, _ in done)
    return Receipt(cluster, batch.id, len(batch.events), rejected, alreadyStored=already)


def kept(error: Undecodable, body: bytes, cluster: str, stores: Sequence[Sink]) -> Undecodable:
    """Keep ``body`` in every store; return the error with the places in its words."""
    digest = batches.digest(body, cluster)
    places = _everywhere(stores, lambda store: _keep(store, cluster, digest, body))
    return Undecodable(f"{eventlist.explain(error)}; the body is kept as {', '.join(places)}", error.position)


def _keep(store: Sink, cluster: str, digest: str, body: bytes) -> str:
    return f"{store.name.rstrip('/')}/{store.reject(cluster, digest, body)}"


def _everywhere(stores: Sequence[Sink], do: Callable[[Sink], T]) -> list[T]:
    """Return what ``do`` returns for each store; `SinkError` once all were tried and one or more failed."""
    found: list[T] = []
    failed: list[SinkError] = []
    for store in stores:
        try:
            with observation.phase("store", store.name):
                found.append(do(store))
        except SinkError as error:
            failed.append(error)
    if len(failed) > 1:
        raise SinkError("; ".join(map(str, failed)))
    if failed:
        raise failed[0]
    return found
