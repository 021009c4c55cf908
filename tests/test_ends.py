"""Files that end within a line or a gzip member: the next event can be read, and the log tells it once."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.file_logs import USERS, kill_within_write, make_batch, make_sink
from support.requests import soon, write

from auditsplit.errors import SinkError
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.file import disk, journal
from auditsplit.sinks.file.ends import Ends, compress
from auditsplit.sinks.file.rotation import Rotation
from auditsplit.sinks.file.sink import FileSink
from auditsplit.sinks.file.tree import Tree

ALICE = ("alice",)


def line(number: int, user: str = "alice") -> bytes:
    """Return the line that the sink writes for the user's event of a batch."""
    [event] = make_batch(number, (user,)).events
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + bytes(event.raw)[1:] + b"\n"


def torn_log(root: Path, at: int = 150) -> Path:
    """Return alice's file, of the first line and ``at`` bytes of the second, without a journal that knows of it."""
    sink = make_sink(root, sync=False)
    write(sink, make_batch(1, ALICE))
    (root / ".auditsplit" / "journal").unlink()
    file = root / "kube-audit-alice" / "audit"
    file.write_bytes(line(1) + line(2)[:at])
    return file


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log's lines about half lines and half gzip members."""
    return [text for entry in caplog.records if "ended within a" in (text := entry.getMessage())]


@pytest.mark.parametrize("opened", [False, True])
def test_a_killed_workers_half_line_is_not_in_front_of_an_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, opened: bool
) -> None:
    """Killed within a write whose journal was removed: also where the next worker has the removed one open."""
    sink = make_sink(tmp_path)
    if opened:
        sink.check(soon())
    kill_within_write(tmp_path, 3)
    shutil.rmtree(tmp_path / ".auditsplit")

    stored = [write(sink, make_batch(number)) for number in (2, 3)]

    whole = [line(number, "carol") for number in (1, 2, 3)]
    half = whole[1][: len(whole[1]) // 2]
    assert stored == [True, True]
    assert (tmp_path / "kube-audit-carol" / "audit").read_bytes() == whole[0] + half + b"\n" + whole[1] + whole[2]
    [warning] = warnings(caplog)
    assert "1 files" in warning
    assert "carol" not in warning


def test_a_line_may_be_torn_anywhere(tmp_path: Path) -> None:
    """A copy of a growing file, restored without its journal, may end at any byte; a whole line gets nothing more."""
    for at in range(1, len(line(2)) + 1):
        root = tmp_path / str(at)
        file = torn_log(root, at)
        write(make_sink(root, sync=False), make_batch(3, ALICE))

        assert file.read_bytes() == line(1) + line(2)[:at].removesuffix(b"\n") + b"\n" + line(3), at


@pytest.mark.parametrize("text", [b"", b"\0" * 100, b"x"])
def test_other_ends(tmp_path: Path, text: bytes) -> None:
    """An empty file gets no line feed. One that a power cut filled with NULs does."""
    file = torn_log(tmp_path)
    file.write_bytes(text)

    write(make_sink(tmp_path, sync=False), make_batch(3, ALICE))

    assert file.read_bytes() == text + b"\n" * bool(text) + line(3)


def test_a_file_that_is_cut_while_the_journal_knows_it(tmp_path: Path) -> None:
    """Its size differs from the one that the journal knows."""
    sink = make_sink(tmp_path, sync=False)
    for number in (1, 2):
        write(sink, make_batch(number, ALICE))
    file = tmp_path / "kube-audit-alice" / "audit"
    os.truncate(file, file.stat().st_size - 10)

    write(sink, make_batch(3, ALICE))

    assert file.read_bytes() == line(1) + line(2)[:-10] + b"\n" + line(3)


@pytest.mark.parametrize("at", range(4))
def test_a_kill_while_a_half_line_is_ended(tmp_path: Path, at: int) -> None:
    """The line feed is in the journal with the batch: it is written once, whichever write is the last."""
    carol = tmp_path / "kube-audit-carol" / "audit"
    write(make_sink(tmp_path), make_batch(1))
    (tmp_path / ".auditsplit" / "journal").unlink()
    os.truncate(carol, 100)
    make_sink(tmp_path).check(soon())
    kill_within_write(tmp_path, at, [2])

    write(make_sink(tmp_path), make_batch(2))

    assert carol.read_bytes() == line(1, "carol")[:100] + b"\n" + line(2, "carol")
    assert (tmp_path / "kube-audit-alice" / "audit").read_bytes() == line(1) + line(2)


@pytest.mark.parametrize("survived", [0, 1, 50])
def test_a_power_cut_after_a_half_line_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """The journal puts the line feed and the events behind it where they were."""
    file = torn_log(tmp_path)
    size, sink = file.stat().st_size, make_sink(tmp_path)
    for number in (3, 4):
        write(sink, make_batch(number, ALICE))
    whole = file.read_bytes()
    os.truncate(file, size + survived)
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")

    make_sink(tmp_path).check(soon())

    assert file.read_bytes() == whole == line(1) + line(2)[:150] + b"\n" + line(3) + line(4)


def test_a_full_disk_leaves_a_half_line_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The retry ends it, and only then the log tells it."""
    file = torn_log(tmp_path)
    sink, torn, real = make_sink(tmp_path), file.read_bytes(), disk.write
    sink.check(soon())

    def write_half(descriptor: int, chunks: Sequence[bytes], offset: int) -> None:
        if offset == len(torn):
            real(descriptor, [b"".join(chunks)[:100]], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, chunks, offset)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", write_half)
        with pytest.raises(SinkError, match="No space left"):
            write(sink, make_batch(3, ALICE))
    before = file.read_bytes(), len(warnings(caplog))
    for number in (3, 4):
        write(sink, make_batch(number, ALICE))

    assert before == (torn, 0)
    assert file.read_bytes() == torn + b"\n" + line(3) + line(4)
    assert len(warnings(caplog)) == 1


def test_a_file_is_rotated_with_its_half_line_ended(tmp_path: Path) -> None:
    """Readers that join the files find no event behind the half line, and the new file begins with an event."""
    file = torn_log(tmp_path)
    filler = line(1) * (1024 * 1024 // len(line(1)))
    file.write_bytes(filler + line(2)[:150])

    write(make_sink(tmp_path, rotation=Rotation(max_size_mb=1)), make_batch(3, ALICE))

    [rotated] = file.parent.glob("audit~*")
    assert file.read_bytes() == line(3)
    assert rotated.read_bytes() == filler + line(2)[:150] + b"\n"


def test_a_replay_appends_to_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A restored copy that ends within a line has another inode, so the journal appends what it has."""
    sink = make_sink(tmp_path)
    for number in (1, 2):
        write(sink, make_batch(number, ALICE))
    file = tmp_path / "kube-audit-alice" / "audit"
    copy = file.with_name("copy")
    copy.write_bytes(line(1) + line(2)[:150])
    copy.replace(file)
    monkeypatch.setattr(journal, "_boot_id", lambda: "another boot")

    make_sink(tmp_path).check(soon())

    assert file.read_bytes() == line(1) + line(2)[:150] + b"\n" + line(2)
    assert len(warnings(caplog)) == 1


def test_the_end_of_a_file_is_read_once_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal tells every process at what size a file ends with a line."""
    write(make_sink(tmp_path), make_batch(1))
    (tmp_path / ".auditsplit" / "journal").unlink()
    read, real = list[str](), Tree.tail

    def tail(tree: Tree, key: str, size: int, length: int) -> bytes:
        read.append(key)
        return real(tree, key, size, length)

    monkeypatch.setattr(Tree, "tail", tail)
    one, other = make_sink(tmp_path), make_sink(tmp_path)
    for number, sink in enumerate((one, other, one, other, make_sink(tmp_path)), 2):
        write(sink, make_batch(number))

    assert sorted(read) == [f"kube-audit-{user}/audit" for user in USERS]


def test_the_command_in_the_log_finds_half_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing else."""
    torn_log(tmp_path)
    write(make_sink(tmp_path), make_batch(3, ALICE))
    [command] = re.findall("'(grep [^']*)'", warnings(caplog)[0])

    found = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True).stdout

    assert found == b"./kube-audit-alice/audit:2:" + line(2)[:150] + b"\n"


