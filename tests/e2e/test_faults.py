"""What breaks between the apiserver and the disk: nothing is lost while it tries, nothing is stored twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from auditsplit import auth
from e2e import traffic
from e2e.function import Function, by_place, held
from e2e.kubeconfig import write
from e2e.kubernetes import EVERYTHING, QUICK, Apiserver
from e2e.pki import Pki
from e2e.processes import wait_for
from e2e.receiver import forwarding, receiving

SMALL_BATCHES = (*QUICK, "--audit-webhook-batch-max-size=10")
IMPATIENT = (*SMALL_BATCHES, "--audit-webhook-initial-backoff=50ms")
"""Gives a batch up after less than a second."""


def lines(path: str, logged: list[bytes]) -> int:
    """Return how many of the lines are of requests to a path that begins so."""
    return sum(b'"requestURI":"%s' % path.encode() in line for line in logged)


def test_a_kill_and_a_restart_lose_nothing(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """SIGKILL while batches come, some seconds without anybody there, and a start: all is there, once."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known)), apiserver()
    server.start(write(tmp_path / "webhook.yaml", receiver.url, pki.ca, token=token), EVERYTHING, SMALL_BATCHES)
    requests = threading.Thread(target=traffic.burst, args=(server, range(300)))
    requests.start()
    wait_for("some batches are stored", lambda: receiver.root.exists() and len(held(receiver)) > 100)
    receiver.kill()
    requests.join()
    at_the_kill = held(receiver)
    receiver.start()
    traffic.burst(server, range(300, 330))
    server.stop()

    logged = by_place(server.audit_log(), "prod")
    assert at_the_kill.total() < logged.total() - 60
    assert held(receiver) == logged
    assert server.lost() == {}


def test_a_store_that_fails_for_a_while_loses_nothing(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """503 with Retry-After holds the batches for longer than the five tries alone would, and all of them arrive."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known)), apiserver()
    server.start(write(tmp_path / "webhook.yaml", receiver.url, pki.ca, token=token), EVERYTHING, SMALL_BATCHES)
    aside = receiver.root.with_name("aside")
    receiver.root.rename(aside)
    receiver.root.write_text("the disk is gone")
    traffic.burst(server, range(40))
    threading.Event().wait(12)
    refused = [message for message in receiver.warnings() if message.startswith("503 ")]
    receiver.root.unlink()
    aside.rename(receiver.root)
    traffic.burst(server, range(40, 50))
    server.stop()

    assert len(refused) > 20
    assert held(receiver) == by_place(server.audit_log(), "prod")
    assert server.lost() == {}


@pytest.mark.parametrize("trouble", ["slow", "answers lost"])
def test_slow_and_lost_answers_store_nothing_twice(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path, trouble: str
) -> None:
    """Answers that take 3 s, and answers that never arrive though the batch is stored."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known)), apiserver()
    if trouble == "slow":
        between = forwarding(receiver.url, pki, delay_s=lambda number: 3 * (number % 2), cut=lambda _: False)
    else:
        between = forwarding(receiver.url, pki, cut=lambda number: number % 3 == 1)
    with receiving(between, pki.serving(pki.receiver)) as relay:
        server.start(write(tmp_path / "webhook.yaml", relay.url, pki.ca, token=token), EVERYTHING, SMALL_BATCHES)
        traffic.burst(server, range(60))
        server.stop()
        bodies = [posted.body for posted in relay.posts]

    assert held(receiver) == by_place(server.audit_log(), "prod")
    assert server.lost() == {}
    assert (len(bodies) > len(set(bodies))) == (trouble == "answers lost")


def test_what_is_given_up_is_counted(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """With nobody there for longer than a batch is tried, as many events are missing as the apiserver says."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known)), apiserver()
    server.start(write(tmp_path / "webhook.yaml", receiver.url, pki.ca, token=token), EVERYTHING, IMPATIENT)
    receiver.kill()
    traffic.burst(server, range(30))
    wait_for("batches are given up", lambda: server.metrics().errors.get("webhook", 0) >= 60)
    receiver.start()
    traffic.burst(server, range(30, 60))
    server.stop()

    logged, stored = by_place(server.audit_log(), "prod"), held(receiver)
    assert stored <= logged
    assert {"webhook": (logged - stored).total()} == server.lost()
