"""Faults of the process and its machine: killed workers, SIGTERM during a request, a clock that jumps back."""

from __future__ import annotations

import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.faults import proxy
from support.server import serving

from faults.sender import Row, Sender, in_files
from faults.stores import ObjectStore

_SEED = 20261125
_CLOCK = Path(__file__).with_name("clock.py")
_HOUR_S = 3600


def worker_killed(folder: Path, _s3: str) -> Row:
    """One of two workers gets SIGKILL every 0.3 s, while four senders post."""
    done, kills, dice = threading.Event(), 0, random.Random(_SEED)  # noqa: S311 - repeatable
    with serving(folder, {"WORKERS": "2"}) as server, ThreadPoolExecutor(4) as senders:
        sender = Sender(server, pad=5_000)

        def send(_: int) -> None:
            while not done.is_set():
                sender.until_taken(sender.batch())

        sent = [senders.submit(send, number) for number in range(4)]
        try:
            for _ in range(12):
                time.sleep(0.3)
                if workers := server.workers():
                    dice.choice(workers).kill()
                    kills += 1
        finally:
            done.set()
        for one in sent:
            one.result()
    assert kills > 8
    assert set(sender.told) <= {200, "broken connection"}
    return sender.row(f"{kills} kills: {sender.seen()}", in_files(folder / "var/log"))


def sigterm(folder: Path, s3: str) -> Row:
    """SIGTERM while the store takes 3 s for each of eight batches; a new server takes the next."""
    store = ObjectStore(s3)
    with proxy(s3, _SEED, {"late": 1.01}) as front, ThreadPoolExecutor(8) as senders:
        front.late_s = 3
        with serving(folder, store.environ(front.url)) as server:
            sender = Sender(server)
            sent = [senders.submit(sender.once, sender.batch()) for _ in range(8)]
            time.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            assert [one.result() for one in sent] == [200] * 8
            server.process.wait(10)
            body = sender.batch()
            assert sender.once(body) == "refused connection"
        front.late_s = 0
        with serving(folder, store.environ(front.url)) as sender.server:
            sender.until_taken(body)
    return sender.row(
        "200 for all 8 that were being stored; afterwards refused connections until the next", store.held()
    )


def clock_back(folder: Path, _s3: str) -> Row:
    """The clock jumps back by an hour, over rotations and a restart; then the senders try everything again."""
    clock, settings = folder / "clock", {"AUDIT_FILE_MAXSIZE": "1", "AUDIT_FILE_MAXBACKUP": "0"}
    clock.write_text("0")
    bodies: list[bytes] = []

    def send(sender: Sender) -> None:
        for _ in range(8):
            bodies.append(sender.batch())
            sender.until_taken(bodies[-1])

    with serving(folder, settings, main=_CLOCK) as server:
        sender = Sender(server, pad=30_000)
        send(sender)
        clock.write_text(str(-_HOUR_S))
        send(sender)
        assert server.request("GET", "/readyz").status == 200
    with serving(folder, settings, main=_CLOCK) as sender.server:
        send(sender)
        for body in bodies:
            sender.until_taken(body)
        assert sender.server.request("GET", "/metrics").status == 200
    assert set(sender.told) == {200}
    rotated = list((folder / "var/log").rglob("audit~*"))
    assert len(rotated) > 8
    return sender.row(
        f"200, also for {len(bodies)} retries; {len(rotated)} rotated files", in_files(folder / "var/log")
    )
