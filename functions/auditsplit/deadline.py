"""Deadline: until when a request may take, as a value that is passed on.

kube-apiserver waits 30 s for an answer, and a platform may end a function sooner. The entry point makes the deadline,
and every function that waits for something takes it as an argument.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

REQUEST_S = 25.0
"""For a whole request, where the platform doesn't give less: kube-apiserver's 30 s, less the way there and back."""


def _never() -> bool:
    return False


class Deadline(NamedTuple):
    """Until when an answer is needed: a moment of ``time.monotonic()``, or until the sender has left."""

    ends: float
    sender_left: Callable[[], bool] = _never
    """Returns whether the sender has closed the connection, so that nobody waits for the answer."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is ``seconds`` away."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> Deadline:
        """Return the sooner of this deadline and the one that is ``seconds`` away."""
        return self._replace(ends=min(self.ends, time.monotonic() + seconds))

    def left_s(self) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self.ends - time.monotonic())
