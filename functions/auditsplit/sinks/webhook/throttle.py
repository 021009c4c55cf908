"""A token bucket, as ``k8s.io/client-go/util/flowcontrol`` has it: it bounds the requests of one process."""

from __future__ import annotations

import threading
import time

from auditsplit.deadline import Deadline


class Throttle:
    """Lets ``qps`` requests a second through, and ``burst`` at once after a pause. 0 is no limit."""

    def __init__(self, qps: float, burst: int) -> None:
        """Start with a full bucket."""
        self._qps, self._burst = qps, burst
        self._tokens = float(burst)
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def accept(self, deadline: Deadline) -> bool:
        """Return True once a request may begin. Return False at once if that would be after the deadline."""
        if not self._qps:
            return True
        with self._lock:
            now = time.monotonic()
            tokens = min(float(self._burst), self._tokens + (now - self._at) * self._qps) - 1
            wait_s = max(0.0, -tokens / self._qps)
            if wait_s > deadline.left_s():
                return False
            self._tokens, self._at = tokens, now
        time.sleep(wait_s)
        return True
