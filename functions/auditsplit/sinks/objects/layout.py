"""Layout: which objects a batch becomes, and their bytes.

::

    prefix/  cluster=c/user=alice/dt=2026-01-31/hour=23  /  20260131T235959.123456Z-<32 hex digits>  .jsonl.gz
             the key's template: a folder                   first event's time     content hash        packing

Everything in a key comes from the events, nothing from the clock or from a counter: a retry gives the same keys.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from isal import igzip

from auditsplit.event import Batch, Event, event_time
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines
from auditsplit.sinks.options import Target

DEFAULT_KEY = "cluster={cluster}/user={user}/dt={date}/hour={hour}"

MAX_KEY_BYTES = 1024
"""The longest key; S3, Google Cloud Storage and Azure have the same bound."""

_NAME = "%Y%m%dT%H%M%S.%fZ"  # no colon: Hadoop's paths, and files on Windows, can't have one
_HASH_DIGITS = 32
_NAME_BYTES = len("/20260131T235959.123456Z-") + _HASH_DIGITS + len(".jsonl.zst")
_PREFIX = re.compile(r"[A-Za-z0-9._@:=+,-]+", re.ASCII)
_MAX_TAGS = 10  # S3's bound, and Azure's
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Packing(NamedTuple):
    """How lines become an object's bytes.

    No object has a Content-Encoding: the bytes *are* the gzip or zstd file that the key's ending and the content type
    say, and every reader goes by one of these. With ``Content-Encoding: gzip`` Google Cloud Storage and many HTTP
    clients would hand out the lines unpacked under a name that ends in ``.gz``, which readers then unpack in vain.
    """

    ending: str
    content_type: str
    pack: Callable[[bytes], bytes]


def _gzip(text: bytes) -> bytes:
    return igzip.compress(text, mtime=0)  # the same lines give the same bytes


def _zstd(text: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - an extra, for those who ask for it

    return zstandard.compress(text)


PACKINGS: Mapping[str, Packing] = {
    "gzip": Packing(".jsonl.gz", "application/gzip", _gzip),
    "zstd": Packing(".jsonl.zst", "application/zstd", _zstd),
    "none": Packing(".jsonl", "application/x-ndjson", lambda text: text),
}
"""By the value of the option ``compress``."""


class Layout(NamedTuple):
    """Where objects go: below ``prefix``, which is empty or ends in ``/``, in the folder that ``template`` gives."""

    prefix: str = ""
    template: KeyTemplate = KeyTemplate(DEFAULT_KEY)
    line_format: str = "log"
    packing: Packing = PACKINGS["gzip"]

    def group(self, batch: Batch) -> dict[str, list[Event]]:
        """Return the batch's events by folder, in their order.

        The hour of an event without a time is that of the batch's first event with one, else 1970: the time at which
        it came would put a retry elsewhere.
        """
        times = (event_time(event.head, _NO_TIME) for event in batch.events)
        origin = batch.origin._replace(arrived=next((time for time in times if time != _NO_TIME), _NO_TIME))
        return self.template.group(batch.events, origin)

    def render(self, cluster: str, folder: str, events: Iterable[Event]) -> tuple[str, bytes]:
        """Return the key and the bytes of the object that holds ``events``, at least one, in ``folder``."""
        events = list(events)
        text = lines.render(events, self.line_format)
        digest = hashlib.sha256(cluster.encode() + b"\0")  # a cluster can't pass its events off as another's
        digest.update(text)
        name = f"{event_time(events[0].head, _NO_TIME):{_NAME}}-{digest.hexdigest()[:_HASH_DIGITS]}"
        return f"{self.prefix}{folder}/{name}{self.packing.ending}", self.packing.pack(text)

    def rejected(self, cluster: str, digest: str) -> str:
        """Return the place, below the prefix, of a body that is no event."""
        return f"_rejected/{cluster}/{digest}"

    @property
    def probe(self) -> str:
        """The key at which readiness is tried; nothing is ever stored there."""
        return f"{self.prefix}_rejected/ready"


def from_target(target: Target) -> Layout:
    """Return the layout that a store's URL asks for, its mistakes noted in ``target``."""
    prefix = target.path.strip("/")
    for segment in prefix.split("/") if prefix else ():
        if segment in (".", "..") or not _PREFIX.fullmatch(segment):
            target.mistakes.append(f"prefix: {segment!r} is no name of A-Z a-z 0-9 . _ @ : = + , - between slashes")
    template = target.key(DEFAULT_KEY)
    prefix = f"{prefix}/" if prefix else ""
    longest = len(prefix) + template.max_bytes + _NAME_BYTES
    if longest > MAX_KEY_BYTES:
        target.mistakes.append(
            f"key: with its prefix it can grow to {longest} bytes, over {MAX_KEY_BYTES}; name fewer fields in it"
        )
    return Layout(prefix, template, target.line_format(), _packing(target))


def _packing(target: Target) -> Packing:
    name = target.text("compress", "gzip")
    if name not in PACKINGS:
        target.mistakes.append(f"compress: {name!r} is none of {', '.join(PACKINGS)}")
        return PACKINGS["gzip"]
    if name == "zstd" and not importlib.util.find_spec("zstandard"):
        target.mistakes.append("compress: zstd needs the package zstandard; install auditsplit[zstd]")
    return PACKINGS[name]


def tags(target: Target) -> dict[str, str]:
    """Return the option ``tags``, which goes with every object."""
    pairs = [pair.partition("=") for pair in target.text("tags", "").split(",") if pair]
    if len(pairs) > _MAX_TAGS or not all(name and equals for name, equals, _ in pairs):
        target.mistakes.append(f"tags: write up to {_MAX_TAGS} as tags=team=security,kind=audit")
    return {name: value for name, _, value in pairs}
