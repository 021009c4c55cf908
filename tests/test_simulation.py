"""The simulated backend: cases worked out by hand, and what holds for every load. tests/e2e has the real one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.apiserver.flags.simulation import Backend, Batch, Kind, Outcome, Phase, Receiver, simulate

TAKES = [Receiver(0.0, latency=0.0)]
SMALL = Backend(10, 5, 1.0, True, 1.0, 1, 10.0)  # noqa: FBT003


def sizes(outcome: Outcome) -> list[tuple[float, int]]:
    """Return when each batch left the buffer, and its events."""
    return [(round(batch.sent, 2), batch.events) for batch in outcome.batches]


def fate(kind: Kind, until: float, latency: float = 0.0, initial_backoff: float = 10.0) -> Batch:
    """Return what becomes of one batch that leaves at 1 s, where the receiver does ``kind`` until ``until``."""
    receivers = [Receiver(0.0, kind, latency), Receiver(until, latency=0.0)]
    backend = Backend(batch_max_size=10, initial_backoff=initial_backoff)
    [batch] = simulate([Phase(1.0, 10.0)], backend, receivers).batches
    return batch


def test_full_batches_leave_at_once() -> None:
    """A batch goes when its last event comes."""
    outcome = simulate([Phase(2.0, 10.0)], SMALL._replace(batch_throttle_enable=False), TAKES)

    assert sizes(outcome) == [(0.5, 5), (1.0, 5), (1.5, 5), (2.0, 5)]


def test_a_batch_leaves_when_its_wait_is_over() -> None:
    """It may be part full; a wait in which nothing came sends nothing, and the next one begins."""
    outcome = simulate([Phase(2.0, 2.0), Phase(2.0, 0.0), Phase(1.0, 1.0)], SMALL, TAKES)

    assert sizes(outcome) == [(1.0, 1), (2.0, 2), (3.0, 1), (5.0, 1)]


def test_batches_of_one_do_not_wait() -> None:
    """As in the real backend, which has no timer then."""
    outcome = simulate([Phase(1.0, 2.0)], SMALL._replace(batch_max_size=1, batch_throttle_enable=False), TAKES)

    assert sizes(outcome) == [(0.5, 1), (1.0, 1)]


def test_the_throttle_fills_the_buffer_and_the_buffer_drops() -> None:
    """One token, then one a second: 100 events a second leave 5 at once, 5 in hand, 10 buffered, and drop the rest."""
    outcome = simulate([Phase(1.0, 100.0)], SMALL, TAKES)

    assert (outcome.offered, outcome.most_buffered) == (100, 10)
    assert outcome.dropped == 100 - 5 - 5 - 10
    assert sizes(outcome) == [(0.05, 5), (1.05, 5), (2.05, 5), (3.05, 5)]


def test_the_burst_is_for_what_was_not_used() -> None:
    """Tokens gather up to the burst, not above."""
    backend = SMALL._replace(batch_throttle_burst=3)

    outcome = simulate([Phase(60.0, 0.0), Phase(0.1, 300.0)], backend, TAKES)

    assert [sent for sent, _ in sizes(outcome)] == [60.02, 60.04, 60.05, 61.02, 62.02, 63.02]


def test_a_slow_receiver_does_not_fill_the_buffer() -> None:
    """Each batch is sent by itself, so nothing waits for another's answer."""
    backend = SMALL._replace(batch_throttle_enable=False)

    outcome = simulate([Phase(20.0, 100.0)], backend, [Receiver(0.0, latency=10.0)])

    assert (outcome.dropped, outcome.lost, outcome.most_buffered) == (0, 0, 0)
    assert outcome.most_in_flight == pytest.approx(1000, abs=5)
    assert outcome.slowest == pytest.approx(10.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_last_attempt_comes_after_the_four_pauses(seed: int) -> None:
    """10, 15, 22.5 and 33.75 s, each up to a fifth longer: 81.25 s at least, and 97.5 at most."""
    receivers = [Receiver(0.0, Kind.FAILS, 0.0)]

    [batch] = simulate([Phase(1.0, 10.0)], Backend(batch_max_size=10), receivers, seed).batches

    assert not batch.delivered
    assert 81.25 <= batch.done - batch.sent <= 97.5


@pytest.mark.parametrize(("until", "delivered"), [(82.2, True), (98.6, False)])
def test_an_outage_is_survived_up_to_the_pauses(until: float, *, delivered: bool) -> None:
    """From the batch's first attempt at 1 s on."""
    assert fate(Kind.FAILS, until).delivered is delivered


def test_retry_after_tries_eleven_times_an_attempt() -> None:
    """Ten pauses of a second within each of the five attempts make 50 s more than the pauses between them."""
    batch = fate(Kind.RETRY_AFTER, 1e9)

    assert not batch.delivered
    assert 81.25 + 50 <= batch.done - batch.sent <= 97.5 + 50


def test_retry_after_notices_a_receiver_within_a_second() -> None:
    """Without a pause between attempts."""
    assert fate(Kind.RETRY_AFTER, 5.5) == Batch(10, 1.0, 6.0, delivered=True)


def test_retry_after_stays_within_the_attempts_half_minute() -> None:
    """With answers after 4 s, six tries fit: the seventh would begin at 30 s."""
    batch = fate(Kind.RETRY_AFTER, 1e9, latency=4.0, initial_backoff=0.001)

    assert batch.done - batch.sent == pytest.approx(5 * 30.0, abs=0.1)


def test_a_pause_does_not_outlast_the_attempt() -> None:
    """With answers after 29.5 s, the second that the receiver asks for ends at 30 s."""
    batch = fate(Kind.RETRY_AFTER, 1e9, latency=29.5, initial_backoff=0.001)

    assert batch.done - batch.sent == pytest.approx(5 * 30.0, abs=0.1)


@pytest.mark.parametrize(("kind", "latency"), [(Kind.HANGS, 0.0), (Kind.TAKES, 31.0)])
def test_no_answer_in_half_a_minute_is_none(kind: Kind, latency: float) -> None:
    """The attempt fails then, and the next one is a pause later."""
    batch = fate(kind, 20.0, latency)

    assert batch.delivered
    assert 40.0 <= batch.done - batch.sent <= 42.0


def test_the_outcome_is_the_seeds() -> None:
    """The same for the same seed, another jitter for another."""
    outcomes = [simulate([Phase(1, 10)], SMALL, [Receiver(0.0, Kind.FAILS)], seed) for seed in (1, 1, 2)]

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
PHASES = st.lists(st.builds(Phase, st.floats(0.1, 1), st.floats(0, 1000)), min_size=1, max_size=2)
KINDS = st.sampled_from(list(Kind))


@PROPERTY
@given(PHASES, BACKENDS, KINDS, st.floats(0, 3))
def test_every_event_has_one_fate(phases: list[Phase], backend: Backend, kind: Kind, end: float) -> None:
    """Delivered, dropped or lost; no batch is over its size, and the buffer never over its own."""
    outcome = simulate(phases, backend, [Receiver(0.0, kind), Receiver(end)])

    assert outcome.offered == outcome.delivered + outcome.dropped + outcome.lost
    assert all(0 < batch.events <= backend.batch_max_size for batch in outcome.batches)
    assert outcome.most_buffered <= backend.batch_buffer_size


@PROPERTY
@given(PHASES, BACKENDS)
def test_the_throttle_is_kept(phases: list[Phase], backend: Backend) -> None:
    """No more batches leave in a time than the burst and the rate allow."""
    backend = backend._replace(batch_throttle_enable=True)

    times = [batch.sent for batch in simulate(phases, backend, TAKES).batches]

    for number, sent in enumerate(times):
        later = backend.batch_throttle_burst + (sent - times[0]) * backend.batch_throttle_qps
        assert number + 1 <= later + 1e-6


@PROPERTY
@given(PHASES, BACKENDS)
def test_without_a_throttle_nothing_is_dropped(phases: list[Phase], backend: Backend) -> None:
    """However small the buffer."""
    outcome = simulate(phases, backend._replace(batch_throttle_enable=False), TAKES)

    assert (outcome.dropped, outcome.lost) == (0, 0)
