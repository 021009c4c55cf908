"""The file sink: whole or not at all, once, by any number of writers, through full disks, kills and power cuts."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.file_logs import USERS, audit_ids, ids_of, kill_within_write, make_batch, make_sink, tree
from support.requests import soon, write

from auditsplit.deadline import Deadline
from auditsplit.errors import SinkError
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import Remembers
from auditsplit.sinks.file import disk, journal
from auditsplit.sinks.file import sink as file_sink
from auditsplit.sinks.file.rotation import Rotation
from auditsplit.sinks.file.sink import FileSink


def test_every_user_has_a_file_of_log_lines(tmp_path: Path) -> None:
    """The default layout is the documented one, and the line the log backend's."""
    sink = make_sink(tmp_path)

    assert write(sink, make_batch(1, ("alice", "bob"), size=1))

    line = (
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID": "1-alice", '
        b'"user": {"username": "alice"}, "requestObject": "x"}\n'
    )
    assert tree(tmp_path)["kube-audit-alice/audit"] == line
    assert sorted(tree(tmp_path)) == ["kube-audit-alice/audit", "kube-audit-bob/audit"]


def test_files_are_private(tmp_path: Path) -> None:
    """Audit events are nobody else's business: files 0600, folders 0700, the journal too."""
    write(make_sink(tmp_path / "log"), make_batch(1))

    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "log").rglob("*") if path.is_file()}
    assert modes == {"0o600"}
    assert (tmp_path / "log" / "kube-audit-alice").stat().st_mode & 0o777 == 0o700


def test_the_same_batch_is_stored_once(tmp_path: Path) -> None:
    """A retry is answered well and appended nowhere, also by another process or after a restart."""
    first, again = make_sink(tmp_path), make_sink(tmp_path)
    batch = make_batch(1)

    stored = [write(first, batch), write(first, batch), write(again, batch), write(make_sink(tmp_path), batch)]

    assert stored == [True, False, False, False]
    assert audit_ids(tmp_path) == ids_of(batch)


def test_a_stored_batch_is_remembered_by_every_process(tmp_path: Path) -> None:
    """The look-up tells what a write would find: not another batch, and not another layout."""
    batch, other = make_batch(1), make_batch(2)
    sink, by_namespace = make_sink(tmp_path), FileSink(tmp_path, KeyTemplate("by-namespace/{namespace}"))
    before = sink.remembers(batch.id, soon())
    write(sink, batch)

    known = [each.remembers(batch.id, soon()) for each in (sink, make_sink(tmp_path), by_namespace)]

    assert not before
    assert known == [True, True, False]
    assert not sink.remembers(other.id, soon())
    assert isinstance(sink, Remembers)


def test_the_same_batch_in_another_shape_is_another(tmp_path: Path) -> None:
    """What is remembered is the batch as this layout writes it, so that a changed setting hides nothing."""
    batch = make_batch(1)
    write(make_sink(tmp_path), batch)

    stored = write(FileSink(tmp_path, KeyTemplate("by-namespace/{namespace}")), batch)

    assert stored
    assert len(tree(tmp_path)) == len(USERS) + 1


def test_a_batch_is_remembered_when_the_journal_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries are known across the journal's turns, which happen by its size."""
    monkeypatch.setattr(file_sink, "_JOURNAL_BYTES", 1)
    sink = make_sink(tmp_path)
    made = [make_batch(number) for number in range(5)]

    stored = [write(sink, batch) for batch in made + made]

    assert stored == [True] * 5 + [False] * 5
    assert audit_ids(tmp_path) == ids_of(*made)


def test_memory_of_batches_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest batches, and none older than the apiserver's retries, are remembered."""
    sink = make_sink(tmp_path)
    made = [make_batch(number) for number in range(6)]
    monkeypatch.setattr(journal, "MAX_REMEMBERED", 2)
    for batch in made[:5]:
        write(sink, batch)
    monkeypatch.setattr(file_sink, "_JOURNAL_BYTES", 1)
    write(sink, made[5])

    assert len(sink._journal.seen) == 2
    assert write(sink, made[0])
    assert not write(sink, made[5])


