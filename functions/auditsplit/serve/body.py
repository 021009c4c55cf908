"""A request's body: read and decompressed within a bound, never whole before the bound is known to hold."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

from isal import igzip, isal_zlib

from auditsplit.errors import BodyTooLarge, BrokenOff, Undecodable, UnsupportedBody

_PIECE_BYTES = 1024 * 1024


class Stream(Protocol):
    """Where a body is read from; returns fewer bytes than asked for, or none, at its end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""


def read(stream: Stream, max_bytes: int, content_length: int | None) -> bytes:
    """Return the whole body of at most ``max_bytes``; `BodyTooLarge` otherwise, with no more than that read.

    `BrokenOff` where the stream ends before the ``content_length`` that was announced, None where none was.
    """
    if content_length is not None and content_length > max_bytes:
        raise _too_large(max_bytes, f"{content_length} bytes were announced")
    pieces = []
    left = max_bytes + 1
    while left and (piece := stream.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise _too_large(max_bytes, "more were sent")
    came = max_bytes + 1 - left
    if content_length is not None and came < content_length:
        raise BrokenOff(f"expected a body of {content_length} bytes, {came} came; send it again", Connection="close")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return ``body`` without its Content-Encoding, at most ``max_bytes``.

    Raises `BodyTooLarge` once it grows over that, `UnsupportedBody` for an encoding other than gzip and identity, and
    `Undecodable` for broken gzip. Several gzip members are one body (RFC 1952).
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body, max_bytes)
        case other:
            raise UnsupportedBody(
                f"expected Content-Encoding gzip or none, came {other[:40]!r}; kube-apiserver compresses nothing",
                Accept_Encoding="gzip",
            )


def unzipped(stream: BinaryIO) -> BinaryIO:
    """Return what ``stream``, one or more gzip members, reads as."""
    return cast("BinaryIO", igzip.IGzipFile(fileobj=stream))  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def gzip_errors() -> Iterator[None]:
    """Turn the errors of what `unzipped` reads into `Undecodable`."""
    try:
        yield
    except EOFError as error:
        raise Undecodable("the gzip data ends too early; send all of it") from error
    except (isal_zlib.IsalError, gzip.BadGzipFile) as error:  # type: ignore[misc]  # the stub has no class
        raise Undecodable(f"expected gzip, and it is broken: {error}") from error


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    pieces = []
    left = max_bytes + 1
    with unzipped(io.BytesIO(body)) as plain, gzip_errors():
        while left and (piece := plain.read(min(left, _PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise _too_large(max_bytes, "it grows over that when decompressed")
    return b"".join(pieces)


def _too_large(max_bytes: int, what: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"expected a body of at most {max_bytes} bytes (AUDIT_MAX_BODY_BYTES), {what}; lower "
        "--audit-webhook-batch-max-size, or set --audit-webhook-truncate-enabled and "
        "--audit-webhook-truncate-max-event-size",
        Connection="close",  # what was not read of the body must not be taken for a request
    )