def packed_sink(root: Path) -> FileSink:
    """Return a sink of one compressed file."""
    return FileSink(root, KeyTemplate("audit.gz"), sync=False)


@pytest.mark.parametrize("at", [1, 10, 100, -8, -3])
def test_half_a_gzip_member_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, at: int) -> None:
    """Behind it readers would find nothing more, so the next events are in a new file."""
    file = tmp_path / "audit.gz"
    write(packed_sink(tmp_path), make_batch(1))
    first = file.read_bytes()
    write(packed_sink(tmp_path), make_batch(2))
    torn = first + file.read_bytes()[len(first) :][:at]
    shutil.rmtree(tmp_path / ".auditsplit")
    file.write_bytes(torn)

    for number in (2, 3):
        write(packed_sink(tmp_path), make_batch(number))

    [rotated] = tmp_path.glob("audit~*.gz")
    assert rotated.read_bytes() == torn
    assert gzip.decompress(file.read_bytes()).count(b"auditID") == 2 * len(USERS)
    [warning] = warnings(caplog)
    assert "1 files ended within a gzip member" in warning


def test_few_half_gzip_members_seem_whole(tmp_path: Path) -> None:
    """A member ends with its length. Wherever it is cut, hardly ever do the last bytes look like one."""
    file, text = tmp_path / "audit.gz", hashlib.shake_256(b"").hexdigest(10_000).encode()
    member = compress(text)
    tree = Tree()
    ends = Ends("file:", tree, packed=True)
    file.write_bytes(member)
    with disk.closing(os.open(tmp_path, os.O_RDONLY)) as root, tree.inside(root):
        unseen = [at for at in range(1, len(member)) if not ends.is_torn("audit.gz", at)]

        assert not ends.is_torn("audit.gz", len(member))
        assert len(unseen) < len(member) / 500


def test_large_texts_are_several_gzip_members(tmp_path: Path) -> None:
    """So the length at the end of a file is always small, and no whole file is set aside."""
    sink = packed_sink(tmp_path)
    write(sink, make_batch(1, size=600_000))
    (tmp_path / ".auditsplit" / "journal").unlink()

    write(sink, make_batch(2))

    [file] = tmp_path.glob("*.gz")
    with gzip.open(file) as lines:
        assert len([json.loads(line)["auditID"] for line in lines]) == 2 * len(USERS)
