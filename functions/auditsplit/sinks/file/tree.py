"""The files below the sink's root: created, read and written by key, never through a symbolic link at their end."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from auditsplit.sinks.file import disk

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The folder ``root``; a key is a relative path in it. Every method may raise ``OSError``."""

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is opened yet."""
        self.root = root
        self._root = str(root)  # pathlib costs more than the system calls, for every file of every batch

    def status(self, key: str) -> os.stat_result | None:
        """Return the file's status, None where there is no such file."""
        try:
            status = os.lstat(self._path(key))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ELOOP, f"{key} is not a regular file; move it away")
        return status

    def create(self, key: str) -> os.stat_result:
        """Create the file (0600) and the folders above it (0700), and return its status."""
        path = self._path(key)
        try:
            file = os.open(path, _CREATE, 0o600)
        except FileNotFoundError:
            disk.make_folder(Path(path).parent, really=False)  # synced with the file, before the journal begins anew
            file = os.open(path, _CREATE, 0o600)
        try:
            return os.fstat(file)
        finally:
            os.close(file)

    def write(self, key: str, chunk: bytes, offset: int) -> None:
        """Write all of ``chunk`` at ``offset``."""
        with self._opened(key) as file:
            disk.write(file, [chunk], offset)

    def holds(self, key: str, chunk: bytes, offset: int) -> bool:
        """Return whether the file has ``chunk`` at ``offset``."""
        with self._opened(key) as file:
            return disk.read(file, len(chunk), offset) == chunk

    def truncate(self, key: str, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        with self._opened(key) as file:
            os.ftruncate(file, size)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove the files that exist."""
        for key in keys:
            (self.root / key).unlink(missing_ok=True)

    def sync(self, keys: Iterable[str]) -> None:
        """Put the files and the folders above them on the disk. Files that were removed or renamed are left out."""
        folders: set[Path] = set()
        for key in keys:
            path = self.root / key
            with contextlib.suppress(FileNotFoundError):
                with self._opened(key) as file:
                    disk.sync(file, really=True)
                folders.update(folder for folder in path.parents if folder.is_relative_to(self.root))
        for folder in folders:
            disk.sync_folder(folder, really=True)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        file = os.open(self._path(key), _OPEN)
        try:
            yield file
        finally:
            os.close(file)
