"""How time grows with events a batch, users a batch and bytes an event, and memory with the body.

Times are of this process, with the file store in a temporary folder and every batch synced; memory is that of a fresh
server's worker process. Linear is what a column of one value shows.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import serving, workload
from benchmarks.workload import Batches

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.redaction import Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.file.sink import DEFAULT_KEY, FileSink
from auditsplit.telemetry.figures import Figures

_EVENTS = (1, 10, 100, 1000, 10_000)
_USERS = (1, 10, 100, 1000)
_EVENT_BYTES = (500, 2000, 10_000, 100_000, 1_000_000)
_BODY_MIB = (8, 16, 31)
_MEBIBYTE = 1024 * 1024
_MEASURED_BYTES = 64_000_000  # a case
_FEWEST, _MOST = 7, 200  # batches a case
_WARM_UP = 2
_MEMORY_TARGET = 4.0


class Cost(NamedTuple):
    """What one batch costs, as medians."""

    wall_s: float
    cpu_s: float


def cost(batches: Batches) -> Cost:
    """Return what it costs to receive a batch and to write it to an empty store."""
    count = max(_FEWEST, min(_MOST, _MEASURED_BYTES // batches.bytes))
    walls: list[float] = []
    cpus: list[float] = []
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder:
        receiving = Ingest([Destination(FileSink(Path(folder) / "log", KeyTemplate(DEFAULT_KEY)))], [Redaction()])
        for number in range(_WARM_UP + count):
            body = batches.body(number)
            wall, cpu = time.perf_counter(), time.process_time()
            receiving.receive(body, "default", Deadline.after(REQUEST_S), Figures())
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return Cost(statistics.median(walls[_WARM_UP:]), statistics.median(cpus[_WARM_UP:]))


def report(title: str, cases: Sequence[int], items_of: Callable[[int], list[bytes]]) -> None:
    """Print a row for each case, with the costs of a batch of ``items_of(case)``."""
    print(f"\n{title:<18} {'events':>7} {'MB':>7} {'ms':>9} {'CPU ms':>9} {'CPU us/event':>13} {'CPU ms/MB':>10}")
    for case in cases:
        batches = Batches(items_of(case))
        wall_s, cpu_s = cost(batches)
        megabytes = batches.bytes / 1e6
        print(
            f"{case:<18,} {batches.events:>7,} {megabytes:>7.2f} {wall_s * 1e3:>9.2f} {cpu_s * 1e3:>9.2f}"
            f" {cpu_s / batches.events * 1e6:>13.1f} {cpu_s / megabytes * 1e3:>10.2f}"
        )


def of_event_bytes(size: int) -> list[bytes]:
    """Return some 2 MB of events of ``size``, of one user."""
    return [workload.sized(size)] * max(1, 2_000_000 // size)


def filling(items: Sequence[bytes], limit_bytes: int) -> list[bytes]:
    """Return as many of the events, in turn, as a body of ``limit_bytes`` can hold."""
    sizes = itertools.accumulate(len(item) + 1 for item in itertools.cycle(items))
    count = sum(1 for _ in itertools.takewhile(lambda size: size < limit_bytes - 100, sizes))
    return list(itertools.islice(itertools.cycle(items), count))


def memory_cases() -> dict[str, bytes]:
    """Return the bodies whose cost in memory is measured, plain ones and those that could cost the most."""
    usual = workload.mixed(workload.BATCH_EVENTS)
    largest = filling(usual, _BODY_MIB[-1] * _MEBIBYTE)
    small = filling([workload.sized(500)], _BODY_MIB[-1] * _MEBIBYTE)
    return {
        **{f"{size} MiB": workload.event_list(filling(usual, size * _MEBIBYTE)) for size in _BODY_MIB},
        "31 MiB, events of 0.5 kB": workload.event_list(small),
        "31 MiB, structural fallback": workload.event_list(workload.with_lone_surrogate(largest)),
    }


def report_memory() -> None:
    """Print the worker's memory before and at most during one body, for every case."""
    print(f"\n{'one body':<30} {'idle MiB':>9} {'peak MiB':>9} {'(peak - idle) / body':>21}")
    cases = memory_cases()
    zipped = "31 MiB, gzip"
    cases[zipped] = cases[f"{_BODY_MIB[-1]} MiB"]
    for name, body in cases.items():
        idle, peak = memory(body, gzipped=name == zipped)
        print(f"{name:<30} {idle / _MEBIBYTE:>9.0f} {peak / _MEBIBYTE:>9.0f} {(peak - idle) / len(body):>21.1f}")
    print(f"\ntarget: at most about {_MEMORY_TARGET:g}")


def memory(body: bytes, *, gzipped: bool) -> tuple[int, int]:
    """Return the bytes that a fresh worker has in use when idle, and at most after it has received ``body``."""
    sent = gzip.compress(body, compresslevel=1) if gzipped else body
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder:
        settings = {"AUDIT_SINKS": f"file:{folder}"}
        with (
            serving.serve(serving.INGEST, "ingest", settings) as server,
            contextlib.closing(server.connect()) as connection,
        ):
            idle = server.rss_bytes()
            serving.post(connection, sent, "gzip" if gzipped else None)
            return idle, server.peak_rss_bytes()


def main() -> None:
    """Measure and print."""
    print("growth: medians of batches received in this process and synced to disk")
    report("events a batch", _EVENTS, workload.mixed)
    report("users a batch", _USERS, lambda users: workload.of_users(workload.mixed(max(_USERS)), users))
    report("bytes an event", _EVENT_BYTES, of_event_bytes)
    report_memory()


if __name__ == "__main__":
    main()
