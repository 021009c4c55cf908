"""The generated policies and flags: a real kube-apiserver takes them, and does what they say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import commands, traffic
from support.function import held
from support.pki import Pki
from support.processes import wait_for
from support.receiver import Receiver, forwarding, receiving
from support.way import Way

from auditsplit.policy.profiles import PROFILES

LOAD = ("--rate", "20", "--event-size", "2kB", "--batch-max-wait", "300ms", "--initial-backoff", "1s")
EVENT_BYTES = 20_000


@pytest.mark.parametrize("profile", PROFILES)
def test_the_generated_policies_and_flags_are_taken(way: Callable[..., Way], tmp_path: Path, profile: str) -> None:
    """What the apiserver logs by them is what the function stores, and no secret is in it.

    But for the ends of the apiserver's own watches: a stopping apiserver closes its webhook before them, and counts it.
    """
    apiserver, function = opened = way(commands.flags(*LOAD), commands.policy(tmp_path / "policy.yaml", profile))
    traffic.whole(apiserver)
    errors = apiserver.metrics().errors
    apiserver.stop()

    logged, stored = opened.logged(), held(function)
    late = logged - stored
    assert (stored - logged).total() == 0
    assert stored.total() > 100
    assert {place for place, _ in late} <= {"prod/system:apiserver/audit"}
    assert all(b'"verb":"watch"' in line for _, line in late)
    assert sum(apiserver.lost().values()) == apiserver.lost().get("buffered", 0) == late.total()
    assert (errors, function.troubles()) == ({}, {})
    assert not any(traffic.SECRET in line for _, line in stored)


def test_the_flags_bound_batches_and_events(way: Callable[..., Way], pki: Pki) -> None:
    """No list has more items, or bytes, than the flags say; what was cut down for that says so itself."""
    flags = commands.flags(*LOAD, "--batch-max-size", "7", "--max-event-size", str(EVENT_BYTES))
    relays: list[Receiver] = []
    with ExitStack() as stack:

        def through(url: str) -> str:
            relays.append(stack.enter_context(receiving(forwarding(url, pki), pki.serving(pki.receiver))))
            return relays[0].url

        apiserver, function = opened = way(flags, through=through)
        traffic.whole(apiserver)
        apiserver.stop()
        sizes = [posted.body.count(b'"stageTimestamp":') for posted in relays[0].posts]
        longest = max(len(posted.body) for posted in relays[0].posts)

    logged, stored = opened.logged(), held(function)
    cut, whole = stored - logged, logged - stored
    assert max(sizes) == 7
    assert longest < 7 * EVENT_BYTES
    assert cut.total() == whole.total() > 1
    assert all(b'"audit.k8s.io/truncated":"true"' in line for _, line in cut)
    assert all(len(line) > EVENT_BYTES for _, line in whole)
    assert apiserver.lost() == {}


def test_what_no_longer_fits_the_buffer_is_counted(way: Callable[..., Way]) -> None:
    """With a buffer of 5 behind batches of 1, as many events are missing as the apiserver says."""
    flags = commands.flags(*LOAD, "--batch-max-size", "1", "--buffer-size", "5")
    apiserver, function = opened = way(flags)
    traffic.burst(apiserver, range(100))
    wait_for("the buffer is full", lambda: apiserver.metrics().errors.get("buffered", 0) > 50)
    apiserver.stop()

    logged, stored = opened.logged(), held(function)
    assert stored <= logged
    assert {"buffered": (logged - stored).total()} == apiserver.lost()
