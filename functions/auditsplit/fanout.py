"""Fan-out: a batch into every store, and what is no event beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from auditsplit import batch as batches
from auditsplit import eventlist
from auditsplit.batch import Batch
from auditsplit.errors import Undecodable
from auditsplit.sinks import Sink


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


def deliver(batch: Batch, stores: Sequence[Sink], rejected: list[Rejected]) -> Receipt:
    """Return once every store holds the batch durably; `StoreError` where one does not.

    Stores that took it before the failing one keep it: they find it stored when the sender tries again.
    """
    new = [store.write(batch) for store in stores]
    return Receipt(batch.origin.cluster, batch.id, len(batch.events), rejected, alreadyStored=not any(new))


def keep(body: bytes, cluster: str, stores: Sequence[Sink]) -> list[str]:
    """Put ``body``, which is no event, into every store's ``_rejected/``; return the places."""
    digest = batches.digest(body, cluster)
    return [f"{store.name.rstrip('/')}/{store.reject(cluster, digest, body)}" for store in stores]


def receive(body: bytes, cluster: str, stores: Sequence[Sink], *, lines: bool = False) -> Receipt:
    """Decode ``body`` and deliver it. A body that is none of audit events is kept, and raises `Undecodable`."""
    try:
        batch = batches.read(body, cluster, lines=lines)
    except Undecodable as error:
        raise kept(error, body, cluster, stores) from error
    rejected = [Rejected(item.index, item.reason, keep(item.raw, cluster, stores)) for item in batch.bad]
    if batch.more_bad:
        places = keep(body, cluster, stores)
        rejected.append(Rejected(None, "more items are no events; the whole body is kept", places, batch.more_bad))
    return deliver(batch, stores, rejected)


def kept(error: Undecodable, body: bytes, cluster: str, stores: Sequence[Sink]) -> Undecodable:
    """Keep ``body`` in every store; return the error with the places in its words."""
    places = keep(body, cluster, stores)
    return Undecodable(f"{eventlist.explain(error)}; the body is kept as {', '.join(places)}", error.position)
