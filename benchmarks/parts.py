"""Where one request's CPU goes: the whole server, then the parts of its work, each alone in this process.

The server and the function that only reads run as in `server`; all parts take turns, so that a busy machine slows all
of them. What the parts leave of the server's time is what lies between them: the caches that each finds cold, the
objects that are freed, HTTP, the log's line, the metrics.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import cluster, server, workload
from benchmarks.serving import Server
from benchmarks.workload import Batches

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import batch, eventlist
from auditsplit.event import Event
from auditsplit.policy.redaction import Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve import process
from auditsplit.sinks import lines
from auditsplit.sinks.file.sink import FileSink
from auditsplit.telemetry.figures import Figures

_ROUNDS = 60
_SERVER_ROUNDS = 7
_TEMPLATE = KeyTemplate("kube-audit-{user}/audit")
_WRITE = "the store's write, with grouping and lines"


def parts(batches: Batches, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield each part's name with the CPU ms that it took, once, for batches that no round before had."""
    store = FileSink(folder, _TEMPLATE)
    for number in range(_ROUNDS):
        body = batches.body(number)
        whole = batch.read(body, "bench")
        groups = _TEMPLATE.group(whole.events, whole.origin)
        works: dict[str, Callable[[], object]] = {
            "find the events and their heads": partial(eventlist.decode, body),
            "the batch's id (BLAKE3)": partial(batch.digest, body, "bench"),
            "redaction": partial(Redaction().apply, whole.events),
            "figures": partial(Figures().decoded, whole),
            "group by user": partial(_TEMPLATE.group, whole.events, whole.origin),
            "lines": partial(_render, groups),
            _WRITE: partial(store.write, whole, Deadline.after(REQUEST_S)),
        }
        for name, work in works.items():
            start = time.process_time()
            work()
            yield name, (time.process_time() - start) * 1e3


def _render(groups: Mapping[str, list[Event]]) -> list[bytes]:
    return [lines.render(events, "log") for events in groups.values()]


def report(total_ms: float, taken: dict[str, float]) -> None:
    """Print the table; ``taken`` has every part's ms."""
    taken["journal, files, sync"] = taken.pop(_WRITE) - taken["group by user"] - taken["lines"]
    taken["what is left"] = total_ms - sum(taken.values())
    print(f"\n{'part':<34} {'CPU ms a batch':>14} {'share':>6}")
    for name, ms in [*taken.items(), ("the whole request", total_ms)]:
        print(f"{name:<34} {ms:>14.2f} {ms / total_ms:>6.0%}")


def measure(running: Mapping[str, Server], items: Sequence[bytes]) -> None:
    """Measure the parts of batches of these events, and print the table."""
    batches = Batches(items)
    rounds: dict[str, list[float]] = {server.SYNCED: [], server.READS: []}
    for _ in range(_SERVER_ROUNDS):
        for name, figures in rounds.items():
            cpu_s = server.measure(running[name], batches, 1).cpu_s_per_million
            figures.append(cpu_s / 1e6 * batches.events * 1e3)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder:
        for name, ms in parts(batches, Path(folder)):
            found.setdefault(name, []).append(ms)
    taken = {name: statistics.median(ms) for name, ms in found.items()}
    framework = {"framework, reading the body": statistics.median(rounds[server.READS])}
    report(statistics.median(rounds[server.SYNCED]), {**framework, **taken})
    redacted = server.redacted(items)
    print(f"\nredaction: {taken['redaction'] / max(1, redacted) * 1e3:.1f} µs for each of {redacted} redacted events")


def main() -> None:
    """Measure and print."""
    process.keep_freed()  # as the servers do
    with server.servers() as running:
        for items in (workload.mixed(workload.BATCH_EVENTS), cluster.events(workload.BATCH_EVENTS)):
            print(f"\nparts: batches of {workload.described(items)}; medians")
            measure(running, items)


if __name__ == "__main__":
    main()
