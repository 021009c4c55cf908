"""``auditsplit completeness`` between a real kube-apiserver and the function: what is lost, and nothing else is."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from e2e import commands, traffic
from e2e.conftest import Way
from e2e.function import held
from e2e.kubernetes import QUICK
from e2e.pki import Pki
from e2e.processes import wait_for
from e2e.receiver import Posted, Reply, forwarding, receiving


def reading(way: Way, path: Path) -> Path:
    """Write both sides' metrics to ``path``, as an administrator reads them; return it."""
    path.write_text(way.apiserver.metrics_text() + way.function.metrics_text())
    return path


def test_both_sides_counters_balance(way: Callable[..., Way], pki: Pki, tmp_path: Path) -> None:
    """Nothing is missing while all is well; later, exactly what the apiserver gave up, which the function never had."""
    broken, was_broken = threading.Event(), threading.Event()
    with ExitStack() as stack:

        def through(url: str) -> str:
            # Later no answer is cut: a batch whose fifth answer got lost would be stored and given up, both.
            on = forwarding(url, pki, cut=lambda number: number % 4 == 1 and not was_broken.is_set())

            def answering(posted: Posted) -> Reply | None:
                return Reply(500) if broken.is_set() else on(posted)

            return stack.enter_context(receiving(answering, pki.serving(pki.receiver))).url

        apiserver, function = opened = way((*QUICK, "--audit-webhook-initial-backoff=200ms"), through=through)
        traffic.whole(apiserver)
        wait_for("all has arrived", lambda: apiserver.metrics().events == held(function).total())
        start = reading(opened, tmp_path / "start")
        broken.set()
        was_broken.set()
        traffic.burst(apiserver, range(20))
        wait_for("batches are given up", lambda: apiserver.metrics().errors.get("webhook", 0) >= 40)
        broken.clear()
        traffic.burst(apiserver, range(20, 40))
        lost = apiserver.metrics().errors["webhook"]
        wait_for("the rest has arrived", lambda: apiserver.metrics().events == held(function).total() + lost)
        end = reading(opened, tmp_path / "end")
    (tmp_path / "nothing").touch()
    well = commands.auditsplit("completeness", "counters", tmp_path / "nothing", start, "--cluster", "prod")
    ill = commands.auditsplit("completeness", "counters", start, end, "--cluster", "prod", expected=1)

    assert "lost" not in well.out
    assert re.search(r"^stored: \d{3,} \(and [1-9]", well.out, re.MULTILINE)
    assert "missing: 0\n" in well.out
    assert f"lost by their webhook backend: {lost}\n" in ill.out
    assert "missing: 0\n" in ill.out
