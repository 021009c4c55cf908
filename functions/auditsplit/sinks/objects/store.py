"""The object store: puts a batch's objects side by side, within one deadline, each at most once.

Time is the apiserver's: it waits 30 s for the answer to a whole request. A batch gets `TIMEOUT_S`; a put that fails for
a passing reason is tried again while that lasts. What hangs longer is left behind in its thread, whose driver gives up
by itself after `CONNECT_S` or `READ_S`: should such a put still succeed, the retry finds it done.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import count
from typing import Protocol

from auditsplit.deadline import left_s
from auditsplit.event import Batch
from auditsplit.sinks.objects import layout as layouts
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.objects.layout import Layout
from auditsplit.sinks.options import Target
from auditsplit.telemetry import observation

TIMEOUT_S = 12
"""For all puts of a batch, by default, or less where the request's deadline is sooner."""

MAX_TIMEOUT_S = 25
"""The most that ``timeout`` can ask for."""

PUTS = 16
"""How many puts a process has under way, by default: 100 users at 30 ms a put take 0.2 s."""

CONNECT_S, READ_S = 3.0, 6.0
"""How long a driver waits for a connection, and for each piece of an answer."""

_TRIES = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_REMEMBERED = 256  # unfinished batches; the apiserver tries a batch for some minutes
_random = random.SystemRandom()  # which forked workers do not share
_log = logging.getLogger(__name__)


class Bucket(Protocol):
    """A store's server as its driver speaks with it; any number of threads at once. All raise `ObjectError`."""

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """Create the object durably; False where there was one of that key already."""

    def probe(self, key: str) -> None:
        """Return if a put of ``key`` would be taken, without making an object."""


class ObjectSink:
    """A `Sink` over a `Bucket`."""

    def __init__(
        self,
        name: str,
        connect: Callable[[int], Bucket],
        layout: Layout | None = None,
        *,
        puts: int = PUTS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Name the store; ``connect`` is called at the first use, in the process that uses it, with ``puts``."""
        self.name = name
        self._connect, self._layout = connect, layout or Layout()
        self._puts, self._timeout_s = puts, timeout_s
        self._connecting = threading.Lock()
        self._bucket: Bucket | None = None
        self._pool = ThreadPoolExecutor(puts, thread_name_prefix="auditsplit-put")  # starts its threads when used
        self._finished: dict[str, set[str]] = {}

    def write(self, batch: Batch) -> bool:
        """See `Sink.write`; the folders that an earlier try of this process finished are not put again."""
        groups = self._layout.group(batch)
        finished = self._remember(batch.id)
        sizes: dict[str, int] = {}

        def store(folder: str, turn: Turn) -> bool:
            key, body = self._layout.render(batch.origin.cluster, folder, groups[folder])
            sizes[folder] = len(body)
            created = self._put(key, body, self._layout.packing.content_type, turn)
            finished.add(folder)
            return created

        try:
            created = self._side_by_side([partial(store, folder) for folder in groups if folder not in finished])
        finally:
            observation.wrote(self.name, sum(list(sizes.values())))  # a copy: late puts may still add
        self._finished.pop(batch.id, None)
        return any(created) or not groups

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """See `Sink.reject`; the object's bytes are the body's, whatever they are."""
        place = self._layout.rejected(cluster, digest)
        key = self._layout.prefix + place
        self._side_by_side([lambda turn: self._put(key, body, "application/octet-stream", turn)])
        return place

    def recover(self) -> None:
        """See `Sink.recover`; an object is there whole or not at all, so only the driver is made ready.

        That takes its time, of which a function has more (Lambda: a whole core) at its start than for a request.
        """
        self._connected()

    def check(self) -> None:
        """See `Sink.check`; leaves no object behind."""

        def probe() -> bool:
            self._connected().probe(self._layout.probe)
            return True

        self._side_by_side([partial(self._try, probe)])

    def _put(self, key: str, body: bytes, content_type: str, turn: Turn) -> bool:
        return self._try(lambda: self._connected().put(key, body, content_type), turn)

    def _try(self, call: Callable[[], bool], turn: Turn) -> bool:
        """Return what ``call`` returns, called again with growing pauses after failures that may pass."""
        turn.expect_on()
        pause_s = _FIRST_PAUSE_S
        for tries in count(1):
            try:
                return call()
            except ObjectError as error:
                _log.info("%s, try %d: %s", self.name, tries, error)
                if error.failure.deployers or tries == _TRIES or not turn.pause(pause_s):
                    turn.failed(error)
                    raise
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise AssertionError("not reached: the last try returns or raises")

    def _side_by_side(self, jobs: Sequence[Callable[[Turn], bool]]) -> list[bool]:
        """Return what the jobs return, done on the pool; `ObjectError` if one fails or all take too long."""
        allowed_s = left_s(self._timeout_s)
        turn = Turn(allowed_s)
        futures = [self._pool.submit(job, turn) for job in jobs]
        try:
            _, late = wait(futures, timeout=turn.left_s())
        finally:
            turn.stop()
        if turn.error:
            raise ObjectError(turn.error.failure, self._told(turn.error.detail, futures)) from turn.error
        if late:
            raise ObjectError(Failure.SLOW, self._told(f"over {allowed_s:.3g} s", futures))
        return [future.result() for future in futures]

    def _told(self, detail: str, futures: Sequence[Future[bool]]) -> str:
        done = sum(future.done() and not future.cancelled() and not future.exception() for future in futures)
        return f"{detail}; {self.name}, {done} of {len(futures)} objects done"

    def _remember(self, batch_id: str) -> set[str]:
        while len(self._finished) >= _REMEMBERED:
            self._finished.pop(next(iter(self._finished), ""), None)
        return self._finished.setdefault(batch_id, set())

    def _connected(self) -> Bucket:
        with self._connecting:
            if self._bucket is None:
                self._bucket = self._connect(self._puts)
            return self._bucket


class Turn:
    """The time that the puts of one batch share, and the first failure among them."""

    def __init__(self, timeout_s: float) -> None:
        """Begin now."""
        self.error: ObjectError | None = None
        self._deadline = time.monotonic() + timeout_s
        self._over = threading.Event()

    def left_s(self) -> float:
        """Return how long it lasts still."""
        return max(0.0, self._deadline - time.monotonic())

    def stop(self) -> None:
        """End it: what has not begun does not begin."""
        self._over.set()

    def failed(self, error: ObjectError) -> None:
        """Note a failure; one that awaits the others too ends the turn."""
        self.error = self.error or error
        if error.failure.spreads:
            self.stop()

    def expect_on(self) -> None:
        """Raise `ObjectError` if it is over."""
        if self._over.is_set() or not self.left_s():
            raise ObjectError(Failure.SLOW, "given up")

    def pause(self, longest_s: float) -> bool:
        """Wait for a random time of at most ``longest_s``, so that many don't come back at once; False if it ended."""
        self._over.wait(min(self.left_s(), _random.uniform(0, longest_s)))
        return not self._over.is_set() and self.left_s() > 0


def from_target(target: Target, connect: Callable[[int], Bucket]) -> ObjectSink:
    """Return the store for ``target``: the options that all object stores have."""
    timeout_s = target.integer("timeout", TIMEOUT_S, least=1)
    if timeout_s > MAX_TIMEOUT_S:
        target.mistakes.append(
            f"timeout: {timeout_s} s is over {MAX_TIMEOUT_S} s; kube-apiserver waits 30 s for it all"
        )
    puts = target.integer("puts", PUTS, least=1)
    return ObjectSink(target.url.rstrip("/"), connect, layouts.from_target(target), puts=puts, timeout_s=timeout_s)
