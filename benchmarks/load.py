"""The function under load by kube-apiserver's own audit backends: the highest rate without a loss, twice it, blocking.

``tests/e2e/buffered`` is the sender: k8s.io/apiserver's code, with recorded events. The function runs as ``make run``
runs it, over plain HTTP without a token, with a file store on disk. What it prints is the second half of
``docs/proofs/load.md``; ``--report FILE`` puts it there, below the marker.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import serving, workload

MARKER = "<!-- what make load measured -->\n"
_SENDER = Path(__file__).parents[1] / ".cache" / "bin" / "buffered"
_EVENTS, _USERS = 4000, 40
_TICK_S, _STEP_S, _FIRST_RATE, _GROWTH, _HALVINGS = 0.01, 15, 16_000, 1.4, 3
_SHARE = 0.8  # of the highest rate of a short step: what is held for long
_LATE_S = 3.0  # the last answer of a rate that is held comes no later
_CALLERS = (1, 4, 16)
_BLOCKING_S = 10
_AUDIT_ID = re.compile(rb'"auditID":"([0-9a-f]{8})-0000-4000-8000-([0-9a-f]{12})"')
_MIB = 1024 * 1024
_runs = itertools.count(1)


class Run(NamedTuple):
    """What one load came to; ``answer`` is the sender's, sizes are of all worker processes together, at the most."""

    answer: dict[str, Any]
    offered: int
    stored: int
    twice: int
    cpu_s: float
    rss_bytes: int
    sender_rss_bytes: int

    def lost(self) -> int:
        """Return the events that the sender says it dropped, whichever plugin did."""
        return int(sum(self.answer["dropped"].values()))

    def missing(self) -> int:
        """Return how many events the sender believes delivered and no file has; below 0 if it gave stored ones up."""
        return self.offered - self.lost() - self.stored

    def refused(self) -> int:
        """Return the attempts that were not answered 200."""
        return sum(
            count for phase in self.answer["phases"] for status, count in phase["attempts"].items() if status != "200"
        )

    def held(self, seconds: float) -> bool:
        """Return whether all was taken at once, and the last of it was not late."""
        late = self.answer["seconds"] - seconds > _LATE_S
        return not (self.lost() or self.missing() or self.twice or self.refused() or late)


class Sampler:
    """The most memory that a server's workers and a sender had, looked at twice a second."""

    def __init__(self, server: serving.Server, sender: subprocess.Popen[bytes]) -> None:
        """Begin to look."""
        self.rss_bytes = self.sender_rss_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(server, psutil.Process(sender.pid)))
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _watch(self, server: serving.Server, sender: psutil.Process) -> None:
        while not self._over.wait(0.5):
            self.rss_bytes = max(self.rss_bytes, server.workers_rss_bytes())
            with contextlib.suppress(psutil.NoSuchProcess):
                self.sender_rss_bytes = max(self.sender_rss_bytes, sender.memory_info().rss)


class Bench:
    """One function in its server, and what the sender needs to reach it."""

    def __init__(self, folder: Path, server: serving.Server) -> None:
        """Take the server, whose store is ``folder/store``."""
        self._folder, self._server = folder, server
        self._kubeconfig, self._events = folder / "kubeconfig", folder / "events"
        self._kubeconfig.write_text(json.dumps(kubeconfig(server.port)))
        items = workload.of_users(workload.mixed(_EVENTS), _USERS)
        self._events.write_bytes(b"\n".join(items))

    def give_way(self) -> None:
        """Let all else on the machine go first, so that a sender beside the function can send more than it takes."""
        self._server.lower_priority()

    def load(self, *phases: tuple[float, float], callers: int = 0, cores: int = 1) -> Run:
        """Return what became of phases of (seconds, events a second); of none but seconds, with ``callers``."""
        run = next(_runs)
        scenario = self._folder / "scenario"
        scenario.write_text(json.dumps(self._scenario(phases, run, callers)))
        cpu_s = self._server.cpu_s()
        sender = subprocess.Popen(
            [_SENDER, "load", scenario], stdout=subprocess.PIPE, env={**os.environ, "GOMAXPROCS": f"{cores}"}
        )
        sampler, ledger = Sampler(self._server, sender), Ledger(self._folder / "store", run)
        try:
            output, _ = sender.communicate()
        finally:
            sampler.stop()
            sender.kill()
            stored, twice = ledger.close()
        if sender.returncode:
            raise RuntimeError(f"the sender ended with {sender.returncode}; see its words above")
        answer = json.loads(output)
        offered = sum(phase["offered"] for phase in answer["phases"])
        cpu_s = self._server.cpu_s() - cpu_s
        return Run(answer, offered, stored, twice, cpu_s, sampler.rss_bytes, sampler.sender_rss_bytes)

    def _scenario(self, phases: Sequence[tuple[float, float]], run: int, callers: int) -> dict[str, Any]:
        return {
            "kubeconfig": str(self._kubeconfig),
            "initial_backoff_s": 10,
            "buffer_size": 10_000,
            "batch_max_size": workload.BATCH_EVENTS,
            "batch_max_wait_s": 30,
            "throttle_enable": False,
            "phases": [{"seconds": seconds, "rate": rate} for seconds, rate in phases],
            "tick_s": _TICK_S,
            "events": str(self._events),
            "run": run,
            "callers": callers,
        }


