"""Files that are named one by one, outside of any sink. Their bytes tell how they are compressed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from auditsplit.archive.tree import log_files
from auditsplit.decode import pieces

PIPE = Path("-")
"""The path that stands for standard input."""


class File(NamedTuple):
    """A file, perhaps compressed with gzip or zstd, or standard input."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def place(self) -> str:
        """The path too, since no template gave it."""
        return str(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Return the lines: see `auditsplit.archive.reader.Source.open`."""
        raw = io.FileIO(0, closefd=False) if self.path == PIPE else io.FileIO(self.path)
        with raw, io.BufferedReader(raw) as stream:
            yield pieces.decompressed(stream)


def files(path: Path) -> Iterator[File]:
    """Yield the files that ``path`` names: itself, or all below it if it is a folder."""
    if path != PIPE and path.is_dir():
        yield from map(File, log_files(path))
    else:
        yield File(path)
