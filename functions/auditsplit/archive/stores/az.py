"""Azure, read back: the permissions read and list (``sp=rl``). Compaction needs create and delete too (``sp=rlcd``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from auditsplit.archive.stores import Gone, Listed, Store
from auditsplit.sinks.failures import SinkFailure, failure_of
from auditsplit.sinks.objects import azure
from auditsplit.sinks.options import Target

_NOT_FOUND = 404
_T = TypeVar("_T")


def build(target: Target[azure.Options], environ: Mapping[str, str]) -> Store:
    """Return the store of an ``az:`` URL."""
    client = azure.client(target, environ, target.options.puts)
    return AzureStore(client, azure.put_options(target.options))


class AzureStore(azure.AzureContainer):
    """A `Store` of Azure."""

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """See `Store.list`."""
        client = self._client
        what = f"list of {prefix}"
        found: Any = client.list_blobs(prefix) if deep else client.walk_blobs(prefix, delimiter="/")
        while (blob := _ask(what, lambda: next(found, None))) is not None:
            yield Listed(blob.name, getattr(blob, "size", None) or 0)

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        body: bytes = _ask(f"get of {key}", lambda: self._client.download_blob(key).readall())
        return body

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            _ask(f"delete of {key}", lambda: self._client.delete_blob(key))
        except Gone:
            return

    def is_locked(self) -> bool:
        """See `Store.is_locked`: an immutability policy, a legal hold, or immutability of single versions."""
        found: Any = _ask("question whether blobs are locked", self._client.get_container_properties)
        names = ("has_immutability_policy", "has_legal_hold", "immutable_storage_with_versioning_enabled")
        return any(getattr(found, name, False) for name in names)


def _ask(what: str, ask: Callable[[], _T]) -> _T:
    try:
        return ask()
    except azure.ROOTS as error:
        status = getattr(error, "status_code", None)
        code = getattr(error, "error_code", None) or ""
        code = str(getattr(code, "value", code))
        if status == _NOT_FOUND and code != "ContainerNotFound":
            raise Gone(what) from error
        if status is None:
            raise SinkFailure(failure_of(error, azure.ERRORS), f"{type(error).__name__} at the {what}") from error
        raise SinkFailure(azure.classify(status, code, str(error)), f"{status} {code} to the {what}") from error
