"""What breaks between the apiserver and the disk: nothing is lost while it tries, nothing is stored twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support import traffic
from support.function import held
from support.kubernetes import SMALL_BATCHES
from support.pki import Pki
from support.processes import wait_for
from support.receiver import forwarding, receiving
from support.way import Way

IMPATIENT = (*SMALL_BATCHES, "--audit-webhook-initial-backoff=50ms")
"""Gives a batch up after less than a second."""


def test_a_kill_and_a_restart_lose_nothing(way: Callable[..., Way]) -> None:
    """SIGKILL while batches come, some seconds without anybody there, and a start: all is there, once."""
    apiserver, function = opened = way(SMALL_BATCHES)
    requests = threading.Thread(target=traffic.burst, args=(apiserver, range(200)))
    requests.start()
    wait_for("some batches are stored", lambda: held(function).total() > 260)
    function.kill()
    requests.join()
    at_the_kill = held(function)
    function.start()
    traffic.burst(apiserver, range(200, 230))
    apiserver.stop()

    logged = opened.logged()
    assert at_the_kill.total() < logged.total() - 60
    assert held(function) == logged
    assert apiserver.lost() == {}


def test_a_store_that_fails_for_a_while_loses_nothing(way: Callable[..., Way]) -> None:
    """503 with Retry-After holds the batches for longer than the five tries alone would, and all of them arrive."""
    apiserver, function = opened = way(SMALL_BATCHES)
    wait_for("the store is there", function.root.exists)
    aside = function.root.with_name("aside")
    function.root.rename(aside)
    function.root.write_text("the disk is gone")
    traffic.burst(apiserver, range(40))
    threading.Event().wait(12)
    refused = function.troubles()
    function.root.unlink()
    aside.rename(function.root)
    traffic.burst(apiserver, range(40, 50))
    apiserver.stop()

    assert refused[503] > 20
    assert held(function) == opened.logged()
    assert apiserver.lost() == {}


@pytest.mark.parametrize("trouble", ["slow", "answers lost"])
def test_slow_and_lost_answers_store_nothing_twice(way: Callable[..., Way], pki: Pki, trouble: str) -> None:
    """Answers that take 3 s, and answers that never arrive though the batch is stored."""
    with ExitStack() as stack:
        relays = []

        def through(url: str) -> str:
            if trouble == "slow":
                between = forwarding(url, pki, delay_s=lambda number: 3 * (number % 2))
            else:
                between = forwarding(url, pki, cut=lambda number: number % 3 == 1)
            relays.append(stack.enter_context(receiving(between, pki.serving(pki.receiver))))
            return relays[0].url

        apiserver, function = opened = way(SMALL_BATCHES, through=through)
        traffic.burst(apiserver, range(60))
        apiserver.stop()
        bodies = [posted.body for posted in relays[0].posts]

    assert held(function) == opened.logged()
    assert apiserver.lost() == {}
    assert (len(bodies) > len(set(bodies))) == (trouble == "answers lost")


def test_what_is_given_up_is_counted(way: Callable[..., Way]) -> None:
    """With nobody there for longer than a batch is tried, as many events are missing as the apiserver says."""
    apiserver, function = opened = way(IMPATIENT)
    function.kill()
    traffic.burst(apiserver, range(30))
    wait_for("batches are given up", lambda: apiserver.metrics().errors.get("webhook", 0) >= 60)
    function.start()
    traffic.burst(apiserver, range(30, 60))
    apiserver.stop()

    logged, stored = opened.logged(), held(function)
    assert stored <= logged
    assert {"webhook": (logged - stored).total()} == apiserver.lost()
