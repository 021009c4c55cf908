"""A policy that is applied to a batch, against the split kernel without one.

Both take turns in every round, so that a busy machine slows both; what counts is the ratio. The policy has 40 rules, of
which most match few events, as clusters have them for their own. The last rules are those of a profile, or one rule
for every event. Decisions are kept, as in a server that has received batches before.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import workload
from benchmarks.split_kernel import cpu_s

from auditsplit.decode import eventlist
from auditsplit.event import Head, Origin, PolicyHead
from auditsplit.policy.applied import AppliedPolicy
from auditsplit.policy.profiles import profile
from auditsplit.policy.rules import GroupResources, Level, Policy, Rule
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines

_ROUNDS = 101
_RULES = 40
_TARGET = 0.25
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
    found: dict[str, AppliedPolicy | None] = {"no policy": None}
    for name in ("recommended", "gce"):
        known = AppliedPolicy.parse(profile(name)).policy
        own = Policy(padded(known.rules), known.omit_stages, known.omit_managed_fields)
        found[f"{name}, 40 rules"] = AppliedPolicy(own)
    levels: tuple[Level, ...] = ("RequestResponse", "Request", "Metadata")
    for level, name in zip(levels, ("keeps all", "all to Request", "all to Metadata"), strict=True):
        found[f"{name}, 40 rules"] = AppliedPolicy(Policy(padded([Rule(level=level)])))
    return found


def split(body: bytes, applied: AppliedPolicy | None) -> list[bytes]:
    """Return the text for each user's file, after the policy if there is one."""
    heads = Head if applied is None else PolicyHead
    events = eventlist.decode(body, heads=heads).events
    kept = events if applied is None else applied.apply(events)
    return [lines.render(group, "log") for group in _TEMPLATE.group(kept, _ORIGIN).values()]


def measure(items: Sequence[bytes]) -> dict[str, list[float]]:
    """Return the CPU times, round by round, without a policy and with the policies."""
    body = workload.event_list(items)
    ways = chosen()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, applied in ways.items():
            times[name].append(cpu_s(partial(split, applied=applied), body))
    return times


def share(after: Sequence[bytes], before: Sequence[bytes], count: Callable[[bytes], int]) -> float:
    """Return which part is left."""
    return sum(map(count, after)) / sum(map(count, before))


def report(items: Sequence[bytes]) -> None:
    """Print a table for these events."""
    times = measure(items)
    print(f"\n{workload.described(items)}; medians of {_ROUNDS} rounds\n")
    print(f"{'policy':<28} {'us/event':>8} {'cost':>6} {'events':>7} {'bytes':>6}")
    body = workload.event_list(items)
    before = split(body, None)
    for (name, applied), taken in zip(chosen().items(), times.values(), strict=True):
        after = split(body, applied)
        ratio = statistics.median(theirs / ours for theirs, ours in zip(taken, times["no policy"], strict=True))
        events, size = (
            sum(map(count, after)) / sum(map(count, before)) for count in (lambda text: text.count(b"\n"), len)
        )
        us = statistics.median(taken) / len(items) * 1e6
        print(f"{name:<28} {us:>8.2f} {ratio - 1:>6.0%} {events:>7.0%} {size:>6.0%}")


if __name__ == "__main__":
    report(workload.mixed(workload.BATCH_EVENTS))
    report(workload.mixed(workload.BATCH_EVENTS, 900))
