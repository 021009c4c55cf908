"""Replay of the journal: a record's data is written to its places, wherever it is missing."""

from __future__ import annotations

import logging

from auditsplit.sinks.file.ends import LINE_FEED, Ends
from auditsplit.sinks.file.record import Piece, Record
from auditsplit.sinks.file.tree import Tree

_log = logging.getLogger(__name__)


class Replay:
    """Writes the data of records to the files of a tree, and knows which files it made in place of removed ones."""

    def __init__(self, tree: Tree, ends: Ends) -> None:
        """Name the files' tree, and what knows their ends. Nothing is opened yet."""
        self._tree, self._ends = tree, ends
        self._remade: dict[tuple[str, int], int] = {}

    def finish(self, record: Record, data: bytes) -> None:
        """Write the record's data to its places, wherever it is missing. May raise ``OSError``.

        A half line is ended before it gets data that belonged to another file. Half a gzip member is not set aside.
        """
        _log.warning("finishing a batch that a stopped process left unfinished: %d files", len(record.pieces))
        start = 0
        for piece in record.pieces:
            self._write(piece, data[start : start + piece.length])
            start += piece.length

    def _write(self, piece: Piece, chunk: bytes) -> None:
        status, offset = self._tree.status(piece.path), piece.offset
        if status is None:
            status, offset = self._tree.create(piece.path), 0
            self._remade[piece.path, piece.inode] = status.st_ino
        if self._tree.holds(piece.path, chunk, offset):
            return
        same = status.st_ino == self._remade.get((piece.path, piece.inode), piece.inode)
        if not same or status.st_size < offset:
            offset = status.st_size  # another program renamed or emptied the file: rather twice than lost
            if not self._ends.packed and self._ends.is_torn(piece.path, offset):
                chunk = LINE_FEED + chunk
                self._ends.warn(1)
        self._tree.write(piece.path, chunk, offset)
