"""Layout: the keys and the bytes of the objects of a batch.

::

    prefix/  cluster=c/user=alice/dt=2026-01-31/hour=23  /  20260131T235959.123456Z-<32 hex digits>  .jsonl.gz
             the key template: a folder                     first event's time     content hash        packing

Every part of a key comes from the events, never from the clock or from a counter. A retry gives the same keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from isal import igzip

from auditsplit.event import NO_TIME, Batch, Event, event_time, repeatable_time
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines

DEFAULT_KEY = "cluster={cluster}/user={user}/dt={date}/hour={hour}"

MAX_KEY_BYTES = 1024
"""The length of the longest key. S3, Google Cloud Storage and Azure have the same bound."""

_NAME = "%Y%m%dT%H%M%S.%fZ"  # without colons, which paths of Hadoop and file names on Windows can't have
_HASH_DIGITS = 32
_NAME_BYTES = len("/20260131T235959.123456Z-") + _HASH_DIGITS + len(".jsonl.zst")


class Packing(NamedTuple):
    """How lines become an object's bytes.

    No object has a Content-Encoding. The bytes *are* the gzip or zstd file that the key's ending and the content type
    name, and every reader goes by one of these. With ``Content-Encoding: gzip`` Google Cloud Storage and many HTTP
    clients would return the lines decompressed under a name that ends in ``.gz``, and readers would fail to decompress
    them again.
    """

    ending: str
    content_type: str
    pack: Callable[[bytes], bytes]


def _gzip(text: bytes) -> bytes:
    return igzip.compress(text, mtime=0)  # the same lines give the same bytes


def _zstd(text: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - the package of an extra

    return zstandard.compress(text)


PACKINGS: Mapping[str, Packing] = {
    "gzip": Packing(".jsonl.gz", "application/gzip", _gzip),
    "zstd": Packing(".jsonl.zst", "application/zstd", _zstd),
    "none": Packing(".jsonl", "application/x-ndjson", lambda text: text),
}
"""By the value of the option ``compress``."""


def longest_key(prefix: str, template: KeyTemplate) -> int:
    """Return the length of the longest key, in bytes."""
    return len(prefix) + template.max_bytes + _NAME_BYTES


class Layout(NamedTuple):
    """The keys: below ``prefix``, which is empty or ends in ``/``, in the folder that ``template`` gives."""

    prefix: str = ""
    template: KeyTemplate = KeyTemplate(DEFAULT_KEY)
    line_format: lines.Format = "log"
    packing: Packing = PACKINGS["gzip"]

    def group(self, batch: Batch) -> dict[str, list[Event]]:
        """Return the batch's events by folder, in their order.

        An event without a time has the batch's `repeatable_time`. The time of arrival would give a retry another
        folder.
        """
        origin = batch.origin
        if self.template.has_time:
            origin = origin._replace(arrived=repeatable_time(batch.events))
        return self.template.group(batch.events, origin)

    def render(self, cluster: str, folder: str, events: Iterable[Event]) -> tuple[str, bytes]:
        """Return the key and the bytes of the object that holds ``events``, at least one, in ``folder``."""
        events = list(events)
        text = lines.render(events, self.line_format)
        digest = hashlib.sha256(cluster.encode() + b"\0")  # the same lines of two clusters are two objects
        digest.update(text)
        name = f"{event_time(events[0].head, NO_TIME):{_NAME}}-{digest.hexdigest()[:_HASH_DIGITS]}"
        return f"{self.prefix}{folder}/{name}{self.packing.ending}", self.packing.pack(text)

    def rejected(self, cluster: str, digest: str) -> str:
        """Return the location of a malformed body, below the prefix."""
        return f"_rejected/{cluster}/{digest}"

    @property
    def probe(self) -> str:
        """The key that a readiness check puts. The put is refused, so the object never exists."""
        return f"{self.prefix}_rejected/ready"
