"""Questions that are asked once for all who want to know the same at a time, and outcomes that are kept for a while."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Outcomes by key. All methods but the constructor run in one event loop."""

    def __init__(self, keep_s: Callable[[T], float], *, join_s: float = math.inf, most: float = math.inf) -> None:
        """Keep nothing yet.

        Args:
            keep_s: returns for how many seconds an outcome is kept. An error is not kept.
            join_s: for how many seconds a question may be joined. After that it is asked anew, because it may hang.
            most: how many outcomes are kept. The oldest is forgotten first.
        """
        self._keep_s, self._join_s, self._most = keep_s, join_s, most
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the outcome for ``key``, by ``ask`` where it is not known."""
        return await asyncio.shield(self.task(key, ask))

    def task(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Return the task that asks, or asked, for ``key``. It goes on when those who wait for it have left."""
        if key not in self._tasks:
            self._tasks[key] = task = asyncio.create_task(ask())
            self._forget_after(self._join_s, key, task)
            task.add_done_callback(lambda task: self._forget_after(self._kept_s(task), key, task))
            if len(self._tasks) > self._most:
                self._forget(*next(iter(self._tasks.items())))
        return self._tasks[key]

    def _kept_s(self, task: asyncio.Task[T]) -> float:
        return 0 if task.cancelled() or task.exception() else self._keep_s(task.result())

    def _forget_after(self, seconds: float, key: Hashable, task: asyncio.Task[T]) -> None:
        """Forget the task after some seconds instead of when it was to be forgotten before."""
        if self._tasks.get(key) is not task:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if seconds < math.inf:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._forget, key, task)

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._forget_after(math.inf, key, task)
        if self._tasks.get(key) is task:
            del self._tasks[key]
