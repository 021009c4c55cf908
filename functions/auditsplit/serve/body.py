"""Read the body of a request within a bound. No more than the bound and one byte is ever read."""

from __future__ import annotations

from typing import Protocol

from auditsplit.decode.compression import too_large
from auditsplit.errors import BrokenOff

_PIECE_BYTES = 1024 * 1024


class Stream(Protocol):
    """The source of a body."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def read(stream: Stream, max_bytes: int, content_length: int | None) -> bytes:
    """Return the whole body.

    Args:
        stream: Where the body is read from.
        max_bytes: The most bytes that the body may have.
        content_length: The length that the request announced in bytes, None where it announced none.

    Raises:
        BodyTooLarge: When the body has more than ``max_bytes``, or announced more. At most one byte over the bound is
            read.
        BrokenOff: When the stream ends before ``content_length`` bytes.
    """
    if content_length is not None and content_length > max_bytes:
        raise too_large(max_bytes, f"{content_length} bytes were announced")
    pieces = []
    left = max_bytes + 1
    while left and (piece := stream.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise too_large(max_bytes, "more were sent")
    received = max_bytes + 1 - left
    if content_length is not None and received < content_length:
        raise BrokenOff(
            f"expected a body of {content_length} bytes, received {received}. Send it again", Connection="close"
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
