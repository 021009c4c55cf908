"""What will be lost when: the simulated fate of a load, in the cases that an operator asks about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from auditsplit.apiserver.flags.simulation import Backend, Kind, Outcome, Phase, Receiver, simulate
from auditsplit.apiserver.flags.sizing import Load, duration, survived

_CALM_S = 30.0
_PEAK_S = 60.0
_SPIKE = 10
_SPIKE_S = 10.0
_SLOW_S = 60.0


class Case(NamedTuple):
    """A load and a receiver, and what a person calls them."""

    title: str
    phases: Sequence[Phase]
    receivers: Sequence[Receiver]


def cases(load: Load, backend: Backend) -> list[Case]:
    """Return the cases for ``load``: steady, peak, spike, and a receiver that is slow, away or fails in three ways."""
    steady = [Phase(120.0, load.rate)]
    slow = Receiver(0.0, latency=load.latency)
    too_long = math.ceil(survived(backend.initial_backoff) * 1.5)
    away = [
        Case(f"{title} for {duration(seconds)}", [Phase(seconds + 2 * _CALM_S, load.rate)], _gone(kind, seconds))
        for kind, title, seconds in (
            (Kind.FAILS, "receiver away (refused at once, or 5xx)", load.outage),
            (Kind.RETRY_AFTER, "store down (503, Retry-After: 1)", load.outage),
            (Kind.HANGS, "receiver hangs (no answer in 30 s)", load.outage),
            (Kind.FAILS, "receiver away", too_long),
        )
        if seconds
    ]
    return [
        Case(f"steady, answers in {load.latency:g} s", steady, [slow]),
        Case(f"the peak, {load.peak:g} events/s, for {duration(_PEAK_S)}", [Phase(_PEAK_S, load.peak)], [slow]),
        Case(
            f"{_SPIKE} times the rate, {load.rate * _SPIKE:g} events/s, for {duration(_SPIKE_S)}",
            [Phase(_CALM_S, load.rate), Phase(_SPIKE_S, load.rate * _SPIKE), Phase(_CALM_S, load.rate)],
            [slow],
        ),
        Case(f"every answer takes {duration(_SLOW_S)}", steady, [Receiver(0.0, latency=_SLOW_S)]),
        *away,
    ]


def _gone(kind: Kind, seconds: float) -> list[Receiver]:
    return [Receiver(0.0), Receiver(_CALM_S, kind, latency=0.0), Receiver(_CALM_S + seconds)]


def lines(load: Load, backend: Backend, seed: int = 0) -> list[str]:
    """Return a line for each case: what is lost, by which of the apiserver's counters, or how late the last came."""
    return [
        f"{case.title}: {said(simulate(case.phases, backend, case.receivers, seed))}" for case in cases(load, backend)
    ]


def said(outcome: Outcome) -> str:
    """Return what became of a load, in words."""
    if not outcome.dropped and not outcome.lost:
        late = f", the last {outcome.slowest:.0f} s late" if outcome.slowest >= 1 else ""
        return f"nothing lost{late}; up to {outcome.most_in_flight:,} events under way"
    losses = [
        f"{count:,} ({count / outcome.offered:.1%}) {how}"
        for count, how in (
            (outcome.dropped, 'for a full buffer (plugin="buffered")'),
            (outcome.lost, 'after five attempts (plugin="webhook")'),
        )
        if count
    ]
    return f"LOST {' and '.join(losses)} of {outcome.offered:,} events"
