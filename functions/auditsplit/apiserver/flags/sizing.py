"""The audit webhook flags for a load: sizes, rates and waits, with the arithmetic behind each.

There are two sizings. ``documented`` is the arithmetic of Kubernetes' auditing page (*Parameter tuning*), the smallest
values that can work: 200 events a second in batches of 100 are 2 batches a second, and 5 seconds of a slow receiver are
1,000 events to buffer. ``recommended`` sizes for the peak, and goes nowhere below v1.37's own defaults.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, MIB, PLATFORMS, Platform
from auditsplit.apiserver.flags.simulation import ATTEMPTS, FACTOR, Backend
from auditsplit.errors import SettingsError

Sizing = Literal["recommended", "documented"]

DEFAULTS = Backend()
KIB = 1024
LIST_HEAD = 128
"""Bytes of an EventList around its items. With kind, apiVersion and an empty metadata they are 81."""
MAX_EVENT_BYTES = 10 * MIB
"""``truncate-max-batch-size``. The apiserver does not start if ``truncate-max-event-size`` is larger."""
OBJECT_BYTES = 2 * KIB
"""Bytes of the apiserver's heap for an event, apart from its text. With small events 1.5 kB were measured."""
PAUSES = sum(FACTOR**number for number in range(ATTEMPTS - 1))
"""The sum of the pauses between a batch's attempts, in initial backoffs, without jitter: 1 + 1.5 + 2.25 + 3.375."""


class Load(NamedTuple):
    """What one apiserver sends, and how its receiver behaves: events a second, bytes, seconds."""

    rate: float
    peak: float
    event_bytes: int
    latency: float
    outage: float
    memory_bytes: int
    """Memory that the apiserver may use for events that wait for an absent receiver."""


class Chosen(NamedTuple):
    """Values that the caller sets. None leaves a value to the arithmetic."""

    batch_max_size: int | None = None
    batch_max_wait: float | None = None
    buffer_size: int | None = None
    max_event_bytes: int | None = None
    initial_backoff: float | None = None


class Flags(NamedTuple):
    """The flags' values, and the reasons for them: lines for a person, in the order of the flags."""

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
    """Return ``seconds`` as a duration in Go's format: ``30s``, ``1500ms``."""
    return f"{round(seconds)}s" if seconds == round(seconds) else f"{round(seconds * 1000)}ms"


def survived(initial_backoff: float) -> float:
    """Return the seconds between a batch's first and last attempt if each fails at once, without jitter."""
    return initial_backoff * PAUSES


def flags_for(load: Load, platform: Platform, max_body: int, sizing: Sizing, chosen: Chosen) -> Flags:
    """Return the flags for ``load``.

    Args:
        load: The apiserver's load.
        platform: The platform that the function runs on.
        max_body: The function's ``AUDIT_MAX_BODY_BYTES``.
        sizing: Which arithmetic to use.
        chosen: Values that are set rather than computed.

    Raises:
        SettingsError: The flags cannot satisfy the load or a chosen value. The message says what to change.
    """
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
        f"batch-max-wait: an event waits {min(filled, wait):.3g} s at most ({batch} events arrive in {filled:.3g} s)",
        buffer_reason,
        throttle_reason,
        backoff_reason,
    )
    backend = Backend(buffer, batch, wait, True, qps, burst, backoff)  # noqa: FBT003
    return Flags(backend, event_bytes, list_bytes, reasons)


def example(platform: str) -> Flags:
    """Return the flags for 200 events a second of 2 kB, the load of the docs' examples and of their costs."""
    load = Load(200.0, 400.0, 2000, 2.0, 60.0, 4096 * MIB)
    return flags_for(load, PLATFORMS[platform], DEFAULT_MAX_BODY_BYTES, "recommended", Chosen())


