"""Faults of the function's own files: flipped bits, removed files, no room below TMPDIR."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.server import SMALL_DISK, serving

from auditsplit.sinks.file import record
from faults.sender import Row, Sender, in_files, in_torn_files, live_files

_SEED = 20261126
_LOG, _OWN = "var/log", "var/log/.auditsplit"
_STARTS, _BATCHES = 16, 8
_SHARE = 0.5  # of the records, so that whole records lie between damaged ones
_REMOVALS, _PAUSE_S = 60, 0.1
_LARGE = 20_000  # bytes of an event, so that its write takes a while
_FILL = 'head -c 2000000 /dev/zero >"$0/filler" 2>&-; '
_FULL_DISK = tuple(word.replace("&& exec", f"&& {_FILL}exec") for word in SMALL_DISK)


def bits_flipped(folder: Path, _s3: str) -> Row:
    """A bit of each record of the journal flips: of the newest while the server runs, of half while it is down."""
    dice, journal, flips = random.Random(_SEED), folder / _OWN / "journal", 0  # noqa: S311 - repeatable
    sender: Sender | None = None
    for start in range(_STARTS):
        with serving(folder, {"WORKERS": "2"}) as server:
            sender = sender or Sender(server)
            sender.server = server
            for _ in range(_BATCHES):
                assert sender.once(sender.batch()) == 200
                if start % 2:
                    flips += _flip(journal, _records(journal)[-1:], dice)
            server.kill()
        flips += _flip(journal, [place for place in _records(journal) if dice.random() < _SHARE], dice)
    assert sender
    with serving(folder, {"WORKERS": "2"}) as sender.server:
        assert sender.once(sender.batch()) == 200
        assert sender.server.request("GET", "/readyz").status == 200
    aside = len(list((folder / _OWN).glob("damaged-*")))
    assert aside > _STARTS
    sees = f"{flips} flips, {_STARTS + 1} starts: {sender.seen()}; the log names {aside} pieces that were set aside"
    return sender.row(sees, in_files(folder / _LOG))


def _records(journal: Path) -> list[range]:
    """Return the place of each record that is whole."""
    found = []
    with journal.open("rb") as file:
        size, at = journal.stat().st_size, 0
        while at < size:
            one = record.read(file.fileno(), at, size)
            if one:
                found.append(range(at, at + one.size))
            at += one.size if one else 1
    return found


def _flip(journal: Path, places: list[range], dice: random.Random) -> int:
    """Flip a bit at each of the places. Return how many that were."""
    with journal.open("r+b") as file:
        for place in places:
            at = dice.choice(place[:40] if dice.random() < 0.5 else place)  # half of them in the header
            file.seek(at)
            flipped = file.read(1)[0] ^ 1 << dice.randrange(8)
            file.seek(at)
            file.write(bytes([flipped]))
    return len(places)


def files_removed(folder: Path, _s3: str) -> Row:
    """A clean-up job removes each of the files beside the journal by turns, while workers are killed and four post.

    Both at once: the worker is killed within a write whose journal is removed, so its half line stays in a file.
    """
    done, dice, removed, kills = threading.Event(), random.Random(_SEED), Counter[str](), 0  # noqa: S311
    environ = {"WORKERS": "2", "AUDIT_FILE_MAXSIZE": "10000"}
    with serving(folder, environ) as server, ThreadPoolExecutor(4) as senders:
        sender = Sender(server, pad=_LARGE)
        sender.until_taken(sender.batch())

        def send(_: int) -> None:
            while not done.is_set():
                sender.until_taken(sender.batch())

        sent = [senders.submit(send, number) for number in range(4)]
        try:
            for number in range(_REMOVALS):
                done.wait(_PAUSE_S)
                if not number % 4 and (workers := server.workers()):
                    _await_write(folder / _LOG)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(dice.choice(workers).pid, signal.SIGKILL)
                        kills += 1
                removed.update(_remove(sorted((folder / _OWN).iterdir())[number % 2 :: 2]))
        finally:
            done.set()
        for one in sent:
            one.result()
    assert min(removed["journal"], removed["lock"]) > _REMOVALS // 8
    assert set(sender.told) <= {200, 503, "broken connection"}, sender.told  # 503: a file vanished while it was made
    names = ", ".join(f"{name} {count} times" for name, count in sorted(removed.items()))
    stored, halves = in_torn_files(folder / _LOG)
    seen = f"{names}; {kills} kills: {sender.seen()}; half lines in the files: {halves}, each on a line of its own"
    return sender.row(seen, stored, repeats=True)  # a batch that was forgotten with the journal


def _await_write(folder: Path) -> None:
    """Wait until a file of events grows, 10 s at most."""
    deadline, file = time.monotonic() + 10, live_files(folder)[0]
    size = file.stat().st_size
    while file.stat().st_size == size and time.monotonic() < deadline:
        pass


def _remove(paths: list[Path]) -> Iterator[str]:
    """Remove the files that still exist. Yield their names."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            yield path.name.partition("-")[0]


def tmpdir_full(folder: Path, _s3: str) -> Row:
    """The disk of TMPDIR fills up while the server runs, a worker starts anew on it, and then a whole server does."""
    disk = folder / "tmp"
    disk.mkdir()
    environ = {"TMPDIR": str(disk), "WORKERS": "2"}
    with serving(folder, environ, before=(*SMALL_DISK, str(disk))) as server:
        sender = Sender(server)
        _fill(Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/") / "filler")
        _post(sender)
        server.workers()[0].kill()
        _post(sender)
    with serving(folder, environ, before=(*_FULL_DISK, str(disk))) as sender.server:
        _post(sender)
    log = sender.server.log.read_text()
    assert "SIGBUS" not in log
    assert log.count("in the folder that TMPDIR names"), "no process met the full disk"
    assert set(sender.told) <= {200, 503}, sender.told
    return sender.row(f"{sender.seen()}; no worker ends", in_files(folder / _LOG))


def _post(sender: Sender) -> None:
    for _ in range(_BATCHES):
        sender.until_taken(sender.batch())
        assert sender.server.request("GET", "/metrics").status in (200, 503)


def _fill(path: Path) -> None:
    """Write to the file until the disk has no room for a byte."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert path.stat().st_size
