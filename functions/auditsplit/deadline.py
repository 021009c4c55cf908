"""Deadline: until when a request may take, as a value that is passed on.

kube-apiserver waits 30 s for an answer, and a platform may end a function sooner. The entry point makes the deadline,
and every function that waits for something takes it as an argument.
"""

from __future__ import annotations

import time
from typing import NamedTuple

REQUEST_S = 25.0
"""For a whole request, where the platform doesn't give less: kube-apiserver's 30 s, less the way there and back."""


class Deadline(NamedTuple):
    """A moment of ``time.monotonic()``."""

    ends: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is ``seconds`` away."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> Deadline:
        """Return the sooner of this deadline and the one that is ``seconds`` away."""
        return Deadline(min(self.ends, time.monotonic() + seconds))

    def left_s(self) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self.ends - time.monotonic())