def _event_bytes(load: Load, platform: Platform, list_bytes: int, chosen: Chosen) -> int:
    """Return the size above which an event loses its bodies: 16 times the usual size, within bounds."""
    largest = min(list_bytes - LIST_HEAD, MAX_EVENT_BYTES)
    if load.event_bytes > largest:
        raise SettingsError(
            f"--event-size: events of {load.event_bytes:,} bytes do not fit. {platform.title} accepts lists of"
            f" {list_bytes:,} bytes ({platform.source}). Record fewer bodies (in the policy, use Metadata, or Request"
            " instead of RequestResponse), or choose another --platform or a larger --max-body"
        )
    usual = max(16 * KIB, min(16 * load.event_bytes, 100 * KIB), 4 * load.event_bytes)
    event_bytes = chosen.max_event_bytes or min(-(-usual // KIB) * KIB, largest)
    if event_bytes > largest:
        raise SettingsError(f"--max-event-size: must be at most {largest:,} bytes, not {event_bytes:,}")
    if event_bytes < load.event_bytes:
        raise SettingsError(
            f"--max-event-size: {event_bytes:,} is less than the usual event's {load.event_bytes:,} bytes, so most"
            " events would lose their bodies. Write a larger size, or a policy that records fewer bodies"
        )
    return event_bytes


def _batch(platform: Platform, list_bytes: int, event_bytes: int, chosen: Chosen) -> int:
    """Return how many events of ``event_bytes`` a list may have, at most the apiserver's own default."""
    room = list_bytes - LIST_HEAD
    fitting = room // event_bytes
    batch = chosen.batch_max_size or min(DEFAULTS.batch_max_size, fitting)
    if batch > fitting:
        raise SettingsError(
            f"--batch-max-size: {batch} events of up to {event_bytes:,} bytes are {batch * event_bytes:,} bytes, and"
            f" {platform.title} accepts {list_bytes:,}. Write at most {fitting}, or --max-event-size {room // batch}"
        )
    return batch


def _size_reasons(load: Load, platform: Platform, list_bytes: int, event_bytes: int, batch: int) -> tuple[str, ...]:
    escaped = f", in which a byte of it may become {platform.growth} bytes" if platform.escapes else ""
    return (
        f"limit: {platform.source}{escaped}. So a list may have {list_bytes:,} bytes",
        (
            f"batch-max-size x truncate-max-event-size: {batch} x {event_bytes:,} = {batch * event_bytes:,} bytes at"
            f" most, usually {batch} x {load.event_bytes:,} = {batch * load.event_bytes:,}"
            " (truncate-max-batch-size has no effect in batch mode)"
        ),
        (
            f"truncate-max-event-size: {event_bytes / load.event_bytes:.3g} times the usual event. A larger event"
            ' loses its bodies and is marked. If it is still too large, it is dropped (plugin="truncate")'
        ),
    )


def _throttle(load: Load, batch: int, sizing: Sizing) -> tuple[float, int, str]:
    """Return batches a second, the burst, and the reason.

    The burst is enough for one and a half seconds, like the apiserver's own. Only the throttle lets the buffer fill up,
    so the recommended rate is at least the apiserver's own default.
    """
    mean, peak = load.rate / batch, load.peak / batch
    least = f"throttle-qps: {load.rate:g} events/s / {batch} a batch = {mean:.4g} a second"
    if sizing == "documented":
        qps = math.ceil(mean * 1000) / 1000
    else:
        qps = max(DEFAULTS.batch_throttle_qps, math.ceil(peak))
        least += f", {peak:.4g} at the peak, and at least the apiserver's own {DEFAULTS.batch_throttle_qps:g}"
    burst = math.ceil(qps * 1.5)
    return (
        qps,
        burst,
        (
            f"{least}. {qps:g} a second are {qps * batch:g} events/s. The receiver may get {burst} batches at once,"
            f" and have {math.ceil(burst + qps * load.latency)} open requests"
        ),
    )


def _buffer(load: Load, sizing: Sizing, chosen: Chosen) -> tuple[int, str]:
    """Return the events to buffer, and the reason."""
    rate = load.rate if sizing == "documented" else load.peak
    needed = math.ceil(rate * load.latency)
    least = 1 if sizing == "documented" else DEFAULTS.batch_buffer_size
    size = chosen.buffer_size or max(needed, least)
    used = size * (load.event_bytes + OBJECT_BYTES) / MIB
    return size, (
        f"batch-buffer-size: {load.latency:g} s of a slow receiver x {rate:g} events/s = {needed:,}"
        + (f", and at least the apiserver's own {least:,}" if size == least > needed else "")
        + f". A full buffer uses some {used:,.0f} MiB of the apiserver's memory"
    )


def _backoff(load: Load, chosen: Chosen) -> tuple[float, str]:
    """Return the first pause, long enough that the last attempt follows the outage, and the reason."""
    needed = math.ceil(1.1 * load.outage / PAUSES)
    backoff = chosen.initial_backoff or max(DEFAULTS.initial_backoff, needed)
    waiting = math.ceil(load.rate * (load.outage + load.latency))
    # The text counts twice: it is in the object, and in the body of an open request.
    used = waiting * (2 * load.event_bytes + OBJECT_BYTES)
    if used > load.memory_bytes:
        raise SettingsError(
            f"--outage: {load.outage:g} s at {load.rate:g} events/s leave {waiting:,} events in the apiserver's"
            f" memory, some {used // MIB:,} MiB, and --memory allows {load.memory_bytes // MIB:,} MiB. Write a shorter"
            " --outage or a larger --memory. For a longer outage keep the audit log too (--log-path), and split it"
            " afterwards"
        )
    return backoff, (
        f"initial-backoff: {backoff:g} s x (1 + 1.5 + 2.25 + 3.375) = {survived(backoff):.4g} s from a batch's first to"
        f" its last attempt. A receiver that is down for {load.outage:g} s leaves up to {waiting:,} events in the"
        f" apiserver's memory, some {used // MIB:,} MiB beside the buffer"
    )
