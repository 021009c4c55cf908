"""A deadline is a value that is passed on; each wait gets what is left of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.eventlists import event, eventlist
from support.requests import soon

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.file.sink import FileSink
from auditsplit.sinks.lock import SinkLock


def test_what_is_left_shrinks_to_nothing() -> None:
    """It is never negative: a wait of 0 s is a look."""
    deadline = Deadline.after(0.05)

    assert 0 < deadline.left_s() <= 0.05
    time.sleep(0.06)
    assert deadline.left_s() == 0


def test_the_sooner_of_two_deadlines_counts() -> None:
    """A platform that gives less time than kube-apiserver is heeded, and one that gives more is not."""
    request = Deadline.after(5)

    assert request.within(50) == request
    assert request.within(1).left_s() <= 1
    assert request.within(1) < request


def test_a_sink_waits_for_its_lock_no_longer_than_the_request_may_take(tmp_path: Path) -> None:
    """A lock that another writer holds costs what is left, not the lock's own ten seconds."""
    sink = FileSink(tmp_path, KeyTemplate("{user}"))
    batch = batches.read(eventlist([event()]), "default")
    sink.check(soon())
    began = time.monotonic()

    with (
        SinkLock(tmp_path / ".auditsplit" / "lock").hold(soon()),
        pytest.raises(SinkFailure, match=r"not free within 0\.\d+ s") as caught,
    ):
        sink.write(batch, Deadline.after(0.2))

    assert caught.value.failure is Failure.SLOW
    assert time.monotonic() - began < 5
