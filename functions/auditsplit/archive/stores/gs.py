"""Google Cloud Storage, read back: the role Storage Object Viewer.

Compaction also needs ``storage.objects.create`` and ``.delete``, and ``storage.buckets.get`` to see a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from auditsplit.archive.stores import Gone, Listed, Store
from auditsplit.sinks.failures import SinkFailure
from auditsplit.sinks.objects import gcs, sink
from auditsplit.sinks.options import Target

_NOT_FOUND = 404
_TIMEOUT = (sink.CONNECT_S, sink.READ_S)
_T = TypeVar("_T")


def build(target: Target[gcs.Options], environ: Mapping[str, str]) -> Store:
    """Return the store of a ``gs:`` URL."""
    chosen = target.options
    bucket = gcs.bucket(target, environ, chosen.puts)
    return GcsStore(bucket, kms_key=chosen.kms_key, storage_class=chosen.storage_class)


class GcsStore(gcs.GcsBucket):
    """A `Store` of Google Cloud Storage."""

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """See `Store.list`."""

        def pages() -> Any:
            return self._bucket.list_blobs(
                prefix=prefix, delimiter=None if deep else "/", timeout=_TIMEOUT, retry=None
            ).pages

        what = f"list of {prefix}"
        rest = _ask(what, pages)
        while (page := _ask(what, lambda: next(rest, None))) is not None:
            yield from sorted([*(Listed(key, 0) for key in page.prefixes), *(Listed(of.name, of.size) for of in page)])

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        blob = self._bucket.blob(key)
        body: bytes = _ask(
            f"get of {key}", lambda: blob.download_as_bytes(raw_download=True, timeout=_TIMEOUT, retry=None)
        )
        return body

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            _ask(f"delete of {key}", lambda: self._bucket.blob(key).delete(timeout=_TIMEOUT, retry=None))
        except Gone:
            return

    def is_locked(self) -> bool:
        """See `Store.is_locked`: a retention policy, default holds, or retention of single objects."""
        bucket = self._bucket
        _ask("question whether objects are locked", lambda: bucket.reload(timeout=_TIMEOUT, retry=None))
        retention: Any = bucket._properties  # noqa: SLF001 - older versions have no property for each
        return any(retention.get(name) for name in ("retentionPolicy", "objectRetention", "defaultEventBasedHold"))


def _ask(what: str, ask: Callable[[], _T]) -> _T:
    try:
        return ask()
    except gcs.ROOTS as error:
        status = int(getattr(error, "code", None) or 0)
        if status == _NOT_FOUND:
            raise Gone(what) from error
        if not status:
            raise SinkFailure(gcs.classify_error(error), f"{type(error).__name__} at the {what}") from error
        reason = next((part.get("reason", "") for part in getattr(error, "errors", ())), "")
        raise SinkFailure(gcs.classify(status, reason), f"{status} {reason} to the {what}") from error
