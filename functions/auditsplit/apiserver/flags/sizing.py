"""The audit webhook flags for a load: sizes, rates and waits, with the arithmetic behind each.

Two sizings. ``documented`` is the arithmetic of Kubernetes' auditing page (*Parameter tuning*), which is the least that
can work: 200 events a second in batches of 100 are 2 batches a second, and 5 seconds of a slow receiver are 1,000
events to buffer. ``recommended`` adds what v1.37's code makes useful, see `recommended`.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from auditsplit.apiserver.flags.platforms import MIB, Platform
from auditsplit.apiserver.flags.simulation import ATTEMPTS, FACTOR, Backend
from auditsplit.errors import SettingsError

Sizing = Literal["recommended", "documented"]

DEFAULTS = Backend()
KIB = 1024
LIST_HEAD = 128
"""Bytes of an EventList around its items; with kind, apiVersion and an empty metadata they are 81."""
MAX_EVENT_BYTES = 10 * MIB
"""``truncate-max-batch-size``: the apiserver doesn't start with a ``truncate-max-event-size`` above it."""
OBJECT_BYTES = 2 * KIB
"""What an event takes of the apiserver's heap beside its text; 1.5 kB are measured with small ones."""
PAUSES = sum(FACTOR**number for number in range(ATTEMPTS - 1))
"""Pauses between a batch's attempts, in initial backoffs, without jitter: 1 + 1.5 + 2.25 + 3.375."""


class Load(NamedTuple):
    """What one apiserver sends and what its receiver is like: events a second, bytes, seconds."""

    rate: float
    peak: float
    event_bytes: int
    latency: float
    outage: float
    memory_bytes: int
    """What the apiserver may use for events that wait for an absent receiver."""


class Chosen(NamedTuple):
    """What the caller wants rather than the arithmetic's result; None where it is to decide."""

    batch_max_size: int | None = None
    batch_max_wait: float | None = None
    buffer_size: int | None = None
    max_event_bytes: int | None = None
    initial_backoff: float | None = None


class Flags(NamedTuple):
    """The flags' values, and the reason of each: lines for a person, in the order of the flags."""

    backend: Backend
    max_event_bytes: int
    list_bytes: int
    reasons: tuple[str, ...]

    def values(self) -> dict[str, str]:
        """Return the webhook's flags by name, without the leading ``--``."""
        backend = self.backend
        return {
            "audit-webhook-mode": "batch",
            "audit-webhook-batch-max-size": str(backend.batch_max_size),
            "audit-webhook-batch-max-wait": duration(backend.batch_max_wait),
            "audit-webhook-batch-buffer-size": str(backend.batch_buffer_size),
            "audit-webhook-batch-throttle-enable": "true",
            "audit-webhook-batch-throttle-qps": f"{backend.batch_throttle_qps:.3f}".rstrip("0").rstrip("."),
            "audit-webhook-batch-throttle-burst": str(backend.batch_throttle_burst),
            "audit-webhook-truncate-enabled": "true",
            "audit-webhook-truncate-max-event-size": str(self.max_event_bytes),
            "audit-webhook-initial-backoff": duration(backend.initial_backoff),
        }


def duration(seconds: float) -> str:
    """Return ``seconds`` as Go reads a duration: ``30s``, ``1500ms``."""
    return f"{round(seconds)}s" if seconds == round(seconds) else f"{round(seconds * 1000)}ms"


def survived(initial_backoff: float) -> float:
    """Return the seconds between a batch's first and last attempt where each fails at once and no jitter helps."""
    return initial_backoff * PAUSES


def flags_for(load: Load, platform: Platform, max_body: int, sizing: Sizing, chosen: Chosen) -> Flags:
    """Return the flags for ``load``; `SettingsError` says what can't be had, and what to change."""
    list_bytes = platform.list_bytes(max_body)
    event_bytes = _event_bytes(load, platform, list_bytes, chosen)
    batch = _batch(platform, list_bytes, event_bytes, chosen)
    wait = DEFAULTS.batch_max_wait if chosen.batch_max_wait is None else chosen.batch_max_wait
    qps, burst, throttle_reason = _throttle(load, batch, sizing)
    buffer, buffer_reason = _buffer(load, sizing, chosen)
    backoff, backoff_reason = _backoff(load, chosen)
    filled = batch / load.rate
    reasons = (
        *_size_reasons(load, platform, list_bytes, event_bytes, batch),
        f"batch-max-wait: an event waits {min(filled, wait):.3g} s at most ({batch} events come in {filled:.3g} s)",
        buffer_reason,
        throttle_reason,
        backoff_reason,
    )
    backend = Backend(buffer, batch, wait, True, qps, burst, backoff)  # noqa: FBT003
    return Flags(backend, event_bytes, list_bytes, reasons)


