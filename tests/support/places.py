"""Places: a fresh spot in every kind of store, with what a test must see and break there that the function may not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import pytest

from auditsplit import sinks
from auditsplit.errors import SinkError
from auditsplit.sinks import Sink
from auditsplit.sinks.file.sink import FileSink
from auditsplit.sinks.memory import MemorySink
from support.elastic_places import elasticsearch_place
from support.object_places import azure_place, gcs_place, s3_place

_OWN_FOLDER = ".auditsplit"


class Place(Protocol):
    """A fresh spot in a store."""

    def sink(self) -> Sink:
        """Return the store as a new process would have it."""

    def dying(self, puts: int) -> Sink:
        """Return the store as a process has it that dies after ``puts`` of the batch's users."""

    def dead(self) -> Sink:
        """Return a store whose server, disk or memory isn't there."""

    def held(self) -> dict[str, bytes]:
        """Return what lies there by key, unpacked: everything, but for the file store's own folder."""


class FilePlace:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not be there."""
        self._folder = folder
        self.url = f"file://{folder}/log?fsync=0"

    def sink(self) -> Sink:
        """See `Place.sink`."""
        return _sink(self.url)

    def dying(self, puts: int) -> Sink:
        """See `Place.dying`."""
        sink = cast("FileSink", self.sink())
        left, put = itertools.count(puts, -1), sink._tree.write

        def dying_put(key: str, chunk: bytes, offset: int) -> None:
            if next(left) <= 0:
                raise OSError("the process died")
            put(key, chunk, offset)

        sink._tree.write = dying_put  # type: ignore[method-assign]
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "file").touch()
        return _sink(f"file://{self._folder}/file/log")

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        root = self._folder / "log"
        files = [path for path in root.rglob("*") if path.is_file() and _OWN_FOLDER not in path.parts]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}


class MemoryPlace:
    """A process."""

    def __init__(self) -> None:
        """Start empty."""
        self._sink = cast("MemorySink", _sink("memory:"))

    def sink(self) -> Sink:
        """See `Place.sink`."""
        self._sink.failure = None
        return self._sink

    def dying(self, puts: int) -> Sink:  # noqa: ARG002 - it stores a batch in one go
        """See `Place.dying`."""
        return self.dead()

    def dead(self) -> Sink:
        """See `Place.dead`."""
        self._sink.failure = SinkError("there is no memory")
        return self._sink

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        return {**self._sink.objects, **self._sink.rejected}


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "az": azure_place,
    "elasticsearch": elasticsearch_place,
    "file": lambda request: FilePlace(request.getfixturevalue("tmp_path")),
    "gs": gcs_place,
    "memory": lambda _: MemoryPlace(),
    "s3": s3_place,
}
"""By the store's scheme."""


def _sink(url: str) -> Sink:
    return sinks.from_url(url, {}, "authenticated")
