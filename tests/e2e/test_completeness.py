"""``auditsplit completeness`` between a real kube-apiserver and the function: what is lost, and nothing else is."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from support import commands, traffic
from support.function import held
from support.kubernetes import PROBER, QUICK, token
from support.pki import Pki
from support.processes import wait_for
from support.prometheus_server import prometheus
from support.receiver import Posted, Reply, forwarding, receiving
from support.way import Way

WATCHER = "watch me"
WATCHER_SHA256 = f"sha256:{hashlib.sha256(WATCHER.encode()).hexdigest()}"


def reading(way: Way, path: Path) -> Path:
    """Write both sides' metrics to ``path``, as an administrator reads them; return it."""
    path.write_text(way.apiserver.metrics_text() + way.function.metrics_text())
    return path


def test_both_sides_counters_balance(way: Callable[..., Way], pki: Pki, tmp_path: Path) -> None:
    """Nothing is missing while all is well; later, exactly what the apiserver gave up, which the function never had."""
    broken, was_broken = threading.Event(), threading.Event()
    last_post = [0.0]
    with ExitStack() as stack:

        def through(url: str) -> str:
            # Later no answer is cut: a batch whose fifth answer got lost would be stored and given up, both.
            on = forwarding(url, pki, cut=lambda number: number % 4 == 1 and not was_broken.is_set())

            def answering(posted: Posted) -> Reply | None:
                last_post[0] = time.monotonic()
                return Reply(500) if broken.is_set() else on(posted)

            return stack.enter_context(receiving(answering, pki.serving(pki.receiver))).url

        apiserver, function = opened = way((*QUICK, "--audit-webhook-initial-backoff=200ms"), through=through)
        traffic.whole(apiserver)
        wait_for("all has arrived", lambda: apiserver.metrics().events == held(function).total())
        was_broken.set()
        # A batch whose answer was cut is stored, and tried again. Given up now, it would count as both.
        wait_for("no batch is tried again", lambda: time.monotonic() - last_post[0] > 3)
        start = reading(opened, tmp_path / "start")
        broken.set()
        traffic.burst(apiserver, range(20))
        wait_for("batches are given up", lambda: apiserver.metrics().errors.get("webhook", 0) >= 40)
        broken.clear()
        traffic.burst(apiserver, range(20, 40))

        def all_accounted_for() -> bool:
            made = apiserver.metrics()
            return made.events == held(function).total() + made.errors["webhook"]

        try:
            wait_for("the rest has arrived", all_accounted_for, 20)
        except AssertionError:
            made = apiserver.metrics()
            raise AssertionError(f"{made.events} made, {held(function).total()} stored, {made.errors}") from None
        lost = apiserver.metrics().errors["webhook"]  # batches may have been given up until now
        end = reading(opened, tmp_path / "end")
    (tmp_path / "nothing").touch()
    well = commands.auditsplit("completeness", "counters", tmp_path / "nothing", start, "--cluster", "prod")
    ill = commands.auditsplit("completeness", "counters", start, end, "--cluster", "prod", expected=1)

    assert "lost" not in well.out
    assert re.search(r"^stored: \d{3,} \(and [1-9]", well.out, re.MULTILINE)
    assert "missing: 0\n" in well.out
    assert f"lost by the apiservers' webhook backend: {lost}\n" in ill.out
    assert "missing: 0\n" in ill.out


def test_prometheus_sees_both_sides_and_what_is_lost(way: Callable[..., Way], pki: Pki, tmp_path: Path) -> None:
    """By infra/prometheus: the counters of a real apiserver and the function agree, and an alert tells of a loss."""
    apiserver, function = way((*QUICK, "--audit-webhook-initial-backoff=200ms"), AUDIT_METRICS_TOKEN=WATCHER_SHA256)
    tls = {"ca_file": str(pki.ca)}
    ours = {
        "target": f"127.0.0.1:{function.port}",
        "scheme": "https",
        "tls_config": tls,
        "authorization": {"credentials": WATCHER},
    }
    theirs = {
        "target": f"127.0.0.1:{apiserver.port}",
        "tls_config": tls,
        "authorization": {"credentials": token(PROBER)},
    }
    (tmp_path / "prometheus").mkdir()
    with prometheus(tmp_path / "prometheus", ours, theirs) as watch:
        traffic.burst(apiserver, range(20))
        missing = "sum by (cluster) (apiserver_audit_event_total) - sum by (cluster) (auditsplit_events_stored_total)"
        wait_for("both sides agree", lambda: watch.samples(missing) == [({"cluster": "prod"}, 0)])
        made = apiserver.metrics().events
        wait_for("Prometheus has all", lambda: [n for _, n in watch.samples("apiserver_audit_event_total")] == [made])
        quiet = watch.samples('ALERTS{alertstate="firing"}')
        function.stop()
        traffic.burst(apiserver, range(20))
        wait_for("they are given up", lambda: apiserver.metrics().errors.get("webhook", 0) >= 20)
        traffic.burst(apiserver, range(20))
        lost = 'ALERTS{alertname="ApiserverLosesEvents", alertstate="firing", cluster="prod", plugin="webhook"}'
        wait_for("the loss is told", lambda: bool(watch.samples(lost)))
        down = {labels["job"] for labels, _ in watch.samples("up == 0")}

    assert made >= 20
    assert quiet == []
    assert down == {"auditsplit"}
