"""Read the events of recordings: EventLists, audit logs and folders of them, plain or compressed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import click

from auditsplit.archive.tree import log_files
from auditsplit.decode import batch as batches
from auditsplit.decode import pieces
from auditsplit.decode.batch import Form
from auditsplit.errors import AuditsplitError, Undecodable
from auditsplit.event import Event, PolicyHead

_MAX_BYTES = 256 * 1024 * 1024
_PIPE = Path("-")
EVENTS = click.Path(exists=True, allow_dash=True, path_type=Path)
"""The type of an argument that names a recording."""


class Recordings:
    """Recordings, and what in them is not an event."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        """Keep the paths: files, folders, or ``-`` for standard input."""
        self.paths = paths
        self.malformed = 0

    def events(self) -> Iterator[Event]:
        """Yield the events. Exit with 2 if a file cannot be read to its end."""
        for path in self.paths:
            for file in [path] if path == _PIPE or not path.is_dir() else log_files(path):
                try:
                    yield from self._of(file)
                except (AuditsplitError, OSError) as error:
                    reason = getattr(error, "strerror", None) or error
                    raise click.UsageError(f"{file}: {reason}") from error

    def _of(self, path: Path) -> Iterator[Event]:
        raw = io.FileIO(0, closefd=False) if path == _PIPE else io.FileIO(path)
        with raw, io.BufferedReader(raw) as stream:
            for piece in pieces.pieces(pieces.decompressed(stream), _MAX_BYTES, lambda _: None):
                form = Form(lines=not piece.document, recorded=True)
                try:
                    batch = batches.read(piece.text, "recording", form, "0", PolicyHead)
                except Undecodable:
                    self.malformed += 1
                    continue
                self.malformed += len(batch.bad) + batch.more_bad
                yield from batch.events

    def report(self) -> None:
        """Print how many items were not events, if any."""
        if self.malformed:
            click.echo(f"{self.malformed} items or lines are not events, and are left out", err=True)
