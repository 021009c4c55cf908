"""The lock of a sink: one holder at a time, also where a clean-up job removes its file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path

import pytest
from support.requests import soon

from auditsplit.deadline import Deadline
from auditsplit.sinks.lock import SinkLock


def contend(path: Path, folder: Path | None, *, removed_while_held: bool) -> int:
    """Return the most holders at a time, of six that hold the lock again and again while its file is removed."""
    holders, most, ends = [0], [0], time.monotonic() + 1.5

    def hold() -> None:
        lock = SinkLock(path)
        while time.monotonic() < ends:
            with contextlib.ExitStack() as stack:
                beside = None
                if folder:
                    beside = os.open(folder, os.O_RDONLY)
                    stack.callback(os.close, beside)
                stack.enter_context(lock.hold(soon(), beside))
                holders[0] += 1
                most[0] = max(most[0], holders[0])
                if removed_while_held:
                    path.unlink(missing_ok=True)
                time.sleep(0.002)
                holders[0] -= 1
                if not removed_while_held:
                    path.unlink(missing_ok=True)

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most[0]


@pytest.mark.parametrize("removed_while_held", [False, True])
def test_a_lock_whose_file_is_removed_has_one_holder(tmp_path: Path, removed_while_held: bool) -> None:  # noqa: FBT001
    """Each holder has a lock of its own, as processes do; the folder beside it is locked too."""
    assert contend(tmp_path / "lock", tmp_path, removed_while_held=removed_while_held) == 1


def test_a_file_that_is_removed_before_its_lock_is_free_is_not_the_lock(tmp_path: Path) -> None:
    """Who waited for it opens the new one, so that the next to come does not hold another."""
    path = tmp_path / "lock"
    with path.open("w") as removed:
        fcntl.flock(removed, fcntl.LOCK_EX)
        waiting = threading.Thread(target=_hold_until_removed, args=(path,))
        waiting.start()
        time.sleep(0.1)
        path.unlink()
    waiting.join()

    assert path.exists()


def _hold_until_removed(path: Path) -> None:
    with SinkLock(path).hold(soon()) as lock:
        assert os.path.samestat(path.stat(), os.fstat(lock))


def test_a_file_beside_that_is_held_makes_the_lock_wait(tmp_path: Path) -> None:
    """Its holder's lock file was removed."""
    one, other = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    fcntl.flock(one, fcntl.LOCK_EX)

    with (
        pytest.raises(TimeoutError, match="not free within"),
        SinkLock(tmp_path / "lock").hold(Deadline.after(0.05), other),
    ):
        pass

    os.close(one)
    with SinkLock(tmp_path / "lock").hold(soon(), other):
        pass
    os.close(other)


def test_a_file_beside_that_cannot_be_locked_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS does not lock folders; the lock's own file is enough unless it is removed while it is held."""
    real, folder = fcntl.flock, os.open(tmp_path, os.O_RDONLY)

    def flock(file: int, operation: int) -> None:
        if file == folder:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)

    with SinkLock(tmp_path / "lock").hold(soon(), folder) as lock:
        assert lock
    os.close(folder)
