"""The sink of object stores without a server: retries, deadlines, its memory, and the bytes that it counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.eventlists import event, eventlist

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.failures import Action, Failure, SinkFailure
from auditsplit.sinks.objects import sink as object_sinks
from auditsplit.sinks.objects.sink import ObjectSink

Fault = Callable[[str], Failure | None]


class FakeBucket:
    """A bucket in memory.

    ``fault`` returns the failure that meets a put of a key, ``conditional`` says whether the server knows conditions.
    """

    def __init__(self, fault: Fault = lambda _: None, *, conditional: bool = True) -> None:
        """Start empty."""
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sent: list[int] = []
        self.fault, self.conditional = fault, conditional

    def put(self, key: str, body: bytes, content_type: str) -> bool:  # noqa: ARG002
        """See `Bucket.put`."""
        self.sent.append(len(body))
        self.probe(key)
        new = key not in self.objects
        self.objects.setdefault(key, body)
        return new or not self.conditional

    def probe(self, key: str) -> None:
        """See `Bucket.probe`."""
        self.asked.append(key)
        if failure := self.fault(key):
            raise SinkFailure(failure, "503 Fault to the put")


def sink_of(bucket: FakeBucket, *, puts: int = 4, timeout_s: float = 5) -> ObjectSink:
    """Return a sink over ``bucket``, which waits for a hundredth of the usual time between tries."""
    sink = ObjectSink("s3://bucket", lambda _: bucket, puts=puts, timeout_s=timeout_s)
    sink._pauses_s = (0.002, 0.004, 0.008)
    return sink


def soon() -> Deadline:
    """Return a deadline that no test reaches."""
    return Deadline.after(20)


def batch_of(users: int) -> Batch:
    """Return a batch with an event of each of several users."""
    return batches.read(eventlist(event(f"user{number}") for number in range(users)), "default")


def times(failure: Failure, count: int, user: str = "") -> Fault:
    """Return a fault that fails the first ``count`` puts of ``user``, or of all users."""
    left = iter([failure] * count)
    return lambda key: next(left, None) if user in key else None


def hanging(seconds: float) -> Fault:
    """Return a fault that lets every put take so long."""

    def fault(_: str) -> None:
        time.sleep(seconds)

    return fault


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure.action is Action.RETRY])
def test_a_failure_that_may_pass_is_retried(failure: Failure) -> None:
    """Up to four tries in all, without the sender's help."""
    bucket = FakeBucket(times(failure, 3))

    assert sink_of(bucket).write(batch_of(1), soon()).new
    assert len(bucket.asked) == 4


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_that_stays_is_raised(failure: Failure) -> None:
    """At once if a retry does not help. The message has the class and the name of the sink."""
    bucket = FakeBucket(lambda _: failure)

    with pytest.raises(SinkFailure, match=r"s3://bucket, 0 of 1 objects done") as caught:
        sink_of(bucket).write(batch_of(1), soon())

    assert caught.value.failure is failure
    assert failure.words in str(caught.value)
    assert len(bucket.asked) == (4 if failure.action is Action.RETRY else 1)


@pytest.mark.parametrize("failure", [Failure.NOT_ALLOWED, Failure.UNREACHABLE])
def test_a_failure_that_all_puts_would_meet_ends_the_batch(failure: Failure) -> None:
    """A server that is down is not asked again for each of a thousand users."""
    bucket = FakeBucket(lambda _: failure)

    with pytest.raises(SinkFailure):
        sink_of(bucket).write(batch_of(1000), soon())

    assert len(bucket.asked) < 50


def test_a_failure_of_one_put_does_not_stop_the_others() -> None:
    """The retry puts only the rest, whether or not the server knows conditions."""
    bucket = FakeBucket(times(Failure.BROKEN, 4, "user3"), conditional=False)
    sink, batch = sink_of(bucket), batch_of(10)
    with pytest.raises(SinkFailure, match="9 of 10 objects done"):
        sink.write(batch, soon())
    bucket.asked.clear()

    assert sink.write(batch, soon()).new

    assert len(bucket.asked) == 1
    assert len(bucket.objects) == 10


def test_a_stored_batch_is_not_remembered() -> None:
    """Memory is for unfinished batches. The server knows which objects exist."""
    bucket = FakeBucket()
    sink, batch = sink_of(bucket), batch_of(3)

    assert [sink.write(batch, soon()).new for _ in range(2)] == [True, False]

    assert len(bucket.asked) == 6
    assert not sink._finished


def test_the_memory_of_unfinished_batches_is_bounded() -> None:
    """The oldest are forgotten. Their objects are put again, and exist already."""
    sink = sink_of(FakeBucket(lambda _: Failure.NOT_ALLOWED))

    for number in range(300):
        with pytest.raises(SinkFailure):
            sink.write(batches.read(eventlist([event(auditID=str(number))]), "default"), soon())

    assert len(sink._finished) <= 256


