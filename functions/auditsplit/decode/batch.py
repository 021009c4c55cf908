"""Batches: the events of one body, and the id by which a retry is recognised."""

from __future__ import annotations

from datetime import UTC, datetime

from blake3 import blake3

from auditsplit.decode import eventlist
from auditsplit.event import Batch, Origin


def read(body: bytes, cluster: str, *, lines: bool = False, batch_id: str = "") -> Batch:
    """Return the batch of ``body``.

    Args:
        body: One document, or with ``lines`` one document on each line.
        cluster: The cluster that the events are from.
        lines: Whether ``body`` has a document on each line.
        batch_id: The `digest` of both, if it is known.

    Raises:
        Undecodable: When ``body`` holds no audit events.
    """
    decoded = eventlist.decode_lines(body) if lines else eventlist.decode(body)
    origin = Origin(cluster, datetime.now(UTC))
    return Batch(batch_id or digest(body, cluster), origin, decoded.events, decoded.bad, decoded.more_bad)


def digest(body: bytes, cluster: str) -> str:
    """Return the BLAKE3 hash of the cluster's name and ``body``, in 64 hex digits.

    Users choose some of the bytes, so the hash must be a cryptographic one: a collision would make a new batch look
    like a retry. SHA-256 takes three times as long, even with the processor's own instructions for it.
    """
    return blake3(cluster.encode() + b"\0").update(body).hexdigest()
