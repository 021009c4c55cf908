"""Counting requests: a counter that fails changes no answer."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Protocol

from auditsplit.telemetry.figures import Figures

_log = logging.getLogger(__name__)


class Metrics(Protocol):
    """What counts requests; the module `auditsplit.telemetry.metrics` has these members."""

    CONTENT_TYPE: str

    def count(self, figures: Figures, status: int, clusters: Collection[str], /) -> None:
        """Count one answered request."""

    def text(self) -> bytes:
        """Return the metrics, of `CONTENT_TYPE`."""


class Counting:
    """Counts by ``metrics``, if there are any, until they fail for the first time."""

    def __init__(self, metrics: Metrics | None, clusters: Collection[str]) -> None:
        """Keep the metrics, and the ``clusters`` that may be labels."""
        self.metrics = metrics
        self._clusters = clusters
        self._failed = False

    def count(self, figures: Figures, status: int) -> None:
        """Count an answered request. An error is logged once, and this process stops counting."""
        if self.metrics is None or self._failed:
            return
        try:
            self.metrics.count(figures, status, self._clusters)
        except Exception:  # noqa: BLE001 - whatever it is, the batch is stored
            self._failed = True
            _log.exception(
                "this process counts nothing more for /metrics until it is restarted. Events are stored as before. "
                "If the disk is full, make room in the folder that TMPDIR names"
            )
