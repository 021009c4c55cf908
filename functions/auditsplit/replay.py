"""Replay: recorded files, EventLists and audit logs, read in pieces and taken to the sinks like requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode.batch import Form
from auditsplit.decode.pieces import Piece, decompressed, pieces
from auditsplit.errors import Undecodable
from auditsplit.ingest import Ingest
from auditsplit.receipts import Rejected, whereabouts
from auditsplit.telemetry.figures import Figures


class Delivered(NamedTuple):
    """The outcome of one piece of a file.

    ``counts`` has ``events``, the ``duplicate`` ones among them, those that ``AUDIT_POLICY`` ``omitted``, those that
    were ``tooLarge``, those that sinks with ``required=0`` did not get (``undelivered``), ``rejected`` items, and
    records of other logs that were ``skipped``. ``complaints`` say where each rejected item stands and why it was
    rejected.
    """

    counts: dict[str, int]
    complaints: list[str]


def split(stream: io.BufferedReader[Any], cluster: str, ingest: Ingest, max_bytes: int) -> Iterator[Delivered]:
    """Deliver what ``stream`` holds, piece by piece, each durable when it is yielded.

    A file of lines may be of any size, a single document or line of ``max_bytes``. A malformed item is rejected. What
    becomes of a line does not depend on the other lines, unless they are a document of several lines together. After
    an error the same file can be split again: stored pieces that the sink still remembers (15 minutes in the file sink)
    are not stored twice.

    Raises:
        BodyTooLarge: a document or line is larger.
        SinkError: a sink failed.
        Undecodable: the gzip data is broken, or the file is UTF-16, a tar archive or Google Cloud's log.
    """
    skipped: list[int] = []
    for piece in pieces(decompressed(stream), max_bytes, skipped.append):
        deadline = Deadline.after(REQUEST_S)
        form = Form(lines=not piece.document, recorded=True)
        try:
            receipt = ingest.receive(piece.text, cluster, deadline, Figures(), form)
        except Undecodable as error:
            yield Delivered({"rejected": 1}, [f"line {piece.numbers[0]}: {error.detail}"])
            continue
        complaints = [f"{_position(item, piece)}: {item.reason}. {whereabouts(item.kept)}" for item in receipt.rejected]
        counts = {
            "events": receipt.events,
            "duplicate": receipt.events if receipt.alreadyStored else 0,
            "omitted": receipt.omitted or 0,
            "tooLarge": receipt.tooLarge or 0,
            "undelivered": sum((receipt.undelivered or {}).values()),
            "rejected": sum(item.items for item in receipt.rejected),
        }
        yield Delivered(counts, complaints)
    if any(skipped):
        yield Delivered({"skipped": sum(skipped)}, [])


def _position(item: Rejected, piece: Piece) -> str:
    """Return where in the file the item stands."""
    if item.index is None:
        return "several items"
    if piece.document:
        return f"line {piece.numbers[0]}: item {item.index}"
    return f"line {piece.numbers[item.index]}"