@pytest.mark.parametrize("users", [1, 40])
def test_a_server_that_hangs_is_given_up_in_time(users: int) -> None:
    """The answer does not wait for the puts."""
    sink = sink_of(FakeBucket(hanging(1)), timeout_s=0.2)
    began = time.monotonic()

    with pytest.raises(SinkFailure, match=f"over 0.2 s; s3://bucket, 0 of {users} objects done") as caught:
        sink.write(batch_of(users), soon())

    assert caught.value.failure is Failure.SLOW
    assert time.monotonic() - began < 0.6


def test_the_deadline_of_the_request_counts_where_it_is_sooner() -> None:
    """The sink's own timeout is no reason to answer after the sender has gone."""
    sink = sink_of(FakeBucket(hanging(1)), timeout_s=5)

    with pytest.raises(SinkFailure, match=r"over 0\.\d+ s; s3://bucket, 0 of 1 objects done"):
        sink.write(batch_of(1), Deadline.after(0.2))


def test_the_last_failure_is_reported_when_time_is_up_between_tries() -> None:
    """The message says why, not only that it was slow."""
    sink = sink_of(FakeBucket(lambda _: Failure.THROTTLED), timeout_s=0.01)
    sink._pauses_s = (10.0,)

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch_of(1), soon())

    assert caught.value.failure in (Failure.THROTTLED, Failure.SLOW)


def test_puts_go_in_parallel_within_their_bound() -> None:
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
    threads = [threading.Thread(target=sink.write, args=[batch, soon()]) for batch in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(under_way) == 4


def test_a_fault_of_the_code_is_not_the_stores() -> None:
    """An error that is not a `SinkFailure` is raised as it is."""

    def fault(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sink_of(FakeBucket(fault)).write(batch_of(1), soon())


def test_connecting_is_retried_too() -> None:
    """Credentials from a metadata service may be late at a cold start."""
    bucket = FakeBucket()

    left = iter([Failure.UNREACHABLE, Failure.UNREACHABLE])

    def connect(_: int) -> FakeBucket:
        if failure := next(left, None):
            raise SinkFailure(failure, "no credentials yet")
        return bucket

    sink = sink_of(bucket)
    sink._connect = connect

    assert sink.write(batch_of(2), soon()).new
    assert len(bucket.objects) == 2


def test_nothing_is_touched_before_the_first_use() -> None:
    """A worker process is forked after the settings were read, so a client must not exist yet."""

    def connect(_: int) -> FakeBucket:
        raise AssertionError("too early")

    target: Any = sinks.read_target("s3://bucket/logs/?puts=3&timeout=7", {}, "authenticated")
    sink = object_sinks.build(target, connect)

    assert sink.name == "s3://bucket/logs"
    assert (sink._puts, sink._timeout_s) == (3, 7)


def test_the_bytes_of_all_puts_are_counted() -> None:
    """From whichever thread of the pool; the bytes are the compressed ones."""
    bucket = FakeBucket()

    written = sink_of(bucket).write(batch_of(40), soon())

    assert written.size_bytes == sum(bucket.sent) == sum(map(len, bucket.objects.values())) > 0


def test_the_bytes_of_a_retried_put_are_counted_twice() -> None:
    """The server was sent them twice."""
    bucket = FakeBucket(times(Failure.BROKEN, 1))

    written = sink_of(bucket).write(batch_of(1), soon())

    (body,) = bucket.objects.values()
    assert written.size_bytes == sum(bucket.sent) == 2 * len(body)


def test_a_failed_write_says_what_was_sent() -> None:
    """The nine objects that the server has, and the four tries of the tenth."""
    bucket = FakeBucket(times(Failure.BROKEN, 4, "user3"))

    with pytest.raises(SinkFailure) as caught:
        sink_of(bucket).write(batch_of(10), soon())

    assert caught.value.size_bytes == sum(bucket.sent) > sum(map(len, bucket.objects.values()))


def test_puts_that_are_still_under_way_at_the_deadline_are_counted() -> None:
    """They were sent. A put that did not begin was not, and does not begin later."""
    bucket = FakeBucket(hanging(0.3))
    sink = sink_of(bucket, puts=4, timeout_s=0.1)

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch_of(20), soon())
    sink._pool.shutdown()

    assert len(bucket.asked) == 4
    assert caught.value.size_bytes == sum(bucket.sent)


def test_a_check_sends_no_bytes_of_events() -> None:
    """It makes no object either."""
    bucket = FakeBucket()

    sink_of(bucket).check(soon())

    assert bucket.asked == ["_rejected/ready"]
    assert not bucket.objects


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that installs it."""
    monkeypatch.setitem(sinks._KINDS, "s3", sinks._Kind("boto33", "s3"))

    with pytest.raises(
        ValueError, match=r"this sink requires the package boto33. Install auditsplit with the extra 's3'"
    ):
        sinks.from_url("s3://bucket")
