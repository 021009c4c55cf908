"""A batch: what one request (or one piece of a file) brought, on its way to the stores."""

from __future__ import annotations

from datetime import UTC, datetime

from blake3 import blake3

from auditsplit.decode import eventlist
from auditsplit.event import Batch, Origin


def read(body: bytes, cluster: str, *, lines: bool = False) -> Batch:
    """Return the batch that ``body`` is: one document, or with ``lines`` one on each line; `Undecodable` if none."""
    decoded = eventlist.decode_lines(body) if lines else eventlist.decode(body)
    origin = Origin(cluster, datetime.now(UTC))
    return Batch(digest(body, cluster), origin, decoded.events, decoded.bad, decoded.more_bad)


def digest(body: bytes, cluster: str) -> str:
    """Return the BLAKE3 hash of the cluster and ``body``, in hexadecimal: equal for equal bytes of one cluster only.

    Any user has a say in the bytes, so it has to be a cryptographic one; SHA-256 takes three times as long, even where
    the processor helps it.
    """
    return blake3(cluster.encode() + b"\0").update(body).hexdigest()