class Ledger:
    """Which events of a run lie in the files; what was read is removed, or a disk would not hold a long run."""

    def __init__(self, store: Path, run: int) -> None:
        """Begin to read the files that the sink has finished, one a second."""
        self._store, self._wanted = store, b"%08x" % run
        self._seen, self._lines = bytearray(), 0
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> tuple[int, int]:
        """Return how many different events there are, and how many lines are one too many."""
        self._over.set()
        self._reader.join()
        self._take("audit*")
        return sum(self._seen), self._lines - sum(self._seen)

    def _read(self) -> None:
        while not self._over.wait(1):
            self._take("audit~*")  # rotated

    def _take(self, pattern: str) -> None:
        for path in [path for path in self._store.rglob(pattern) if path.is_file()]:
            with path.open("rb") as file:
                for line in file:
                    self._note(path, line)
            path.unlink()

    def _note(self, path: Path, line: bytes) -> None:
        found = _AUDIT_ID.search(line)
        if not found or found[1] != self._wanted or not line.endswith(b"}\n"):
            raise RuntimeError(f"{path.name}: a line is torn, or of no event that was sent: {line[:200]!r}")
        number = int(found[2], 16)
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1_000_000 - len(self._seen)))
        self._seen[number] = 1
        self._lines += 1


def kubeconfig(port: int) -> dict[str, Any]:
    """Return the kubeconfig of a sender on this machine."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": f"http://127.0.0.1:{port}/"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": ""}}],
        "current-context": "bench",
        "users": [],
    }


@contextlib.contextmanager
def benches(workers: int) -> Iterator[Bench]:
    """Run a function with that many worker processes."""
    with tempfile.TemporaryDirectory(prefix="auditsplit-load-") as name:
        folder = Path(name)
        settings = {"AUDIT_SINKS": f"file:{folder}/store", "AUDIT_TOKENS": "", "WORKERS": str(workers)}
        with (
            (folder / "server.log").open("wb") as log,
            serving.serve(serving.INGEST, "ingest", settings, log) as server,
        ):
            yield Bench(folder, server)


def highest(bench: Bench, talk: Callable[[str], None]) -> int:
    """Return the highest rate that a short step holds, events a second."""
    good, bad, rate = 0.0, 0.0, float(_FIRST_RATE)
    halvings = 0
    while halvings < _HALVINGS:
        run = bench.load((_STEP_S, rate))
        held = run.held(_STEP_S)
        talk(f"  {rate:,.0f}/s: {'held' if held else 'not held'}, {run.answer['seconds'] - _STEP_S:.1f} s late")
        good, bad = (rate, bad) if held else (good, rate)
        halvings += bool(bad)
        rate = (good + bad) / 2 if bad else rate * _GROWTH
    return int(good)


def row(*cells: object) -> str:
    """Return a row of a Markdown table; numbers with commas."""
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def latencies(millis: Sequence[float] | None) -> str:
    """Return percentiles as a cell."""
    return " / ".join(f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in millis or []) or "-"  # noqa: PLR2004


def statuses(attempts: dict[str, int]) -> str:
    """Return how many attempts were answered with what."""
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(attempts.items()))


def _head(*names: str) -> Iterator[str]:
    """Yield a table's head; columns that end in a colon are numbers."""
    yield row(*(name.removesuffix(":") for name in names))
    yield row(*("---:" if name.endswith(":") else "---" for name in names))


