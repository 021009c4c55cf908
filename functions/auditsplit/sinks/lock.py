"""A lock among the threads and the processes that write to one sink."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from auditsplit.deadline import Deadline

TIMEOUT_S = 10.0
"""How long a batch waits for the lock at most."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.02


class SinkLock:
    """The lock that the file ``path`` stands for; held by one thread of one process at a time.

    The file is opened anew each time: a descriptor inherited by gunicorn's forks would lock nothing among them.
    """

    def __init__(self, path: Path) -> None:
        """Name the lock; nothing is opened yet."""
        self.path = path
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def hold(self, deadline: Deadline) -> Iterator[int]:
        """Hold the lock, and give its open file.

        Raises:
            TimeoutError: the lock was not free by the ``deadline``.
            OSError: the disk failed.
        """
        timeout_s = deadline.left_s()
        if not self._mutex.acquire(timeout=timeout_s):
            raise TimeoutError(f"{self.path} was not free within {timeout_s:.2g} s")
        try:
            lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self._wait(lock, deadline, timeout_s)
                yield lock
            finally:
                os.close(lock)
        finally:
            self._mutex.release()

    def _wait(self, lock: int, deadline: Deadline, timeout_s: float) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not deadline.left_s():
                    raise TimeoutError(f"{self.path} was not free within {timeout_s:.2g} s") from None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
