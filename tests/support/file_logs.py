"""Batches for the file sink, and its files read back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.file.sink import DEFAULT_KEY, FileSink

USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")


def make_batch(number: int, users: Sequence[str] = USERS, size: int = 200) -> Batch:
    """Return a batch of one event a user; ``number`` makes it unlike any other."""
    items = [{"auditID": f"{number}-{user}", "user": {"username": user}, "requestObject": "x" * size} for user in users]
    body = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items}
    return batches.read(json.dumps(body).encode(), "default")


def make_sink(root: Path, **options: Any) -> FileSink:
    """Return a store below ``root`` with the documented layout."""
    return FileSink(root, KeyTemplate(DEFAULT_KEY), **options)


def tree(root: Path) -> dict[str, bytes]:
    """Return the events' files below ``root`` with what they hold; empty ones don't count."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".auditsplit" not in path.parts and path.stat().st_size
    }


def audit_ids(root: Path) -> Counter[str]:
    """Return how often each event is stored; a torn line fails here."""
    return Counter(json.loads(line)["auditID"] for text in tree(root).values() for line in text.splitlines())


def ids_of(*made: Batch) -> Counter[str]:
    """Return the events of the batches, each once."""
    return Counter(json.loads(bytes(event.raw))["auditID"] for batch in made for event in batch.events)
