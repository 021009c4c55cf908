"""The shipper: which lines it ships of which files, in batches of which bytes."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.cloud_logs import azure_record

from auditsplit.decode.eventlist import MAX_ITEMS
from auditsplit.ship import changes
from auditsplit.ship.batch import Batch
from auditsplit.ship.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from auditsplit.ship.delivery import NotDelivered, Outcome, TooLarge
from auditsplit.ship.files import Files
from auditsplit.ship.follower import Follower, Lag, Limits
from auditsplit.ship.shipper import Observer, Pace, Shipper

QUICK = Pace(batch_wait_s=0, first_retry_s=0.001, longest_retry_s=0.002)
OLD_S = 3600


def line(number: int, size: int = 100) -> bytes:
    """Return a line of an audit log, different for each number."""
    head = b'{"kind":"Event","auditID":"%d","pad":"' % number
    return head + b"x" * (size - len(head) - 3) + b'"}\n'


class Kept:
    """A delivery that keeps what it is given. It fails, or finds bodies too large, as it is told."""

    def __init__(self, failures: int = 0, largest: int = 10**9) -> None:
        """Fail ``failures`` times, and refuse more bytes than ``largest`` always."""
        self.bodies: list[bytes] = []
        self.tried: list[bytes] = []
        self._failures, self._largest = failures, largest

    def deliver(self, body: bytes) -> Outcome:
        """Keep ``body``."""
        self.tried.append(body)
        if len(body) > self._largest:
            raise TooLarge("413")
        if self._failures:
            self._failures -= 1
            raise NotDelivered("503")
        self.bodies.append(body)
        return Outcome(body.count(b"\n"))

    @property
    def text(self) -> bytes:
        """All that was delivered."""
        return b"".join(self.bodies)


class Noted(Observer):
    """Notes what is lost and set aside."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.lost_bytes = self.lines_set_aside = self.retries = 0
        self.other_lines = 0

    def delivered(self, batch: Batch, outcome: Outcome) -> None:
        """Note the lines of other logs."""
        assert outcome.events >= 0
        self.other_lines += batch.other_lines

    def retried(self) -> None:
        """Note a retry."""
        self.retries += 1

    def set_aside(self) -> None:
        """Note a line."""
        self.lines_set_aside += 1

    def lost(self, size_bytes: int) -> None:
        """Note bytes."""
        self.lost_bytes += size_bytes


class Bench:
    """A log in a folder, and shippers of it, one after the other, that share a checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Name the files."""
        self.log, self.held = folder / "audit.log", CheckpointFile(folder / "state" / "checkpoint.json")
        self.noted = Noted()
        self.held.path.parent.mkdir()

    def write(self, *lines: bytes) -> None:
        """Append to the log."""
        with self.log.open("ab") as out:
            out.writelines(lines)

    def rotate(self, name: str = "audit-2026-11-26T10-00-00.000.log") -> Path:
        """Rename the log as lumberjack does. The rotated file has not changed for long."""
        rotated = self.log.with_name(name)
        self.log.rename(rotated)
        return aged(rotated)

    def follower(self, batch: int = 250, longest: int = 1000) -> Follower:
        """Return what follows the log from the checkpoint on."""
        found = self.held.read() or Checkpoint()
        limits = Limits(batch, longest)
        return Follower(Files([str(self.log)]), found, limits, lambda _, size: self.noted.lost(size))

    def shipper(self, delivery: Kept, follower: Follower) -> Shipper:
        """Return a shipper."""
        return Shipper(follower, self.held, delivery, self.noted, QUICK)

    def ship(self, delivery: Kept | None = None, **limits: int) -> Kept:
        """Ship what is there by a new shipper; return what was delivered."""
        delivery, follower = delivery or Kept(), self.follower(**limits)
        with closing(follower):
            self.shipper(delivery, follower).run(once=True)
        return delivery


def aged(path: Path) -> Path:
    """Return ``path``, as it had not been written to for an hour."""
    then = time.time() - OLD_S
    os.utime(path, (then, then))
    return path


def test_lines_are_shipped_once_in_batches_of_whole_lines(tmp_path: Path) -> None:
    """A batch has as many whole lines as fit. What is shipped is not shipped by the next shipper."""
    bench = Bench(tmp_path)
    bench.write(*map(line, range(5)))
    first = bench.ship()
    bench.write(line(5))
    second = bench.ship()

    assert [len(body) for body in first.bodies] == [200, 200, 100]
    assert first.text + second.text == b"".join(map(line, range(6)))