def failing(real: Callable[..., Any], at: int, error: int) -> Callable[..., Any]:
    """Return ``real`` with its call number ``at`` (from 0) doing half of its work and failing."""
    calls = iter(range(10**6))

    def fail(file: int, chunks: Sequence[bytes], offset: int) -> None:
        if next(calls) == at:
            real(file, [b"".join(chunks)[: sum(map(len, chunks)) // 2]], offset)
            raise OSError(error, os.strerror(error))
        real(file, chunks, offset)

    return fail


@pytest.mark.parametrize("at", range(8))
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Whichever write the disk fills up at, the journal's or the seventh file's, no file has a byte of the batch."""
    sink = make_sink(tmp_path)
    write(sink, make_batch(1, USERS[:4]))
    before = tree(tmp_path)
    batch = make_batch(2)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", failing(disk.write, at, errno.ENOSPC))
        with pytest.raises(SinkError, match="No space left"):
            write(sink, batch)

    assert tree(tmp_path) == before
    assert not (tmp_path / "kube-audit-grace" / "audit").exists()
    assert write(sink, batch)
    assert audit_ids(tmp_path) == ids_of(make_batch(1, USERS[:4]), batch)


def test_a_failed_undo_is_mended_by_the_next_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even taking back fails, the batch stays on record, is finished later, and its retry is known."""
    sink, batch = make_sink(tmp_path), make_batch(2)
    write(sink, make_batch(1))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", failing(disk.write, 3, errno.EIO))
        patch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(SinkError):
            write(sink, batch)

    assert not write(sink, batch)
    assert audit_ids(tmp_path) == ids_of(make_batch(1), batch)


@pytest.mark.parametrize("at", range(8))
def test_a_kill_leaves_no_half_batch(tmp_path: Path, at: int) -> None:
    """Killed in the middle of any write, a batch is whole or not there once the next writer has looked."""
    kill_within_write(tmp_path, at)
    sink = make_sink(tmp_path)
    sink.check(soon())

    found = audit_ids(tmp_path)
    assert found in (ids_of(make_batch(1)), ids_of(make_batch(1), make_batch(2)))
    write(sink, make_batch(2))
    assert audit_ids(tmp_path) == ids_of(make_batch(1), make_batch(2))


def lose(root: Path, kept: dict[str, bytes]) -> None:
    """Make the files below ``root`` what the disk had got of them: prefixes, or nothing at all."""
    for path in tree(root):
        if path in kept:
            os.truncate(root / path, len(kept[path]))
        else:
            (root / path).unlink()


@pytest.mark.parametrize("survived", range(4))
def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    """Only the journal was synced: whatever of the files had reached the disk, another boot completes them."""
    sink = make_sink(tmp_path)
    made = [make_batch(number, USERS[number:]) for number in range(4)]
    states = []
    for batch in made:
        states.append(tree(tmp_path))
        write(sink, batch)
    whole = tree(tmp_path)
    lose(tmp_path, states[survived])
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")

    make_sink(tmp_path).check(soon())

    assert tree(tmp_path) == whole
    assert [write(make_sink(tmp_path), batch) for batch in made] == [False] * 4


def test_a_copied_folder_is_not_replayed_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files moved to another machine have other inodes, and every event already."""
    write(make_sink(tmp_path / "log"), make_batch(1))
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")

    make_sink(tmp_path / "copy").check(soon())

    assert tree(tmp_path / "copy") == tree(tmp_path / "log")


def test_a_torn_journal_after_a_power_cut_is_cut_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsync a record may reach the disk in part; it is dropped whole, and the ones before it hold."""
    sink = make_sink(tmp_path, sync=False)
    write(sink, make_batch(1))
    end = sink._journal.size
    write(sink, make_batch(2))
    shutil.rmtree(tmp_path / "kube-audit-alice")
    path = tmp_path / ".auditsplit" / "journal"
    text = bytearray(path.read_bytes())
    text[end + 200 :] = bytes(len(text) - end - 200)
    path.write_bytes(text)
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")

    make_sink(tmp_path).check(soon())

    assert (tmp_path / "kube-audit-alice" / "audit").read_bytes().count(b"1-alice") == 1
    assert write(make_sink(tmp_path), make_batch(2))


def test_a_file_that_somebody_renamed_goes_on_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outside logrotate loses no event, also where a power cut follows: rather twice than lost."""
    sink = make_sink(tmp_path)
    write(sink, make_batch(1, ("alice",)))
    (tmp_path / "kube-audit-alice" / "audit").rename(tmp_path / "kube-audit-alice" / "audit.1")
    write(sink, make_batch(2, ("alice",)))
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")
    make_sink(tmp_path).check(soon())

    found = audit_ids(tmp_path)
    assert set(found) == {"1-alice", "2-alice"}
    assert found["2-alice"] == 1


def test_a_removed_journal_is_begun_anew(tmp_path: Path) -> None:
    """Without the sink's own folder, the memory of retries is lost, and no event."""
    sink = make_sink(tmp_path)
    write(sink, make_batch(1))
    shutil.rmtree(tmp_path / ".auditsplit")

    assert write(sink, make_batch(2))
    assert audit_ids(tmp_path) == ids_of(make_batch(1), make_batch(2))


def test_a_journal_of_something_else_is_not_believed(tmp_path: Path) -> None:
    """Garbage in the journal's place stops nothing."""
    (tmp_path / ".auditsplit").mkdir()
    (tmp_path / ".auditsplit" / "journal").write_bytes(b"not a journal" * 100)

    assert write(make_sink(tmp_path), make_batch(1))
    assert audit_ids(tmp_path) == ids_of(make_batch(1))


def _write_many(root: str, numbers: Iterable[int]) -> None:
    sink = make_sink(Path(root), rotation=Rotation(max_size_mb=1))
    threads = [threading.Thread(target=write, args=(sink, make_batch(number, size=20_000))) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_processes_and_threads_write_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes of several threads, half of the batches sent twice, through rotations: every event once."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    numbers = [range(30), range(15, 45), range(30, 60), range(45, 75)]
    context = get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), part)) for part in numbers]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert audit_ids(tmp_path) == ids_of(*map(make_batch, range(75)))
    assert len(list((tmp_path / "kube-audit-alice").iterdir())) == 2


