"""Decompression, within a bound on the bytes that come out."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from auditsplit.errors import BodyTooLarge, Undecodable, UnsupportedBody

_PIECE_BYTES = 1024 * 1024
_MAX_SHOWN_CHARACTERS = 40


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return ``body`` without its Content-Encoding.

    Several gzip members are one body (RFC 1952).

    Args:
        body: The bytes as they were sent.
        encoding: The value of the request's Content-Encoding, empty where there is none.
        max_bytes: The most bytes that gzip may decompress to. It does not bound an uncompressed body, which is returned
            as it is.

    Raises:
        BodyTooLarge: When more than ``max_bytes`` come out of gzip. The rest is not decompressed.
        UnsupportedBody: For an encoding other than gzip and identity.
        Undecodable: For broken gzip.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body, max_bytes)
        case other:
            raise UnsupportedBody(
                f"expected Content-Encoding gzip or none, got {other[:_MAX_SHOWN_CHARACTERS]!r}. kube-apiserver "
                "compresses nothing",
                Accept_Encoding="gzip",
            )


def unzipped(stream: BinaryIO) -> BinaryIO:
    """Return a stream of the decompressed bytes of ``stream``, which holds one or more gzip members."""
    return cast("BinaryIO", igzip.IGzipFile(fileobj=stream))  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def gzip_errors() -> Iterator[None]:
    """Raise `Undecodable` for the errors of reading an `unzipped` stream."""
    try:
        yield
    except EOFError as error:
        raise Undecodable("the gzip data ends too early. Send all of it") from error
    except (isal_zlib.IsalError, gzip.BadGzipFile) as error:  # type: ignore[misc]  # the stub has no class
        raise Undecodable(f"the gzip data is broken: {error}") from error


def too_large(max_bytes: int, reason: str) -> BodyTooLarge:
    """Return the error for a body over ``max_bytes``. ``reason`` is how that was noticed."""
    return BodyTooLarge(
        f"expected a body of at most {max_bytes} bytes (AUDIT_MAX_BODY_BYTES), {reason}. Lower "
        "--audit-webhook-batch-max-size, or set --audit-webhook-truncate-enabled and "
        "--audit-webhook-truncate-max-event-size",
        Connection="close",  # the unread rest of the body must not be read as the next request
    )


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    pieces = []
    left = max_bytes + 1
    with unzipped(io.BytesIO(body)) as plain, gzip_errors():
        while left and (piece := plain.read(min(left, _PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise too_large(max_bytes, "it grows over that when decompressed")
    return b"".join(pieces)
