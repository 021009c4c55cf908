"""A policy that is applied to a batch, against the split kernel without one.

All take turns in every round, so that a busy machine slows all of them; what counts is the ratio. The policy has 40
rules, of which most match few events, as clusters have them for their own. The last rules are those of a profile, or
one rule for every event. Decisions are kept, as in a server that has received batches before.

The last table has the whole work for a request but for HTTP: the batch's id, decoding, the policy, grouping, and
writing to the file sink, which syncs. A policy that lowers events leaves fewer bytes to write.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import cluster, workload
from benchmarks.split_kernel import cpu_s

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import eventlines, eventlist
from auditsplit.event import Head, Origin, PolicyHead
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.profiles import profile
from auditsplit.policy.rules import GroupResources, Level, Policy, Rule
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve import process
from auditsplit.sinks import lines
from auditsplit.sinks.file.sink import FileSink
from auditsplit.telemetry.figures import Figures

_ROUNDS = 101
_RULES = 40
_REQUEST_ROUNDS = 60
_WITHOUT = "no policy"
_LIST, _LINES = "an EventList", "lines of the log backend"
_LOG_LINE = b'{"kind":"Event",'
_ORIGIN = Origin("default", datetime.now(UTC))
_TEMPLATE = KeyTemplate("kube-audit-{user}/audit")


def padded(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return 40 rules: some that match few events, as clusters have them for their own, and then ``rules``."""
    own = [
        (
            Rule(level="None", users=(f"system:serviceaccount:ci:runner-{number}",), verbs=("get", "list")),
            Rule(level="Request", resources=(GroupResources(f"group-{number}.example.com", ("*",)),)),
            Rule(level="None", namespaces=(f"team-{number}",), resources=(GroupResources("", ("pods", "pods/*")),)),
            Rule(level="None", non_resource_urls=(f"/internal-{number}/*",)),
        )[number % 4]
        for number in range(_RULES - len(rules))
    ]
    return (*own, *rules)


def chosen() -> dict[str, AppliedPolicy | None]:
    """Return the policies by what they do."""
    found: dict[str, AppliedPolicy | None] = {_WITHOUT: None}
    for name in ("recommended", "gce"):
        known = AppliedPolicy.parse(profile(name)).policy
        own = Policy(padded(known.rules), known.omit_stages, known.omit_managed_fields)
        found[f"{name}, 40 rules"] = AppliedPolicy(own)
    levels: tuple[Level, ...] = ("RequestResponse", "Request", "Metadata")
    for level, name in zip(levels, ("keeps all", "all to Request", "all to Metadata"), strict=True):
        found[f"{name}, 40 rules"] = AppliedPolicy(Policy(padded([Rule(level=level)])))
    return found


def split(body: bytes, applied: AppliedPolicy | None) -> list[bytes]:
    """Return the text for each user's file, after the policy if there is one. ``body`` is a list, or log lines."""
    decode = eventlines.decode if body.startswith(_LOG_LINE) else eventlist.decode
    events = decode(body, heads=Head if applied is None else PolicyHead).events
    kept = events if applied is None else applied.apply(events)
    return [lines.render(group, "log") for group in _TEMPLATE.group(kept, _ORIGIN).values()]


def measure(body: bytes) -> dict[str, list[float]]:
    """Return the CPU times, round by round, without a policy and with the policies."""
    ways = chosen()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, applied in ways.items():
            times[name].append(cpu_s(partial(split, applied=applied), body))
    return times


def cost(times: dict[str, list[float]], name: str) -> float:
    """Return the CPU time in addition to that without a policy, as a part of it."""
    pairs = zip(times[name], times[_WITHOUT], strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs) - 1


def report(items: Sequence[bytes], form: str) -> None:
    """Print a table for these events in a body of this form."""
    body = workload.event_list(items)
    if form == _LINES:
        body = b"".join(split(body, None))
    times = measure(body)
    print(f"\n{form}: {workload.described(items)}; medians of {_ROUNDS} rounds\n")
    print(f"{'policy':<28} {'us/event':>8} {'cost':>6} {'events':>7} {'bytes':>6}")
    before = split(body, None)
    for (name, applied), taken in zip(chosen().items(), times.values(), strict=True):
        after = split(body, applied)
        events, size = (
            sum(map(count, after)) / sum(map(count, before)) for count in (lambda text: text.count(b"\n"), len)
        )
        us = statistics.median(taken) / len(items) * 1e6
        print(f"{name:<28} {us:>8.2f} {cost(times, name):>6.0%} {events:>7.0%} {size:>6.0%}")


def report_requests(items: Sequence[bytes]) -> None:
    """Print a table of the whole work for a request with these events, of which every one is new."""
    batches = workload.Batches(items)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder:
        ingests = {
            name: Ingest(
                [Destination(FileSink(Path(folder, str(number)), _TEMPLATE))], [] if applied is None else [applied]
            )
            for number, (name, applied) in enumerate(chosen().items())
        }
        for number in range(_REQUEST_ROUNDS):
            body = batches.body(number)
            for name, ingest in ingests.items():
                times.setdefault(name, []).append(cpu_s(partial(receive, ingest), body))
    print(f"\nwhole requests: {workload.described(items)}; medians of {_REQUEST_ROUNDS} rounds\n")
    print(f"{'policy':<28} {'us/event':>8} {'cost':>6}")
    for name, taken in times.items():
        print(f"{name:<28} {statistics.median(taken) / len(items) * 1e6:>8.2f} {cost(times, name):>6.0%}")


def receive(ingest: Ingest, body: bytes) -> object:
    """Return the receipt of a body."""
    return ingest.receive(body, "bench", Deadline.after(REQUEST_S), Figures())


if __name__ == "__main__":
    process.keep_freed()  # as the servers do
    mixed = workload.mixed(workload.BATCH_EVENTS)
    report(mixed, _LIST)
    report(workload.mixed(workload.BATCH_EVENTS, 900), _LIST)
    report(cluster.events(workload.BATCH_EVENTS), _LIST)
    report(mixed, _LINES)
    report_requests(mixed)
