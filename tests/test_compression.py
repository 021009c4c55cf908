"""Decompression: no more bytes come out than the bound allows."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.decode import compression
from auditsplit.errors import BodyTooLarge, Undecodable, UnsupportedBody


@given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 9)), min_size=1, max_size=4))
@PROPERTY
def test_decompression_is_the_inverse_of_compression(members: list[tuple[bytes, int]]) -> None:
    """Gzip of any level, and of several members, gives the bytes that were compressed."""
    packed = b"".join(gzip.compress(data, level) for data, level in members)
    plain = b"".join(data for data, _ in members)

    assert compression.decompress(packed, "gzip", len(plain)) == plain


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", " gzip "])
def test_the_names_of_gzip_are_accepted(encoding: str) -> None:
    """The name of the encoding is not case-sensitive and has an old form."""
    assert compression.decompress(gzip.compress(b"abc"), encoding, 10) == b"abc"


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", " "])
def test_an_uncompressed_body_stays(encoding: str) -> None:
    """Without an encoding, even bytes that begin like gzip stay as they are."""
    assert compression.decompress(b"\x1f\x8babc", encoding, 10) == b"\x1f\x8babc"


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip,identity", "*", "gzi", "\ud800"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """The error and its header name the accepted encoding."""
    with pytest.raises(UnsupportedBody, match="gzip or none") as caught:
        compression.decompress(b"abc", encoding, 10)

    assert caught.value.status == 415
    assert caught.value.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 3_000_000])
def test_decompressed_bytes_are_bounded(size: int) -> None:
    """Exactly the bound is accepted. One byte more is refused."""
    packed = gzip.compress(b"x" * size)

    assert len(compression.decompress(packed, "gzip", size)) == size
    with pytest.raises(BodyTooLarge, match="decompressed"):
        compression.decompress(gzip.compress(b"x" * (size + 1)), "gzip", size)


def test_a_bomb_is_not_decompressed() -> None:
    """Data behind the bound is not read: broken data there gives `BodyTooLarge`, not `Undecodable`."""
    bomb = gzip.compress(bytes(50_000_000), 1)
    broken = bomb[: len(bomb) // 2]

    with pytest.raises(BodyTooLarge):
        compression.decompress(broken, "gzip", 1_000_000)


def test_a_bomb_of_many_members_is_not_decompressed() -> None:
    """Many small members are bounded together."""
    bomb = gzip.compress(bytes(100_000)) * 2000 + b"\x1f\x8bbroken"

    with pytest.raises(BodyTooLarge):
        compression.decompress(bomb, "gzip", 1_000_000)


def test_many_empty_members_are_an_empty_body() -> None:
    """Empty members need no recursion."""
    assert compression.decompress(gzip.compress(b"") * 50_000, "gzip", 10) == b""


@pytest.mark.parametrize("cut", range(1, 31))
def test_truncated_gzip_is_refused(cut: int) -> None:
    """Gzip that ends too early is refused, whether it ends in its data, its checksum or its header."""
    packed = gzip.compress(b"hello")[:-cut] if cut < len(gzip.compress(b"hello")) else b"\x1f"

    with pytest.raises(Undecodable, match="gzip"):
        compression.decompress(packed, "gzip", 100)


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
    """Wrong bytes anywhere are refused, also behind a whole member."""
    with pytest.raises(Undecodable, match="gzip"):
        compression.decompress(packed, "gzip", 1000)


@given(st.binary(max_size=80), st.data())
@PROPERTY
def test_any_gzip_is_decompressed_or_refused(noise: bytes, data: st.DataObject) -> None:
    """Noise, alone or inside gzip, gives bytes within the bound or an expected error."""
    packed = gzip.compress(b"hello world " * 20)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(packed))] * 2)))

    for mixed in (noise, packed[:start] + noise + packed[end:]):
        try:
            plain = compression.decompress(mixed, "gzip", 200)
        except (Undecodable, BodyTooLarge):
            continue
        assert len(plain) <= 200
