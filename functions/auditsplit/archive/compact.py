"""Compaction: the small objects of a place and hour become one object, which a process may do at any time.

No event is decoded. gzip members and zstd frames are put one after another, which gives a valid file. A kill at
any step is harmless. The manifest is created, then the joined object. Both are read back and compared with what was
joined. Only then the parts are deleted. Every key and every byte depend on the parts alone, so a second run creates the
same objects, and the store refuses them. A run deletes a joined object only for another one that holds as much and
sorts behind it, so two runs at once never delete each other's.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import msgspec

from auditsplit.archive import packed
from auditsplit.archive.joined import (
    Hour,
    Manifest,
    Part,
    Span,
    by_hour,
    holders,
    hour_of,
    is_joined,
    joined_key,
    manifest_key,
)
from auditsplit.archive.objects import Hours
from auditsplit.archive.stores import Gone
from auditsplit.errors import AuditsplitError
from auditsplit.sinks.objects.layout import PACKINGS

_PIECE_BYTES = 1024 * 1024
_CONTENT_TYPES = {packing.ending: packing.content_type for packing in PACKINGS.values()}
_HOUR = "%Y%m%dT%H"


class NotJoined(AuditsplitError):
    """The objects of an hour stay as they are. The message has the reason."""


class Outcome(NamedTuple):
    """What became of the objects of an hour."""

    hour: Hour
    parts: int = 0
    """How many objects of the sink were joined."""
    deleted: int = 0
    """How many objects were deleted."""
    problem: str = ""
    """Why the hour is not one object, where that takes somebody to act."""


class _Text(NamedTuple):
    lines: int
    sha256: str


def compact(hours: Hours, older_than: timedelta, max_bytes: int, workers: int, now: datetime) -> Generator[Outcome]:
    """Compact the hours that ended at least ``older_than`` before ``now``.

    Yields what became of each hour with several objects.

    Args:
        hours: The objects of a prefix.
        older_than: Senders must not retry batches for longer.
        max_bytes: An hour with more bytes, compressed, stays as it is. It bounds memory, times ``workers``.
        workers: How many hours are compacted at once.
        now: The time.
    """
    until = f"{(now - older_than).astimezone(UTC):{_HOUR}}"
    with ThreadPoolExecutor(workers, thread_name_prefix="auditsplit-compact") as pool:
        waiting = ((hour, keys) for hour, keys in _hours(hours) if hour.hour < until and (len(keys) > 1))
        while some := list(itertools.islice(waiting, 4 * workers)):
            yield from pool.map(partial(_outcome, hours, max_bytes), some)


def _hours(hours: Hours) -> Iterator[tuple[Hour, list[str]]]:
    """Yield the hours and the keys of each. The keys of an hour follow one another in the listing."""
    ours = (key for key in hours.keys("") if hour_of(key))
    for _, keys in itertools.groupby(ours, _place_and_hour):
        yield from by_hour(keys).items()


def _place_and_hour(key: str) -> tuple[str, str]:
    hour = hour_of(key)
    return (hour.place, hour.hour) if hour else ("", "")


def _outcome(hours: Hours, max_bytes: int, of: tuple[Hour, list[str]]) -> Outcome:
    hour, keys = of
    try:
        return compact_hour(hours, hour, keys, max_bytes)
    except Gone:
        return Outcome(hour)  # another run joins the hour at this moment
    except AuditsplitError as error:
        return Outcome(hour, problem=str(error))


def compact_hour(hours: Hours, hour: Hour, keys: Sequence[str], max_bytes: int) -> Outcome:
    """Make one object of the objects ``keys`` of an hour.

    Raises:
        Gone: Another run has deleted an object meanwhile. The next run does the rest.
        NotJoined: The hour is too large, or an object is not as the sink wrote it.
        SinkFailure: The store failed.
    """
    manifests = {key: hours.manifest(key) for key in keys if is_joined(key)}
    places = holders(keys, manifests.__getitem__)
    full = [key for key, manifest in manifests.items() if len(manifest.parts) == len(places)]
    target = max(full, default=None)
    if target is None:
        target = _join(hours, hour, [places[name] for name in sorted(places)], sorted(places), max_bytes)
    else:
        _verify(hours, target)
    rest = [key for key in keys if key != target]
    for key in rest:
        hours.store.delete(hours.prefix + key)
    return Outcome(hour, len(places), len(rest))


def _join(hours: Hours, hour: Hour, spans: Sequence[Span], names: Sequence[str], max_bytes: int) -> str:
    """Create the joined object and its manifest. Return its key."""
    bodies = list(_bodies(hours, spans, max_bytes))
    for span, body in zip(spans, bodies, strict=True):
        _expect_whole_lines(body, hour.ending, span.key)
    starts = itertools.accumulate(map(len, bodies), initial=0)
    parts = [Part(name, start, len(body)) for name, start, body in zip(names, starts, bodies, strict=False)]
    whole = b"".join(bodies)
    key = joined_key(hour, parts, whole)
    text = _text(bodies, hour.ending, key)
    manifest = msgspec.json.encode(Manifest(text.lines, text.sha256, parts))
    hours.store.put(hours.prefix + manifest_key(key), manifest, "application/json")
    hours.store.put(hours.prefix + key, whole, _CONTENT_TYPES[hour.ending])
    _verify(hours, key)
    return key


def _bodies(hours: Hours, spans: Iterable[Span], max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of each span. An object that several spans share is read once."""
    left = max_bytes
    whole: dict[str, bytes] = {}
    for span in spans:
        if span.part and span.key not in whole:
            whole[span.key] = hours.bytes_of(Span(span.key))
        part = span.part
        body = whole[span.key][part.start : part.start + part.size_bytes] if part else hours.bytes_of(span)
        left -= len(body)
        if left < 0:
            raise NotJoined(f"the hour has over {max_bytes} bytes. Raise --max-bytes, or leave it as it is")
        yield body


def _verify(hours: Hours, key: str) -> None:
    """Compare a joined object with its manifest, as the store returns both."""
    body, manifest = hours.bytes_of(Span(key)), hours.manifest(key)
    ending = key[key.rindex(".jsonl") :]
    if _text([body], ending, key) != _Text(manifest.lines, manifest.sha256):
        raise NotJoined(
            f"{key} does not have the lines that its manifest names. Nothing was deleted. Keep both objects"
        )


def _text(bodies: Iterable[bytes], ending: str, key: str) -> _Text:
    """Return the count and the hash of the lines of ``bodies``, one after another."""
    lines, digest = 0, hashlib.sha256()
    for body in bodies:
        for piece in _pieces(body, ending, key):
            lines += piece.count(b"\n")
            digest.update(piece)
    return _Text(lines, digest.hexdigest())


def _pieces(body: bytes, ending: str, key: str) -> Iterator[bytes]:
    try:
        with packed.opened(io.BytesIO(body), ending) as stream:
            read: Callable[[], bytes] = partial(stream.read, _PIECE_BYTES)
            yield from iter(read, b"")
    except AuditsplitError as error:
        raise NotJoined(
            f"{key}: {error}. Nothing was deleted. Compare the object with other copies of the log"
        ) from error


def _expect_whole_lines(body: bytes, ending: str, key: str) -> None:
    last = b""
    for piece in _pieces(body, ending, key):
        last = piece
    if not last.endswith(b"\n"):
        raise NotJoined(f"{key} does not end with a whole line, so no sink wrote it. Move it out of the prefix")
