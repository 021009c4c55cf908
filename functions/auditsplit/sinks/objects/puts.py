"""The puts of one batch: the deadline that they share, the first failure among them, and the bytes that they sent."""

from __future__ import annotations

import random
import threading

from auditsplit.deadline import Deadline
from auditsplit.sinks.failures import SinkFailure
from auditsplit.sinks.objects.answers import ends_batch

_random = random.SystemRandom()  # which forked workers do not share


class PutGroup:
    """What the puts of one batch have in common. Any number of threads may use it."""

    def __init__(self, deadline: Deadline) -> None:
        """Start the group, which is over at the deadline or once `stop` is called."""
        self.deadline = deadline
        self.error: SinkFailure | None = None
        self.size_bytes = 0
        """What all puts sent, from whichever thread, in bytes. After `stop` it stays as it is."""
        self._stopped = threading.Event()
        self._counting = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether no put may begin any more."""
        return self._stopped.is_set() or not self.deadline.left_s()

    def begin(self, size_bytes: int) -> bool:
        """Count a put of ``size_bytes`` that is sent now, and return True.

        Return False if the group is over. The put must not be sent then.
        """
        with self._counting:
            if self.is_over:
                return False
            self.size_bytes += size_bytes
            return True

    def stop(self) -> None:
        """End the group: a put that has not begun does not begin."""
        with self._counting:
            self._stopped.set()

    def fail(self, error: SinkFailure) -> None:
        """Note a failure. A failure that all other puts would meet too ends the group."""
        self.error = self.error or error
        if ends_batch(error.failure):
            self.stop()

    def pause(self, longest_s: float) -> bool:
        """Wait for a random time of at most ``longest_s``, so that many puts are not retried at once.

        Return False if the group is over then.
        """
        self._stopped.wait(min(self.deadline.left_s(), _random.uniform(0, longest_s)))
        return not self.is_over
