"""Admission: how many large bodies are worked on at a time.

Memory and CPU time of a request grow with its body. kube-apiserver's usual bodies have less than 1 MB, but users can
make bodies of 30 MB: ten patches of 3 MB each. A few of them at once must not keep the usual ones waiting.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from auditsplit.deadline import Deadline
from auditsplit.errors import Busy

LARGE_BYTES = 4 * 1024 * 1024
"""A body of more bytes than this is large."""

MAX_LARGE = 2
"""The most large bodies in a process at a time. One of 30 MB takes up to some 150 MB of memory."""

MAX_WAIT_S = 10.0
"""For how long a large body waits for its turn. Longer would leave too little of kube-apiserver's 30 s for the work."""


class Turns:
    """The turns of a process for large bodies."""

    def __init__(self, most: int = MAX_LARGE) -> None:
        """Allow ``most`` large bodies at a time."""
        self._free = threading.BoundedSemaphore(most)

    def turn(self, deadline: Deadline) -> Turn:
        """Return the turn of a request. It is taken with the first size that is large."""
        return Turn(self._free, deadline)


class Turn:
    """A context. It ends a turn that was taken within it."""

    def __init__(self, free: threading.BoundedSemaphore, deadline: Deadline) -> None:
        """Keep both."""
        self._free, self._deadline = free, deadline
        self._is_taken = False

    def expect(self, size_bytes: int) -> None:
        """Wait for the turn if a body of ``size_bytes`` is large. Raises `Busy` if it does not come in time."""
        if self._is_taken or size_bytes <= LARGE_BYTES:
            return
        self._is_taken = self._free.acquire(timeout=self._deadline.within(MAX_WAIT_S).left_s())
        if not self._is_taken:
            raise Busy(f"other bodies of more than {LARGE_BYTES} bytes are being worked on. Send it again")

    def __enter__(self) -> Self:
        """Return the turn, which is not taken yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the turn."""
        if self._is_taken:
            self._is_taken = False
            self._free.release()
