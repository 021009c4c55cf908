"""Zstandard: the text of a stored file of one or more frames."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from auditsplit.errors import Undecodable

_INPUT_BYTES = 4096  # a block of 4 bytes may become 128 KB, so little is decompressed at a time


def decompressed(stream: BinaryIO) -> BinaryIO:
    """Return a stream of the decompressed bytes of ``stream``, which holds one or more frames.

    Raises:
        Undecodable: The package zstandard is missing. Reading raises it where the data is broken or ends too early.
    """
    try:
        import zstandard  # noqa: PLC0415 - the package of an extra
    except ModuleNotFoundError as error:
        raise Undecodable(
            "the file is compressed with zstd, which requires the package zstandard. Install auditsplit with the "
            "extra 'zstd', or decompress the file"
        ) from error
    return cast("BinaryIO", io.BufferedReader(_Frames(stream, zstandard)))


class _Frames(io.RawIOBase):
    """Reads frames one after another."""

    def __init__(self, stream: BinaryIO, zstandard: Any) -> None:
        self._stream, self._zstandard = stream, zstandard
        self._frame: Any = None
        self._compressed, self._text = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._text:
            if not self._next():
                return 0
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._text))
        view[:size] = self._text[:size]
        self._text = self._text[size:]
        return size

    def _next(self) -> bool:
        """Decompress some bytes. Return whether there were any."""
        self._compressed = self._compressed or self._stream.read(_INPUT_BYTES)
        if not self._compressed:
            if self._frame is not None:
                raise Undecodable("the zstd data ends too early. Copy the whole file again")
            return False
        if self._frame is None:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
        try:
            self._text = memoryview(self._frame.decompress(self._compressed))
        except self._zstandard.ZstdError as error:
            raise Undecodable(f"the zstd data is broken: {error}") from error
        self._compressed = b""
        if self._frame.eof:
            self._compressed, self._frame = self._frame.unused_data, None
        return True
