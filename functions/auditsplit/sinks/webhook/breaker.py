"""A circuit breaker: a downstream that does not answer is left alone for a time, so that it delays no batch."""

from __future__ import annotations

import threading
import time

_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Breaker:
    """Counts failures. After each of them nothing is tried for a pause, which grows to 30 s. Then one request tries."""

    def __init__(self) -> None:
        """Start closed: requests are tried."""
        self._failures = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def pause_s(self) -> float:
        """Return the seconds for which nothing is tried. 0 means that the caller tries now, and reports the outcome."""
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return self._until - now
            if self._failures:  # the others wait for this trial
                self._begin_pause(now)
            return 0.0

    def failed(self) -> None:
        """Begin a pause."""
        with self._lock:
            self._failures += 1
            self._begin_pause(time.monotonic())

    def succeeded(self) -> None:
        """Try every request again."""
        with self._lock:
            self._failures, self._until = 0, 0.0

    def _begin_pause(self, now: float) -> None:
        self._until = now + _PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1]
