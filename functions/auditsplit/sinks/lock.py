"""A lock among the threads and the processes that write to one sink."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from auditsplit.deadline import Deadline

TIMEOUT_S = 10.0
"""How long a batch waits for the lock at most."""

_UNLOCKABLE = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP}  # a folder on NFS, for example
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
    def hold(self, deadline: Deadline, beside: int | None = None) -> Iterator[int]:
        """Hold the lock, and give its open file.

        Args:
            deadline: until when to wait.
            beside: another open file that is locked too, if it can be: one that no clean-up job removes. Somebody may
                remove the lock's own file while it is held, and then the next writer would make and hold another.

        Raises:
            TimeoutError: the lock was not free by the ``deadline``.
            OSError: the disk failed.
        """
        timeout_s = deadline.left_s()
        if not self._mutex.acquire(timeout=timeout_s):
            raise self._late(timeout_s)
        try:
            lock = self._acquire(deadline, timeout_s)
            try:
                with self._held_beside(beside, deadline, timeout_s):
                    yield lock
            finally:
                os.close(lock)
        finally:
            self._mutex.release()

    def _acquire(self, deadline: Deadline, timeout_s: float) -> int:
        """Return the lock's file, open and locked, which still has the lock's name."""
        while True:
            lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self._wait(lock, deadline, timeout_s)
                if self._is_current(lock):
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
            if not deadline.left_s():
                raise self._late(timeout_s)

    @contextlib.contextmanager
    def _held_beside(self, beside: int | None, deadline: Deadline, timeout_s: float) -> Iterator[None]:
        if beside is None:
            yield
            return
        try:
            self._wait(beside, deadline, timeout_s)
        except OSError as error:
            if error.errno not in _UNLOCKABLE:
                raise
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(beside, fcntl.LOCK_UN)

    def _is_current(self, lock: int) -> bool:
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(lock))
        except FileNotFoundError:
            return False

    def _wait(self, file: int, deadline: Deadline, timeout_s: float) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not deadline.left_s():
                    raise self._late(timeout_s) from None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _late(self, timeout_s: float) -> TimeoutError:
        return TimeoutError(f"{self.path} was not free within {timeout_s:.2g} s")
