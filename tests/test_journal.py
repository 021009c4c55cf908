"""The journal, damaged or removed: what is whole stays known, nothing acknowledged is lost, and no request fails."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from support.file_logs import audit_ids, ids_of, make_batch, make_sink, tree
from support.requests import soon, write

from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.sinks.file import disk, journal, record
from auditsplit.sinks.file import sink as file_sink
from auditsplit.sinks.file.sink import FileSink

USERS = ("alice", "bob")
MADE = [make_batch(number, USERS, size=10) for number in range(4)]
FORGOTTEN = [{0, 1}, {2}, {3}]
"""The batches of each of the journal's records: the first one remembers two from before."""
MASKS = (0x01, 0x10, 0x80, 0xFF)


class Journal(NamedTuple):
    """A journal of three records."""

    path: Path
    text: bytes
    spans: list[tuple[int, int]]

    def flip(self, at: int, mask: int) -> None:
        """Put it back with the byte ``at`` changed."""
        self.path.write_bytes(self.text[:at] + bytes([self.text[at] ^ mask]) + self.text[at + 1 :])

    def hit(self, at: int) -> int:
        """Return the record that has the byte ``at``."""
        return next(number for number, (begin, end) in enumerate(self.spans) if begin <= at < end)

    def aside(self) -> list[Path]:
        """Return the files that were set aside."""
        return list(self.path.parent.glob("damaged-*"))


def journal_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Return the journal of `MADE`, which are stored below ``tmp_path``."""
    sink = make_sink(tmp_path, sync=False)
    write(sink, MADE[0])
    with monkeypatch.context() as patch:
        patch.setattr(file_sink, "_JOURNAL_BYTES", 1)
        write(sink, MADE[1])
    for batch in MADE[2:]:
        write(sink, batch)
    path = sink._journal.path
    spans, at = [], 0
    with path.open("rb") as file:
        while found := record.read(file.fileno(), at, path.stat().st_size):
            spans.append((at, at + found.size))
            at += found.size
    return Journal(path, path.read_bytes(), spans)


def remembered(sink: FileSink) -> set[int]:
    """Return which of `MADE` the sink would not store again."""
    known = {
        number: hashlib.sha256(sink._shape + bytes.fromhex(batch.id)).digest() for number, batch in enumerate(MADE)
    }
    return {number for number, known_as in known.items() if known_as in sink._journal.seen}


def test_the_journal_has_the_records_that_the_tests_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that the next tests would show nothing."""
    kept = journal_of(tmp_path, monkeypatch)
    assert len(kept.spans) == len(FORGOTTEN)
    assert kept.spans[-1][1] == len(kept.text)


@pytest.mark.parametrize("boot", ["the same", "another"])
def test_a_flipped_bit_costs_only_the_memory_of_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """Every byte is changed in four ways: no error, every event once, the other records' batches remembered."""
    kept = journal_of(tmp_path, monkeypatch)
    if boot == "another":
        monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")
    whole = tree(tmp_path)

    for at, mask in ((at, mask) for at in range(len(kept.text)) for mask in MASKS):
        kept.flip(at, mask)
        damaged, number = kept.path.read_bytes(), kept.hit(at)
        sink = make_sink(tmp_path, sync=False)
        sink.check(soon())

        begin, end = kept.spans[number]
        only_status = 4 <= at - begin < 8  # it has no CRC: a record that seems unfinished is written over itself
        assert remembered(sink) == {0, 1, 2, 3} - (set() if only_status else FORGOTTEN[number]), (at, mask)
        assert [path.read_bytes() for path in kept.aside()] == ([] if only_status else [damaged[begin:end]]), (at, mask)
        assert tree(tmp_path) == whole
        for path in kept.aside():
            path.unlink()


