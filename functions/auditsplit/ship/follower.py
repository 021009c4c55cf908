"""Follow the files of logs: which lines are the next batch.

A batch has lines of one file. Its bytes depend on the file and two offsets alone, so that it can be sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from auditsplit.decode import wrappers
from auditsplit.ship.batch import Batch, batch_of
from auditsplit.ship.checkpoint import Checkpoint, Position, Sending
from auditsplit.ship.files import Files, LogFile
from auditsplit.ship.reader import Reader

_TORN_S = 10.0
"""How long a rotated file must be unchanged before its last line, which has no end, is shipped as it is."""

_MOST_OPEN = 64
"""How many files that were read to their end stay open."""


class Limits(NamedTuple):
    """Sizes in bytes."""

    batch: int
    """Of the lines of a batch, unless a single line is longer."""
    line: int
    """Of a line. A longer line is set aside."""


class Lag(NamedTuple):
    """How far the delivery is behind a file."""

    file: LogFile
    size_bytes: int
    seconds: float
    """Since everything in the file was delivered."""


class Follower:
    """Finds the next batch, and keeps the positions in the files."""

    def __init__(
        self,
        files: Files,
        checkpoint: Checkpoint,
        limits: Limits,
        lost: Callable[[str, int], None] = lambda _path, _bytes: None,
    ) -> None:
        """Continue at the ``checkpoint``.

        Args:
            files: The files of the logs.
            checkpoint: How far they were delivered. It is changed here.
            limits: How large batches and lines may be.
            lost: Told the path, and how many unread bytes of it are gone.
        """
        self.checkpoint = checkpoint
        self.files, self._limits, self._lost = files, limits, lost
        self._readers: dict[str, Reader] = {}
        self._caught_up: dict[str, float] = {}
        self._found: list[LogFile] = []

    def skip_to_the_end(self) -> None:
        """Count what the files hold now as delivered."""
        for file in self.files.find():
            if file.id:
                end = Position(str(file.path), file.size, file.size, finished=not file.active)
                self.checkpoint.positions[file.id] = end

    def next(self) -> Batch | None:
        """Return the batch that is on its way, else the oldest lines that were not delivered. None if there are none.

        Raises `OSError` if a file cannot be read.
        """
        self.look()
        if self.checkpoint.sending:
            again = self._again(self.checkpoint.sending)
            if again:
                return again
            self.checkpoint.sending = None
        return next((batch for file in self._candidates() if (batch := self._of(file))), None)

    def look(self) -> None:
        """Find the files as they are now."""
        self._found = self.files.find()
        gone = self._gone()
        if gone:  # one may have been renamed or compressed between the listing of its folder and the look at it
            self._found = self.files.find()
            gone &= self._gone()
        for file in self._found:
            if file.id:
                position = self.checkpoint.positions.setdefault(file.id, Position(str(file.path)))
                position.path = str(file.path)
                position.size = max(position.size if file.zipped else file.size, position.offset)
                if not file.zipped and position.size > position.offset:
                    position.finished = False  # its writer was not told of the rotation, and goes on
        if not self.files.unreadable:
            self._forget(gone)

    def _gone(self) -> set[str]:
        """Return the ids of the files with a position that were not found, and are not open."""
        return self.checkpoint.positions.keys() - {file.id for file in self._found} - self._readers.keys()

    def sending(self, batch: Batch) -> None:
        """Note that a batch is on its way."""
        self.checkpoint.sending = batch.sending

    def delivered(self, batch: Batch) -> None:
        """Note that a batch was delivered."""
        self.checkpoint.positions[batch.sending.file].offset = batch.sending.end
        self.checkpoint.sending = None

    def read(self, sending: Sending, start: int, end: int) -> bytes:
        """Return bytes of the file of a batch that `next` returned."""
        return self._readers[sending.file].exactly(start, end)

    def lags(self) -> Iterator[Lag]:
        """Yield how far the delivery was behind each file when `next` was called last."""
        now = time.monotonic()
        for file in self._found:
            position = self.checkpoint.positions.get(file.id or "")
            behind = max(0, file.size - (position.offset if position else 0))
            if file.zipped and position:  # the size of its text is not known
                behind = 0 if position.finished else file.size
            since = self._caught_up.setdefault(file.id or "", now)
            if not behind:
                self._caught_up[file.id or ""] = since = now
            yield Lag(file, behind, now - since)

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _candidates(self) -> Iterator[LogFile]:
        """Yield the files that may have undelivered lines: those that are gone but open, and those that are there."""
        here = {file.id for file in self._found}
        yield from [reader.file._replace(active=False) for id_, reader in self._readers.items() if id_ not in here]
        yield from (file for file in self._found if file.id)

    def _of(self, file: LogFile) -> Batch | None:
        """Return the next batch of ``file``. None if it has no undelivered line."""
        file_id = file.id or ""
        position = self.checkpoint.positions.setdefault(file_id, Position(str(file.path)))
        if file.active and not file.zipped and position.offset == file.size:
            self._spare(file_id)
            return None
        reader = None if position.finished else self._reader(file)
        if reader is None:
            return None
        start = position.offset
        data = self._lines(reader, start)
        if not reader.is_same():
            self._close(file_id)
            return None
        if data and not data.endswith(b"\n"):
            end = reader.end_of_line(start)
            return Batch(Sending(file_id, start, end), file.path, data[:1024], too_long=True)
        if not data and not file.active:
            data = self._torn(file, position, reader)
        full = 2 * len(data) >= self._limits.batch or not file.active
        return batch_of(Sending(file_id, start, start + len(data)), file.path, data, full=full) if data else None

    def _lines(self, reader: Reader, start: int) -> bytes:
        """Return lines for a batch, of which none goes on in a further part."""
        size = self._limits.batch
        while True:
            data = reader.lines(start, size, self._limits.line)
            end = wrappers.end_of_whole_lines(data)
            if end or len(data) > self._limits.line:
                return data[: end or len(data)]
            if len(data) * 2 < size:  # there is no more yet
                return b""
            size *= 2

    def _torn(self, file: LogFile, position: Position, reader: Reader) -> bytes:
        """Return the last line of a rotated file, if it has no end and will never get one.

        A program that was not told of the rotation still writes to the renamed file for a while.
        """
        if abs(time.time() - file.changed) < _TORN_S:  # a clock that was set back makes it negative
            return b""
        rest = reader.rest(position.offset)
        if not rest:
            position.finished = True
            self._close(file.id or "")
        return rest

    def _again(self, sending: Sending) -> Batch | None:
        """Return the batch that was on its way. None if its file is gone."""
        file = next((file for file in self._candidates() if file.id == sending.file), None)
        reader = self._reader(file) if file else None
        size = sending.end - sending.start
        if file is None or reader is None or size <= 0:
            return None
        begin = reader.exactly(sending.start, sending.start + min(size, self._limits.line + 1))
        if len(begin) > self._limits.line and b"\n" not in begin:
            return Batch(sending, file.path, begin[:1024], too_long=True)
        data = reader.exactly(sending.start, sending.end)
        return batch_of(sending, file.path, data) if len(data) == size else None

    def _reader(self, file: LogFile) -> Reader | None:
        if file.id and file.id not in self._readers:
            try:
                self._readers[file.id] = Reader(file)
            except FileNotFoundError:  # rotated meanwhile; it is found again under its next name
                return None
        return self._readers[file.id or ""]

    def _spare(self, file_id: str) -> None:
        """Close a file that was read to its end, if many are open. Else it stays open, in case it is removed."""
        if len(self._readers) > _MOST_OPEN:
            self._close(file_id)

    def _close(self, file_id: str) -> None:
        if reader := self._readers.pop(file_id, None):
            reader.close()

    def _forget(self, gone: Iterable[str]) -> None:
        """Forget the positions in files that are gone. What of them was unread is lost."""
        for file_id in gone:
            if not Path(self.checkpoint.positions[file_id].path).parent.is_dir():
                continue  # its disk is not mounted yet
            position = self.checkpoint.positions.pop(file_id)
            self._caught_up.pop(file_id, None)
            if position.size > position.offset and not position.finished:
                self._lost(position.path, position.size - position.offset)
