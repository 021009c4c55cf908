"""The stdout store: whole lines from any number of processes, and a reader who doesn't read is noticed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventlists import event, eventlist, line, numbered
from support.requests import soon, write

from auditsplit import sinks
from auditsplit.decode import batch as batches
from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.sinks import lines
from auditsplit.sinks.stdout import StdoutSink

WRITER = """
import sys
import tempfile
from support.eventlists import event, eventlist
from support.requests import soon
from auditsplit.decode import batch as batches
from auditsplit.errors import SinkError
from auditsplit.sinks.stdout import StdoutSink

name, count, size, timeout_s = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4])
sink = StdoutSink(timeout_s=timeout_s)
sys.stdin.readline()
try:
    for number in range(count):
        items = [event(name, auditID=f"{number}-{part}", requestObject="x" * size) for part in range(3)]
        sink.write(batches.read(eventlist(items), "default"), soon())
    sink.check(soon())
except SinkError as error:
    sys.exit(f"SinkError: {error}")
"""


def batch_of(*items: bytes) -> Batch:
    """Return a batch of the items."""
    return batches.read(eventlist(items), "default")


@contextlib.contextmanager
def writing(to: int, name: str, *, count: int = 1, size: int = 10, timeout_s: float = 30) -> Iterator[Any]:
    """Start a process that writes ``count`` batches of three events by ``name`` to ``to`` when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, name, str(count), str(size), str(timeout_s)],
        stdin=subprocess.PIPE,
        stdout=to,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    ) as process:
        yield process


def drained(pipe: int, wait_s: float = 0) -> bytes:
    """Return what lies in the pipe now, or comes within ``wait_s`` of silence."""
    pieces = []
    while select.select([pipe], [], [], wait_s)[0] and (piece := os.read(pipe, 65536)):
        pieces.append(piece)
    return b"".join(pieces)


class Output:
    """A pipe that is this process's standard output meanwhile."""

    def __init__(self) -> None:
        """Make the pipe and put it in place."""
        self.reader, self.writer = os.pipe()
        self._kept = os.dup(1)
        self._open = True
        os.dup2(self.writer, 1)

    def fill(self) -> int:
        """Write until nothing more goes in; return how many bytes that took."""
        os.set_blocking(self.writer, False)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(self.writer, b"x" * 4096)
        os.set_blocking(self.writer, True)
        return filled

    def hang_up(self) -> None:
        """Close the reading end."""
        if self._open:
            os.close(self.reader)
            self._open = False

    def restore(self) -> None:
        """Put standard output back."""
        os.dup2(self._kept, 1)
        os.close(self._kept)
        os.close(self.writer)
        self.hang_up()


@contextlib.contextmanager
def piped_output() -> Iterator[Output]:
    """Return a pipe in the place of standard output; no fixture, since pytest captures anew for the test itself."""
    pipe = Output()
    try:
        yield pipe
    finally:
        pipe.restore()


