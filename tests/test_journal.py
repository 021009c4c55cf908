"""A damaged journal: whatever bit flips, the sink goes on, and no batch is lost that had reached its files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.file_logs import audit_ids, ids_of, make_batch, make_sink, tree
from support.requests import soon, write

from auditsplit.sinks.file import records

USERS = ("alice", "bob")
BATCHES = [make_batch(number, USERS, size=20) for number in range(1, 4)]


def recorded(root: Path, *, unfinished: bool) -> Path:
    """Return the journal of a sink with three batches, the last of them perhaps in no file yet."""
    sink = make_sink(root, sync=False)
    for batch in BATCHES:
        write(sink, batch)
    path = root / ".auditsplit" / "journal"
    if unfinished:
        before = make_sink(root.with_name("before"), sync=False)
        for batch in BATCHES[:2]:
            write(before, batch)
        for name, lines in tree(before.root).items():
            (root / name).write_bytes(lines)
        text = bytearray(path.read_bytes())
        text[text.rindex(b"asj2") + 4] = 0
        path.write_bytes(text)
    return path


def flips(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the text with one bit flipped, in every third byte, with the place."""
    for place in range(0, len(text), 3):
        flipped = bytearray(text)
        flipped[place] ^= 1 << place % 8
        yield place, bytes(flipped)


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_flipped_bit_costs_no_more_than_its_record(tmp_path: Path, *, unfinished: bool) -> None:
    """The first two batches are in their files; the last one is there whole, or not at all."""
    path = recorded(tmp_path / "log", unfinished=unfinished)
    first_two, everything = ids_of(*BATCHES[:2]), ids_of(*BATCHES)

    for place, text in flips(path.read_bytes()):
        root = tmp_path / "flipped"
        shutil.copytree(tmp_path / "log", root)
        (root / ".auditsplit" / "journal").write_bytes(text)
        sink = make_sink(root, sync=False)

        sink.check(soon())

        stored = audit_ids(root)
        assert stored in ([first_two, everything] if unfinished else [everything]), place
        forgotten = [write(sink, batch) for batch in BATCHES]
        assert sum(forgotten) <= 1, place
        assert stored <= audit_ids(root), place
        assert write(make_sink(root, sync=False), make_batch(4, USERS)), place
        shutil.rmtree(root)


def test_a_damaged_record_is_set_aside_with_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bytes stay for whoever investigates the disk; the records behind them are still remembered."""
    path = recorded(tmp_path, unfinished=False)
    text = bytearray(path.read_bytes())
    second = text.index(b"asj2", 4)
    text[second + 60] ^= 1
    path.write_bytes(text)

    with caplog.at_level(logging.ERROR):
        known = [not write(make_sink(tmp_path, sync=False), batch) for batch in BATCHES]

    [aside] = (tmp_path / ".auditsplit").glob("damaged-*")
    assert bytes(text[second : second + 100]) in aside.read_bytes()
    assert aside.name in caplog.text
    assert "are damaged and were set aside" in caplog.text
    assert known == [False, True, True]


def test_a_record_behind_garbage_is_found(tmp_path: Path) -> None:
    """Garbage may hold the records' first bytes too."""
    garbage = b"\0" * 100 + b"asj2" + b"\0" * 100 + b"asj2"
    with (tmp_path / "file").open("w+b") as file:
        file.write(garbage)
        file.flush()
        size = records.write(file.fileno(), len(garbage), records.Record(batch=b"x"), [b"data"])
        end = len(garbage) + size

        assert records.find_next(file.fileno(), 0, end) == len(garbage)
        stored = records.read(file.fileno(), len(garbage), end)
        assert stored is not None
        assert stored.record.batch == b"x"
        assert records.read_data(file.fileno(), stored) == b"data"
