"""A folder as an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auditsplit.archive.stores import Gone, Listed


class FolderStore:
    """A `Store` whose keys are paths below a folder."""

    def __init__(self, root: Path) -> None:
        """Take the folder. ``requests`` counts what a store would be asked."""
        self._root = root
        self.requests = 0

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """See `Store.list`."""
        self.requests += 1
        files = {path.relative_to(self._root).as_posix(): path for path in self._root.rglob("*") if path.is_file()}
        found = {
            Listed(_cut(key, prefix, deep=deep), path.stat().st_size)
            for key, path in files.items()
            if key.startswith(prefix)
        }
        yield from sorted({entry if entry.key in files else Listed(entry.key, 0) for entry in found})

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        self.requests += 1
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError as error:
            raise Gone(key) from error

    def put(self, key: str, body: bytes, content_type: str) -> bool:  # noqa: ARG002 - files have none
        """See `Store.put`."""
        self.requests += 1
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(body)
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self.requests += 1
        (self._root / key).unlink(missing_ok=True)

    def is_locked(self) -> bool:
        """See `Store.is_locked`."""
        return False


def _cut(key: str, prefix: str, *, deep: bool) -> str:
    """Return the key, or without ``deep`` its beginning up to the next slash."""
    rest, slash, _ = key[len(prefix) :].partition("/")
    return key if deep or not slash else f"{prefix}{rest}/"
