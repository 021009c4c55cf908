"""Bodies: no more bytes are read than the bound and one."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.errors import BodyTooLarge, BrokenOff
from auditsplit.serve import body


class Trickle:
    """A stream that returns at most ``at_once`` bytes a read, and counts reads and bytes."""

    def __init__(self, data: bytes, at_once: int = 1 << 30) -> None:
        """Hold ``data``."""
        self._data = io.BytesIO(data)
        self._at_once = at_once
        self.reads = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
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
    """A body within the bound is read whole, by any number of reads. A larger one is refused at the first byte over."""
    stream = Trickle(data, at_once)
    length = len(data) if announced else None
    try:
        whole: bytes | None = body.read(stream, max_bytes, length)
    except BodyTooLarge:
        whole = None

    assert whole == (data if len(data) <= max_bytes else None)
    assert stream.given <= max_bytes + 1


@pytest.mark.parametrize("length", [None, 10])
def test_a_body_as_large_as_the_bound_is_read(length: int | None) -> None:
    """Exactly the bound is allowed, with and without an announced length."""
    assert body.read(Trickle(b"x" * 10), 10, length) == b"x" * 10


def test_one_byte_more_is_refused() -> None:
    """One more is not, with the setting and the apiserver's flags in the reason."""
    with pytest.raises(BodyTooLarge, match=r"AUDIT_MAX_BODY_BYTES.*--audit-webhook-batch-max-size") as caught:
        body.read(Trickle(b"x" * 11), 10, None)

    assert caught.value.status == 413


def test_a_body_that_announces_too_much_is_not_read() -> None:
    """The announced length is enough to refuse."""
    stream = Trickle(b"x" * 100)

    with pytest.raises(BodyTooLarge, match="11 bytes were announced"):
        body.read(stream, 10, 11)

    assert stream.reads == 0


def test_more_bytes_than_announced_are_bounded() -> None:
    """A sender that announces little and sends much is refused at the bound."""
    stream = Trickle(b"x" * 100)

    with pytest.raises(BodyTooLarge):
        body.read(stream, 10, 3)

    assert stream.given == 11


@pytest.mark.parametrize("data", [b"", b"x" * 9])
def test_an_incomplete_body_is_refused(data: bytes) -> None:
    """A stream that ends before the announced length raises `BrokenOff`, also where it is empty."""
    with pytest.raises(BrokenOff, match=f"10 bytes, received {len(data)}"):
        body.read(Trickle(data, 4), 10, 10)


def test_an_absent_body_is_empty() -> None:
    """A stream without a byte, and without an announced length, is an empty body."""
    assert body.read(Trickle(b""), 10, None) == b""
