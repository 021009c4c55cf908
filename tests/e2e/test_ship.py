"""The shipper beside a real kube-apiserver: each line of its rotating log is in the sink once, through 30 kills."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from support import commands, traffic
from support.function import Function, by_place, held
from support.kubernetes import Apiserver
from support.pki import Pki
from support.shipping import Shipping

ROTATING = ("--audit-log-maxsize=1", "--audit-log-maxbackup=1000")
KILLS = 30
BLOB = "0123456789abcdef" * 3000


def heavy_traffic(apiserver: Apiserver) -> AbstractContextManager[None]:
    """Write 100 kB and more a request until the block ends, so that the log rotates every few requests."""
    numbers = itertools.count(1)

    def write() -> None:
        number = next(numbers)
        body = {"metadata": {"name": f"heavy-{number}"}, "data": {"blob": BLOB}}
        maps = "/api/v1/namespaces/default/configmaps"
        text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **body}).encode()
        apiserver.request("POST", maps, "admin", text, [("Content-Type", "application/json")])
        traffic.burst(apiserver, range(3), user="bob")
        apiserver.request("DELETE", f"{maps}/heavy-{number}")

    return traffic.meanwhile(write)


@pytest.mark.parametrize("flags", [ROTATING, (*ROTATING, "--audit-log-compress")], ids=["plain", "compressed"])
def test_a_killed_shipper_loses_nothing_and_stores_nothing_twice(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Straight into the file sink, which fails for a while."""
    server, reading = apiserver(), Function(tmp_path / "function", pki)
    server.start(None, flags=flags)
    sink = f"file:{reading.root}?key={{cluster}}/{{user}}/audit&maxsize=100000"
    ship = Shipping(tmp_path / "ship", server.audit_log_path, "--cluster", "prod", AUDIT_SINKS=sink, AUDIT_DROP="none")
    away = reading.root.with_name("away")
    chance = random.Random(18)  # noqa: S311 - the times of kills
    with ExitStack() as stack:
        stack.callback(ship.kill)
        with heavy_traffic(server):
            traffic.whole(server)
            for number in range(KILLS):
                ship.start()
                threading.Event().wait(chance.uniform(0.3, 1.5))
                ship.kill()
                if number == KILLS // 3:
                    reading.root.rename(away)
                    reading.root.touch()  # a file where the folder was: every write fails
                if number == KILLS // 2:
                    reading.root.unlink()
                    away.rename(reading.root)
        server.stop()
        ship.finish()

    logged, stored = by_place(server.rotated_logs(), "prod"), held(reading)
    assert logged.total() > 200
    assert len({line for _, line in logged}) == logged.total()
    assert stored == logged
    assert reading.rejected() == []
    assert "gone before they were read" not in ship.log.read_text()


def test_the_shipper_and_the_function_may_both_be_killed(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """Over HTTP, with the kubeconfig that kube-apiserver itself would have."""
    server, receiver = apiserver(), function(AUDIT_FILE_MAXSIZE="100000")
    receiver.start(commands.kubeconfig(tmp_path / "webhook.yaml", "prod", receiver.url, pki.ca))
    server.start(None, flags=ROTATING)
    ship = Shipping(tmp_path / "ship", server.audit_log_path, "--kubeconfig", tmp_path / "webhook.yaml")
    chance = random.Random(19)  # noqa: S311 - the times of kills
    with ExitStack() as stack:
        stack.callback(ship.kill)
        with heavy_traffic(server):
            for number in range(KILLS // 2):
                ship.start()
                threading.Event().wait(chance.uniform(0.3, 1.5))
                if number % 3 == 0:
                    receiver.kill()
                    receiver.start()
                ship.kill()
        server.stop()
        ship.finish()

    assert held(receiver) == by_place(server.rotated_logs(), "prod")
    assert receiver.rejected() == []
