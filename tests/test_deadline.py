"""One deadline for a request: what waits for something asks how long it may."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.eventlists import event, eventlist

from auditsplit import deadline
from auditsplit.decode import batch as batches
from auditsplit.errors import SinkError
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.file.store import FileSink
from auditsplit.sinks.lock import StoreLock


def test_without_a_deadline_there_is_all_the_time_that_is_asked_for() -> None:
    """As in a command of the shell."""
    assert deadline.left_s(7.5) == 7.5


def test_what_is_left_grows_less() -> None:
    """At most what is asked for, and nothing once it is over."""
    with deadline.within(0.05):
        assert 0 < deadline.left_s(10) <= 0.05
        assert deadline.left_s(0.001) == 0.001
        time.sleep(0.06)

        assert deadline.left_s(10) == 0
    assert deadline.left_s(10) == 10


def test_the_sooner_of_two_deadlines_counts() -> None:
    """A platform that gives less time than the apiserver is heeded, and one that gives more is not."""
    with deadline.within(5):
        with deadline.within(50):
            assert deadline.left_s(100) <= 5
        with deadline.within(1):
            assert deadline.left_s(100) <= 1
        assert 1 < deadline.left_s(100) <= 5


def test_each_thread_has_its_own() -> None:
    """Requests side by side don't shorten each other's time."""
    found = []
    with deadline.within(1):
        other = threading.Thread(target=lambda: found.append(deadline.left_s(10)))
        other.start()
        other.join()

    assert found == [10]


def test_a_store_waits_for_its_turn_no_longer_than_the_request_may_take(tmp_path: Path) -> None:
    """A lock that another holds costs what is left, not the lock's own ten seconds."""
    sink = FileSink(tmp_path, KeyTemplate("{user}"))
    batch = batches.read(eventlist([event()]), "default")
    sink.check()
    began = time.monotonic()

    with (
        StoreLock(tmp_path / ".auditsplit" / "lock").hold(),
        deadline.within(0.2),
        pytest.raises(SinkError, match=r"not free within 0\.\d+ s"),
    ):
        sink.write(batch)

    assert time.monotonic() - began < 5
