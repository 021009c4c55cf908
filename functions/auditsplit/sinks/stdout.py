"""The stdout sink: every event as a line on standard output, for a collector of a container's output.

Standard output has no memory, so the events of a retry are printed again.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import orjson

from auditsplit.deadline import Deadline
from auditsplit.event import Batch
from auditsplit.sinks import Sink, Written, lines, options
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.lock import TIMEOUT_S, SinkLock
from auditsplit.sinks.options import Target

_STDOUT = 1
_REOPENED = f"/proc/self/fd/{_STDOUT}"


class Options(options.Options, frozen=True, kw_only=True):
    """The options of a ``stdout:`` URL."""

    format: Annotated[lines.Format, options.FORMAT_HELP] = "log"


def mistakes(target: Target[Options]) -> Iterable[str]:
    """Yield what is wrong with a ``stdout:`` URL, or with this process's standard output."""
    try:
        os.fstat(_STDOUT)
    except OSError:
        yield "standard output is closed. Start the program with an open one"
    if target.host or target.path not in ("", "-"):
        yield f"{target.url!r} names a place. Write stdout:"


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink for a ``stdout:`` URL."""
    return StdoutSink(target.options.format)


class StdoutSink:
    """Writes to the process's file descriptor 1, one batch after the other, also with several worker processes."""

    required = True

    def __init__(self, line_format: lines.Format = "log", timeout_s: float = TIMEOUT_S) -> None:
        """Write lines of ``line_format``; ``timeout_s`` bounds the wait for a reader that doesn't read."""
        self.name = "stdout:"
        self._format, self._timeout_s = line_format, timeout_s
        out = os.fstat(_STDOUT)  # the workers share it, so they share the lock: a pipe tears long writes
        lock_name = f"auditsplit-{os.getuid()}-{out.st_dev}-{out.st_ino}.lock"
        self._lock = SinkLock(Path(tempfile.gettempdir()) / lock_name)

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`; always new, since standard output can't tell what it has."""
        text = lines.render(batch.events, self._format)
        self._print(text, deadline)
        return Written(new=True, size_bytes=len(text))

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`; the body is printed as a JSON line, its bytes as Latin-1 characters."""
        rejected = {"auditsplitRejected": digest, "cluster": cluster, "body": body.decode("latin-1")}
        self._print(orjson.dumps(rejected, option=orjson.OPT_APPEND_NEWLINE), deadline)
        return f"auditsplitRejected={digest}"

    def recover(self) -> None:
        """See `Sink.recover`; this sink leaves nothing unfinished."""

    def check(self, _: Deadline) -> None:
        """See `Sink.check`."""
        poll = select.poll()
        poll.register(_STDOUT, 0)
        if any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)):
            raise SinkFailure(Failure.BROKEN, "standard output has no reader any more")

    def _print(self, text: bytes, deadline: Deadline) -> None:
        """Print whole lines. A mark in the lock file says that the last writer was killed within a line."""
        deadline = deadline.within(self._timeout_s)
        try:
            with _reopened() as output, self._lock.hold(deadline, output) as lock:
                torn = os.fstat(lock).st_size > 0
                self._await_reader(deadline)
                os.pwrite(lock, b"writing", 0)
                self._write(b"\n" + text if torn else text, deadline)
                os.ftruncate(lock, 0)
        except TimeoutError as error:
            raise SinkFailure(Failure.SLOW, f"standard output: {error}") from error
        except OSError as error:
            raise SinkFailure(Failure.BROKEN, f"standard output: {error.strerror or error}") from error

    def _write(self, text: bytes, deadline: Deadline) -> None:
        """Write pieces that a pipe accepts without blocking once poll reports it as writable."""
        rest = memoryview(text)
        while rest:
            self._await_reader(deadline)
            rest = rest[os.write(_STDOUT, rest[: select.PIPE_BUF]) :]

    def _await_reader(self, deadline: Deadline) -> None:
        writable = select.poll()  # select takes no descriptor above 1023
        writable.register(_STDOUT, select.POLLOUT)
        if not writable.poll(1000 * deadline.left_s()):
            raise TimeoutError(f"nobody read for {self._timeout_s:g} s, or until the request's deadline")


@contextlib.contextmanager
def _reopened() -> Iterator[int | None]:
    """Give standard output opened once more, None where it can't be, as a socket can't.

    The workers inherit one open file, which they can't lock against each other. The one in the temporary folder may be
    removed by a clean-up job while it is held.
    """
    try:
        output = os.open(_REOPENED, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield output
    finally:
        os.close(output)