def test_a_gz_key_holds_gzip_members(tmp_path: Path) -> None:
    """A key that ends in .gz is compressed, a member a batch, and reads as one file."""
    sink = FileSink(tmp_path, KeyTemplate("audit-{namespace}.log.gz"))
    write(sink, make_batch(1, ("alice",)))
    write(sink, make_batch(2, ("alice",)))

    with gzip.open(tmp_path / "audit-none.log.gz") as lines:
        assert [json.loads(line)["auditID"] for line in lines] == ["1-alice", "2-alice"]


def test_rejected_bodies_are_kept_once_by_their_hash(tmp_path: Path) -> None:
    """The same undecodable body sent five times is one file of its very bytes."""
    sink = make_sink(tmp_path)

    places = {sink.reject("prod", "0a" * 32, b"\xffnot json", soon()) for _ in range(5)}

    assert places == {"_rejected/prod/" + "0a" * 32}
    assert tree(tmp_path) == {"_rejected/prod/" + "0a" * 32: b"\xffnot json"}


def test_a_rejected_body_that_does_not_fit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a body under a hash would be a lie."""
    sink = make_sink(tmp_path)
    sink.check(soon())
    monkeypatch.setattr(disk, "write", failing(disk.write, 0, errno.ENOSPC))

    with pytest.raises(SinkError, match="No space left"):
        sink.reject("prod", "0a" * 32, b"x" * 100, soon())

    assert tree(tmp_path) == {}
    assert not (tmp_path / ".auditsplit" / "rejected.new").exists()


def test_recovery_at_the_start_finishes_and_makes_nothing(tmp_path: Path) -> None:
    """What a killed process left is finished before the first batch; a store never used is not touched."""
    kill_within_write(tmp_path / "log", 3)

    make_sink(tmp_path / "log").recover()
    make_sink(tmp_path / "never").recover()

    assert audit_ids(tmp_path / "log") == ids_of(make_batch(1), make_batch(2))
    assert not (tmp_path / "never").exists()


def test_a_lock_that_is_never_free_fails_the_batch_in_time(tmp_path: Path) -> None:
    """Well within kube-apiserver's 30 s."""
    sink, other = make_sink(tmp_path), make_sink(tmp_path)
    sink.check(soon())

    with sink._lock.hold(soon()), pytest.raises(SinkError, match="not free within"):
        other.write(make_batch(1), Deadline.after(0.05))


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    """A deployer's mistake on the disk is the store's error, with the place."""
    (tmp_path / "log").write_text("")

    with pytest.raises(SinkError, match=r"log.*"):
        make_sink(tmp_path / "log").check(soon())


def test_a_batch_without_events_touches_nothing(tmp_path: Path) -> None:
    """An empty list is a probe's: it is taken and leaves no file."""
    sink = make_sink(tmp_path)

    assert write(sink, make_batch(1, ()))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("part", ["a", "a/kube-audit-alice", "a/kube-audit-alice/audit", ".auditsplit", "_rejected"])
