"""The environment of the programs that tests start."""

from __future__ import annotations

import os

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Set by `auditsplit.telemetry.metrics`. A server that inherited it would share the tests' own folder and remove it."""


def plain_environment(*without: str) -> dict[str, str]:
    """Return this process's environment without auditsplit's settings, and without variables that begin as named."""
    left_out = ("AUDIT_", METRICS_FOLDER, *without)
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