@pytest.mark.parametrize(
    ("line_format", "expected"),
    [
        ("log", line("a") + b"\n" + line("b") + b"\n"),
        ("logstash", b'{"event":' + event("a") + b'}\n{"event":' + event("b") + b"}\n"),
    ],
)
def test_events_are_lines(
    line_format: lines.Format, expected: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Every event is a line of the store's format."""
    stored = write(StdoutSink(line_format), batch_of(event("a"), event("b")))

    assert stored
    assert capfdbinary.readouterr().out == expected


def test_the_same_batch_is_printed_again(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Standard output can't be asked what it has, so a retry is new to it."""
    sink = StdoutSink()

    assert [write(sink, batch_of(event())), write(sink, batch_of(event()))] == [True, True]
    assert capfdbinary.readouterr().out == (line() + b"\n") * 2


def test_a_rejected_body_is_a_line_that_can_be_read_back(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Whatever bytes it has, it is one JSON line, and Latin-1 gives the bytes back."""
    body = bytes(range(256)) + "\u2028".encode() + b'"}\n'
    digest = hashlib.sha256(body).hexdigest()

    place = StdoutSink().reject("prod", digest, body, soon())

    out = capfdbinary.readouterr().out
    document = json.loads(out)
    assert out.count(b"\n") == 1
    assert document["body"].encode("latin-1") == body
    assert (document["auditsplitRejected"], document["cluster"]) == (digest, "prod")
    assert digest in place


def test_a_check_prints_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Asking whether it works, and recovering at the start, leaves no trace in the output."""
    sink = StdoutSink()

    sink.check(soon())
    sink.recover()

    assert capfdbinary.readouterr().out == b""


def test_an_empty_batch_prints_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """No events are no lines."""
    write(StdoutSink(), batch_of())

    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize("url", ["stdout:", "stdout:-", "stdout:?format=logstash"])
def test_urls_of_standard_output(url: str) -> None:
    """It has one name and one option."""
    sink = sinks.from_url(url)

    assert isinstance(sink, StdoutSink)
    assert sink.name == "stdout:"
    assert sink._format == ("logstash" if "logstash" in url else "log")


@pytest.mark.parametrize("url", ["stdout:x", "stdout:///dev/stdout", "stdout://host", "stdout:?colour=red"])
def test_urls_of_nothing(url: str) -> None:
    """A place or an unknown option is a mistake."""
    with pytest.raises(ValueError, match=r"Write stdout:|no such option"):
        sinks.from_url(url)


def test_two_processes_never_tear_a_line() -> None:
    """Two processes that share a pipe, each writing lines longer than it takes at once, write whole batches."""
    reader, writer = os.pipe()
    with writing(writer, "alice", count=15, size=20_000) as one, writing(writer, "bob", count=15, size=20_000) as other:
        os.close(writer)
        for process in (one, other):
            process.stdin.write(b"go\n")
            process.stdin.close()
        with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
            lines = pipe.read().splitlines()
        codes = [one.wait(), other.wait()]

    found = [(document["user"]["username"], document["auditID"]) for document in map(json.loads, lines)]
    expected = [(name, f"{number}-{part}") for name in ("alice", "bob") for number in range(15) for part in range(3)]
    assert codes == [0, 0]
    assert Counter(found) == Counter(expected)
    assert all(len({name for name, _ in found[at : at + 3]}) == 1 for at in range(0, len(found), 3))
    assert [each for each in found if each[0] == "alice"] == expected[:45]


def test_threads_never_tear_a_line() -> None:
    """Several threads of one process write whole batches too."""
    with piped_output() as output:
        sink = StdoutSink()
        made = [batch_of(*[event(f"user-{number}", requestObject="x" * 9000)] * 3) for number in range(8)]
        threads = [threading.Thread(target=write, args=(sink, each)) for each in made]
        for thread in threads:
            thread.start()
        text = b""
        while any(thread.is_alive() for thread in threads):
            text += drained(output.reader, 0.01)
        text += drained(output.reader)

        users = [json.loads(each)["user"]["username"] for each in text.splitlines()]
        assert len(users) == 24
        assert users == [name for name in dict.fromkeys(users) for _ in range(3)]


def test_a_closed_reader_is_noticed() -> None:
    """Where nobody can read any more, the batch is not stored."""
    with piped_output() as output:
        sink = StdoutSink()
        output.hang_up()

        with pytest.raises(SinkError, match="standard output"):
            write(sink, batch_of(event()))


def test_a_closed_reader_is_not_ready() -> None:
    """A check notices that nobody can read any more."""
    with piped_output() as output:
        sink = StdoutSink()
        output.hang_up()

        with pytest.raises(SinkError, match="standard output"):
            sink.check(soon())


def test_a_closed_reader_is_noticed_by_a_process() -> None:
    """A process whose reader went away isn't killed by that, and says so."""
    reader, writer = os.pipe()
    os.close(reader)
    with writing(writer, "alice") as process:
        _, errors = process.communicate(b"go\n", timeout=60)
    os.close(writer)

    assert process.returncode == 1
    assert b"SinkError: the server has a fault of its own (standard output: " in errors


def test_a_reader_that_never_reads_is_noticed() -> None:
    """A pipe that stays full fails the batch in time instead of holding the sender for ever."""
    reader, writer = os.pipe()
    with writing(writer, "alice", size=500_000, timeout_s=0.2) as process:
        _, errors = process.communicate(b"go\n", timeout=60)
    os.close(writer)
    os.close(reader)

    assert process.returncode == 1
    assert b"standard output: nobody read for 0.2 s" in errors


def test_a_store_that_is_busy_is_noticed() -> None:
    """Where another process holds the output, the batch fails in time too."""
    with piped_output():
        sink = StdoutSink(timeout_s=0.05)
        with sink._lock.path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            with pytest.raises(SinkError, match="not free within"):
                write(sink, batch_of(event()))


def test_a_reader_that_took_nothing_leaves_nothing_to_end() -> None:
    """A batch of which no byte went out is followed by no empty line."""
    with piped_output() as output:
        sink = StdoutSink(timeout_s=0.05)
        full = output.fill()
        with pytest.raises(SinkError, match="nobody read"):
            write(sink, batch_of(event()))
        drained(output.reader)

        write(sink, batch_of(event("bob")))

        assert full
        assert drained(output.reader) == line("bob") + b"\n"


def test_a_closed_standard_output_is_a_mistake_in_the_settings() -> None:
    """A daemon may be started without one."""
    program = "import os; os.close(1); from auditsplit import sinks; sinks.from_url('stdout:')"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)

    assert "ValueError: standard output is closed. Start the program with an open one" in done.stderr


def test_a_torn_line_is_ended_first() -> None:
    """After a batch that was cut off, the next one begins on a line of its own."""
    with piped_output() as output:
        sink = StdoutSink(timeout_s=0.05)
        with pytest.raises(SinkError):
            write(sink, batch_of(event(requestObject="x" * 500_000)))
        torn = drained(output.reader)

        write(sink, batch_of(event("bob")))

        text = torn + drained(output.reader)
        assert not torn.endswith(b"\n")
        assert text.splitlines()[-1] == line("bob")


def test_a_torn_line_is_ended_by_any_process() -> None:
    """So it is where another process writes next, or the same one after a restart."""
    with piped_output() as output:
        with writing(output.writer, "alice", size=500_000, timeout_s=0.2) as process:
            process.communicate(b"go\n", timeout=60)
        torn = drained(output.reader)

        write(StdoutSink(), batch_of(*numbered(2, "bob")))

        text = torn + drained(output.reader)
        assert not torn.endswith(b"\n")
        assert text.splitlines()[-2:] == [line("bob", auditID="id-0"), line("bob", auditID="id-1")]


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_lock_file_that_is_removed_tears_no_line(tmp_path: Path, kind: str) -> None:
    """A clean-up job of the temporary folder removes it while two processes write, and while it is held."""
    reader, writer = (
        os.pipe() if kind == "pipe" else (-1, os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT | os.O_APPEND))
    )
    status = os.fstat(writer)
    lock = Path(tempfile.gettempdir()) / f"auditsplit-{os.getuid()}-{status.st_dev}-{status.st_ino}.lock"
    done, removed = threading.Event(), []

    def clean_up() -> None:
        while not done.wait(0.001):
            with contextlib.suppress(FileNotFoundError):
                lock.unlink()
                removed.append(lock)

    cleaner = threading.Thread(target=clean_up)
    cleaner.start()
    with writing(writer, "alice", count=15, size=20_000) as one, writing(writer, "bob", count=15, size=20_000) as other:
        os.close(writer)
        for process in (one, other):
            process.stdin.write(b"go\n")
            process.stdin.close()
        if kind == "pipe":
            with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
                text = pipe.read()
        codes = [one.wait(), other.wait()]
    done.set()
    cleaner.join()
    found = [json.loads(each) for each in (text if kind == "pipe" else (tmp_path / "out").read_bytes()).splitlines()]
    names = [document["user"]["username"] for document in found]

    assert (codes, len(names)) == ([0, 0], 90)
    assert removed
    assert all(len(set(names[at : at + 3])) == 1 for at in range(0, 90, 3))
