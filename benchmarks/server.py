"""The whole way through the server: events a second and CPU seconds per million events, of two workloads.

The second workload is that of `cluster`, with more bodies to redact than the recordings have. Its table has a server
that redacts nothing beside the usual one. The line below it says what redaction costs.

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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import cluster, serving, workload
from benchmarks.serving import Server
from benchmarks.workload import Batches

from auditsplit.decode import eventlist
from auditsplit.policy.redaction import Redaction

_ROUNDS = 7
_BATCHES = 96  # in a round, over all connections
_WARM_UP = 12
_CONNECTIONS = (1, 4)
_TARGET = 12.0
_BARE = Path(__file__).with_name("bare.py")
SYNCED, UNREDACTED, READS = "auditsplit", "auditsplit, AUDIT_DROP=none", "function that only reads"
_numbers = itertools.count()  # no two batches are equal, over all rounds


class Figure(NamedTuple):
    """What a round came to."""

    events_per_s: float
    cpu_s_per_million: float


@contextlib.contextmanager
def servers() -> Iterator[Mapping[str, Server]]:
    """Run the servers that are compared, each with a store of its own."""
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder, contextlib.ExitStack() as stack:

        def ingest(name: str, **changed: str) -> Server:
            settings = {"AUDIT_SINKS": f"file:{folder}/{name}", "AUDIT_FILE_FSYNC": "1", **changed}
            return stack.enter_context(serving.serve(serving.INGEST, "ingest", settings))

        yield {
            SYNCED: ingest("synced"),
            "auditsplit, AUDIT_FILE_FSYNC=0": ingest("unsynced", AUDIT_FILE_FSYNC="0"),
            UNREDACTED: ingest("unredacted", AUDIT_DROP="none"),
            READS: stack.enter_context(serving.serve(_BARE, "bare", {})),
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


def redacted(items: Sequence[bytes]) -> int:
    """Return how many of the events the default redaction changes."""
    events = eventlist.decode(workload.event_list(items)).events
    return sum(after is not before for before, after in zip(events, Redaction().apply(events), strict=True))


def measure_all(running: Mapping[str, Server], items: Sequence[bytes]) -> dict[tuple[str, int], list[Figure]]:
    """Return the figures of each server and number of connections, which take turns."""
    batches = Batches(items)
    for server in running.values():
        post_batches(server, batches, _WARM_UP)
    cases = list(itertools.product(running, _CONNECTIONS))
    figures: dict[tuple[str, int], list[Figure]] = {case: [] for case in cases}
    for _, (name, connections) in itertools.product(range(_ROUNDS), cases):
        figures[name, connections].append(measure(running[name], batches, connections))
    return figures


def report_redaction(figures: Mapping[tuple[str, int], list[Figure]], items: Sequence[bytes]) -> None:
    """Print what redaction costs the server, round by round beside the server that redacts nothing."""
    pairs = zip(figures[SYNCED, 1], figures[UNREDACTED, 1], strict=True)
    extra = statistics.median(ours.cpu_s_per_million - theirs.cpu_s_per_million for ours, theirs in pairs)
    share = redacted(items) / len(items)
    print(f"redaction: {extra:.1f} CPU s per million events, of which {share:.1%} are redacted: ", end="")
    print(f"{extra / share:.0f} µs for each of these")


def main() -> None:
    """Measure and print."""
    recorded, generated = workload.mixed(workload.BATCH_EVENTS), cluster.events(workload.BATCH_EVENTS)
    with servers() as running:
        usual = {name: server for name, server in running.items() if name != UNREDACTED}
        print(f"server: batches of {workload.described(recorded)}; medians of {_ROUNDS} rounds of {_BATCHES} batches")
        report(measure_all(usual, recorded))
        print(f"\ntarget: at most {_TARGET:g} CPU s per million events")
        print(f"\nserver, as of a busy cluster: batches of {workload.described(generated)}")
        figures = measure_all({name: running[name] for name in (SYNCED, UNREDACTED, READS)}, generated)
    report(figures)
    report_redaction(figures, generated)


if __name__ == "__main__":
    main()
