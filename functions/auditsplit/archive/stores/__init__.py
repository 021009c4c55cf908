"""Object stores as their readers and the compaction use them: list, get, create and delete.

A module for each store speaks with its server, by the client of the store's sink. Sinks themselves stay write-only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from auditsplit.errors import AuditsplitError
from auditsplit.sinks import read_target
from auditsplit.sinks.objects.options import ObjectOptions
from auditsplit.sinks.options import Target

SCHEMES: Mapping[str, str] = {scheme: f"auditsplit.archive.stores.{scheme}" for scheme in ("az", "gs", "s3")}
"""The module of each scheme."""


class Gone(AuditsplitError):
    """The object does not exist, perhaps since a moment ago."""


class Listed(NamedTuple):
    """An object, or a common beginning of keys, which ends in a slash and has no size."""

    key: str
    size_bytes: int


class Store(Protocol):
    """A bucket. Every method raises `SinkFailure` when the store fails. Any number of threads may use it."""

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """Yield what has a key that begins with ``prefix``, in the order of keys.

        Without ``deep``, what continues with a slash is one entry.
        """

    def get(self, key: str) -> bytes:
        """Return the object's bytes as they are stored. `Gone` if it does not exist."""

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """Create the object durably. Return False if an object of that key exists."""

    def delete(self, key: str) -> None:
        """Delete the object. It is no error if it does not exist."""

    def is_locked(self) -> bool:
        """Return whether the bucket keeps objects from being deleted for a time (WORM)."""


def read_store_target(url: str, defaults: Mapping[str, str]) -> Target[ObjectOptions]:
    """Return the target of an object store's URL. ``ValueError`` has every mistake on a line of its own."""
    if urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"{url.partition('?')[0]!r} is not an object store. Write a URL of {', '.join(SCHEMES)}")
    return cast("Target[ObjectOptions]", read_target(url, defaults, "authenticated"))


def open_store(target: Target[ObjectOptions], environ: Mapping[str, str]) -> Store:
    """Return the store of a target. Credentials come from ``environ`` or the driver's own chain."""
    module: Any = importlib.import_module(SCHEMES[target.scheme])
    return cast("Store", module.build(target, environ))