@pytest.mark.parametrize("number", [1, 2])
def test_a_power_cut_loses_only_what_was_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where the files have nothing yet, the records that are whole fill them."""
    kept = journal_of(tmp_path, monkeypatch)
    begin, end = kept.spans[number]
    kept.flip((begin + end) // 2, 0x04)
    shutil.rmtree(tmp_path / "kube-audit-alice")
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")
    sink = make_sink(tmp_path, sync=False)
    sink.check(soon())

    alice = {name for name in audit_ids(tmp_path) if name.endswith("alice")}
    assert alice == {f"{each}-alice" for each in {2, 3} - FORGOTTEN[number]}
    assert write(sink, MADE[number + 1])
    assert set(audit_ids(tmp_path).values()) <= {1, 2}


def test_damage_is_logged_and_set_aside_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line names the bytes and the file; the next process finds a journal without damage."""
    kept = journal_of(tmp_path, monkeypatch)
    kept.flip(kept.spans[1][0] + 30, 0x20)
    with caplog.at_level(logging.WARNING, "auditsplit"):
        for _ in range(2):
            make_sink(tmp_path).check(soon())

    [aside] = kept.aside()
    [line] = [entry.getMessage() for entry in caplog.records]
    assert str(aside) in line
    assert f"from byte {kept.spans[1][0]} on are damaged" in line
    assert aside.stat().st_mode & 0o777 == 0o600


def test_a_damaged_journal_on_a_full_disk_is_the_sinks_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up before it can be set aside."""
    kept = journal_of(tmp_path, monkeypatch)
    kept.flip(kept.spans[1][0] + 30, 0x20)
    damaged = kept.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(SinkError, match="No space left"):
            make_sink(tmp_path).check(soon())

    assert kept.path.read_bytes() == damaged
    make_sink(tmp_path).check(soon())
    assert len(kept.aside()) == 1


def test_a_removed_journal_is_read_to_its_end_by_those_who_have_it_open(tmp_path: Path) -> None:
    """What one process wrote just before is still known to the other, and in the new journal to a third."""
    one, other = make_sink(tmp_path), make_sink(tmp_path)
    one.check(soon())
    write(other, MADE[0])
    (tmp_path / ".auditsplit" / "journal").unlink()

    stored = [write(one, MADE[0]), write(make_sink(tmp_path), MADE[0]), write(other, MADE[0])]

    assert stored == [False] * 3
    assert audit_ids(tmp_path) == ids_of(MADE[0])


def test_a_batch_that_failed_with_its_journal_is_stored_by_its_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its undo failed too, and then the journal was removed: it is not taken for stored."""
    sink = make_sink(tmp_path)
    sink.check(soon())
    with monkeypatch.context() as patch:
        patch.setattr(sink._tree, "write", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
        patch.setattr(sink._tree, "truncate", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
        with pytest.raises(SinkError):
            write(sink, MADE[0])
    (tmp_path / ".auditsplit" / "journal").unlink()

    assert write(sink, MADE[0])
    assert audit_ids(tmp_path) == ids_of(MADE[0])


def test_everything_is_synced_where_the_journal_does_not_say_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed journal named files that may not be on the disk yet."""
    kept = journal_of(tmp_path, monkeypatch)
    synced: list[int] = []

    def syncfs(folder: int) -> int:
        synced.append(folder)
        return 0

    monkeypatch.setattr(disk, "_syncfs", syncfs)
    make_sink(tmp_path).check(soon())
    before = len(synced)
    kept.path.unlink()

    make_sink(tmp_path).check(soon())

    assert (before, len(synced)) == (0, 1)


@pytest.mark.parametrize("name", ["lock", "journal", "probe", "."])
def test_files_of_the_sink_are_removed_under_load(tmp_path: Path, name: str) -> None:
    """No event is lost, stored twice or torn, and a batch that fails meanwhile is stored by its retry."""
    sinks = [make_sink(tmp_path, sync=False) for _ in range(4)]
    batches: list[Batch] = [make_batch(number, USERS, size=2_000) for number in range(200)]
    done, removed = threading.Event(), []

    def send(worker: int) -> None:
        for batch in batches[worker::4]:
            while True:
                try:
                    write(sinks[worker], batch)
                except SinkError:
                    continue
                break

    def clean_up() -> None:
        while not done.wait(0.005):
            if name == ".":
                shutil.rmtree(tmp_path / ".auditsplit", ignore_errors=True)
            else:
                (tmp_path / ".auditsplit" / name).unlink(missing_ok=True)
            removed.append(name)

    cleaner = threading.Thread(target=clean_up)
    senders = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    for thread in (cleaner, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    cleaner.join()

    assert removed
    assert audit_ids(tmp_path) == ids_of(*batches)
