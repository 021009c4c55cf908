"""Bodies: no more is read or decompressed than the bound allows."""

from __future__ import annotations

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.errors import BodyTooLarge, BrokenOff, Undecodable, UnsupportedBody
from auditsplit.serve import body


class Trickle:
    """A connection that gives at most ``at_once`` bytes a read, and counts them."""

    def __init__(self, data: bytes, at_once: int = 1 << 30) -> None:
        """Hold ``data``."""
        self._data = io.BytesIO(data)
        self._at_once = at_once
        self.reads = 0

    def read(self, size: int, /) -> bytes:
        """Return a little."""
        self.reads += 1
        assert size > 0, "read(0) says nothing, read(-1) reads all"
        return self._data.read(min(size, self._at_once))

    @property
    def given(self) -> int:
        """Return how many bytes were read."""
        return self._data.tell()


@given(st.binary(max_size=300), st.integers(1, 50), st.integers(0, 400), st.booleans())
@PROPERTY
def test_a_body_is_read_whole_or_refused(data: bytes, at_once: int, max_bytes: int, announced: bool) -> None:  # noqa: FBT001
    """However it trickles in, a body within the bound comes whole; another is refused, one byte after the bound."""
    stream = Trickle(data, at_once)
    length = len(data) if announced else None
    try:
        found: bytes | None = body.read(stream, max_bytes, length)
    except BodyTooLarge:
        found = None

    assert found == (data if len(data) <= max_bytes else None)
    assert stream.given <= max_bytes + 1


@pytest.mark.parametrize("length", [None, 10])
def test_the_bound_itself_is_allowed(length: int | None) -> None:
    """Exactly the bound is taken."""
    assert body.read(Trickle(b"x" * 10), 10, length) == b"x" * 10


def test_one_byte_more_is_refused() -> None:
    """One more is not, with the setting and the apiserver's flags in the reason."""
    with pytest.raises(BodyTooLarge, match=r"AUDIT_MAX_BODY_BYTES.*--audit-webhook-batch-max-size") as caught:
        body.read(Trickle(b"x" * 11), 10, None)

    assert caught.value.status == 413


def test_what_is_announced_too_large_is_not_read() -> None:
    """The announced length is enough to refuse."""
    stream = Trickle(b"x" * 100)

    with pytest.raises(BodyTooLarge, match="11 bytes were announced"):
        body.read(stream, 10, 11)

    assert stream.reads == 0


def test_an_announcement_is_not_trusted() -> None:
    """Who announces little and sends much is bounded all the same."""
    stream = Trickle(b"x" * 100)

    with pytest.raises(BodyTooLarge):
        body.read(stream, 10, 3)

    assert stream.given == 11


@pytest.mark.parametrize("came", [b"", b"x" * 9])
def test_half_a_body_is_no_body(came: bytes) -> None:
    """A connection that ends before the announced length broke off: half a body is never taken for a whole one."""
    with pytest.raises(BrokenOff, match=f"10 bytes, {len(came)} came"):
        body.read(Trickle(came, 4), 10, 10)


def test_no_body_is_empty() -> None:
    """Nothing sent is nothing read."""
    assert body.read(Trickle(b""), 10, None) == b""


