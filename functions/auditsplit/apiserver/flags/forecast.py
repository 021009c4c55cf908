"""How many events are lost in the cases that an operator asks about: a peak, a spike, an outage, slow answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from auditsplit.apiserver.flags.simulation import (
    Backend,
    Behaviour,
    LoadPeriod,
    Outcome,
    ReceiverPeriod,
    simulate,
)
from auditsplit.apiserver.flags.sizing import Load, duration, survived

_CALM_S = 30.0
_PEAK_S = 60.0
_SPIKE = 10
_SPIKE_S = 10.0
_SLOW_S = 60.0


class Case(NamedTuple):
    """A load, the receiver's behaviour meanwhile, and a title for a person."""

    title: str
    load: Sequence[LoadPeriod]
    receiver: Sequence[ReceiverPeriod]


def cases(load: Load, backend: Backend) -> list[Case]:
    """Return the cases for ``load``: steady, peak, spike, slow answers, and outages of three behaviours."""
    steady = [LoadPeriod(120.0, load.rate)]
    slow = ReceiverPeriod(0.0, latency_s=load.latency)
    too_long = math.ceil(survived(backend.initial_backoff) * 1.5)
    outages = [
        Case(
            f"{title} for {duration(seconds)}",
            [LoadPeriod(seconds + 2 * _CALM_S, load.rate)],
            _outage(behaviour, seconds),
        )
        for behaviour, title, seconds in (
            (Behaviour.FAILS, "receiver down (connection refused, or 5xx)", load.outage),
            (Behaviour.RETRY_AFTER, "sink down (503, Retry-After: 1)", load.outage),
            (Behaviour.HANGS, "receiver hangs (no answer in 30 s)", load.outage),
            (Behaviour.FAILS, "receiver down", too_long),
        )
        if seconds
    ]
    return [
        Case(f"steady, answers in {load.latency:g} s", steady, [slow]),
        Case(f"the peak, {load.peak:g} events/s, for {duration(_PEAK_S)}", [LoadPeriod(_PEAK_S, load.peak)], [slow]),
        Case(
            f"{_SPIKE} times the rate, {load.rate * _SPIKE:g} events/s, for {duration(_SPIKE_S)}",
            [LoadPeriod(_CALM_S, load.rate), LoadPeriod(_SPIKE_S, load.rate * _SPIKE), LoadPeriod(_CALM_S, load.rate)],
            [slow],
        ),
        Case(f"every answer takes {duration(_SLOW_S)}", steady, [ReceiverPeriod(0.0, latency_s=_SLOW_S)]),
        *outages,
    ]


def _outage(behaviour: Behaviour, seconds: float) -> list[ReceiverPeriod]:
    return [ReceiverPeriod(0.0), ReceiverPeriod(_CALM_S, behaviour, latency_s=0.0), ReceiverPeriod(_CALM_S + seconds)]


def lines(load: Load, backend: Backend, seed: int = 0) -> list[str]:
    """Return a line for each case: the events lost, by the apiserver's counters, or how late the last one arrives."""
    return [
        f"{case.title}: {summary(simulate(case.load, backend, case.receiver, seed))}" for case in cases(load, backend)
    ]


def summary(outcome: Outcome) -> str:
    """Return the events lost, or how late the last one arrives, in words."""
    if not outcome.dropped and not outcome.lost:
        late = f", the last {outcome.slowest_s:.0f} s late" if outcome.slowest_s >= 1 else ""
        return f"nothing lost{late}, up to {outcome.most_in_flight:,} events in flight"
    losses = [
        f"{count:,} ({count / outcome.offered:.1%}) {reason}"
        for count, reason in (
            (outcome.dropped, 'because the buffer was full (plugin="buffered")'),
            (outcome.lost, 'after five attempts (plugin="webhook")'),
        )
        if count
    ]
    return f"LOST {' and '.join(losses)} of {outcome.offered:,} events"