def test_a_torn_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    """kube-apiserver may be in the middle of a write."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1)[:40])
    first = bench.ship()
    bench.write(line(1)[40:])
    second = bench.ship()

    assert (first.text, second.text) == (line(0), line(1))


def test_a_log_whose_first_line_is_torn_is_not_known_yet(tmp_path: Path) -> None:
    """It has no id before its first line is whole."""
    bench = Bench(tmp_path)
    bench.write(line(0)[:40])
    first = bench.ship()
    bench.write(line(0)[40:])

    assert first.bodies == []
    assert bench.ship().text == line(0)


@pytest.mark.parametrize(
    "name", ["audit-2026-11-26T10-00-00.000.log", "audit.log.1", "audit.log.20261126-100000", "audit.log-20261126"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_rotated_file_is_shipped_to_its_end(tmp_path: Path, name: str, *, compressed: bool) -> None:
    """By whoever rotates, and also if it was compressed while no shipper ran. Its last line may have no end."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1))
    first = bench.ship()
    bench.write(line(2), line(3)[:-1])
    rotated = bench.rotate(name)
    if compressed:
        rotated.with_name(f"{name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
        aged(rotated.with_name(f"{name}.gz"))
    bench.write(line(4))
    second, third = bench.ship(), bench.ship()

    assert first.text == line(0) + line(1)
    assert second.text == line(2) + line(3)[:-1] + line(4)
    assert third.bodies == []
    assert bench.noted.lost_bytes == 0


def test_a_compressed_copy_beside_its_original_is_not_read_yet(tmp_path: Path) -> None:
    """Lumberjack removes the original once the copy is complete."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    rotated = bench.rotate()
    rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(line(0))[:-9])

    assert bench.ship().text == line(0)


def test_a_log_that_is_copied_and_truncated_is_shipped_once(tmp_path: Path) -> None:
    """Logrotate's copytruncate: the copy goes on where the log was, and the log begins anew."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1))
    bench.ship()
    bench.write(line(2))
    shutil.copy(bench.log, bench.log.with_name("audit.log.1"))
    os.truncate(bench.log, 0)
    bench.write(line(3), line(4), line(5), line(6))

    assert sorted(bench.ship().text.splitlines(keepends=True)) == [line(number) for number in range(2, 7)]


def test_a_log_that_is_truncated_while_it_is_read_is_another_log(tmp_path: Path) -> None:
    """Its beginning is not skipped, though the file has the same inode and is longer than before."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1))
    delivery, follower = Kept(), bench.follower()
    bench.shipper(delivery, follower).run(once=True)
    os.truncate(bench.log, 0)
    bench.write(line(2), line(3), line(4))
    bench.shipper(delivery, follower).run(once=True)
    follower.close()

    assert delivery.text == b"".join(map(line, range(5)))


def test_a_file_that_is_removed_while_it_is_open_is_read_to_its_end(tmp_path: Path) -> None:
    """The flag maxbackup may remove a rotated file that a slow receiver has not got yet."""
    bench = Bench(tmp_path)
    bench.write(*map(line, range(4)))
    follower = bench.follower()
    first = follower.next()
    bench.rotate().unlink()
    delivery = Kept()
    bench.shipper(delivery, follower).run(once=True)
    follower.close()

    assert first is not None
    assert delivery.text == b"".join(map(line, range(4)))
    assert bench.noted.lost_bytes == 0


def test_what_was_gone_before_it_was_read_is_counted(tmp_path: Path) -> None:
    """The shipper was away for too long."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1))
    bench.ship()
    bench.write(line(2))
    follower = bench.follower()
    assert follower.next() is not None
    bench.held.write(follower.checkpoint)
    follower.close()
    bench.log.unlink()
    bench.ship()

    assert bench.noted.lost_bytes == 100


def test_a_batch_on_its_way_is_sent_again_with_the_same_bytes(tmp_path: Path) -> None:
    """After a kill, though the log has grown and was rotated and compressed since."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1)[:50])

    class Killed(Kept):
        def deliver(self, body: bytes) -> Outcome:
            super().deliver(body)
            raise KeyboardInterrupt

    killed = Killed()
    with pytest.raises(KeyboardInterrupt):
        bench.ship(killed)
    bench.write(line(1)[50:], line(2))
    rotated = bench.rotate()
    rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()

    assert bench.ship().bodies[0] == killed.bodies[0] == line(0)


def test_a_batch_is_retried_until_it_is_delivered(tmp_path: Path) -> None:
    """With the same bytes, and never given up."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    delivery = bench.ship(Kept(failures=20))

    assert delivery.tried == [line(0)] * 21
    assert bench.noted.retries == 20


def test_a_shipper_that_is_stopped_while_it_retries_keeps_the_batch(tmp_path: Path) -> None:
    """The next shipper sends it."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    delivery, follower = Kept(failures=10**9), bench.follower()
    shipper = bench.shipper(delivery, follower)
    thread = threading.Thread(target=shipper.run)
    thread.start()
    until(lambda: len(delivery.tried) > 2)
    shipper.stop()
    thread.join(10)
    follower.close()

    assert not thread.is_alive()
    assert bench.ship().text == line(0)


def test_a_body_that_is_too_large_is_halved(tmp_path: Path) -> None:
    """The receiver may have a smaller limit than the shipper."""
    bench = Bench(tmp_path)
    bench.write(*map(line, range(4)))
    delivery = bench.ship(Kept(largest=100), batch=1000)

    assert delivery.bodies == [line(number) for number in range(4)]


def test_a_line_that_no_receiver_takes_is_set_aside_and_blocks_nothing(tmp_path: Path) -> None:
    """Else one large request of a user would hide all events after it."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1, 500), line(2))
    delivery = bench.ship(Kept(largest=300))

    (kept,) = bench.held.path.with_name("checkpoint.json.set-aside").iterdir()
    assert delivery.text == line(0) + line(2)
    assert kept.read_bytes() == line(1, 500)
    assert bench.noted.lines_set_aside == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_a_line_that_is_longer_than_any_body_is_set_aside(tmp_path: Path, *, zipped: bool) -> None:
    """It is found to be too long before it is sent."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1, 5000), line(2))
    if zipped:
        rotated = bench.rotate()
        rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    delivery = bench.ship()

    (kept,) = bench.held.path.with_name("checkpoint.json.set-aside").iterdir()
    assert delivery.text == line(0) + line(2)
    assert kept.read_bytes() == line(1, 5000)


def test_lines_of_a_container_go_out_without_their_wrappers(tmp_path: Path) -> None:
    """Parts are joined, also those of the next batch. kube-apiserver's own messages are left out and counted."""
    bench = Bench(tmp_path)
    stamp = b"2026-11-26T10:00:00.000000000Z "
    half = len(line(1)) // 2
    bench.write(
        stamp + b"stderr F I1126 10:00:00 server.go:1] hello\n",
        stamp + b"stdout F " + line(0),
        stamp + b"stdout P " + line(1)[:half] + b"\n",
        stamp + b"stdout F " + line(1)[half:],
        stamp + b"stdout P " + line(2)[:half] + b"\n",
    )
    first = bench.ship()
    bench.write(stamp + b"stdout F " + line(2)[half:])
    second = bench.ship()

    assert first.text == line(0) + line(1)
    assert second.text == line(2)
    assert bench.noted.other_lines == 1


def test_records_of_azure_go_out_as_their_events(tmp_path: Path) -> None:
    """As from a storage account's files. Records of other logs are left out and counted."""
    bench = Bench(tmp_path)
    records = [azure_record(line(0).decode()), azure_record("x", "guard"), azure_record(line(1).decode())]
    bench.write(*(json.dumps(record).encode() + b"\n" for record in records))

    assert bench.ship(batch=10_000, longest=10_000).text == line(0) + line(1)
    assert bench.noted.other_lines == 1


def test_at_the_end_only_new_lines_are_shipped(tmp_path: Path) -> None:
    """``--from end``: nothing of what is there, but all that follows."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    bench.rotate()
    bench.write(line(1))
    follower = bench.follower()
    follower.skip_to_the_end()
    bench.write(line(2))
    delivery = Kept()
    bench.shipper(delivery, follower).run(once=True)
    follower.close()

    assert delivery.text == line(2)


def test_a_pattern_finds_several_logs_and_their_rotated_files_once(tmp_path: Path) -> None:
    """The pattern may match the rotated files too."""
    for number, name in enumerate(["a.log", "b.log", "a-1.log", "b.log.1"]):
        (tmp_path / name).write_bytes(line(number))
    (tmp_path / "c.log").mkdir()
    (tmp_path / "d.log").symlink_to(tmp_path / "a.log")
    found = Files([f"{tmp_path}/*.log", str(tmp_path / "none.log")])

    assert sorted(file.path.name for file in found.find()) == ["a-1.log", "a.log", "b.log", "b.log.1"]
    assert [file.path.name for file in found.find() if file.active] == ["a.log", "b.log"]
    assert found.folders() == {tmp_path}


def test_the_whole_first_line_tells_files_apart(tmp_path: Path) -> None:
    """A client chooses the audit id and a long URI, so that the beginnings of two lines can be equal."""
    head = b'{"auditID":"mine","requestURI":"/' + b"x" * 200_000
    for name, time_of in (("a.log", b"1"), ("b.log", b"2")):
        (tmp_path / name).write_bytes(head + b'","stageTimestamp":"' + time_of + b'"}\n')

    first, second = Files([f"{tmp_path}/*.log"]).find()

    assert first.id != second.id


def test_two_shippers_cannot_have_one_checkpoint(tmp_path: Path) -> None:
    """The second one is told so."""
    bench = Bench(tmp_path)
    with bench.held.hold(), pytest.raises(CheckpointError, match="another shipper"), bench.held.hold():
        pass


@pytest.mark.parametrize("text", [b"", b"{}x", b'{"positions":1}', b'{"version":2}'])
def test_a_checkpoint_that_cannot_be_read_is_refused(tmp_path: Path, text: bytes) -> None:
    """Shipping everything again, unasked, could double what sinks hold."""
    bench = Bench(tmp_path)
    bench.held.path.write_bytes(text)

    with pytest.raises(CheckpointError, match=r"checkpoint\.json: (this file|version)"):
        bench.held.read()


def until(holds: Callable[[], bool]) -> None:
    """Return once ``holds``."""
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("not within 20 s")
        time.sleep(0.01)


@pytest.mark.parametrize("inotify", [True, False])
def test_a_running_shipper_follows_a_log_that_grows_rotates_and_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, inotify: bool
) -> None:
    """With inotify and without."""
    bench = Bench(tmp_path)
    if not inotify:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    delivery, follower = Kept(), bench.follower()
    shipper = bench.shipper(delivery, follower)
    thread = threading.Thread(target=shipper.run)
    thread.start()
    try:
        for number in range(6):
            bench.write(line(number))
            until(lambda: len(delivery.text) >= 100 * (number + 1))  # noqa: B023 - called at once
            if number % 2:
                bench.rotate(f"audit-{number}.log")
    finally:
        shipper.stop()
        thread.join(10)
        follower.close()

    assert delivery.text == b"".join(map(line, range(6)))
    assert not thread.is_alive()


def test_a_change_ends_the_wait(tmp_path: Path) -> None:
    """Long before the time is over."""
    stop = threading.Event()
    timer = threading.Timer(0.2, (tmp_path / "audit.log").touch)
    timer.start()
    began = time.monotonic()
    changes.wait([tmp_path], stop, 60)
    timer.join()

    assert time.monotonic() - began < 30


def gzipped(bench: Bench, data: bytes) -> Path:
    """Write ``data`` as an old rotated file with gzip's suffix."""
    path = bench.log.with_name("audit-2026-11-26T10-00-00.000.log.gz")
    path.write_bytes(data)
    return aged(path)


@pytest.mark.parametrize("damage", ["cut", "changed", "checksum"])
def test_a_damaged_compressed_file_blocks_nothing(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes before the damage is shipped, and so is the next file."""
    bench = Bench(tmp_path)
    whole = b"".join(line(number, 100 + number % 7) for number in range(5000))
    data = gzip.compress(whole)
    damaged = {
        "cut": data[: len(data) // 2],
        "changed": data[: len(data) // 2] + bytes(100) + data[len(data) // 2 + 100 :],
        "checksum": data[:-8] + bytes(8),
    }[damage]
    gzipped(bench, damaged)
    bench.write(line(9999))
    shipped = bench.ship(batch=100_000, longest=100_000).text

    before = shipped.removesuffix(line(9999))
    assert before != shipped
    assert len(before) > len(whole) // 3
    assert before[:150_000] == whole[:150_000]
    assert damage == "cut" or "what comes after it is lost" in caplog.text.lower()


def test_a_file_that_is_not_gzip_blocks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported."""
    bench = Bench(tmp_path)
    gzipped(bench, b"\x1f\x8b\x08\x00 broken from the beginning")
    bench.write(line(0))

    assert bench.ship().text == line(0)
    assert "gzip data is broken" in caplog.text


def test_a_compressed_file_may_still_grow(tmp_path: Path) -> None:
    """Where a program compresses into the final name, and has removed the original."""
    bench = Bench(tmp_path)
    data = gzip.compress(b"".join(map(line, range(3000))))
    path = gzipped(bench, data[: len(data) // 2])
    path.touch()
    delivery, follower = Kept(), bench.follower(batch=10_000)
    with closing(follower):
        shipper = bench.shipper(delivery, follower)
        shipper.run(once=True)
        some = len(delivery.text)
        with path.open("ab") as out:
            out.write(data[len(data) // 2 :])
        shipper.run(once=True)

    assert 0 < some < len(delivery.text)
    assert delivery.text == b"".join(map(line, range(3000)))


@pytest.mark.parametrize("name", ["audit.log", "audit-x.log"])
def test_a_fifo_is_left_alone(tmp_path: Path, name: str) -> None:
    """Opening it would wait for a writer for ever."""
    bench = Bench(tmp_path)
    if name == bench.log.name:
        os.mkfifo(bench.log)
        assert bench.ship().bodies == []
        return
    os.mkfifo(tmp_path / name)
    bench.write(line(0))
    assert bench.ship().text == line(0)


def test_a_log_that_does_not_exist_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A newcomer may have mistyped it, beside a log that exists."""
    (tmp_path / "audit.log").write_bytes(line(0))
    files = Files([str(tmp_path / name) for name in ("none.log", "audit.log", "none*.txt")])
    assert [len(files.find()), len(files.find())] == [1, 1]

    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / name}: there is no such file yet. The shipper waits for it" for name in ("none.log", "none*.txt")
    ]


def test_a_log_that_cannot_be_read_is_reported_and_not_shipped_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position stays, so that nothing is a duplicate once it can be read."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    bench.ship()
    bench.write(line(1))
    opened = Path.open

    def denied(path: Path, *arguments: Any, **named: Any) -> Any:
        if path == bench.log:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert bench.ship().bodies == []

    assert bench.ship().text == line(1)
    assert bench.noted.lost_bytes == 0
    assert f"{bench.log}: Permission denied" in caplog.text


def test_a_folder_that_is_away_for_a_while_is_not_shipped_again(tmp_path: Path) -> None:
    """Its disk may be mounted after the shipper starts."""
    bench = Bench(tmp_path)
    bench.log = tmp_path / "disk" / "audit.log"
    bench.log.parent.mkdir()
    bench.write(line(0))
    bench.ship()
    bench.log.parent.rename(tmp_path / "away")
    away = bench.ship()
    (tmp_path / "away").rename(bench.log.parent)
    bench.write(line(1))

    assert away.bodies == []
    assert bench.ship().text == line(1)
    assert bench.noted.lost_bytes == 0


def test_rotated_files_that_nobody_began_to_read_are_counted_as_lost(tmp_path: Path) -> None:
    """A backlog of several files, of which the flag maxbackup removes the oldest during an outage."""
    bench = Bench(tmp_path)
    for number in range(4):
        bench.write(line(number))
        aged(bench.rotate(f"audit-{number}.log"))
    follower = bench.follower()
    with closing(follower):
        assert follower.next() is not None
        (tmp_path / "audit-2.log").unlink()
        follower.look()

    assert bench.noted.lost_bytes == 100


def test_the_lag_grows_while_nothing_can_be_delivered(tmp_path: Path) -> None:
    """Else no alert would fire in an outage of the sink."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    seen: list[int] = []

    class Looking(Noted):
        def looked(self, lags: list[Lag]) -> None:
            seen.append(sum(lag.size_bytes for lag in lags))
            bench.write(line(len(seen)))

    bench.noted = Looking()
    follower = bench.follower()
    with closing(follower):
        shipper = bench.shipper(Kept(failures=10**9), follower)
        thread = threading.Thread(target=shipper.run)
        thread.start()
        until(lambda: len(seen) > 4)
        shipper.stop()
        thread.join(10)

    assert seen[:4] == [100, 200, 300, 400]


def test_the_lag_of_a_compressed_file_is_its_size_until_it_is_read(tmp_path: Path) -> None:
    """The size of its text is not known."""
    bench = Bench(tmp_path)
    size = gzipped(bench, gzip.compress(b"".join(map(line, range(10))))).stat().st_size
    follower = bench.follower()
    with closing(follower):
        follower.next()
        before = [lag.size_bytes for lag in follower.lags()]
        bench.shipper(Kept(), follower).run(once=True)
        after = [lag.size_bytes for lag in follower.lags()]

    assert (before, after) == ([size], [0])


def cri_parts(text: bytes, size: int) -> bytes:
    """Return a line of a container's log in parts."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    marks = [*(b"P" for _ in pieces[1:]), b"F"]
    stamp = b"2026-11-26T10:00:00.000000000Z stdout "
    return b"".join(stamp + mark + b" " + piece + b"\n" for mark, piece in zip(marks, pieces, strict=True))


def test_a_batch_that_is_halved_divides_no_line_in_parts(tmp_path: Path) -> None:
    """Else a user could make long lines that arrive in pieces. A line that never fits is set aside whole."""
    bench = Bench(tmp_path)
    lines = [line(number, 400) for number in range(5)]
    bench.write(*(cri_parts(each[:-1], 90) for each in lines[:4]), cri_parts(line(9, 2000)[:-1], 90))
    delivery = bench.ship(Kept(largest=800), batch=10_000, longest=10_000)

    (kept,) = bench.held.path.with_name("checkpoint.json.set-aside").iterdir()
    assert delivery.text == b"".join(lines[:4])
    assert kept.read_bytes() == cri_parts(line(9, 2000)[:-1], 90)


@pytest.mark.parametrize("batch", [100, 250, 5000])
def test_a_kill_between_the_halves_sends_the_same_half_again(tmp_path: Path, batch: int) -> None:
    """Also with another size of batches."""
    bench = Bench(tmp_path)
    bench.write(*map(line, range(8)))

    class Killed(Kept):
        def deliver(self, body: bytes) -> Outcome:
            outcome = super().deliver(body)
            if len(self.bodies) == 2:
                raise KeyboardInterrupt
            return outcome

    killed = Killed(largest=400)
    with pytest.raises(KeyboardInterrupt):
        bench.ship(killed, batch=800)
    again = bench.ship(batch=batch)

    assert again.bodies[0] == killed.bodies[1]
    assert killed.bodies[0] + again.text == b"".join(map(line, range(8)))


def test_a_batch_on_its_way_may_be_larger_than_the_new_limits(tmp_path: Path) -> None:
    """Its lines are sent again, and not set aside as if they were one line."""
    bench = Bench(tmp_path)
    bench.write(*map(line, range(8)))
    follower = bench.follower(batch=800)
    with closing(follower):
        batch = follower.next()
        assert batch is not None
        follower.sending(batch)
        bench.held.write(follower.checkpoint)

    assert bench.ship(batch=100, longest=300).bodies[0] == batch.body == b"".join(map(line, range(8)))


def test_a_carriage_return_in_a_message_forges_no_event(tmp_path: Path) -> None:
    """A line ends with a line feed alone."""
    bench = Bench(tmp_path)
    stamp = b"2026-11-26T10:00:00.000000000Z "
    bench.write(stamp + b"stderr F I1126 no such user: \r" + line(7), stamp + b"stdout F " + line(0))

    assert bench.ship().text == line(0)
    assert bench.noted.other_lines == 1


def test_a_log_of_other_lines_alone_is_counted(tmp_path: Path) -> None:
    """It is progress, and no batch."""
    bench = Bench(tmp_path)
    bench.write(*[b"2026-11-26T10:00:00.000000000Z stderr F I1126 hello\n"] * 3)

    assert bench.ship().bodies == []
    assert bench.noted.other_lines == 3


def test_a_batch_of_very_many_lines_is_divided(tmp_path: Path) -> None:
    """The receiver would refuse all of its events together."""
    bench = Bench(tmp_path)
    bench.write(line(0), b"x\n" * (MAX_ITEMS + 10), line(1))
    delivery = bench.ship(batch=1 << 20, longest=1 << 20)

    assert delivery.text == bench.log.read_bytes()
    assert max(body.count(b"\n") for body in delivery.bodies) <= MAX_ITEMS


def test_many_logs_do_not_need_many_open_files(tmp_path: Path) -> None:
    """A pattern may match more files than a process may open."""
    for number in range(300):
        (tmp_path / f"{number}.log").write_bytes(line(number))
    delivery = Kept()
    held = CheckpointFile(tmp_path / "checkpoint.json")
    follower = Follower(Files([str(tmp_path / "*.log")]), Checkpoint(), Limits(1000, 1000))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with closing(follower):
        Shipper(follower, held, delivery, pace=QUICK).run(once=True)
        opened = len(list(Path("/proc/self/fd").iterdir())) - before

    assert sorted(delivery.text.splitlines(keepends=True)) == sorted(map(line, range(300)))
    assert opened <= 70


def test_a_wait_that_inotify_refuses_is_a_pause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The folder is gone meanwhile, or other programs have all instances of inotify."""
    changes.wait([tmp_path / "gone"], threading.Event(), 0.01)

    assert "inotify failed" in caplog.text or not importlib.util.find_spec("watchfiles")


def test_a_file_that_is_being_compressed_is_no_log(tmp_path: Path) -> None:
    """The kubelet compresses into such a name. Its bytes are no lines."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    for suffix in (".tmp", ".zst"):
        aged(bench.log).with_name(f"audit.log.20261126-100000{suffix}").write_bytes(gzip.compress(line(1)) + b"\n")

    assert bench.ship().text == line(0)


def test_rotated_files_of_a_link_are_beside_its_target(tmp_path: Path) -> None:
    """As Docker's are, which /var/log/pods links to."""
    bench = Bench(tmp_path)
    target = tmp_path / "data" / "x-json.log"
    target.parent.mkdir()
    target.with_name("x-json.log.1").write_bytes(line(0))
    aged(target.with_name("x-json.log.1"))
    target.write_bytes(line(1))
    bench.log.symlink_to(target)

    assert bench.ship().text == line(0) + line(1)
    assert Files([str(bench.log)]).folders() == {tmp_path, target.parent}


def test_a_writer_that_was_not_told_of_the_rotation_loses_nothing(tmp_path: Path) -> None:
    """It may be quiet for a while, and then go on in the renamed file."""
    bench = Bench(tmp_path)
    bench.write(line(0))
    rotated = bench.rotate()
    first, second = bench.ship(), bench.ship()
    with rotated.open("ab") as out:
        out.write(line(1))

    assert (first.text, second.text) == (line(0), b"")
    assert bench.ship().text == line(1)


def test_a_clock_that_was_set_back_delays_nothing(tmp_path: Path) -> None:
    """Then a rotated file was written in the future."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1)[:-1])
    later = time.time() + OLD_S
    os.utime(bench.rotate(), (later, later))

    assert bench.ship().text == line(0) + line(1)[:-1]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_is_rotated_during_a_look_is_not_lost(tmp_path: Path, *, compressed: bool) -> None:
    """Its folder was listed before it got its new name, which is looked up after that."""
    bench = Bench(tmp_path)
    bench.write(line(0), line(1))
    rotated = bench.rotate() if compressed else bench.log
    bench.ship()
    listed = Files._names

    class Racing(Files):
        raced = False

        def _names(self, folder: Path) -> list[str]:
            names = listed(self, folder)
            if not self.raced:
                self.raced = True
                rename(rotated)
                bench.write(line(2))
            return names

    def rename(path: Path) -> None:
        if compressed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        else:
            bench.rotate()

    found = bench.held.read()
    assert found is not None
    delivery = Kept()
    files = Racing([str(bench.log)])
    with closing(Follower(files, found, Limits(250, 1000), lambda _, size: bench.noted.lost(size))) as follower:
        bench.shipper(delivery, follower).run(once=True)

    assert files.raced
    assert delivery.text == line(2)
    assert bench.noted.lost_bytes == 0
