"""The judge: a Go program that decodes bodies with Go's ``encoding/json``. ``make .cache/bin/fuzz-judge`` builds it."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

PROGRAM = Path(__file__).parents[2] / ".cache" / "bin" / "fuzz-judge"


class JudgedEvent(msgspec.Struct):
    """An event: the bytes to store, and the fields of its head by their paths."""

    stored: bytes
    head: dict[str, str]


class Verdict(msgspec.Struct):
    """What a way to read makes of a body."""

    refused: bool
    events: list[JudgedEvent] | None
    bad: list[bytes] | None


class Judged(msgspec.Struct):
    """What Go makes of a body. A body that is not valid JSON has no verdicts."""

    valid: bool
    folded: Verdict | None = None
    """The verdict of ``encoding/json`` as it is."""
    exact: Verdict | None = None
    """The verdict with auditsplit's deliberate differences."""
    reasons: list[str] | None = None
    """The differences that were met."""


_decode = msgspec.json.Decoder(Judged).decode


@contextlib.contextmanager
def judging() -> Iterator[Callable[[bytes], Judged]]:
    """Run the judge, and yield a function that returns its answer to a body."""
    with subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def judge(body: bytes) -> Judged:
            stdin.write(base64.b64encode(body) + b"\n")
            stdin.flush()
            return _decode(stdout.readline())

        yield judge
        stdin.close()
