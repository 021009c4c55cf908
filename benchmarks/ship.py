"""The shipper beside the function: CPU seconds per million events into the file sink, of the same events.

Both are processes of their own and take turns. The function's client is this process, whose CPU time is not counted.
The shipper reads the events as a log. What it takes to start is measured too, with an empty log, and not counted, as
the function's start is not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import serving, workload
from benchmarks.server import measure
from benchmarks.workload import Batches

_ROUNDS = 5
_BATCHES = 96  # in a round
_LINE_START = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_PROGRAM = Path(sys.executable).with_name("auditsplit")
_TARGET = 1.0


def write_log(log: Path, round_number: int) -> int:
    """Write a log of as many new events as a round of the function has; return their number."""
    items = workload.mixed(workload.BATCH_EVENTS)
    with log.open("wb") as out:
        for number in range(_BATCHES):
            unique = b'"auditID":"%08x-%08x' % (round_number, number)
            out.writelines(_LINE_START + item[1:].replace(b'"auditID":"', unique, 1) + b"\n" for item in items)
    return _BATCHES * len(items)


def ship(folder: Path, round_number: int) -> float:
    """Return the CPU seconds of a shipper, per million events."""
    log = folder / "audit.log"
    log.unlink(missing_ok=True)
    start = run(log)
    events = write_log(log, round_number)
    return (run(log) - start) / events * 1e6


def run(log: Path) -> float:
    """Ship what is in ``log``; return the CPU seconds."""
    environ = {**os.environ, "AUDIT_SINKS": f"file:{log.parent}/shipped"}
    before = os.times()
    subprocess.run(
        [_PROGRAM, "ship", log, "--once", "--checkpoint", log.with_name("checkpoint.json")],
        env=environ,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    """Measure and print."""
    items = workload.mixed(workload.BATCH_EVENTS)
    batches = Batches(items)
    print(f"ship: {_BATCHES} batches of {workload.described(items)}; medians of {_ROUNDS} rounds")
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as name:
        folder = Path(name)
        settings = {"AUDIT_SINKS": f"file:{folder}/posted"}
        with serving.serve(serving.INGEST, "ingest", settings) as server:
            measure(server, batches, 1)
            rounds = [(measure(server, batches, 1).cpu_s_per_million, ship(folder, n)) for n in range(_ROUNDS)]
    posted, shipped = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(own / other for other, own in rounds)
    print(f"\n{'way':<24} {'CPU s per million events':>25}")
    print(f"{'function':<24} {posted:>25.1f}\n{'shipper':<24} {shipped:>25.1f}")
    print(f"\nshipper : function {ratio:.2f}, target at most {_TARGET:g}")


if __name__ == "__main__":
    main()
