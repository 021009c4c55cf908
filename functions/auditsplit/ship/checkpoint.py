"""The checkpoint: how far each file of a log was delivered, and which batch is on its way.

A batch is noted before it is sent. After a kill, the same bytes are sent again, so that the sinks recognise the batch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from auditsplit.atomic import atomic_write

_MODE = 0o600


class Position(msgspec.Struct):
    """How far a file was delivered, and what is known of it, in bytes."""

    path: str
    offset: int = 0
    size: int = 0
    """Of the file, as it was seen last."""
    finished: bool = False
    """Whether the file was rotated and read to its end."""


class Sending(msgspec.Struct, frozen=True):
    """A batch on its way: the file's id, and the offsets of its bytes."""

    file: str
    start: int
    end: int


class Checkpoint(msgspec.Struct, kw_only=True):
    """What is durable. ``positions`` are by the files' ids."""

    version: int = 1
    positions: dict[str, Position] = {}
    sending: Sending | None = None


class CheckpointError(Exception):
    """The checkpoint cannot be used. The message says what to do."""


class CheckpointFile:
    """The file in which the checkpoint is kept. One shipper at a time can hold it."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet."""
        self.path = path

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other shippers away. `CheckpointError` if another one has this checkpoint."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise CheckpointError(f"{lock}: {error.strerror}. Choose another file with --checkpoint") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CheckpointError(
                    f"{self.path}: another shipper has this checkpoint. Stop it, or choose another --checkpoint"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Checkpoint | None:
        """Return the checkpoint. None if there is none yet."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{self.path}: {error.strerror}") from error
        try:
            found = msgspec.json.decode(data, type=Checkpoint)
        except msgspec.DecodeError as error:
            raise CheckpointError(
                f"{self.path}: this file is not a checkpoint. Move it away, and all files of the log are shipped from "
                "their beginning"
            ) from error
        if found.version != 1:
            raise CheckpointError(f"{self.path}: version {found.version} is of a newer shipper. Use that one")
        return found

    def write(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint durably. `OSError` if the disk does not take it; then the last one stays."""
        atomic_write(self.path, msgspec.json.encode(checkpoint) + b"\n", mode=_MODE, overwrite=True)
