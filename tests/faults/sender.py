"""A sender that tries again as kube-apiserver does, and the comparison of what it was told with what is stored."""

from __future__ import annotations

import gzip
import http.client
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import orjson
from support.eventlists import event, eventlist
from support.server import Server

_TRIES = 60
_PAUSE_S = 0.1  # the apiserver waits 1 s, or 10 s and longer where it was given no Retry-After
_AUDIT_ID = re.compile(rb'"auditID":"([^"]+)"')
_NAME = "batch{:06}"


class Row(NamedTuple):
    """What one fault led to, in words."""

    sees: str
    stored: str
    lost: str


class Sender:
    """Posts batches, each until it is taken; any number of threads at once."""

    def __init__(self, server: Server, events: int = 20, pad: int = 0) -> None:
        """Take the server, how many events a batch has, and how much larger than usual each is."""
        self.server = server
        self.told: Counter[int | str] = Counter()
        self.taken: set[str] = set()
        self.tried_again: set[str] = set()
        """The events of bodies that were not acknowledged at first."""
        self.slowest_s = 0.0
        self._events, self._pad = events, "x" * pad
        self._numbers, self._lock = itertools.count(), threading.Lock()

    def batch(self) -> bytes:
        """Return a new batch, of four users."""
        name = _NAME.format(next(self._numbers))
        return eventlist(
            event(f"user-{item % 4}", auditID=f"{name}-{item}", requestObject=self._pad) for item in range(self._events)
        )

    def once(self, body: bytes) -> int | str:
        """Post ``body``; return the status, or in words why there was none."""
        began = time.monotonic()
        told: int | str
        try:
            told = self.server.post(body).status
        except (OSError, http.client.HTTPException) as error:
            told = "refused connection" if isinstance(error, ConnectionRefusedError) else "broken connection"
        with self._lock:
            self.told[told] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if told == http.client.OK:
                self.taken.update(ids(body))
            else:
                self.tried_again.update(ids(body))
        return told

    def until_taken(self, body: bytes) -> None:
        """Post the same bytes until the answer is 200."""
        for _ in range(_TRIES):
            if self.once(body) == http.client.OK:
                return
            time.sleep(_PAUSE_S)
        raise AssertionError(f"not taken after {_TRIES} tries: {dict(self.told)}")

    def seen(self) -> str:
        """Return what it was told, in words."""
        return ", ".join(f"{count} times {told}" for told, count in sorted(self.told.items(), key=str))

    def row(self, sees: str, stored: Counter[str], *, repeats: bool = False) -> Row:
        """Return the row; `AssertionError` where something is missing or there twice.

        If ``repeats``, the events of a body that was sent again may be there twice.
        """
        missing, twice = self.taken - set(stored), {name for name, count in stored.items() if count > 1}
        again = twice & self.tried_again if repeats else set()
        twice -= again
        halves = {name.split("-")[0] for name in set(stored) - self.taken}
        assert not missing, f"{len(missing)} events are lost, {min(missing)} is one"
        assert not twice, f"{len(twice)} events are stored twice, {min(twice)} is one"
        assert not halves, f"stored though never acknowledged: {sorted(halves)[:3]}"
        once = f"once but for {len(again)} that were sent again" if again else "once"
        return Row(sees, f"all {len(self.taken):,} events, {once}", "nothing")


def ids(text: bytes) -> list[str]:
    """Return the events' names in lines or a list."""
    return [match.decode() for match in _AUDIT_ID.findall(text)]


def in_files(folder: Path) -> Counter[str]:
    """Return how often each event lies in the files below ``folder``."""
    return counted(path.read_bytes() for path in live_files(folder))


def live_files(folder: Path) -> list[Path]:
    """Return the files of events below ``folder``, rotated ones too."""
    own = {".auditsplit", "_rejected"}
    return [path for path in folder.rglob("*") if path.is_file() and not own & set(path.parts)]


def counted(texts: Iterable[bytes]) -> Counter[str]:
    """Return how often each event is in ``texts``, packed or not; a torn line fails here."""
    names: Counter[str] = Counter()
    for text in texts:
        plain = gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text
        found = ids(plain)
        assert plain.endswith(b"}\n"), "a line is torn"
        assert len(found) == plain.count(b"\n"), "a line is torn"
        names.update(found)
    return names


def in_torn_files(folder: Path) -> tuple[Counter[str], int]:
    """Return how often each event is in the files below ``folder``, and how many half lines they have.

    A half line is the beginning of an event that is stored elsewhere, and nothing more; any other torn line fails here.
    """
    lines = [line for path in live_files(folder) for line in path.read_bytes().splitlines(keepends=True)]
    halves = [line for line in lines if not _is_event(line)]
    whole = [line for line in lines if _is_event(line)]
    for half in halves:
        assert any(line.startswith(half.rstrip(b"\n")) for line in whole), "a line is torn, with another behind it"
    return counted(whole), len(halves)


def _is_event(line: bytes) -> bool:
    try:
        return bool(orjson.loads(line)["auditID"])
    except orjson.JSONDecodeError:
        return False


def peak_mb(server: Server) -> int:
    """Return the most memory that a worker has had."""
    peaks = [Path(f"/proc/{worker.pid}/status").read_text() for worker in server.workers()]
    return max(int(text.partition("VmHWM:")[2].split()[0]) for text in peaks) // 1024
