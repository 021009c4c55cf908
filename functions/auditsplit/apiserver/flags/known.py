"""kube-apiserver's audit flags: their types and defaults, as in Kubernetes v1.37.

A test compares the names and types with the help of that kube-apiserver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from auditsplit.apiserver.flags.simulation import Backend

_DURATION = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}

_BATCH = {
    "batch-buffer-size": "int",
    "batch-max-size": "int",
    "batch-max-wait": "duration",
    "batch-throttle-burst": "int",
    "batch-throttle-enable": "bool",
    "batch-throttle-qps": "float32",
    "mode": "string",
    "truncate-enabled": "bool",
    "truncate-max-batch-size": "int",
    "truncate-max-event-size": "int",
    "version": "string",
}
TYPES: Mapping[str, str] = {
    "audit-policy-file": "string",
    **{f"audit-{backend}-{name}": kind for backend in ("log", "webhook") for name, kind in _BATCH.items()},
    "audit-log-compress": "bool",
    "audit-log-format": "string",
    "audit-log-maxage": "int",
    "audit-log-maxbackup": "int",
    "audit-log-maxsize": "int",
    "audit-log-path": "string",
    "audit-webhook-config-file": "string",
    "audit-webhook-initial-backoff": "duration",
}
"""The type of each flag, as kube-apiserver's help names it."""

MODES = ("batch", "blocking", "blocking-strict")
DEFAULTS: Mapping[str, str] = {
    "audit-webhook-mode": "batch",
    "audit-webhook-batch-max-size": str(Backend().batch_max_size),
    "audit-webhook-batch-throttle-enable": "true",
    "audit-webhook-truncate-enabled": "false",
    "audit-webhook-truncate-max-event-size": "102400",
    "audit-webhook-truncate-max-batch-size": "10485760",
    "audit-webhook-version": "audit.k8s.io/v1",
}


def seconds(text: str) -> float:
    """Return a duration in Go's format, such as ``1m30s``, in seconds.

    Raises:
        ValueError: The text is not a duration. Every number except 0 needs a unit.
    """
    if text in ("0", "+0", "-0"):
        return 0.0
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    total = 0.0
    if not rest:
        raise ValueError("a duration is missing")
    while rest:
        match = _DURATION.match(rest)
        if not match or rest[0] in "+-":
            raise ValueError(f"{text!r} has no unit")
        total += float(match[1]) * _UNIT_S[match[2]]
        rest = rest[match.end() :]
    return sign * total


def boolean(text: str) -> bool:
    """Return the truth that Go reads from ``text``.

    Raises:
        ValueError: The text is not a boolean.
    """
    lowered = text.lower()
    if lowered not in _BOOLEANS or text not in (lowered, lowered.upper(), lowered.capitalize()):
        raise ValueError(f"{text!r} is not a boolean")
    return _BOOLEANS[lowered]


READ: Mapping[str, tuple[Callable[[str], object], str]] = {
    "int": (int, "Write a whole number"),
    "float32": (float, "Write a number"),
    "bool": (boolean, "Write true or false"),
    "duration": (seconds, "Write a unit too: 5s, 500ms or 1m"),
    "string": (str, ""),
}
"""By type: the function that reads a value, and what to write instead of a value that it refuses."""
