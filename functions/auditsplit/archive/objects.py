"""The reader of object stores. It reads each line once, also while the compaction joins and deletes objects."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from auditsplit.archive import joined, packed
from auditsplit.archive.joined import Manifest, Span, by_hour, cover, holders, hour_of, manifest_key
from auditsplit.archive.reader import Choice, Source
from auditsplit.archive.stores import Gone, Store
from auditsplit.sinks.objects.options import ObjectOptions, layout_of
from auditsplit.sinks.options import Target

_TRIES = 5  # runs of the compaction that may join an hour anew while it is read


class ObjectSource:
    """An object, or a part of a joined object."""

    def __init__(self, hours: Hours, span: Span) -> None:
        """Remember what to read, and read nothing yet."""
        self._hours, self._span = hours, span
        self.place = span.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return self._span.key

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """See `Source.open`."""
        body = self._hours.read(self._span)
        with packed.opened(io.BytesIO(body), self.name) as stream:
            yield stream


class ObjectReader:
    """A `Reader` of a prefix of a bucket."""

    def __init__(self, name: str, store: Store, target: Target[ObjectOptions]) -> None:
        """Touch nothing yet."""
        layout = layout_of(target)
        self.name, self.template = name, layout.template
        self._hours = Hours(store, layout.prefix)

    def sources(self, choice: Choice) -> Iterator[Source]:
        """See `Reader.sources`."""
        for folder in self._folders("", choice, choice.depth):
            places: dict[str, list[str]] = {}
            for key in self._hours.keys(folder):
                if hour_of(key) and choice.may_hold(key.rpartition("/")[0]):
                    places.setdefault(key.rpartition("/")[0], []).append(key)
            for keys in places.values():
                for found in by_hour(keys).values():
                    for span in cover(found, self._hours.manifest):
                        yield ObjectSource(self._hours, span)

    def _folders(self, folder: str, choice: Choice, depth: int) -> Iterator[str]:
        """Yield the beginnings of keys that are listed at once."""
        if not depth:
            yield folder
            return
        for below in self._hours.folders(folder):
            if choice.may_lead(below.rstrip("/")):
                yield from self._folders(below, choice, depth - 1)


class Hours:
    """The objects below a prefix. Keys are without the prefix."""

    def __init__(self, store: Store, prefix: str) -> None:
        """Wrap the store."""
        self.store, self.prefix = store, prefix

    def keys(self, folder: str) -> Iterator[str]:
        """Yield the keys that begin with ``folder``, and not those of manifests and rejects."""
        for listed in self.store.list(self.prefix + folder):
            key = listed.key.removeprefix(self.prefix)
            if not key.startswith("_"):
                yield key

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the folders right below a folder, with a slash at their ends."""
        for listed in self.store.list(self.prefix + folder, deep=False):
            key = listed.key.removeprefix(self.prefix)
            if key.endswith("/") and not key.startswith("_"):
                yield key

    def manifest(self, key: str) -> Manifest:
        """Return the manifest of a joined object."""
        return msgspec.json.decode(self.store.get(self.prefix + manifest_key(key)), type=Manifest)

    def read(self, span: Span) -> bytes:
        """Return the bytes of a span. If its object was joined to others meanwhile, they come from there."""
        for _ in range(_TRIES):
            try:
                return self.bytes_of(span)
            except Gone:
                moved = self._moved(span)
                if moved is None:
                    raise
                if len(moved) != 1:
                    return b"".join(map(self.read, moved))
                span = moved[0]
        return self.bytes_of(span)

    def bytes_of(self, span: Span) -> bytes:
        """Return the bytes of a span. `Gone` if the object does not exist."""
        body = self.store.get(self.prefix + span.key)
        part = span.part
        return body[part.start : part.start + part.size_bytes] if part else body

    def _moved(self, span: Span) -> list[Span] | None:
        """Return where the parts of a deleted object are now. None if they were deleted otherwise."""
        place, _, name = span.key.rpartition("/")
        hour = hour_of(span.key)
        names = [span.part.name] if span.part else [name]
        if not span.part and joined.is_joined(span.key):
            names = [part.name for part in self.manifest(span.key).parts]
        start = f"{place}/{hour.hour}" if hour else place
        places = holders([key for key in self.keys(start) if hour_of(key) == hour], self.manifest)
        return [places[name] for name in names] if all(name in places for name in names) else None
