"""The object store apart from any server: tries, deadlines, and what is remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support.eventlists import event, eventlist

from auditsplit import sinks
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.objects import store
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.objects.store import ObjectSink
from auditsplit.sinks.options import Target

Fault = Callable[[str], Failure | None]


class FakeBucket:
    """A bucket in memory; ``fault`` says which failure meets a put of a key, ``conditional`` if it knows conditions."""

    def __init__(self, fault: Fault = lambda _: None, *, conditional: bool = True) -> None:
        """Start empty."""
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fault, self.conditional = fault, conditional

    def put(self, key: str, body: bytes, content_type: str) -> bool:  # noqa: ARG002
        """See `Bucket.put`."""
        self.probe(key)
        new = key not in self.objects
        self.objects.setdefault(key, body)
        return new or not self.conditional

    def probe(self, key: str) -> None:
        """See `Bucket.probe`."""
        self.asked.append(key)
        if failure := self.fault(key):
            raise ObjectError(failure, "503 Fault to the put")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a hundredth of the usual time between tries."""
    monkeypatch.setattr(store, "_FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(store, "_LONGEST_PAUSE_S", 0.02)


def sink_of(bucket: FakeBucket, *, puts: int = 4, timeout_s: float = 5) -> ObjectSink:
    """Return a store over ``bucket``."""
    return ObjectSink("s3://bucket", lambda _: bucket, puts=puts, timeout_s=timeout_s)


def batch_of(users: int) -> Batch:
    """Return a batch with an event of each of several users."""
    return batches.read(eventlist(event(f"user{number}") for number in range(users)), "default")


def times(failure: Failure, count: int, user: str = "") -> Fault:
    """Return what fails the first ``count`` puts of ``user``, or of all."""
    left = iter([failure] * count)
    return lambda key: next(left, None) if user in key else None


def hanging(seconds: float) -> Fault:
    """Return what lets every put take so long."""

    def fault(_: str) -> None:
        time.sleep(seconds)

    return fault


@pytest.mark.parametrize("failure", [failure for failure in Failure if not failure.deployers])
def test_a_failure_that_passes_is_tried_again(failure: Failure) -> None:
    """Up to four times in all, without the sender's help."""
    bucket = FakeBucket(times(failure, 3))

    assert sink_of(bucket).write(batch_of(1))
    assert len(bucket.asked) == 4


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_that_stays_is_raised(failure: Failure) -> None:
    """A deployer's mistake at once; its class and the store's name are told."""
    bucket = FakeBucket(lambda _: failure)

    with pytest.raises(ObjectError, match=r"s3://bucket, 0 of 1 objects done") as caught:
        sink_of(bucket).write(batch_of(1))

    assert caught.value.failure is failure
    assert failure.value in str(caught.value)
    assert len(bucket.asked) == (1 if failure.deployers else 4)


@pytest.mark.parametrize("failure", [Failure.NOT_ALLOWED, Failure.UNREACHABLE])
def test_what_awaits_all_puts_stops_the_batch(failure: Failure) -> None:
    """A store that is down isn't asked once more for each of a thousand users."""
    bucket = FakeBucket(lambda _: failure)

    with pytest.raises(ObjectError):
        sink_of(bucket).write(batch_of(1000))

    assert len(bucket.asked) < 50


def test_what_befalls_one_put_lets_the_others_go_on() -> None:
    """The retry has only the rest to do, whether or not the server knows conditions."""
    bucket = FakeBucket(times(Failure.BROKEN, 4, "user3"), conditional=False)
    sink, batch = sink_of(bucket), batch_of(10)
    with pytest.raises(ObjectError, match="9 of 10 objects done"):
        sink.write(batch)
    bucket.asked.clear()

    assert sink.write(batch)

    assert len(bucket.asked) == 1
    assert len(bucket.objects) == 10


def test_a_stored_batch_is_not_remembered() -> None:
    """Memory is for unfinished batches; whether one is stored, the server knows."""
    bucket = FakeBucket()
    sink, batch = sink_of(bucket), batch_of(3)

    assert [sink.write(batch), sink.write(batch)] == [True, False]

    assert len(bucket.asked) == 6
    assert not sink._finished


def test_unfinished_batches_are_not_remembered_without_bound() -> None:
    """The oldest are forgotten: their objects are put again, and found there."""
    sink = sink_of(FakeBucket(lambda _: Failure.NOT_ALLOWED))

    for number in range(300):
        with pytest.raises(ObjectError):
            sink.write(batches.read(eventlist([event(auditID=str(number))]), "default"))

    assert len(sink._finished) <= 256


@pytest.mark.parametrize("users", [1, 40])
def test_a_store_that_hangs_is_given_up_in_time(users: int) -> None:
    """The answer does not wait for the puts."""
    sink = sink_of(FakeBucket(hanging(1)), timeout_s=0.2)
    began = time.monotonic()

    with pytest.raises(ObjectError, match=f"over 0.2 s; s3://bucket, 0 of {users} objects done") as caught:
        sink.write(batch_of(users))

    assert caught.value.failure is Failure.SLOW
    assert time.monotonic() - began < 0.6


def test_the_last_failure_is_told_when_time_is_up_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that it was slow, but why."""
    monkeypatch.setattr(store, "_FIRST_PAUSE_S", 10)
    monkeypatch.setattr(store, "_LONGEST_PAUSE_S", 10)
    sink = sink_of(FakeBucket(lambda _: Failure.THROTTLED), timeout_s=0.01)

    with pytest.raises(ObjectError) as caught:
        sink.write(batch_of(1))

    assert caught.value.failure in (Failure.THROTTLED, Failure.SLOW)


def test_puts_go_side_by_side_within_their_bound() -> None:
    """Sixteen by default, whatever the number of users and of requests."""
    under_way: list[int] = []
    now, lock = [0], threading.Lock()

    def fault(_: str) -> None:
        with lock:
            now[0] += 1
            under_way.append(now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    sink = sink_of(FakeBucket(fault), puts=4)
    several = [batch_of(number) for number in (20, 30)]
    threads = [threading.Thread(target=sink.write, args=[batch]) for batch in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(under_way) == 4


def test_a_fault_of_ours_is_no_stores() -> None:
    """What is not an `ObjectError` comes out as it is."""

    def fault(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sink_of(FakeBucket(fault)).write(batch_of(1))


def test_connecting_is_tried_again_too() -> None:
    """Credentials from a metadata service may be late at a cold start."""
    bucket = FakeBucket()

    left = iter([Failure.UNREACHABLE, Failure.UNREACHABLE])

    def connect(_: int) -> FakeBucket:
        if failure := next(left, None):
            raise ObjectError(failure, "no credentials yet")
        return bucket

    assert ObjectSink("s3://bucket", connect).write(batch_of(2))
    assert len(bucket.objects) == 2


def test_nothing_is_touched_before_the_first_use() -> None:
    """A worker process is forked after the settings were read, so a client must not be there yet."""

    def connect(_: int) -> FakeBucket:
        raise AssertionError("too early")

    target = Target("s3://bucket/logs/?puts=3&timeout=7", {}, "authenticated")
    sink = store.from_target(target, connect)
    target.check()

    assert sink.name == "s3://bucket/logs"
    assert (sink._puts, sink._timeout_s) == (3, 7)


def test_a_timeout_that_the_apiserver_does_not_wait_for_is_a_mistake() -> None:
    """It waits 30 s for the whole request."""
    target = Target("s3://bucket?timeout=26", {}, "authenticated")

    store.from_target(target, lambda _: FakeBucket())

    assert target.mistakes == ["timeout: 26 s is over 25 s; kube-apiserver waits 30 s for it all"]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sinks._MODULES, "s3", "boto33")

    with pytest.raises(ValueError, match=r"the store needs the package boto33; install auditsplit\[s3\]"):
        sinks.from_url("s3://bucket", {}, "authenticated")
