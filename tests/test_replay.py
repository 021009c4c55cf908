"""Recorded files: whatever their layout and size, every event of them is delivered, piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, event, eventlist, line, numbered
from support.recording import DATA
from support.requests import ingest_into

from auditsplit import replay
from auditsplit.decode import pieces
from auditsplit.errors import BodyTooLarge, SinkError, Undecodable
from auditsplit.policy.redaction import Redaction
from auditsplit.replay import Delivered
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.memory import MemorySink

LOG = [line("alice", auditID=f"id-{number}") for number in range(50)]


class OneByteAtATime(io.RawIOBase):
    """A pipe whose writer is slow: every read gives one byte."""

    def __init__(self, data: bytes) -> None:
        """Hold ``data``."""
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read one byte."""
        piece = self._data.read(1)
        buffer[: len(piece)] = piece
        return len(piece)


def store() -> MemorySink:
    """Return an empty store."""
    return MemorySink(KeyTemplate("{user}"))


def split(data: bytes | io.RawIOBase, sink: MemorySink, max_body_bytes: int = 1_000_000) -> list[Delivered]:
    """Deliver a file's content, with the recording's Secrets as they came."""
    raw = io.BytesIO(data) if isinstance(data, bytes) else data
    ingest = ingest_into([sink], Redaction.parse("none"))
    return list(replay.split(io.BufferedReader(raw), "prod", ingest, max_body_bytes))


def totals(done: list[Delivered]) -> Counter[str]:
    """Return the sum of the pieces' counts, without those that are 0."""
    return +sum((Counter(piece.counts) for piece in done), Counter[str]())


def stored(sink: MemorySink, user: str = "alice") -> list[bytes]:
    """Return a user's lines."""
    return sink.objects.get(user, b"").splitlines()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n"])
def test_an_audit_log(end: bytes, last: bytes) -> None:
    """A log's lines come out as they are, with or without an end to the last."""
    sink = store()

    done = split(end.join(LOG) + last, sink)

    assert totals(done) == {"events": 50}
    assert stored(sink) == LOG


