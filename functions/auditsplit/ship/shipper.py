"""The shipper: note a batch, deliver it until it is acknowledged, note that, and take the next."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import NamedTuple

from auditsplit.decode import wrappers
from auditsplit.decode.eventlist import MAX_ITEMS
from auditsplit.ship import changes
from auditsplit.ship.batch import Batch, batch_of
from auditsplit.ship.checkpoint import CheckpointFile, Sending
from auditsplit.ship.delivery import Delivery, NotDelivered, Outcome, TooLarge
from auditsplit.ship.follower import Follower, Lag
from auditsplit.ship.set_aside import set_aside
from auditsplit.telemetry.logs import FIELDS

_FACTOR, _JITTER = 1.5, 0.2  # as kube-apiserver's webhook client backs off
_log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """Times in seconds."""

    batch_wait_s: float = 1.0
    """How long a batch that is not full waits for more lines."""
    first_retry_s: float = 1.0
    longest_retry_s: float = 30.0


class Observer:
    """Is told what the shipper does. This one takes no note of it."""

    def delivered(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of a delivered batch."""

    def retried(self) -> None:
        """Take note of a batch that was not delivered, and is sent again."""

    def set_aside(self) -> None:
        """Take note of a line that is too long, and was set aside."""

    def lost(self, size_bytes: int) -> None:
        """Take note of bytes that were gone before they were read."""

    def looked(self, lags: list[Lag]) -> None:
        """Take note of how far the delivery is behind."""


class Shipper:
    """Follows logs and delivers them. One thread runs it."""

    def __init__(
        self,
        follower: Follower,
        checkpoint: CheckpointFile,
        delivery: Delivery,
        observer: Observer | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Keep the parts. The ``checkpoint`` must be held."""
        self._follower, self._checkpoint, self._delivery = follower, checkpoint, delivery
        self._observer, self._pace = observer or Observer(), pace or Pace()
        self._stop = threading.Event()
        self._unwritten = False

    def stop(self) -> None:
        """Let `run` return after the try to deliver that is under way."""
        self._stop.set()

    def run(self, *, once: bool = False) -> None:
        """Ship until `stop` is called. With ``once``, until all lines that are there now are delivered.

        Raises `OSError` if a file cannot be read, or the checkpoint cannot be written.
        """
        while not self._stop.is_set():
            batch = self._next(once=once)
            if batch is not None:
                self._ship(batch)
                continue
            if self._unwritten:  # else it is written with the next batch
                self._write()
            if once:
                return
            changes.wait(self._follower.files.folders(), self._stop)
        if self._unwritten:
            self._write()

    def _next(self, *, once: bool) -> Batch | None:
        """Return the next batch. One that is not full waits for more lines."""
        batch = self._follower.next()
        self._observer.looked(list(self._follower.lags()))
        if batch is None or batch.full or once:
            return batch
        self._stop.wait(self._pace.batch_wait_s)
        return None if self._stop.is_set() else self._follower.next()

    def _ship(self, batch: Batch) -> None:
        self._follower.sending(batch)
        self._write()
        if batch.too_long:
            self._set_aside(batch, "longer than AUDIT_MAX_BODY_BYTES")
        elif not batch.body:
            self._observer.delivered(batch, Outcome(0))
        elif not self._deliver(batch):
            return  # stopped: what is on its way stays in the checkpoint
        self._follower.delivered(batch)
        self._unwritten = True

    def _look(self) -> None:
        """Let the observer see how the lag grows while a batch is not delivered."""
        self._follower.look()
        self._observer.looked(list(self._follower.lags()))

    def _write(self) -> None:
        self._checkpoint.write(self._follower.checkpoint)
        self._unwritten = False

    def _deliver(self, batch: Batch) -> bool:
        """Deliver ``batch``, however long it takes. Return whether it was delivered before `stop`."""
        if batch.body.count(b"\n") > MAX_ITEMS:
            return self._divide(batch, f"more than {MAX_ITEMS} lines")
        pause_s, began = self._pace.first_retry_s, time.monotonic()
        while True:
            try:
                outcome = self._delivery.deliver(batch.body)
            except TooLarge as error:
                return self._divide(batch, str(error))
            except NotDelivered as error:
                self._observer.retried()
                self._look()
                wait_s = max(error.retry_after_s, pause_s * random.uniform(1, 1 + _JITTER))  # noqa: S311 - no secret
                _log.warning("not delivered, trying again in %.0f s: %s", wait_s, error)
                if self._stop.wait(wait_s):
                    return False
                pause_s = min(pause_s * _FACTOR, self._pace.longest_retry_s)
                continue
            self._observer.delivered(batch, outcome)
            _report(batch, outcome, time.monotonic() - began)
            return True

    def _divide(self, batch: Batch, reason: str) -> bool:
        """Deliver the lines of a batch that is too large in halves. Return whether all are delivered."""
        start, end = batch.sending.start, batch.sending.end
        data = self._follower.read(batch.sending, start, end)
        middle = _middle(data)
        if not middle:
            self._set_aside(batch, reason)
            return True
        for first, last in ((start, start + middle), (start + middle, end)):
            half = batch_of(Sending(batch.sending.file, first, last), batch.path, data[first - start : last - start])
            self._follower.sending(half)
            self._write()
            if half.body and not self._deliver(half):
                return False  # the half that is on its way stays in the checkpoint
            self._follower.delivered(half)
        return True

    def _set_aside(self, batch: Batch, reason: str) -> None:
        line = self._follower.read(batch.sending, batch.sending.start, batch.sending.end)
        kept = set_aside(self._checkpoint.path, line)
        self._observer.set_aside()
        _log.error("a line of %d bytes in %s is set aside in %s: %s", len(line), batch.path, kept, reason)


def _middle(data: bytes) -> int:
    """Return the end of a line near the middle of ``data``. 0 if it is a single line, perhaps in parts."""
    middle = 0
    for end in wrappers.ends_of_whole_lines(data):
        if end >= len(data) or (middle and 2 * end > len(data)):
            break
        middle = end
    return middle


def _report(batch: Batch, outcome: Outcome, seconds: float) -> None:
    fields = {
        "file": str(batch.path),
        "offset": batch.sending.start,
        "bytes": batch.sending.end - batch.sending.start,
        "events": outcome.events,
        "rejected": outcome.rejected,
        "duplicates": outcome.duplicates,
        "otherLines": batch.other_lines,
        "seconds": round(seconds, 6),
    }
    level = logging.WARNING if outcome.rejected else logging.INFO
    _log.log(level, "%d events shipped", outcome.events, extra={FIELDS: fields})
