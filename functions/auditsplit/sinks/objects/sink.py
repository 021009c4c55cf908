"""The sink of all object stores: puts the objects of a batch in parallel, within one deadline, each at most once.

kube-apiserver waits 30 s for the answer to a whole request. A batch gets the option ``timeout``, and a put that fails
for a reason that may pass is retried within it. A put that hangs longer is left behind in its thread, where the driver
gives up after `CONNECT_S` or `READ_S`. If such a put still succeeds, the retry of the batch finds the object.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

from auditsplit.deadline import Deadline
from auditsplit.event import Batch
from auditsplit.sinks import Written
from auditsplit.sinks.failures import Action, Failure, SinkFailure
from auditsplit.sinks.objects.layout import Layout
from auditsplit.sinks.objects.options import ObjectOptions, layout_of
from auditsplit.sinks.objects.puts import PutGroup
from auditsplit.sinks.options import Target

CONNECT_S, READ_S = 3.0, 6.0
"""How long a driver waits for a connection, and for each piece of an answer."""

_PAUSES_S = (0.2, 0.4, 0.8)  # the longest pauses between the tries of one put
_REMEMBERED = 256  # unfinished batches; kube-apiserver retries a batch for some minutes
_log = logging.getLogger(__name__)


class Bucket(Protocol):
    """A store's server, by its driver. Any number of threads may use it. Every method raises `SinkFailure`."""

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """Create the object durably. Return False if an object of that key exists."""

    def probe(self, key: str) -> None:
        """Return if the server would accept a put of ``key``, without making an object."""


class ObjectSink:
    """A `Sink` over a `Bucket`."""

    required = True

    def __init__(
        self,
        name: str,
        connect: Callable[[int], Bucket],
        layout: Layout | None = None,
        *,
        puts: int,
        timeout_s: float,
    ) -> None:
        """Touch nothing yet.

        Args:
            name: what logs and answers call the sink.
            connect: returns the bucket for so many puts at once. It is called at the first use, in the process that
                uses the sink.
            layout: the keys and the bytes of objects.
            puts: how many puts this process sends at once.
            timeout_s: seconds for all puts of a batch.
        """
        self.name = name
        self._connect, self._layout = connect, layout or Layout()
        self._puts, self._timeout_s = puts, timeout_s
        self._pauses_s: Sequence[float] = _PAUSES_S
        self._connecting = threading.Lock()
        self._bucket: Bucket | None = None
        self._pool = ThreadPoolExecutor(puts, thread_name_prefix="auditsplit-put")  # starts threads when it is used
        self._finished: dict[str, set[str]] = {}

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`. Folders that an earlier write of this process finished are not put again."""
        groups = self._layout.group(batch)
        finished = self._remember(batch.id)

        def put_folder(folder: str, puts: PutGroup) -> bool:
            key, body = self._layout.render(batch.origin.cluster, folder, groups[folder])
            created = self._put(key, body, self._layout.packing.content_type, puts)
            finished.add(folder)
            return created

        puts = self._puts_until(deadline)
        created = self._in_parallel([partial(put_folder, folder) for folder in groups if folder not in finished], puts)
        self._finished.pop(batch.id, None)
        return Written(any(created) or not groups, puts.size_bytes)

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`. The object has the bytes of ``body``, uncompressed."""
        place = self._layout.rejected(cluster, digest)
        key = self._layout.prefix + place
        put = partial(self._put, key, body, "application/octet-stream")
        self._in_parallel([put], self._puts_until(deadline))
        return place

    def recover(self) -> None:
        """See `Sink.recover`. Only the driver is made ready, because an object is whole or does not exist.

        A function has more time for this at its start than for a request, and on Lambda a whole core.
        """
        self._connected()

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`; makes no object."""

        def probe(bucket: Bucket) -> bool:
            bucket.probe(self._layout.probe)
            return True

        self._in_parallel([partial(self._retry, probe, 0)], self._puts_until(deadline))

    def _puts_until(self, deadline: Deadline) -> PutGroup:
        return PutGroup(deadline.within(self._timeout_s))

    def _put(self, key: str, body: bytes, content_type: str, puts: PutGroup) -> bool:
        return self._retry(lambda bucket: bucket.put(key, body, content_type), len(body), puts)

    def _retry(self, put: Callable[[Bucket], bool], size_bytes: int, puts: PutGroup) -> bool:
        """Return what ``put`` returns. Failures that may pass are retried, with growing pauses."""
        pauses = iter(self._pauses_s)
        while not puts.is_over:
            try:
                bucket = self._connected()
                if puts.begin(size_bytes):
                    return put(bucket)
            except SinkFailure as error:
                _log.info("%s: %s", self.name, error)
                pause_s = next(pauses, None)
                if error.failure.action is not Action.RETRY or pause_s is None or not puts.pause(pause_s):
                    puts.fail(error)
                    raise
        raise SinkFailure(Failure.SLOW, "no time left for the put")

    def _in_parallel(self, jobs: Sequence[Callable[[PutGroup], bool]], puts: PutGroup) -> list[bool]:
        """Return what the jobs return, done by the pool. `SinkFailure` if a job fails or the jobs take too long."""
        allowed_s = puts.deadline.left_s()
        futures = [self._pool.submit(job, puts) for job in jobs]
        try:
            _, late = wait(futures, timeout=puts.deadline.left_s())
        finally:
            puts.stop()
        if puts.error:
            raise self._failed(puts.error.failure, puts.error.detail, futures, puts) from puts.error
        if late or any(isinstance(future.exception(), SinkFailure) for future in futures):
            raise self._failed(Failure.SLOW, f"over {allowed_s:.3g} s", futures, puts)
        return [future.result() for future in futures]

    def _failed(self, failure: Failure, detail: str, futures: Sequence[Future[bool]], puts: PutGroup) -> SinkFailure:
        """Return the failure of a batch, with what was done and sent before it."""
        done = sum(future.done() and not future.cancelled() and not future.exception() for future in futures)
        error = SinkFailure(failure, f"{detail}; {self.name}, {done} of {len(futures)} objects done")
        error.size_bytes = puts.size_bytes
        return error

    def _remember(self, batch_id: str) -> set[str]:
        """Return the finished folders of an unfinished batch, a set to add to."""
        while len(self._finished) >= _REMEMBERED:
            self._finished.pop(next(iter(self._finished), ""), None)
        return self._finished.setdefault(batch_id, set())

    def _connected(self) -> Bucket:
        with self._connecting:
            if self._bucket is None:
                self._bucket = self._connect(self._puts)
            return self._bucket


def build(target: Target[ObjectOptions], connect: Callable[[int], Bucket]) -> ObjectSink:
    """Return the sink of ``target`` over the bucket that ``connect`` returns."""
    chosen = target.options
    return ObjectSink(target.url.rstrip("/"), connect, layout_of(target), puts=chosen.puts, timeout_s=chosen.timeout)
