"""The ends of the sink's files: nothing is appended to the half line or half gzip member that a file may end with.

The journal finishes what a killed process left of a batch. A file ends within a line where somebody removed the journal
at that moment, where a copy of a growing file was restored, or where another program cut the file. Half a line is ended
by a line feed. Behind half a gzip member, readers find nothing more. So such a file is rotated.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping

from isal import igzip

from auditsplit.sinks.file.tree import Tree

LINE_FEED = b"\n"
"""What ends a half line, and is written in front of the next event."""

_MEMBER_BYTES = 1024 * 1024
"""The most text of a gzip member. So the 4 bytes with the text's length, which end it, are never a large number.

The last bytes of half a member are such a small number in one of some 3,000 cases, and then it seems whole.
"""
_LENGTH_BYTES = 4

_TORN_LINE = (
    "%s: %d files ended within a line. A line feed ends that line now, and the next event has a line of its own. If a "
    "process was killed within a write, and .auditsplit was removed or damaged, then its sender got no answer, and "
    "retries. If somebody cut a file, or restored a copy of a growing one, then the rest of that line's event is "
    "missing. Find such lines with 'grep -rnv }$ --exclude-dir=.auditsplit --exclude-dir=_rejected .' in the sink's "
    "folder. Let no clean-up job touch .auditsplit"
)  # it names no key, which may hold a user's name
_TORN_MEMBER = (
    "%s: %d files ended within a gzip member. They were rotated, and the next events are in new files. If a process "
    "was killed within a write, and .auditsplit was removed or damaged, then its sender got no answer, and retries. If "
    "somebody cut a file, or restored a copy of a growing one, then the events behind that place are missing. zcat "
    "prints the events before it. Let no clean-up job touch .auditsplit"
)
_log = logging.getLogger(__name__)


def compress(text: bytes) -> bytes:
    """Return the text as gzip members of at most `_MEMBER_BYTES` each."""
    return b"".join(igzip.compress(text[at : at + _MEMBER_BYTES], mtime=0) for at in range(0, len(text), _MEMBER_BYTES))


class Ends:
    """Tells which files of a tree end within a line, or within a gzip member. It requires the sink's lock."""

    def __init__(self, name: str, tree: Tree, *, packed: bool) -> None:
        """Name the sink, for the log, and its files, which `compress` made if they are ``packed``."""
        self._name, self._tree, self.packed = name, tree, packed

    def examine(
        self, keys: Iterable[str], whole: Mapping[str, int]
    ) -> tuple[dict[str, os.stat_result | None], set[str]]:
        """Return the files' statuses, None where there is no such file, and those that are torn.

        Args:
            keys: the files.
            whole: sizes at which the journal knows that a file is whole. Its end is then not read.

        Raises:
            OSError: the disk failed.
        """
        statuses: dict[str, os.stat_result | None] = {}
        torn: set[str] = set()
        for key in keys:  # the end is read at once: of many files only some stay open
            statuses[key] = status = self._tree.status(key)
            if status and whole.get(key) != status.st_size and self.is_torn(key, status.st_size):
                torn.add(key)
        return statuses, torn

    def is_torn(self, key: str, size: int) -> bool:
        """Return whether the file, of ``size`` bytes, ends within a line or member. May raise ``OSError``."""
        if not size:
            return False
        if not self.packed:
            return self._tree.tail(key, size, 1) != LINE_FEED
        tail = self._tree.tail(key, size, _LENGTH_BYTES)
        return not 0 < int.from_bytes(tail.ljust(_LENGTH_BYTES, b"\xff"), "little") <= _MEMBER_BYTES

    def warn(self, count: int) -> None:
        """Log that ``count`` files were torn, and what was done."""
        _log.warning(_TORN_MEMBER if self.packed else _TORN_LINE, self._name, count)
