"""Faults of senders: silent and slow connections, bombs, bodies too large, JSON that is none, a million users."""

from __future__ import annotations

import contextlib
import gzip
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from support.eventlists import event, eventlist
from support.server import Server, answered, serving

from auditsplit import auth
from faults.malformed import KINDS
from faults.sender import Row, Sender, ids, in_files, live_files, peak_mb

_THREADS = {"THREADS": "8"}
_HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_IDLE, _HALF_HEADS, _SLOW_BODIES, _BATCHES = 10_000, 2_000, 16, 20
_SPARE_FILES = 500
_PATIENCE_S = 60
_BOMB_MEMBERS = 200  # of 64 MiB
_LARGE_BYTES = 100_000_000
_MILLION, _FILES, _USERS = 1_000_000, 50_000, 1_000
_KEPT = "_rejected/default"


@contextlib.contextmanager
def _connected(server: Server, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open ``count`` connections, say the same on each, and close them at the end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(count + _SPARE_FILES, 4096)), hard))
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60)))
            opened[-1].sendall(said)
        yield opened


@contextlib.contextmanager
def _trickling(connections: list[socket.socket]) -> Iterator[None]:
    """Send a byte a second on each of them."""
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(1):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def idle_connections(folder: Path, _s3: str) -> Row:
    """10,000 connections on which nothing is ever sent, while batches are posted."""
    with serving(folder, _THREADS) as server:
        sender = Sender(server)
        with _connected(server, _IDLE):
            for _ in range(_BATCHES):
                assert sender.once(sender.batch()) == 200
            held = sum(len(worker.net_connections()) for worker in server.workers())
    sees = f"200 within {sender.slowest_s:.1f} s; of the idle connections the server keeps {held}"
    return sender.row(sees, in_files(folder / "var/log"))


def slow_heads(folder: Path, _s3: str) -> Row:
    """2,000 heads, a byte a second each, that never end."""
    with serving(folder, _THREADS) as server:
        sender = Sender(server)
        with _connected(server, _HALF_HEADS, _HEAD + b"X:") as opened, _trickling(opened):
            for _ in range(_BATCHES):
                assert sender.once(sender.batch()) == 200
            began = time.monotonic()
            assert answered(opened[-1]) == b""
            cut_s = time.monotonic() - began
    sees = f"200 within {sender.slowest_s:.1f} s; the slow ones are cut off, the last after {cut_s:.0f} s"
    return sender.row(sees, in_files(folder / "var/log"))


def slow_bodies(folder: Path, _s3: str) -> Row:
    """Bodies of a byte a second, of more known senders than there are threads."""
    with serving(folder, _THREADS) as server:
        sender = Sender(server)
        with _connected(server, _SLOW_BODIES, _HEAD + b"Content-Length: 9000\r\n\r\n{") as opened, _trickling(opened):
            for _ in range(_BATCHES):
                sender.until_taken(sender.batch())
            answers = [answered(connection) for connection in opened]
    cut_off = sum(b" 400 " in answer and b"broken-off" in answer for answer in answers)
    refused = sum(b" 503 " in answer and b"busy" in answer for answer in answers)
    assert (cut_off + refused, set(sender.told) - {200, 503}) == (len(answers), set())
    sees = (
        f"{sender.seen()}, each within {sender.slowest_s:.0f} s; of the slow ones {cut_off} get 400 after 10 s in a "
        f"thread, {refused} get 503 without one"
    )
    return sender.row(sees, in_files(folder / "var/log"))


def strangers_bodies(folder: Path, _s3: str) -> Row:
    """The same of senders without a token, 2,000 of them."""
    token, known = auth.new_token("prod")
    with serving(folder, {**_THREADS, "AUDIT_TOKENS": str(known)}) as server:
        sender = Sender(server)
        body = sender.batch()
        with _connected(server, _HALF_HEADS, _HEAD + b"Content-Length: 9000\r\n\r\n{") as opened, _trickling(opened):
            began = time.monotonic()
            while (answer := server.post(body, Authorization=f"Bearer {token}")).status == 503:
                assert time.monotonic() - began < _PATIENCE_S
            took_s = time.monotonic() - began
            told = answered(opened[-1])
    assert answer.status == 200
    assert told.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 503 "))
    sender.taken.update(ids(body))
    return sender.row(f"200 within {took_s:.1f} s; the slow ones get 401, or 503", in_files(folder / "var/log"))


