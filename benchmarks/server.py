"""The whole way through the server: events a second and CPU seconds per million events.

The servers are processes of their own, and this one is the client, whose CPU time is not counted. All of them run at
once and take turns, so that a busy machine slows all of them.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import serving, workload
from benchmarks.serving import Server
from benchmarks.workload import Batches

_ROUNDS = 7
_BATCHES = 96  # in a round, over all connections
_WARM_UP = 12
_CONNECTIONS = (1, 4)
_TARGET = 12.0
_BARE = Path(__file__).with_name("bare.py")
_numbers = itertools.count()  # no two batches are equal, over all rounds


class Figure(NamedTuple):
    """What a round came to."""

    events_per_s: float
    cpu_s_per_million: float


@contextlib.contextmanager
def servers() -> Iterator[Mapping[str, Server]]:
    """Run the servers that are compared, each with a store of its own."""
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder, contextlib.ExitStack() as stack:

        def ingest(name: str, fsync: str) -> Server:
            settings = {"AUDIT_SINKS": f"file:{folder}/{name}", "AUDIT_FILE_FSYNC": fsync}
            return stack.enter_context(serving.serve(serving.INGEST, "ingest", settings))

        yield {
            "auditsplit": ingest("synced", "1"),
            "auditsplit, AUDIT_FILE_FSYNC=0": ingest("unsynced", "0"),
            "function that only reads": stack.enter_context(serving.serve(_BARE, "bare", {})),
        }


def post_batches(server: Server, batches: Batches, count: int) -> None:
    """Post ``count`` new batches over one connection."""
    with contextlib.closing(server.connect()) as connection:
        for number in itertools.islice(_numbers, count):
            serving.post(connection, batches.body(number))


def measure(server: Server, batches: Batches, connections: int) -> Figure:
    """Return what one round over that many connections came to."""
    each = _BATCHES // connections
    start, cpu_s = time.perf_counter(), server.cpu_s()
    with ThreadPoolExecutor(connections) as senders:
        for sent in [senders.submit(post_batches, server, batches, each) for _ in range(connections)]:
            sent.result()
    events = each * connections * batches.events
    return Figure(events / (time.perf_counter() - start), (server.cpu_s() - cpu_s) / events * 1e6)


def report(figures: Mapping[tuple[str, int], list[Figure]]) -> None:
    """Print the medians."""
    print(f"\n{'server':<32} {'connections':>11} {'events/s':>10} {'CPU s per million events':>25}  lowest - highest")
    for (name, connections), rounds in figures.items():
        per_s = statistics.median(figure.events_per_s for figure in rounds)
        cpu = sorted(figure.cpu_s_per_million for figure in rounds)
        middle = statistics.median(cpu)
        print(f"{name:<32} {connections:>11} {per_s:>10,.0f} {middle:>25.1f}  {cpu[0]:.1f} - {cpu[-1]:.1f}")
    print(f"\ntarget: at most {_TARGET:g} CPU s per million events")


def main() -> None:
    """Measure and print."""
    items = workload.mixed(workload.BATCH_EVENTS)
    batches = Batches(items)
    print(f"server: batches of {workload.described(items)}; medians of {_ROUNDS} rounds of {_BATCHES} batches")
    with servers() as running:
        for server in running.values():
            post_batches(server, batches, _WARM_UP)
        cases = list(itertools.product(running, _CONNECTIONS))
        figures: dict[tuple[str, int], list[Figure]] = {case: [] for case in cases}
        for _, (name, connections) in itertools.product(range(_ROUNDS), cases):
            figures[name, connections].append(measure(running[name], batches, connections))
    report(figures)


if __name__ == "__main__":
    main()
