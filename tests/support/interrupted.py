"""A store in whose steps something else happens: a kill, another run, a late batch, a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from auditsplit.archive.stores import Listed, Store


class Killed(BaseException):
    """The process was killed."""


class InterruptedStore:
    """A `Store` that calls ``then`` once, before its step number ``at``."""

    def __init__(self, store: Store, at: int, then: Callable[[], None]) -> None:
        """Wrap ``store``. Steps count from 0."""
        self._store, self._at, self._then = store, at, then
        self.steps = 0

    @property
    def was_interrupted(self) -> bool:
        """Whether ``then`` was called."""
        return self.steps > self._at

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """See `Store.list`."""
        self._step()
        return self._store.list(prefix, deep=deep)

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        self._step()
        return self._store.get(key)

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Store.put`."""
        self._step()
        return self._store.put(key, body, content_type)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._step()
        self._store.delete(key)

    def is_locked(self) -> bool:
        """See `Store.is_locked`."""
        return self._store.is_locked()

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._at + 1:
            self._then()
