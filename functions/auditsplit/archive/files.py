"""The reader of the file sink's files: live ones, rotated ones, and those that were compressed since."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from auditsplit.archive import packed
from auditsplit.archive.reader import Choice, Source
from auditsplit.archive.tree import log_files
from auditsplit.routing.template import KeyTemplate

_ROTATED = re.compile(r"~\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?=[^/~]*\Z)")
_ENDINGS = (".gz", ".zst")


class FileSource(NamedTuple):
    """A file. It may be compressed with gzip or zstd."""

    path: Path
    place: str

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return str(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """See `Source.open`."""
        with self.path.open("rb") as raw, packed.opened(io.BufferedReader(raw.raw), self.name) as stream:
            yield stream


class FileReader:
    """A `Reader` of a folder."""

    def __init__(self, name: str, root: str, template: KeyTemplate) -> None:
        """Touch nothing yet. ``root`` is the folder."""
        self.name, self.template = name, template
        self._root = Path(root)

    def sources(self, choice: Choice) -> Iterator[Source]:
        """See `Reader.sources`. A file that is gone by then was rotated away, or is an older file now."""
        for path in log_files(self._root):
            place = place_of(path.relative_to(self._root).as_posix())
            if choice.may_hold(place):
                yield FileSource(path, place)


def place_of(key: str) -> str:
    """Return the key that the template gave, or gives, without what rotation and compression added."""
    for ending in _ENDINGS:
        key = key.removesuffix(ending)
    return _ROTATED.sub("", key)
