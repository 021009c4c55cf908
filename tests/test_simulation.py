"""The simulated backend: cases computed by hand, and properties of every load. tests/e2e compares the real backend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.apiserver.flags.simulation import (
    Backend,
    Behaviour,
    LoadPeriod,
    Outcome,
    ReceiverPeriod,
    SentBatch,
    simulate,
)

ACCEPTS = [ReceiverPeriod(0.0, latency_s=0.0)]
SMALL = Backend(10, 5, 1.0, True, 1.0, 1, 10.0)  # noqa: FBT003


def sizes(outcome: Outcome) -> list[tuple[float, int]]:
    """Return when each batch left the buffer, and its events."""
    return [(round(batch.sent_s, 2), batch.events) for batch in outcome.batches]


def sent_batch(behaviour: Behaviour, until: float, latency_s: float = 0.0, initial_backoff: float = 10.0) -> SentBatch:
    """Return a batch that leaves at 1 s, if the receiver has this behaviour until ``until`` and then accepts."""
    receiver = [ReceiverPeriod(0.0, behaviour, latency_s), ReceiverPeriod(until, latency_s=0.0)]
    backend = Backend(batch_max_size=10, initial_backoff=initial_backoff)
    [batch] = simulate([LoadPeriod(1.0, 10.0)], backend, receiver).batches
    return batch


def test_full_batches_leave_at_once() -> None:
    """A batch is sent when its last event arrives."""
    outcome = simulate([LoadPeriod(2.0, 10.0)], SMALL._replace(batch_throttle_enable=False), ACCEPTS)

    assert sizes(outcome) == [(0.5, 5), (1.0, 5), (1.5, 5), (2.0, 5)]


def test_a_batch_leaves_when_its_wait_is_over() -> None:
    """It may be part full. A wait without an event sends no batch, and the next wait begins."""
    outcome = simulate([LoadPeriod(2.0, 2.0), LoadPeriod(2.0, 0.0), LoadPeriod(1.0, 1.0)], SMALL, ACCEPTS)

    assert sizes(outcome) == [(1.0, 1), (2.0, 2), (3.0, 1), (5.0, 1)]


def test_batches_of_one_do_not_wait() -> None:
    """The real backend has no timer then."""
    outcome = simulate([LoadPeriod(1.0, 2.0)], SMALL._replace(batch_max_size=1, batch_throttle_enable=False), ACCEPTS)

    assert sizes(outcome) == [(0.5, 1), (1.0, 1)]


def test_the_throttle_fills_the_buffer_and_a_full_buffer_drops_events() -> None:
    """With one token, then one a second, 100 events leave 5 sent, 5 collected, 10 buffered, and the rest dropped."""
    outcome = simulate([LoadPeriod(1.0, 100.0)], SMALL, ACCEPTS)

    assert (outcome.offered, outcome.most_buffered) == (100, 10)
    assert outcome.dropped == 100 - 5 - 5 - 10
    assert sizes(outcome) == [(0.05, 5), (1.05, 5), (2.05, 5), (3.05, 5)]


def test_unused_tokens_add_up_to_the_burst() -> None:
    """And no further."""
    backend = SMALL._replace(batch_throttle_burst=3)

    outcome = simulate([LoadPeriod(60.0, 0.0), LoadPeriod(0.1, 300.0)], backend, ACCEPTS)

    assert [sent for sent, _ in sizes(outcome)] == [60.02, 60.04, 60.05, 61.02, 62.02, 63.02]


def test_a_slow_receiver_does_not_fill_the_buffer() -> None:
    """Each batch is sent by itself, so none waits for another's answer."""
    backend = SMALL._replace(batch_throttle_enable=False)

    outcome = simulate([LoadPeriod(20.0, 100.0)], backend, [ReceiverPeriod(0.0, latency_s=10.0)])

    assert (outcome.dropped, outcome.lost, outcome.most_buffered) == (0, 0, 0)
    assert outcome.most_in_flight == pytest.approx(1000, abs=5)
    assert outcome.slowest_s == pytest.approx(10.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_last_attempt_follows_four_pauses(seed: int) -> None:
    """10, 15, 22.5 and 33.75 s, each up to a fifth longer: at least 81.25 s and at most 97.5 s."""
    receiver = [ReceiverPeriod(0.0, Behaviour.FAILS, 0.0)]

    [batch] = simulate([LoadPeriod(1.0, 10.0)], Backend(batch_max_size=10), receiver, seed).batches

    assert not batch.delivered
    assert 81.25 <= batch.done_s - batch.sent_s <= 97.5


@pytest.mark.parametrize(("until", "delivered"), [(82.2, True), (98.6, False)])
def test_an_outage_up_to_the_sum_of_the_pauses_loses_nothing(until: float, *, delivered: bool) -> None:
    """It counts from the batch's first attempt, at 1 s."""
    assert sent_batch(Behaviour.FAILS, until).delivered is delivered


def test_retry_after_tries_eleven_times_an_attempt() -> None:
    """Ten pauses of a second in each of the five attempts add 50 s to the pauses between them."""
    batch = sent_batch(Behaviour.RETRY_AFTER, 1e9)

    assert not batch.delivered
    assert 81.25 + 50 <= batch.done_s - batch.sent_s <= 97.5 + 50


def test_retry_after_delivers_within_a_second_of_recovery() -> None:
    """Without a pause between attempts."""
    assert sent_batch(Behaviour.RETRY_AFTER, 5.5) == SentBatch(10, 1.0, 6.0, delivered=True)


def test_retries_end_with_the_attempts_30_seconds() -> None:
    """With answers after 4 s, six tries fit. The seventh would begin at 30 s."""
    batch = sent_batch(Behaviour.RETRY_AFTER, 1e9, latency_s=4.0, initial_backoff=0.001)

    assert batch.done_s - batch.sent_s == pytest.approx(5 * 30.0, abs=0.1)


def test_a_pause_does_not_outlast_the_attempt() -> None:
    """With answers after 29.5 s, the second that the receiver asks for would end after 30 s."""
    batch = sent_batch(Behaviour.RETRY_AFTER, 1e9, latency_s=29.5, initial_backoff=0.001)

    assert batch.done_s - batch.sent_s == pytest.approx(5 * 30.0, abs=0.1)


@pytest.mark.parametrize(("behaviour", "latency_s"), [(Behaviour.HANGS, 0.0), (Behaviour.ACCEPTS, 31.0)])
def test_an_attempt_without_an_answer_in_30_seconds_fails(behaviour: Behaviour, latency_s: float) -> None:
    """The next attempt follows after a pause."""
    batch = sent_batch(behaviour, 20.0, latency_s)

    assert batch.delivered
    assert 40.0 <= batch.done_s - batch.sent_s <= 42.0


def test_the_same_seed_gives_the_same_outcome() -> None:
    """Another seed gives another jitter."""
    outcomes = [
        simulate([LoadPeriod(1, 10)], SMALL, [ReceiverPeriod(0.0, Behaviour.FAILS)], seed) for seed in (1, 1, 2)
    ]

    assert outcomes[0] == outcomes[1] != outcomes[2]


BACKENDS = st.builds(
    Backend,
    batch_buffer_size=st.integers(1, 500),
    batch_max_size=st.integers(1, 300),
    batch_max_wait=st.floats(0.05, 5),
    batch_throttle_enable=st.booleans(),
    batch_throttle_qps=st.floats(0.5, 100),
    batch_throttle_burst=st.integers(1, 50),
    initial_backoff=st.floats(0.1, 10),
)
LOADS = st.lists(st.builds(LoadPeriod, st.floats(0.1, 1), st.floats(0, 1000)), min_size=1, max_size=2)
BEHAVIOURS = st.sampled_from(list(Behaviour))


@PROPERTY
@given(LOADS, BACKENDS, BEHAVIOURS, st.floats(0, 3))
def test_every_event_is_delivered_or_dropped_or_lost(
    load: list[LoadPeriod], backend: Backend, behaviour: Behaviour, end: float
) -> None:
    """No batch is larger than its size, nor the buffer than its own."""
    outcome = simulate(load, backend, [ReceiverPeriod(0.0, behaviour), ReceiverPeriod(end)])

    assert outcome.offered == outcome.delivered + outcome.dropped + outcome.lost
    assert all(0 < batch.events <= backend.batch_max_size for batch in outcome.batches)
    assert outcome.most_buffered <= backend.batch_buffer_size


@PROPERTY
@given(LOADS, BACKENDS)
def test_no_more_batches_leave_than_the_throttle_allows(load: list[LoadPeriod], backend: Backend) -> None:
    """In any time from the start, at most the burst and the rate."""
    backend = backend._replace(batch_throttle_enable=True)

    times = [batch.sent_s for batch in simulate(load, backend, ACCEPTS).batches]

    for number, sent in enumerate(times):
        later = backend.batch_throttle_burst + (sent - times[0]) * backend.batch_throttle_qps
        assert number + 1 <= later + 1e-6


@PROPERTY
@given(LOADS, BACKENDS)
def test_without_a_throttle_nothing_is_dropped(load: list[LoadPeriod], backend: Backend) -> None:
    """However small the buffer is."""
    outcome = simulate(load, backend._replace(batch_throttle_enable=False), ACCEPTS)

    assert (outcome.dropped, outcome.lost) == (0, 0)
