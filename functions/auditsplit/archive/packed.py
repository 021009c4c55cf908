"""Packed lines: the decompressed stream of a file or an object of one or more gzip members or zstd frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from auditsplit.decode import compression
from auditsplit.errors import Undecodable


@contextlib.contextmanager
def opened(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Return the lines in ``stream``, by the ending of ``name``. `Undecodable` if the data is broken."""
    if name.endswith(".gz"):
        with compression.gzip_errors():
            yield compression.unzipped(stream)
    elif name.endswith(".zst"):
        with _unframed(stream) as lines:
            yield lines
    else:
        yield stream


@contextlib.contextmanager
def _unframed(stream: BinaryIO) -> Iterator[BinaryIO]:
    try:
        import zstandard  # noqa: PLC0415 - the package of an extra
    except ModuleNotFoundError as error:
        raise Undecodable(
            "the data is compressed with zstd, which requires the package zstandard. Install auditsplit with the extra "
            "'zstd'"
        ) from error
    try:
        yield cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    except zstandard.ZstdError as error:
        raise Undecodable(f"the zstd data is broken: {error}") from error
