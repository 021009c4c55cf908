"""How long a request may still take: one deadline for all its stores, carried along as trio's or Go's context does.

The apiserver waits 30 s for an answer; a platform may end a function sooner. Whoever takes a request sets the time
with `within`; whoever waits for something asks `left_s`, in the thread that the request came in.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

REQUEST_S = 25.0
"""For a whole request, where the platform doesn't give less: the apiserver's 30 s, less the way there and back."""

_ends: ContextVar[float] = ContextVar("auditsplit-deadline")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let what happens inside take up to ``seconds``, or less where a deadline around it is sooner."""
    token = _ends.set(time.monotonic() + left_s(seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def left_s(most: float) -> float:
    """Return the seconds that are left, 0 or more, and at most ``most``; that where there is no deadline."""
    ends = _ends.get(None)
    return most if ends is None else max(0.0, min(most, ends - time.monotonic()))