@pytest.mark.parametrize("running", [False, True])
def test_symbolic_links_are_not_followed(tmp_path: Path, part: str, *, running: bool) -> None:
    """A link in any part of a path is refused, also one that replaces a folder while the sink runs."""
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "log"
    sink = FileSink(root, KeyTemplate("a/kube-audit-{user}/audit"))
    if running:
        write(sink, make_batch(1, ("alice",)))
        sink.reject("prod", "0a" * 32, b"x", soon())
        (root / part).rename(elsewhere)
    else:
        (root / part).parent.mkdir(parents=True)
        elsewhere.write_text("") if part.endswith("/audit") else elsewhere.mkdir()
    before = tree(elsewhere), elsewhere.stat().st_size
    (root / part).symlink_to(elsewhere)

    with pytest.raises(SinkError, match="move it away"):
        sink.reject("prod", "0b" * 32, b"y", soon()) if part == "_rejected" else write(sink, make_batch(2, ("alice",)))

    assert (tree(elsewhere), elsewhere.stat().st_size) == before


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    """The deployer chose its path."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "disk")

    assert write(make_sink(tmp_path / "log"), make_batch(1))
    assert audit_ids(tmp_path / "disk") == ids_of(make_batch(1))


def test_a_name_that_ends_in_gz_is_not_compressed(tmp_path: Path) -> None:
    """Whether files are compressed is the template's choice, not a user's."""
    write(FileSink(tmp_path, KeyTemplate("audit/{user}")), make_batch(1, ("bob.gz",)))

    [text] = tree(tmp_path).values()
    assert json.loads(text)["auditID"] == "1-bob.gz"


def test_a_batch_of_many_new_users_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files are made before the lock is taken, and removed if the batch does not fit."""
    sink, batch = make_sink(tmp_path), make_batch(1, [f"user-{number}" for number in range(600)], size=10)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", failing(disk.write, 300, errno.ENOSPC))
        with pytest.raises(SinkError, match="No space left"):
            write(sink, batch)
    left = list(tmp_path.glob("kube-audit-*/*"))

    assert left == []
    assert write(sink, batch)
    assert audit_ids(tmp_path) == ids_of(batch)


def test_the_lock_is_free_while_folders_and_files_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them is the slowest part of a batch of many new users, so other batches do not wait for it."""
    sink, other = make_sink(tmp_path), make_sink(tmp_path)
    real, stored = disk.make_folder, []

    def slow(name: str, above: int) -> None:
        if name == "kube-audit-user-7":
            stored.append(write(other, make_batch(2)))
        real(name, above)

    monkeypatch.setattr(disk, "make_folder", slow)
    write(sink, make_batch(1, [f"user-{number}" for number in range(20)]))

    assert stored == [True]


@pytest.mark.parametrize("syncfs", [None, 0, -1])
def test_many_files_are_synced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syncfs: int | None) -> None:
    """By one call for the file system; one by one where its errors would be hidden; an error is the sink's."""
    sink = make_sink(tmp_path)
    sink.check(soon())
    write(sink, make_batch(1, [f"user-{number}" for number in range(100)], size=10))
    synced: list[int] = []
    monkeypatch.setattr(disk, "_syncfs", None if syncfs is None else lambda _: syncfs)
    monkeypatch.setattr(disk, "_sync_data", synced.append)
    monkeypatch.setattr(file_sink, "_JOURNAL_BYTES", 1)

    if syncfs == -1:
        with pytest.raises(SinkError):
            write(sink, make_batch(2))
    else:
        write(sink, make_batch(2))
        assert len(synced) == (2 if syncfs == 0 else 2 + 107)


def test_every_write_syncs_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it returns, a write has synced the journal, which holds the whole batch; AUDIT_FILE_FSYNC=0 doesn't."""
    synced: list[int] = []
    monkeypatch.setattr(disk, "_sync_data", synced.append)
    sinks = {sync: make_sink(tmp_path / str(sync), sync=sync) for sync in (True, False)}
    counts = {}
    for sync, sink in sinks.items():
        write(sink, make_batch(1))
        synced.clear()  # the first use also syncs the new journal
        write(sink, make_batch(2))
        counts[sync] = synced.copy()

    assert counts == {True: [sinks[True]._journal._file], False: []}
