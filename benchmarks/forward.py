"""The CPU time of forwarding a batch to a downstream, beside the split kernel of the same batch.

All take turns in every round, so that a busy machine slows all of them. A batch is forwarded from its decoded events to
the downstream's answer: with the transforms of the downstream, the body, its key, and the request on a connection that
is kept. The downstream is another process, whose time does not count.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import workload
from benchmarks.policy import split
from benchmarks.split_kernel import cpu_s

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch, PolicyHead
from auditsplit.serve import process

_ROUNDS = 101
_WAYS = {
    "unchanged": "",
    "level Metadata, one stage": "level=Metadata&stages=ResponseComplete",
    "level Request, two stages": "level=Request&stages=ResponseComplete,Panic",
    "events of at most 10 kB": "truncate_max_event_size=10000",
}
_TARGETS_MS = {"unchanged": 1.0, "level Metadata, one stage": 2.0, "level Request, two stages": 2.0}
_numbers = itertools.count()


class _Accepting(BaseHTTPRequestHandler):
    """Accepts everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body, and answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep silent."""


def serve(told: Connection) -> None:
    """Serve, and tell the port."""
    server = HTTPServer(("127.0.0.1", 0), _Accepting)
    told.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def downstream() -> Iterator[str]:
    """Run a downstream in a process of its own. Yield its URL without the scheme."""
    ours, theirs = multiprocessing.Pipe()
    running = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    running.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        running.terminate()
        running.join()


def forwarding(url: str, batch: Batch) -> Callable[[bytes], object]:
    """Return what forwards a batch that the sink has not seen."""
    target = sinks.read_target(url, {}, "authenticated")
    sink, transforms = sinks.open_sink(target, {}), target.options.transforms

    def forward(_: bytes) -> object:
        events = batch.events
        for transform in transforms:
            events = transform.apply(events)
        new = msgspec.structs.replace(batch, id=f"{next(_numbers):064x}", events=events)
        return sink.write(new, Deadline.after(20))

    return forward


def main() -> None:
    """Print the table."""
    items = workload.mixed(workload.BATCH_EVENTS)
    body = workload.event_list(items)
    batch = batches.read(body, "bench", heads=PolicyHead)
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        ways: dict[str, Callable[[bytes], object]] = {"the split kernel": partial(split, applied=None)}
        for name, query in _WAYS.items():
            ways[name] = forwarding(f"webhook+http://{stack.enter_context(downstream())}?{query}", batch)
        for _ in range(_ROUNDS):
            for name, way in ways.items():
                times.setdefault(name, []).append(cpu_s(way, body))
    print(f"{workload.described(items)}; medians of {_ROUNDS} rounds\n")
    print(f"{'way':<28} {'ms/batch':>8} {'of kernel':>9} {'target':>7}")
    kernel = times["the split kernel"]
    for name, taken in times.items():
        ratio = statistics.median(one / other for one, other in zip(taken, kernel, strict=True))
        target_ms = f"{_TARGETS_MS[name]:.0f} ms" if name in _TARGETS_MS else ""
        print(f"{name:<28} {statistics.median(taken) * 1000:>8.2f} {ratio:>9.2f} {target_ms:>7}")


if __name__ == "__main__":
    process.keep_freed()  # as the servers do
    main()
