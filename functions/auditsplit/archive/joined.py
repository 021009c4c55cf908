"""Joined objects: the names of compacted objects, what each of them holds, and which objects of an hour to read.

::

    place/20260131T235959.123456Z-<32 hex digits>.jsonl.gz          as the sink wrote it: a part
    place/20260131T23Z-joined-00000120-<32 hex digits>.jsonl.gz     120 parts of the hour, one after another
    _joined/place/20260131T23Z-joined-….jsonl.gz.json               the manifest: which parts, and where each of them is

A manifest exists before its object and is never deleted. So a reader that sees a joined object beside a part can tell
whether the object holds that part. The name of a part has the hash of its lines. A retry of a batch writes the part
again under the same name, and the manifest still names it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

MANIFESTS = "_joined"
"""The folder of manifests, below the prefix."""

_NAME = re.compile(
    r"(?P<hour>\d{8}T\d\d)(?:\d{4}\.\d{6}Z|Z-joined-(?P<parts>\d{8}))-[0-9a-f]{32}(?P<ending>\.jsonl(?:\.gz|\.zst)?)"
)
_HASH_DIGITS = 32


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A part within a joined object: its own name, and its bytes."""

    name: str
    start: int
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """What a joined object holds."""

    lines: int
    sha256: str
    """The hash of the decompressed lines, as hex digits."""
    parts: list[Part]


class Hour(NamedTuple):
    """What is compacted into one object: the events of a place in an hour, in one packing."""

    place: str
    hour: str
    """Such as 20260131T23."""
    ending: str


class Span(NamedTuple):
    """Bytes of an object: those of the parts ``names``. None means the whole object."""

    key: str
    part: Part | None = None


def hour_of(key: str) -> Hour | None:
    """Return which hour the object belongs to. None if neither a sink nor the compaction wrote it."""
    place, _, name = key.rpartition("/")
    match = _NAME.fullmatch(name)
    return Hour(place, match["hour"], match["ending"]) if match and not key.startswith(f"{MANIFESTS}/") else None


def is_joined(key: str) -> bool:
    """Return whether the compaction wrote the object."""
    match = _NAME.fullmatch(key.rpartition("/")[2])
    return bool(match and match["parts"])


def joined_key(hour: Hour, parts: Sequence[Part], body: bytes) -> str:
    """Return the key of a joined object. The same parts give the same key, so that two runs write one object.

    Joined keys of an hour sort behind its parts, and one that holds more sorts behind one that holds less. A listing in
    several pages that misses a deleted part then still has the object that holds the part.
    """
    digest = hashlib.sha256(msgspec.json.encode(parts))
    digest.update(body)
    name = f"{hour.hour}Z-joined-{len(parts):08}-{digest.hexdigest()[:_HASH_DIGITS]}{hour.ending}"
    return f"{hour.place}/{name}"


def manifest_key(key: str) -> str:
    """Return the key of a joined object's manifest."""
    return f"{MANIFESTS}/{key}.json"


def by_hour(keys: Iterable[str]) -> dict[Hour, list[str]]:
    """Return the keys of each hour. Other keys are left out."""
    found: dict[Hour, list[str]] = {}
    for key in keys:
        hour = hour_of(key)
        if hour:
            found.setdefault(hour, []).append(key)
    return found


def cover(keys: Sequence[str], manifest_of: Callable[[str], Manifest]) -> Iterator[Span]:
    """Yield what to read of the objects of an hour, so that each part is read once.

    A manifest is read only where a joined object has others beside it.
    """
    joined = [key for key in keys if is_joined(key)]
    if not joined or len(keys) == 1:
        yield from map(Span, keys)
        return
    seen: set[str] = set()
    for key in sorted(joined, reverse=True):
        parts = manifest_of(key).parts
        fresh = [part for part in parts if part.name not in seen]
        seen.update(part.name for part in parts)
        if len(fresh) == len(parts):
            yield Span(key)
        else:
            yield from (Span(key, part) for part in fresh)
    yield from (Span(key) for key in keys if key not in joined and key.rpartition("/")[2] not in seen)


def holders(keys: Iterable[str], manifest_of: Callable[[str], Manifest]) -> Mapping[str, Span]:
    """Return where each part of an hour is, by the part's name."""
    found: dict[str, Span] = {}
    for key in keys:
        if is_joined(key):
            found.update((part.name, Span(key, part)) for part in manifest_of(key).parts)
        else:
            found.setdefault(key.rpartition("/")[2], Span(key))
    return found
