"""The ends of the sink's files: no event is appended to the half line that a file may end with.

The journal finishes what a killed process left of a batch. A file ends within a line where somebody removed the journal
at that moment, where a copy of a growing file was restored, or where another program cut the file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping

from auditsplit.sinks.file.tree import Tree

LINE_FEED = b"\n"
"""What ends a half line, and is written in front of the next event."""

_TORN = (
    "%s: %d files ended within a line. A line feed ends that line now, and the next event has a line of its own. If a "
    "process was killed within a write, and .auditsplit was removed or damaged, then its sender got no answer, and "
    "retries. If somebody cut a file, or restored a copy of a growing one, then the rest of that line's event is "
    "missing. Find such lines with 'grep -rnv }$ --exclude-dir=.auditsplit --exclude-dir=_rejected .' in the sink's "
    "folder. Let no clean-up job touch .auditsplit"
)  # it names no key, which may hold a user's name
_log = logging.getLogger(__name__)


class Ends:
    """Tells which files of a tree end within a line. Its methods require the sink's lock."""

    def __init__(self, name: str, tree: Tree, *, lines: bool) -> None:
        """Name the sink, for the log, and its files. Without ``lines`` they are compressed, and never seem torn."""
        self._name, self._tree, self._lines = name, tree, lines

    def examine(
        self, keys: Iterable[str], whole: Mapping[str, int]
    ) -> tuple[dict[str, os.stat_result | None], dict[str, int]]:
        """Return the files' statuses, None where there is no such file, and the sizes of those that end within a line.

        Args:
            keys: the files.
            whole: sizes at which the journal knows that a file ends with a line. Its end is then not read.

        Raises:
            OSError: the disk failed.
        """
        statuses: dict[str, os.stat_result | None] = {}
        torn: dict[str, int] = {}
        for key in keys:  # the end is read at once: of many files only some stay open
            statuses[key] = status = self._tree.status(key)
            if status and whole.get(key) != status.st_size and self.is_torn(key, status.st_size):
                torn[key] = status.st_size
        return statuses, torn

    def is_torn(self, key: str, size: int) -> bool:
        """Return whether the file, of ``size`` bytes, ends within a line. May raise ``OSError``."""
        return self._lines and size > 0 and self._tree.last_byte(key, size) != LINE_FEED

    def warn(self, count: int) -> None:
        """Log that ``count`` files ended within a line, which is ended."""
        _log.warning(_TORN, self._name, count)
