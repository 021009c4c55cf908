"""Sources: what is searched, each with a name and a stream of its lines."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from auditsplit.archive.find.places import Places
from auditsplit.archive.tree import live_key, log_files
from auditsplit.decode import pieces

PIPE = Path("-")
"""The path that stands for standard input."""


class Source(Protocol):
    """A file or an object."""

    @property
    def name(self) -> str:
        """The path or key, as results show it."""

    def open(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Return the lines as a stream, decompressed. ``OSError`` or `AuditsplitError` where that fails."""


class File(NamedTuple):
    """A file, perhaps compressed with gzip or zstd, or standard input."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Return the lines: see `Source.open`."""
        raw = io.FileIO(0, closefd=False) if self.path == PIPE else io.FileIO(self.path)
        with raw, io.BufferedReader(raw) as stream:
            yield pieces.decompressed(stream)


def files(path: Path) -> Iterator[File]:
    """Yield the files that ``path`` names: itself, or all below it if it is a folder."""
    if path != PIPE and path.is_dir():
        yield from map(File, log_files(path))
    else:
        yield File(path)


def of_sink(root: Path, places: Places) -> Iterator[File]:
    """Yield the files of a file sink below ``root`` that may hold matching events, rotated files too."""
    for path in log_files(root):
        if places.may_hold(live_key(path.relative_to(root).as_posix())):
            yield File(path)
