"""Batches for the file sink, and its files read back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.file.sink import DEFAULT_KEY, FileSink

_KILLED = """
import os, pathlib, signal, sys
root, at, tests, *numbers = sys.argv[1:]
sys.path.insert(0, tests)
from auditsplit.sinks.file import disk
import support.file_logs as t
from support.requests import soon
sink = t.make_sink(pathlib.Path(root))
for number in numbers[:-1]:
    sink.write(t.make_batch(int(number)), soon())
calls, real = iter(range(100)), disk.write
def write(file, chunks, offset):
    if next(calls) == int(at):
        real(file, [b"".join(chunks)[: sum(map(len, chunks)) // 2]], offset)
        os.kill(os.getpid(), signal.SIGKILL)
    real(file, chunks, offset)
disk.write = write
sink.write(t.make_batch(int(numbers[-1])), soon())
"""

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


def kill_within_write(root: Path, at: int, numbers: Sequence[int] = (1, 2)) -> None:
    """Store batches by a process that is killed halfway through a write of the last one.

    Write 0 is the journal's, write 1 that of the first user's file, and so on.
    """
    arguments = [str(root), str(at), str(Path(__file__).parents[1]), *map(str, numbers)]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