def held_table(runs: Sequence[tuple[int, int, float, Run]]) -> Iterator[str]:
    """Tell of the rates that were held."""
    yield from _head(
        *("workers:", "events/s:", "seconds:", "offered:", "dropped:", "stored once:", "missing:", "twice:"),
        *("answers", "p50 / p90 / p99 / max, ms:"),
    )
    for workers, rate, seconds, run in runs:
        [phase] = run.answer["phases"]
        yield row(
            *(workers, rate, f"{seconds:g}", run.offered, run.lost(), run.stored, run.missing(), run.twice),
            *(statuses(phase["attempts"]), latencies(phase["latency_ms"].get("200"))),
        )
    yield ""
    yield from _head(
        *("workers:", "function, cores busy:", "its CPU s per million events:", "its workers' RSS, MiB:"),
        *("sender, cores busy:", "most events in its buffer:", "most requests open:"),
    )
    for workers, _, _, run in runs:
        took = run.answer["seconds"]
        yield row(
            *(workers, f"{run.cpu_s / took:.2f}", f"{run.cpu_s / run.offered * 1e6:.1f}", run.rss_bytes // _MIB),
            *(f"{run.answer['cpu_s'] / took:.2f}", run.answer["phases"][0]["held"], run.answer["most_open"]),
        )


def overload_table(phases: Sequence[tuple[float, float]], run: Run) -> Iterator[str]:
    """Tell what happened phase by phase."""
    yield from _head(
        *("phase", "events/s:", "seconds:", "dropped for a full buffer:", "given up:", "answers"),
        *("200: p50 / p90 / p99 / max, ms:", "503: likewise:", "last refusal, s after its begin:"),
    )
    for name, (seconds, rate), phase in zip(("before", "twice", "after"), phases, run.answer["phases"], strict=True):
        gone = phase["dropped"]
        yield row(
            *(name, int(rate), f"{seconds:g}", int(gone.get("buffered", 0)), int(gone.get("webhook", 0))),
            *(statuses(phase["attempts"]), latencies(phase["latency_ms"].get("200"))),
            *(latencies(phase["latency_ms"].get("503")), f"{phase['refused_at']:.0f}" if phase["refused_at"] else "-"),
        )
    yield ""
    took = run.answer["seconds"]
    yield (
        f"{run.offered:,} events were offered. The sender dropped or gave up {run.lost():,}. {run.stored:,} were "
        f"stored once, {max(0, run.missing()):,} missing, {max(0, -run.missing()):,} stored though given up, "
        f"{run.twice:,} twice. The last batch was done {took - sum(seconds for seconds, _ in phases):.0f} s after the "
        f"load's end. At the peak {run.answer['most_open']:,} requests were open, the worker's RSS was "
        f"{run.rss_bytes // _MIB:,} MiB, and the sender's {run.sender_rss_bytes // _MIB:,} MiB. The function kept "
        f"{run.cpu_s / took:.2f} cores busy."
    )


def blocking_table(runs: Sequence[tuple[int, Run]]) -> Iterator[str]:
    """Tell of single events, each waited for."""
    yield from _head(
        *("callers:", "events/s:", "dropped:", "missing:", "twice:", "answers"),
        *("p50 / p90 / p99 / max of a call, ms:", "function, CPU ms an event:"),
    )
    for callers, run in runs:
        [phase] = run.answer["phases"]
        yield row(
            *(callers, int(run.offered / run.answer["seconds"]), run.lost(), run.missing(), run.twice),
            *(statuses(phase["attempts"]), latencies(run.answer["took_ms"])),
            f"{run.cpu_s / run.offered * 1e3:.2f}",
        )


def report(hold_s: float, over_s: float, talk: Callable[[str], None]) -> Iterator[str]:
    """Measure, and yield the report's lines."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux, Python {platform.python_version()}"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}. {_words()}"
    yield from ("", "## The highest rate without a loss", "")
    held: list[tuple[int, int, float, Run]] = []
    for workers in (1, 2):
        talk(f"{workers} worker(s): the highest rate")
        with benches(workers) as bench:
            rate = int(highest(bench, talk) * _SHARE) // 100 * 100
            talk(f"{workers} worker(s): {rate:,}/s for {hold_s:g} s")
            held.append((workers, rate, hold_s, bench.load((hold_s, rate))))
    yield from held_table(held)
    yield from ("", "## Twice that rate, one worker", "")
    rate = held[0][1]
    phases = [(over_s / 4, float(rate)), (over_s, 2.0 * rate), (over_s / 2, rate / 2)]
    talk(f"1 worker: {2 * rate:,}/s for {over_s:g} s, and what comes after")
    with benches(1) as bench:
        bench.give_way()
        yield from overload_table(phases, bench.load(*phases, cores=2))
    yield from ("", "## Blocking mode, one worker", "")
    talk("1 worker: blocking mode")
    with benches(1) as bench:
        yield from blocking_table([(callers, bench.load((_BLOCKING_S, 0), callers=callers)) for callers in _CALLERS])


def _words() -> str:
    sizes = [len(item) for item in workload.mixed(_EVENTS)]
    return f"Events of {sum(sizes) / len(sizes):,.0f} bytes on average, {_USERS} users by turns."


@click.command()
@click.option("--hold", default=600.0, help="Seconds for which the highest rate is held.")
@click.option("--over", default=40.0, help="Seconds of twice that rate; a quarter before and half after.")
@click.option("--report", "page", type=click.Path(path_type=Path, exists=True), help="The page to write it to.")
def main(hold: float, over: float, page: Path | None) -> None:
    """Measure, and print the report."""
    began = time.monotonic()
    lines = []
    for line in report(hold, over, lambda text: click.echo(text, err=True)):
        click.echo(line)
        lines.append(line)
    if page:
        head, marker, _ = page.read_text().partition(MARKER)
        page.write_text(head + marker + "\n" + "\n".join(lines) + "\n")
    click.echo(f"took {time.monotonic() - began:.0f} s", err=True)


if __name__ == "__main__":
    main()
