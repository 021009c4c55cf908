"""What compaction saves: a reader and DuckDB over a day of 50 users, before and after, in requests and seconds.

The objects are files of this machine, so the seconds are those of decompression and parsing without a network. A store
adds a round trip for each request. ``.venv/bin/python benchmarks/compact.py``
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # their builders, from anywhere

from support.eventlists import event, eventlist
from support.folder_store import FolderStore

from auditsplit import sinks
from auditsplit.archive.compact import compact
from auditsplit.archive.objects import Hours, ObjectReader
from auditsplit.archive.reader import Everything
from auditsplit.decode import batch as batches
from auditsplit.sinks.objects.options import ObjectOptions, layout_of
from auditsplit.sinks.options import Target

_USERS = 50
_HOURS = 24
_BATCHES = 6  # an hour
_EVENTS = 400  # a batch
_START = datetime(2026, 1, 31, tzinfo=UTC)
_MAX_BYTES = 10**9
_VIEW = Path(__file__).parents[1] / "infra" / "duckdb" / "audit_events.sql"
_TARGET = cast("Target[ObjectOptions]", sinks.read_target("s3://my-bucket/audit", {}, "authenticated"))


class Alice:
    """The choice of the first user."""

    depth = 2

    def may_lead(self, folder: str) -> bool:
        """See `Choice.may_lead`."""
        return "/user=" not in folder or folder.endswith("/user=user-0")

    def may_hold(self, place: str) -> bool:
        """See `Choice.may_hold`."""
        return "/user=user-0/" in place


def fill(root: Path) -> None:
    """Write the day below ``root`` as the sink lays it out."""
    layout = layout_of(_TARGET)
    pause = timedelta(hours=1) / _BATCHES
    for number in range(_HOURS * _BATCHES):
        time_of = (_START + number * pause).isoformat()
        items = [
            event(f"user-{item % _USERS}", auditID=f"{number}-{item}", stageTimestamp=time_of)
            for item in range(_EVENTS)
        ]
        batch = batches.read(eventlist(items), "prod")
        for folder, events in layout.group(batch).items():
            key, body = layout.render("prod", folder, events)
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)


def read(store: FolderStore, choice: Alice | Everything) -> int:
    """Return the number of lines that ``choice`` lets through."""
    lines = 0
    for source in ObjectReader("day", store, _TARGET).sources(choice):
        with source.open() as stream:
            lines += sum(1 for _ in stream)
    return lines


def count(root: Path) -> int:
    """Return the number of events that DuckDB finds."""
    connection = duckdb.connect()
    connection.execute(_VIEW.read_text().replace("s3://my-bucket", str(root)))
    ((events,),) = connection.execute("SELECT count(*) FROM audit_events").fetchall()
    return int(events)


def timed(work: Callable[[], int]) -> str:
    """Return how long ``work`` takes, and what it finds."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return f"{best:8.2f} s  {found:>7,} events"


def report(root: Path, when: str) -> None:
    """Print a row for each question."""
    print(f"{when}: {sum(1 for path in root.rglob('*.jsonl.gz')):,} objects")
    for name, choice in (("all users", Everything()), ("one user", Alice())):
        store = FolderStore(root)
        read(store, choice)
        print(f"  reader, {name:9}  {store.requests:>6,} requests {timed(lambda: read(FolderStore(root), choice))}")  # noqa: B023 - called at once
    print(f"  DuckDB, count                       {timed(lambda: count(root))}")


def main() -> None:
    """Print the rows before and after."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root)
        report(root, "before")
        store = FolderStore(root)
        began = time.perf_counter()
        outcomes = list(compact(Hours(store, "audit/"), timedelta(hours=2), _MAX_BYTES, 2, datetime.now(UTC)))
        took_s = time.perf_counter() - began
        joined = sum(1 for outcome in outcomes if outcome.deleted)
        print(f"compaction: {joined:,} places and hours, {store.requests:,} requests, {took_s:.1f} s")
        report(root, "after")


if __name__ == "__main__":
    main()
