"""Read whole lines of a file of a log, from an offset on."""

from __future__ import annotations

import logging
import os

from auditsplit.ship.files import BROKEN_GZIP, LogFile, identify, text_of

_PIECE_BYTES = 4096
_NOT_THERE: tuple[type[Exception], ...] = (EOFError, *BROKEN_GZIP)
_log = logging.getLogger(__name__)


class Reader:
    """An open file of a log. It can be read to its end also when it was renamed or removed meanwhile.

    Offsets are those of the decompressed text, in bytes.
    """

    def __init__(self, file: LogFile) -> None:
        """Open ``file``. `OSError` if it is gone."""
        self.file = file
        self._raw = file.path.open("rb")
        self._text = text_of(self._raw, file.path)
        self._at = self._next = 0  # where the text that was read last begins and ends
        self._rest = b""
        self._is_broken = False

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def is_same(self) -> bool:
        """Return whether the open file still begins with the line by which it is known.

        A log that was copied and then truncated in place is another file, with the same inode.
        """
        if self.file.zipped:
            return True
        offset = 0

        def read(size: int) -> bytes:
            nonlocal offset
            block = os.pread(self._raw.fileno(), size, offset)
            offset += len(block)
            return block

        return identify(read) == self.file.id

    def lines(self, start: int, size: int, longest: int) -> bytes:
        """Return whole lines from the offset ``start`` on, empty if there is none yet.

        Args:
            start: The offset of the first line.
            size: How many bytes to return at most, unless the first line is longer.
            longest: How many bytes the first line may have. The beginning of a longer line is returned without its end.
        """
        data = self._from(start)
        while True:
            end = data.rfind(b"\n", 0, size) + 1 or data.find(b"\n") + 1
            if end or len(data) > longest:
                break
            more = self._read(max(size - len(data), size))
            if not more:
                break
            data += more
        if not end and len(data) > longest:
            end = longest
        self._rest = data
        return data[:end]

    def rest(self, start: int) -> bytes:
        """Return what is read from the offset ``start`` on. After `lines` returned nothing, it has no end of a line."""
        return self._from(start)

    def exactly(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to ``end``, fewer where the file has fewer."""
        data = self._from(start)
        while len(data) < end - start and (more := self._read(end - start - len(data))):
            data += more
        self._rest = data
        return data[: end - start]

    def end_of_line(self, start: int) -> int:
        """Return the offset after the line at ``start``. The end of the file, where that line has no end."""
        self._from(start)
        self._rest = b""
        self._seek(start)
        end = start
        while block := self._read(1 << 20):
            found = block.find(b"\n")
            if found >= 0:
                end += found + 1
                break
            end += len(block)
        self._seek(start)
        return end

    def _from(self, start: int) -> bytes:
        """Go to the offset ``start``. Return what was read from there on before."""
        if self._at <= start <= self._at + len(self._rest):
            self._rest = self._rest[start - self._at :]
        else:
            self._seek(start)
            self._rest = b""
        self._at = start
        return self._rest

    def _seek(self, offset: int) -> None:
        self._next = offset
        try:
            self._text.seek(offset)
        except _NOT_THERE:  # nothing is there to read, which `_read` finds too
            self._is_broken = True

    def _read(self, size: int) -> bytes:
        data = self._unzipped(size) if self.file.zipped else self._text.read(size)
        self._next += len(data)
        return data

    def _unzipped(self, size: int) -> bytes:
        """Return up to ``size`` bytes. Where the data ends too early or is broken, all but the last piece before."""
        pieces: list[bytes] = []
        while size > 0 and not self._is_broken:
            try:
                piece = self._text.read(min(size, _PIECE_BYTES))
            except EOFError:  # not complete yet. What was decompressed of the piece is lost to this stream
                self._raw.seek(0)
                self._text = text_of(self._raw, self.file.path)
                self._text.seek(self._next + sum(map(len, pieces)))
                break
            except BROKEN_GZIP as error:
                self._is_broken = True
                _log.error("%s: the gzip data is broken (%s). What comes after it is lost", self.file.path, error)
                break
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