def gzip_bombs(folder: Path, _s3: str) -> Row:
    """13 MB that unpack to 13 GB, eight times at once beside good batches."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024)) * _BOMB_MEMBERS
    return _refused(folder, len(bomb), lambda server: server.post(bomb, Content_Encoding="gzip").status)


def large_bodies(folder: Path, _s3: str) -> Row:
    """100 MB announced, and 100 MB in chunks without a word of how many come."""
    piece = b"%x\r\n%b\r\n" % (1_000_000, bytes(1_000_000))

    def post(server: Server) -> int:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(_LARGE_BYTES // 1_000_000):
                    connection.sendall(piece)
            chunked = answered(connection)
        with _connected(server, 1, _HEAD + b"Content-Length: %d\r\n\r\n" % _LARGE_BYTES) as [announcing]:
            announced = answered(announcing)
        assert chunked[9:12] in (b"413", b""), chunked  # nothing, where the reset overtakes it
        return int(announced[9:12])

    return _refused(folder, _LARGE_BYTES, post)


def _refused(folder: Path, size: int, post: Callable[[Server], int]) -> Row:
    with serving(folder, _THREADS) as server:
        sender = Sender(server)
        told: list[int] = []
        threads = [threading.Thread(target=lambda: told.append(post(server))) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert sender.once(sender.batch()) == 200
        for thread in threads:
            thread.join()
        assert told == [413] * 8
        sees = f"413 for {size / 1e6:.0f} MB, 8 at once; 200 beside them; the server takes {peak_mb(server)} MB"
    assert not (folder / "var/log/_rejected").exists()
    return sender.row(sees, in_files(folder / "var/log"))


def malformed_json(folder: Path, _s3: str) -> Row:
    """Every kind as a body, and as an item and a request's object between two good events."""
    kept = refused = 0
    with serving(folder, {}) as server:
        sender = Sender(server)

        def post(body: bytes, good: list[bytes]) -> None:
            nonlocal kept, refused
            answer = server.post(body)
            if answer.status == 400:
                refused += 1
                found = list((folder / "var/log" / _KEPT).iterdir())
                assert any(path.read_bytes() == body for path in found if path.name in answer.json()["detail"]), body
            else:
                assert answer.status == 200, (answer.status, body)
                sender.taken.update(name for item in good for name in ids(item))
                kept += len(answer.json()["rejected"])

        for number, (kind, text) in enumerate(KINDS.items()):
            good = [event(f"{kind}", auditID=f"good-{number}-{item}") for item in range(4)]
            post(text, [])
            post(eventlist([good[0], text, good[1]]), good[:2])
            post(eventlist([good[2], event("mallory")[:-1] + b',"requestObject":' + text + b"}", good[3]]), good[2:])
        lines = [line for path in live_files(folder / "var/log") for line in path.read_bytes().splitlines()]
    stored = Counter(name for line in lines for name in ids(line)[:1] if name.startswith("good-"))
    sees = f"{len(KINDS)} kinds: 400 for {refused} bodies that are no list, else 200 and {kept} items named as rejected"
    row = sender.row(sees, stored)
    return row._replace(stored=f"{row.stored}; what is refused is in `_rejected/`, byte for byte")


def million_users(folder: Path, _s3: str) -> Row:
    """A million users' events into one file, and 50,000 users' into a file each."""
    with serving(folder, {"AUDIT_SINKS": "file:one?key=audit.log&fsync=0"}) as server:
        process = psutil.Process(server.workers()[0].pid)
        begun_mb, sent = 0, 0
        for first in range(0, _MILLION, _USERS):
            sent += _post_users(server, first)
            if first == _MILLION // 10:
                begun_mb = process.memory_info().rss // 1_000_000
        grown_mb = process.memory_info().rss // 1_000_000 - begun_mb
    with serving(folder, {"AUDIT_SINKS": "file:each?fsync=0"}) as server:
        for first in range(0, _FILES, _USERS):
            sent += _post_users(server, first)
    assert grown_mb < 100, f"{grown_mb} MB more after a million users than after the first 100,000"
    one, each = in_files(folder / "one"), in_files(folder / "each")
    assert (len(one), len(each), sum(one.values()) + sum(each.values())) == (_MILLION, _FILES, sent)
    assert sum(1 for _ in (folder / "each").glob("kube-audit-*")) == _FILES
    sees = f"200; the server has {begun_mb} MB after 100,000 users and {grown_mb} more after a million"
    return Row(sees, f"all {sent:,} events, once; {_FILES:,} files", "nothing")


_BLUEPRINT = event("user-NUMBER@example.com", auditID="id-NUMBER")


def _post_users(server: Server, first: int) -> int:
    body = eventlist(_BLUEPRINT.replace(b"NUMBER", b"%d" % number) for number in range(first, first + _USERS))
    answer = server.post(body)
    assert answer.status == 200, answer
    return int(answer.json()["events"])
