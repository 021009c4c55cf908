"""``auditsplit split --only-missing`` after an outage: from a real kube-apiserver's log, beside its running webhook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from support import commands, traffic
from support.function import held
from support.processes import wait_for
from support.way import Way

SETTLE_S = 15
"""Longer than the apiserver tries a batch: five times within some 3 s."""

FLAGS = ("--audit-webhook-batch-max-wait=300ms", "--audit-webhook-initial-backoff=200ms")
OUTAGE = 40


def written(way: Way) -> int:
    """Run the backfill of the apiserver's log, and return how many events it wrote."""
    sink = f"file:{way.function.root}?key={{cluster}}/{{user}}/audit"
    log = way.apiserver.audit_log_path
    options = ("--only-missing", "--cluster", "prod", "--settle", str(SETTLE_S), "--output", "json")
    said = commands.auditsplit("split", *options, log, AUDIT_SINKS=sink, AUDIT_DROP="none")
    [counts] = json.loads(said.out)["sinks"].values()
    assert counts["written"] == counts["missing"]
    return int(counts["written"])


def test_an_outage_is_filled_from_the_log(way: Callable[..., Way]) -> None:
    """Nothing is missing and nothing is twice, after two runs while the webhook delivers newer events."""
    apiserver, function = opened = way(FLAGS)
    traffic.whole(apiserver)
    wait_for("all has arrived", lambda: apiserver.metrics().events == held(function).total())
    function.stop()
    traffic.burst(apiserver, range(OUTAGE))
    wait_for("the events are given up", lambda: apiserver.metrics().errors.get("webhook", 0) >= 2 * OUTAGE)
    lost_until = time.monotonic()
    function.start()
    with traffic.meanwhile(partial(traffic.burst, apiserver, range(5))):
        wait_for("the outage is settled", lambda: time.monotonic() > lost_until + SETTLE_S + 1, 2 * SETTLE_S)
        first, second = written(opened), written(opened)
    wait_for("the rest has arrived", lambda: held(function).total() >= opened.logged().total())

    stored = held(function)
    assert first >= 2 * OUTAGE
    assert second == 0
    assert set(stored.values()) == {1}
    assert stored == opened.logged()
    report = commands.auditsplit("completeness", "lines", function.root / "prod", "--silence", "60")
    assert "duplicates: 0\n" in report.out
