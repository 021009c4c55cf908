"""Packed lines: the decompressed stream of a file or an object of one or more gzip members or zstd frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from auditsplit.decode import compression, zstd


@contextlib.contextmanager
def opened(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Return the lines in ``stream``, by the ending of ``name``. `Undecodable` if the data is broken."""
    if name.endswith(".gz"):
        with compression.gzip_errors():
            yield compression.unzipped(stream)
    elif name.endswith(".zst"):
        yield zstd.decompressed(stream)
    else:
        yield stream
