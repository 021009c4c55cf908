"""Processes that a test starts, watches and ends, each by its own id."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from support.environment import plain_environment

BIN = Path(__file__).parents[2] / ".cache" / "bin"
"""Where ``make e2e`` puts the programs that it builds."""

_START_S = 90.0


class NotStarted(Exception):
    """The process ended before it was ready, or never was; ``said`` is the end of its output."""

    def __init__(self, program: str, said: str) -> None:
        """Keep what it said."""
        super().__init__(f"{program} did not start: {said}")
        self.said = said


def spawn(command: Sequence[str | Path], log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start ``command`` in the folder of ``log``, to which its output is appended; no ``AUDIT_*`` is inherited."""
    if not Path(command[0]).exists():
        raise FileNotFoundError(f"{command[0]} is not there; 'make e2e' builds it")
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=log.parent,
            env={**plain_environment(), **environ},
            stdout=out,
            stderr=out,
        )


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    """Return once ``ready``, which may raise ``OSError`` until then; `NotStarted` if the process ends before."""
    deadline = time.monotonic() + _START_S
    while not _holds(ready):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(str(process.args), log.read_text(errors="replace")[-4000:])
        time.sleep(0.1)


def wait_for(what: str, holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return once ``holds``; a failure that names ``what`` if that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.1)


def terminate(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """End a process with SIGTERM and wait; with SIGKILL, and an error, where it takes too long."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        kill(process)
        raise


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children with SIGKILL, as a power switch would."""
    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(process.pid)
        for one in [whole, *whole.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Run ``command`` from when it is ``ready``, and end it afterwards."""
    process = spawn(command, log, {})
    try:
        wait_until_ready(process, log, ready)
        yield
    finally:
        kill(process)


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _holds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False
