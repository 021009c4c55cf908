"""Read the events of recordings: EventLists, audit logs and folders of them, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditsplit.archive import named
from auditsplit.archive.named import File
from auditsplit.decode import batch as batches
from auditsplit.decode import pieces
from auditsplit.decode.batch import Form
from auditsplit.decode.pieces import Piece
from auditsplit.errors import AuditsplitError, Undecodable
from auditsplit.event import Batch, Event, PolicyHead

_MAX_BYTES = 256 * 1024 * 1024
EVENTS = click.Path(exists=True, allow_dash=True, path_type=Path)
"""The type of an argument that names a recording."""


def decoded(file: File, cluster: str, max_bytes: int) -> Iterator[tuple[Piece, Batch | None]]:
    """Yield each piece of a recording with its events. None if the whole piece is malformed.

    Args:
        file: The recording.
        cluster: The cluster that the events are from.
        max_bytes: The size of the largest document or line.

    Raises:
        OSError: The file cannot be read.
        Undecodable: The file is broken. `BodyTooLarge` if a document or line is too large.
    """
    with file.open() as stream:
        for piece in pieces.pieces(stream, max_bytes, lambda _: None):
            form = Form(lines=not piece.document, recorded=True)
            try:
                batch = batches.read(piece.text, cluster, form, "0", PolicyHead)
            except Undecodable:
                yield piece, None
            else:
                yield piece, batch


class Recordings:
    """Recordings, and what in them is not an event."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        """Keep the paths: files, folders, or ``-`` for standard input."""
        self.paths = paths
        self.malformed = 0

    def events(self) -> Iterator[Event]:
        """Yield the events. Exit with 2 if a file cannot be read to its end."""
        for path in self.paths:
            for file in named.files(path):
                try:
                    yield from self._of(file)
                except (AuditsplitError, OSError) as error:
                    reason = getattr(error, "strerror", None) or error
                    raise click.UsageError(f"{file.name}: {reason}") from error

    def _of(self, file: File) -> Iterator[Event]:
        for _, batch in decoded(file, "recording", _MAX_BYTES):
            if batch is None:
                self.malformed += 1
                continue
            self.malformed += len(batch.bad) + batch.more_bad
            yield from batch.events

    def report(self) -> None:
        """Print how many items were not events, if any."""
        if self.malformed:
            click.echo(f"{self.malformed} items or lines are not events, and are left out", err=True)