@pytest.mark.parametrize("piece_bytes", [1, 1000, 64_000])
def test_a_big_log_is_delivered_in_pieces(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded audit log, cut into pieces of any size, comes out whole, every user's lines in their order."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", piece_bytes)
    log = (DATA / "audit.log").read_bytes()
    sink = store()

    done = split(log, sink)

    by_user: dict[str | None, list[bytes]] = {}
    for one in log.splitlines():
        by_user.setdefault(json.loads(one)["user"].get("username"), []).append(one)
    assert totals(done) == {"events": 407}
    assert len(done) > len(log) // (2 * 64_000)
    assert sorted(sink.objects.values()) == sorted(b"\n".join([*lines, b""]) for lines in by_user.values())


@given(
    st.lists(st.sampled_from([*LOG[:3], b"", b"x" * 700, event("alice"), LOG[4][:-9], b"{"]), max_size=12),
    st.integers(1, 3000),
)
@PROPERTY
def test_pieces_lose_nothing(lines: list[bytes], piece_bytes: int) -> None:
    """Wherever a log is cut, each of its lines is an event or kept as none, and its events stay in order."""
    sink = store()
    events = [*LOG, event("alice")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_PIECE_BYTES", piece_bytes)
        done = split(b"\n".join([LOG[3], *lines]), sink)

    good = [one for one in [LOG[3], *lines] if one in events]
    kept = set(b"\n".join(sink.rejected.values()).split(b"\n")) - {b""}
    again = totals(done)["duplicate"]  # a piece of the same bytes counts as the same batch
    assert totals(done)["events"] == len(good)
    assert len(stored(sink)) == len(good) - again
    assert again or stored(sink) == [line("alice") if one == event("alice") else one for one in good]
    assert kept == {one for one in lines if one not in events} - {b""}


def test_recorded_lists(recorded: list[bytes]) -> None:
    """Recorded EventLists are files of one line each; together they are a file of several."""
    apart, together = store(), store()

    counts = [totals(split(body, apart))["events"] for body in recorded]
    done = split(b"".join(recorded), together)

    assert counts == [238, 7, 35, 117, 8, 1, 1]
    assert totals(done) == {"events": 407}
    assert together.objects == apart.objects


@pytest.mark.parametrize("indent", [0, 2, "\t"])
def test_a_pretty_printed_list(indent: int | str) -> None:
    """A list laid out over many lines is one document."""
    sink = store()
    pretty = json.dumps(json.loads(eventlist(numbered(5))), indent=indent).encode()

    done = split(pretty, sink)

    assert totals(done) == {"events": 5}
    assert stored(sink) == LOG[:5]


def test_a_pretty_printed_event() -> None:
    """So is a single Event."""
    sink = store()

    done = split(json.dumps(json.loads(LOG[0]), indent=2).encode(), sink)

    assert totals(done) == {"events": 1}
    assert stored(sink) == LOG[:1]


@pytest.mark.parametrize("members", [1, 5])
def test_gzip_is_recognised(members: int) -> None:
    """A compressed log is read like a plain one, also where it was compressed in parts."""
    sink = store()
    size = len(LOG) // members
    parts = [b"\n".join([*LOG[at : at + size], b""]) for at in range(0, len(LOG), size)]

    done = split(b"".join(map(gzip.compress, parts)), sink)

    assert totals(done) == {"events": 50}
    assert stored(sink) == LOG


@pytest.mark.parametrize("packed", [False, True])
def test_a_slow_pipe(packed: bool) -> None:  # noqa: FBT001
    """However little a read gives, plain and compressed input are told apart and read to the end."""
    sink = store()
    data = b"\n".join(LOG[:3])

    done = split(OneByteAtATime(gzip.compress(data) if packed else data), sink)

    assert totals(done) == {"events": 3}


@pytest.mark.parametrize(
    "head",
    [
        LOG[0][40:] + b"\n",
        LOG[0][40:] + b"\nnoise\n",
        b"\n\n\n",
        b'{"kind":"Pod"}\n{"kind":"Pod"}\n',
        b"I0101 00:00:00 flags\n" * 5,
        b"{\n}\n",
    ],
    ids=["torn", "torn and noise", "empty lines", "other kinds", "log of something else", "brackets"],
)
def test_what_stands_first_costs_no_event_behind_it(head: bytes) -> None:
    """A log that begins with a torn line, empty lines or noise is a log all the same."""
    sink = store()

    done = split(head + b"\n".join(LOG), sink)

    assert totals(done)["events"] == 50
    assert stored(sink) == LOG
    assert all(one in b"\n".join(sink.rejected.values()) for one in head.split(b"\n") if one)


def test_a_torn_line_anywhere_is_kept() -> None:
    """A line that is no event is kept, counted and complained of, with the place."""
    sink = store()

    done = split(b"\n".join([*LOG[:5], LOG[5][:-9], *LOG[6:]]), sink)

    [complaint] = [complaint for piece in done for complaint in piece.complaints]
    assert totals(done) == {"events": 49, "rejected": 1}
    assert stored(sink) == LOG[:5] + LOG[6:]
    assert list(sink.rejected.values()) == [LOG[5][:-9]]
    assert complaint.startswith("line 6: ")
    assert "memory:/_rejected/prod/" in complaint


@pytest.mark.parametrize("data", [b"no document", b"{\n]\n", b"[1,2]", b"\x00\xff" * 50, b'{"kind":"PodList"}'])
def test_what_is_no_document_is_kept(data: bytes) -> None:
    """A file of something else is kept whole and complained of."""
    sink = store()

    [done] = split(data, sink)

    assert +Counter(done.counts) == {"rejected": len(data.splitlines())}
    assert all("It is written to memory:/_rejected/prod/" in complaint for complaint in done.complaints)
    assert list(sink.rejected.values()) == data.splitlines()


def test_a_list_with_an_item_on_each_line() -> None:
    """A list whose items stand on lines of their own, with their kinds, is one document, not lines of some."""
    sink = store()
    items = b",\n".join(LOG[:5])

    done = split(b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[\n' + items + b"\n]}\n", sink)

    assert totals(done) == {"events": 5}
    assert stored(sink) == LOG[:5]
    assert sink.rejected == {}


def test_what_comes_before_a_break_is_stored() -> None:
    """A compressed log that ends too early is split as far as it goes, and then said to be broken."""
    sink = store()
    log = [line("alice", auditID=hashlib.sha512(b"%d" % number).hexdigest()) for number in range(2000)]
    packed = gzip.compress(b"\n".join(log))

    with pytest.raises(Undecodable, match="gzip data ends too early"):
        split(packed[: len(packed) // 2], sink)

    found = stored(sink)
    assert 500 < len(found) < 1500
    assert found == log[: len(found)]


def test_an_empty_file() -> None:
    """Nothing is nothing, compressed too."""
    sink = store()

    assert totals(split(b"", sink)) == totals(split(gzip.compress(b""), sink)) == {}
    assert sink.objects == sink.rejected == {}


def test_a_document_too_large_is_refused() -> None:
    """A document over many lines must fit into memory; the bound itself does."""
    pretty = json.dumps(json.loads(eventlist(numbered(5))), indent=1).encode()
    sink = store()

    assert totals(split(pretty, store(), len(pretty))) == {"events": 5}
    with pytest.raises(BodyTooLarge, match="AUDIT_MAX_BODY_BYTES"):
        split(pretty, sink, len(pretty) - 1)
    assert sink.objects == {}


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_too_large_is_refused(packed: bool) -> None:  # noqa: FBT001
    """A line must fit too, decompressed; a bomb is not read to its end."""
    data = b"\n".join([*LOG[:2], b"x" * 5_000_000])
    sink = store()

    with pytest.raises(BodyTooLarge, match="AUDIT_MAX_BODY_BYTES"):
        split(gzip.compress(data) if packed else data, sink, 1000)

    assert sink.rejected == {}


def test_a_file_may_be_larger_than_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on a line or document, not on a log."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 2000)
    sink = store()

    done = split(b"\n".join(LOG), sink, 1000)

    assert totals(done) == {"events": 50}


def test_the_same_file_again_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is split again is counted as stored before, and is not stored twice."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 2000)
    sink = store()
    split(b"\n".join(LOG), sink)

    done = split(b"\n".join(LOG), sink)

    assert totals(done) == {"events": 50, "duplicate": 50}
    assert stored(sink) == LOG


def test_after_a_stores_trouble_the_file_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was yielded is stored; split again, the file goes on where the store failed."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 2000)
    sink = store()
    delivered = replay.split(io.BufferedReader(io.BytesIO(b"\n".join(LOG))), "prod", ingest_into([sink]), 1_000_000)
    first = next(delivered)
    sink.failure = SinkError("the disk is full")
    with pytest.raises(SinkError):
        list(delivered)
    assert len(stored(sink)) == first.counts["events"] < 50
    sink.failure = None

    done = split(b"\n".join(LOG), sink)

    assert totals(done) == {"events": 50, "duplicate": first.counts["events"]}
    assert stored(sink) == LOG


def test_the_cluster_is_the_events_own() -> None:
    """Events go to the places of the cluster that they are said to be from."""
    sink = MemorySink(KeyTemplate("{cluster}/{user}"))

    split(b"x\n" + line("bob"), sink)

    assert list(sink.objects) == ["prod/bob"]
    assert list(sink.rejected) == [next(iter(sink.rejected))]
    assert next(iter(sink.rejected)).startswith("_rejected/prod/")


def test_hostile_lines_of_a_log() -> None:
    """The server's own log has hostile bodies too; their lines come out as they are."""
    sink = store()
    log = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item[1:] for item in HOSTILE.values()]

    done = split(b"\n".join(log), sink, 3_000_000)

    assert totals(done) == {"events": len(HOSTILE)}
    assert b"\n".join([*log, b""]) == sink.objects["mallory"]
