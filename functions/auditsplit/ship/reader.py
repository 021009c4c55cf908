"""Read whole lines of a file of a log, from an offset on."""

from __future__ import annotations

import os

from auditsplit.ship.files import LogFile, identify, text_of


class Reader:
    """An open file of a log. It can be read to its end also when it was renamed or removed meanwhile.

    Offsets are those of the decompressed text, in bytes.
    """

    def __init__(self, file: LogFile) -> None:
        """Open ``file``. `OSError` if it is gone."""
        self.file = file
        self._raw = file.path.open("rb")
        self._text = text_of(self._raw, file.path)
        self._at = 0
        self._rest = b""

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
        end = start + len(self._from(start))
        self._rest = b""
        self._text.seek(start)
        end = start
        while block := self._read(1 << 20):
            found = block.find(b"\n")
            if found >= 0:
                end += found + 1
                break
            end += len(block)
        self._text.seek(start)
        return end

    def _from(self, start: int) -> bytes:
        """Go to the offset ``start``. Return what was read from there on before."""
        if self._at <= start <= self._at + len(self._rest):
            self._rest = self._rest[start - self._at :]
        else:
            self._text.seek(start)
            self._rest = b""
        self._at = start
        return self._rest

    def _read(self, size: int) -> bytes:
        try:
            return self._text.read(size)
        except EOFError:  # a compressed file that is not complete yet
            return b""
