"""Batches: the events of one body, and the id by which a retry is recognised."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from blake3 import blake3

from auditsplit.decode import eventlines, eventlist
from auditsplit.decode.envelope import Backend
from auditsplit.event import Batch, Head, Origin


class Form(NamedTuple):
    """The form of a body."""

    lines: bool = False
    """Whether it has a document on each line, not a single document."""
    recorded: bool = False
    """Whether it is a piece of a recorded file, not a request's. See `eventlines.decode`."""


DOCUMENT = Form()
"""A single document of a request."""


def read(body: bytes, cluster: str, form: Form = DOCUMENT, batch_id: str = "", heads: type[Head] = Head) -> Batch:
    """Return the batch of ``body``.

    Args:
        body: The bytes, of the ``form``.
        cluster: The cluster that the events are from.
        form: The form of ``body``.
        batch_id: The `digest` of body and cluster, if it is known.
        heads: The fields of each event that are decoded: those of `Head` or of a subclass in its module.

    Raises:
        Undecodable: When ``body`` holds no audit events.
    """
    backend: Backend = "log" if form.recorded else "webhook"
    if form.lines:
        decoded = eventlines.decode(body, backend, heads, recorded=form.recorded)
    else:
        decoded = eventlist.decode(body, backend, heads)
    origin = Origin(cluster, datetime.now(UTC))
    return Batch(batch_id or digest(body, cluster), origin, decoded.events, decoded.bad, decoded.more_bad)


def digest(body: bytes, cluster: str) -> str:
    """Return the BLAKE3 hash of the cluster's name and ``body``, in 64 hex digits.

    Users choose some of the bytes, so the hash must be a cryptographic one: a collision would make a new batch look
    like a retry. SHA-256 takes three times as long, even with the processor's own instructions for it.
    """
    return blake3(cluster.encode() + b"\0").update(body).hexdigest()
