"""The split kernel against JSON libraries, on one EventList in memory.

All ways take turns in every round, so that a busy machine slows all of them; what counts are the ratios.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import cluster, workload

from auditsplit.decode import eventlist
from auditsplit.event import API_VERSION, Origin
from auditsplit.routing import names
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines

_ROUNDS = 101
_TARGET = 3.0
_ORJSON = "orjson round trip"
_KERNEL = "split kernel"
_TEMPLATE = KeyTemplate("kube-audit-{user}/audit")
_ORIGIN = Origin("default", datetime.now(UTC))


class _Items(msgspec.Struct):
    items: list[msgspec.Raw]


_scan_items = msgspec.json.Decoder(_Items).decode


def split(body: bytes) -> list[bytes]:
    """Return the text for each user's file."""
    groups = _TEMPLATE.group(eventlist.decode(body).events, _ORIGIN)
    return [lines.render(events, "log") for events in groups.values()]


def json_round_trip(body: bytes) -> list[str]:
    """Return every item, parsed and written again by the standard library."""
    return [json.dumps(item, separators=(",", ":"), ensure_ascii=False) for item in json.loads(body)["items"]]


def orjson_round_trip(body: bytes) -> list[bytes]:
    """Return every item, parsed and written again by orjson."""
    return [orjson.dumps(item) for item in orjson.loads(body)["items"]]


def orjson_split(body: bytes) -> list[bytes]:
    """Return the text for each user's file, with orjson in place of `eventlist`: the split kernel should be faster."""
    groups: dict[str, list[bytes]] = {}
    for item in orjson.loads(body)["items"]:
        user = item["user"].get("username")
        line = orjson.dumps({"kind": "Event", "apiVersion": API_VERSION, **item})
        groups.setdefault(names.encode(user) if user else names.NO_USER, []).append(line)
    return [b"\n".join([*group, b""]) for group in groups.values()]


def bare_scan(body: bytes) -> list[msgspec.Raw]:
    """Return every item, found and not looked into."""
    return _scan_items(body).items


def cpu_s(way: Callable[[bytes], object], body: bytes) -> float:
    """Return the CPU time that ``way`` takes for ``body`` once; no garbage collection falls into it."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    way(body)
    taken = time.process_time() - start
    gc.enable()
    return taken


def measure(items: Sequence[bytes]) -> dict[str, list[float]]:
    """Return the CPU times of every way, round by round."""
    body = workload.event_list(items)
    hostile = workload.event_list(workload.with_lone_surrogate(items))
    ways: dict[str, tuple[Callable[[bytes], object], bytes]] = {
        _KERNEL: (split, body),
        "json round trip": (json_round_trip, body),
        _ORJSON: (orjson_round_trip, body),
        "split with orjson": (orjson_split, body),
        "bare scan": (bare_scan, body),
        "structural fallback": (split, hostile),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, (way, sample) in ways.items():
            times[name].append(cpu_s(way, sample))
    return times


def report(items: Sequence[bytes]) -> None:
    """Print a table for these events."""
    times = measure(items)
    print(f"\n{workload.described(items)}; medians of {_ROUNDS} rounds\n")
    print(f"{'way':<20} {'events/s':>10} {'MB/s':>7} {'ratio to orjson':>16}")
    for name, taken in times.items():
        per_s = 1 / statistics.median(taken)
        ratio = statistics.median(theirs / ours for ours, theirs in zip(taken, times[_ORJSON], strict=True))
        target = f"  (target: at least {_TARGET:g})" if name == _KERNEL else ""
        megabytes = sum(map(len, items)) / 1e6
        print(f"{name:<20} {len(items) * per_s:>10,.0f} {megabytes * per_s:>7.0f} {ratio:>16.2f}{target}")


if __name__ == "__main__":
    print("split kernel: one EventList, one core")
    report(workload.mixed(workload.BATCH_EVENTS))
    report(workload.recorded()[: workload.BATCH_EVENTS])
    report(cluster.events(workload.BATCH_EVENTS))