def _event_bytes(load: Load, platform: Platform, list_bytes: int, chosen: Chosen) -> int:
    """Return the size over which an event loses its bodies: 16 times the usual one, within reason."""
    largest = min(list_bytes - LIST_HEAD, MAX_EVENT_BYTES)
    if load.event_bytes > largest:
        raise SettingsError(
            f"--event-size: events of {load.event_bytes:,} bytes don't fit: {platform.title} takes lists of"
            f" {list_bytes:,} bytes ({platform.source}). Record fewer bodies (level Metadata, or Request for"
            " RequestResponse, in the policy), or choose another --platform or a larger --max-body"
        )
    usual = max(16 * KIB, min(16 * load.event_bytes, 100 * KIB), 4 * load.event_bytes)
    event_bytes = chosen.max_event_bytes or min(-(-usual // KIB) * KIB, largest)
    if event_bytes > largest:
        raise SettingsError(f"--max-event-size: {event_bytes:,} is over the {largest:,} bytes that fit; write less")
    if event_bytes < load.event_bytes:
        raise SettingsError(
            f"--max-event-size: {event_bytes:,} is less than the usual event's {load.event_bytes:,} bytes: most events"
            " would lose their bodies. Write more, or record fewer bodies by the policy"
        )
    return event_bytes


def _batch(platform: Platform, list_bytes: int, event_bytes: int, chosen: Chosen) -> int:
    """Return how many events of ``event_bytes`` may be in a list, the apiserver's own number at most."""
    room = list_bytes - LIST_HEAD
    fitting = room // event_bytes
    batch = chosen.batch_max_size or min(DEFAULTS.batch_max_size, fitting)
    if batch > fitting:
        raise SettingsError(
            f"--batch-max-size: {batch} events of up to {event_bytes:,} bytes are {batch * event_bytes:,}, and"
            f" {platform.title} takes {list_bytes:,}; write at most {fitting}, or --max-event-size {room // batch}"
        )
    return batch


def _size_reasons(load: Load, platform: Platform, list_bytes: int, event_bytes: int, batch: int) -> tuple[str, ...]:
    escaped = f", where a byte of it may become {platform.growth}" if platform.escapes else ""
    return (
        f"limit: {platform.source}{escaped}; so a list may have {list_bytes:,} bytes",
        (
            f"batch-max-size x truncate-max-event-size: {batch} x {event_bytes:,} = {batch * event_bytes:,} bytes at"
            f" most; {batch} x {load.event_bytes:,} = {batch * load.event_bytes:,} usually"
            " (truncate-max-batch-size does nothing in batch mode)"
        ),
        (
            f"truncate-max-event-size: {event_bytes / load.event_bytes:.3g} times the usual event; a larger one loses"
            ' its bodies and is marked, one that is larger still is dropped (plugin="truncate")'
        ),
    )


def _throttle(load: Load, batch: int, sizing: Sizing) -> tuple[float, int, str]:
    """Return batches a second, the burst (one and a half seconds' worth, as the apiserver's own), and why.

    Only the throttle makes the buffer fill up, so recommended is never less than the apiserver's own default.
    """
    mean, peak = load.rate / batch, load.peak / batch
    least = f"throttle-qps: {load.rate:g} events/s / {batch} a batch = {mean:.4g} a second"
    if sizing == "documented":
        qps = math.ceil(mean * 1000) / 1000
    else:
        qps = max(DEFAULTS.batch_throttle_qps, math.ceil(peak))
        least += f", {peak:.4g} at the peak; not below the apiserver's own {DEFAULTS.batch_throttle_qps:g}"
    burst = math.ceil(qps * 1.5)
    return (
        qps,
        burst,
        (
            f"{least}. {qps:g} a second pass {qps * batch:g} events/s; the receiver may get {burst} batches at once,"
            f" and have {math.ceil(burst + qps * load.latency)} open"
        ),
    )


def _buffer(load: Load, sizing: Sizing, chosen: Chosen) -> tuple[int, str]:
    """Return the events to buffer, and why."""
    rate = load.rate if sizing == "documented" else load.peak
    needed = math.ceil(rate * load.latency)
    least = 1 if sizing == "documented" else DEFAULTS.batch_buffer_size
    size = chosen.buffer_size or max(needed, least)
    used = size * (load.event_bytes + OBJECT_BYTES) / MIB
    return size, (
        f"batch-buffer-size: {load.latency:g} s of a slow receiver x {rate:g} events/s = {needed:,}"
        + (f", not below the apiserver's own {least:,}" if size == least > needed else "")
        + f". Full, it takes some {used:,.0f} MiB of the apiserver's memory"
    )


def _backoff(load: Load, chosen: Chosen) -> tuple[float, str]:
    """Return the first pause, long enough that the last attempt comes after the outage, and why."""
    needed = math.ceil(1.1 * load.outage / PAUSES)
    backoff = chosen.initial_backoff or max(DEFAULTS.initial_backoff, needed)
    held = math.ceil(load.rate * (load.outage + load.latency))
    used = held * (2 * load.event_bytes + OBJECT_BYTES)  # twice: as an object, and in the body of an open request
    if used > load.memory_bytes:
        raise SettingsError(
            f"--outage: {load.outage:g} s at {load.rate:g} events/s leave {held:,} events, some {used // MIB:,} MiB, in"
            f" the apiserver's memory, and it may have {load.memory_bytes // MIB:,}. Write a shorter --outage or a"
            " larger --memory; for what is longer, keep the audit log too (--log-path), and split it afterwards"
        )
    return backoff, (
        f"initial-backoff: {backoff:g} s x (1 + 1.5 + 2.25 + 3.375) = {survived(backoff):.4g} s from a batch's first to"
        f" its last attempt. A receiver away for {load.outage:g} s leaves up to {held:,} events, some {used // MIB:,}"
        " MiB, in the apiserver's memory, beside the buffer"
    )