@given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 9)), min_size=1, max_size=4))
@PROPERTY
def test_gzip_comes_back(members: list[tuple[bytes, int]]) -> None:
    """Any gzip, also of several members, at any level, is what was compressed."""
    packed = b"".join(gzip.compress(data, level) for data, level in members)
    plain = b"".join(data for data, _ in members)

    assert body.decompress(packed, "gzip", len(plain)) == plain


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", " gzip "])
def test_gzip_by_its_names(encoding: str) -> None:
    """The encoding's name is not case-sensitive, and has an old form."""
    assert body.decompress(gzip.compress(b"abc"), encoding, 10) == b"abc"


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", " "])
def test_no_encoding(encoding: str) -> None:
    """Without an encoding the bytes are as they are."""
    assert body.decompress(b"\x1f\x8babc", encoding, 10) == b"\x1f\x8babc"


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip,identity", "*", "gzi", "\ud800"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """What is not taken is refused with what is."""
    with pytest.raises(UnsupportedBody, match="gzip or none") as caught:
        body.decompress(b"abc", encoding, 10)

    assert caught.value.status == 415
    assert caught.value.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 3_000_000])
def test_the_bound_holds_for_what_is_decompressed(size: int) -> None:
    """Exactly the bound is taken, one byte more is not."""
    packed = gzip.compress(b"x" * size)

    assert len(body.decompress(packed, "gzip", size)) == size
    with pytest.raises(BodyTooLarge, match="decompressed"):
        body.decompress(gzip.compress(b"x" * (size + 1)), "gzip", size)


def test_a_bomb_is_not_decompressed() -> None:
    """What lies behind the bound is never looked at: it could be broken, and nobody would know."""
    bomb = gzip.compress(bytes(50_000_000), 1)
    broken = bomb[: len(bomb) // 2]

    with pytest.raises(BodyTooLarge):
        body.decompress(broken, "gzip", 1_000_000)


def test_a_bomb_of_many_members_is_not_decompressed() -> None:
    """Many small members are bounded together."""
    bomb = gzip.compress(bytes(100_000)) * 2000 + b"\x1f\x8bbroken"

    with pytest.raises(BodyTooLarge):
        body.decompress(bomb, "gzip", 1_000_000)


def test_a_million_empty_members_are_an_empty_body() -> None:
    """Members that hold nothing cost time in proportion only, and no recursion."""
    assert body.decompress(gzip.compress(b"") * 50_000, "gzip", 10) == b""


@pytest.mark.parametrize("cut", range(1, 31))
def test_truncated_gzip_is_refused(cut: int) -> None:
    """Wherever it ends too early (in its data, in its checksum, in its header), a body is not taken for a whole one."""
    packed = gzip.compress(b"hello")[:-cut] if cut < len(gzip.compress(b"hello")) else b"\x1f"

    with pytest.raises(Undecodable, match="gzip"):
        body.decompress(packed, "gzip", 100)


@pytest.mark.parametrize(
    "packed",
    [
        b"hello, I am no gzip at all, though announced",
        b"x",
        b"{}",
        zlib.compress(b"hello"),
        gzip.compress(b"hello") + b"trailing garbage that is long enough",
        gzip.compress(b"hello") + b"x",
        gzip.compress(b"hello") + gzip.compress(b"world")[:-1],
        gzip.compress(b"hello")[:-8] + b"\0\0\0\0" + gzip.compress(b"hello")[-4:],
        gzip.compress(b"hello")[:-4] + b"\xff\0\0\0",
        gzip.compress(b"hello")[:10] + b"\xff" * 20,
        b"\x1f\x8b\x09" + bytes(30),
        b"\x1f\x8b\x08\xff" + bytes(30),
    ],
    ids=range(12),
)
def test_broken_gzip_is_refused(packed: bytes) -> None:
    """Wrong bytes anywhere, behind a whole member too, are refused."""
    with pytest.raises(Undecodable, match="gzip"):
        body.decompress(packed, "gzip", 1000)


@given(st.binary(max_size=80), st.data())
@PROPERTY
def test_any_gzip_is_decompressed_or_refused(noise: bytes, data: st.DataObject) -> None:
    """Noise, alone or in a gzip, gives bytes within the bound or one of our refusals."""
    packed = gzip.compress(b"hello world " * 20)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(packed))] * 2)))

    for mixed in (noise, packed[:start] + noise + packed[end:]):
        try:
            plain = body.decompress(mixed, "gzip", 200)
        except (Undecodable, BodyTooLarge):
            continue
        assert len(plain) <= 200
