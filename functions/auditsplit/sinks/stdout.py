"""The stdout store: every event as a line on standard output, for whoever collects a container's output.

Standard output has no memory, so a batch that the apiserver sends again is printed again.
"""

from __future__ import annotations

import os
import select
import tempfile
import time
from pathlib import Path

import orjson

from auditsplit.deadline import left_s
from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.sinks import lines
from auditsplit.sinks.lock import TIMEOUT_S, StoreLock
from auditsplit.sinks.options import Target
from auditsplit.telemetry import observation

_STDOUT = 1


def from_target(target: Target) -> StdoutSink:
    """Return the store for a ``stdout:`` URL."""
    try:
        os.fstat(_STDOUT)
    except OSError:
        raise ValueError("standard output is closed; start the program with one") from None
    if target.host or target.path not in ("", "-"):
        target.mistakes.append(f"{target.url!r} names a place; write stdout:")
    return StdoutSink(target.line_format())


class StdoutSink:
    """Writes to the process's file descriptor 1, one batch after the other, also with several worker processes."""

    def __init__(self, line_format: str = "log", timeout_s: float = TIMEOUT_S) -> None:
        """Write lines of ``line_format``; ``timeout_s`` bounds the wait for a reader that doesn't read."""
        self.name = "stdout:"
        self._format, self._timeout_s = line_format, timeout_s
        out = os.fstat(_STDOUT)  # the workers share it, so they share the lock: a pipe tears long writes
        lock_name = f"auditsplit-{os.getuid()}-{out.st_dev}-{out.st_ino}.lock"
        self._lock = StoreLock(Path(tempfile.gettempdir()) / lock_name)

    def write(self, batch: Batch) -> bool:
        """See `Sink.write`; always new, since standard output can't be asked what it got."""
        text = lines.render(batch.events, self._format)
        self._print(text)
        observation.wrote(self.name, len(text))
        return True

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """See `Sink.reject`; the body is printed as a JSON line, its bytes as Latin-1 characters."""
        rejected = {"auditsplitRejected": digest, "cluster": cluster, "body": body.decode("latin-1")}
        self._print(orjson.dumps(rejected, option=orjson.OPT_APPEND_NEWLINE))
        return f"auditsplitRejected={digest}"

    def recover(self) -> None:
        """See `Sink.recover`; nothing is ever left."""

    def check(self) -> None:
        """See `Sink.check`."""
        poll = select.poll()
        poll.register(_STDOUT, 0)
        if any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)):
            raise SinkError("standard output: nobody can read it any more")

    def _print(self, text: bytes) -> None:
        """Print whole lines; one that another writer was cut off in is ended first, as its mark in the lock says."""
        try:
            with self._lock.hold(self._timeout_s) as lock:
                torn = os.fstat(lock).st_size > 0
                deadline = time.monotonic() + left_s(self._timeout_s)
                self._await_reader(deadline)
                os.pwrite(lock, b"writing", 0)
                self._write(b"\n" + text if torn else text, deadline)
                os.ftruncate(lock, 0)
        except OSError as error:
            raise SinkError(f"standard output: {error.strerror or error}") from error

    def _write(self, text: bytes, deadline: float) -> None:
        """Write by pieces that a pipe takes without blocking once it is said to be writable."""
        rest = memoryview(text)
        while rest:
            self._await_reader(deadline)
            rest = rest[os.write(_STDOUT, rest[: select.PIPE_BUF]) :]

    def _await_reader(self, deadline: float) -> None:
        if not select.select([], [_STDOUT], [], max(0.0, deadline - time.monotonic()))[1]:
            raise TimeoutError(f"nobody read for {self._timeout_s:g} s, or for what was left of the request's time")
