"""The files below the sink's root: created, read and written by key, never through a symbolic link.

Each part of a key is opened in the open folder above it, so no part can be a link, also where one is put there
meanwhile. What was opened stays open until the sink's lock is released: a file costs no more calls than by its path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator

from auditsplit.sinks.file import disk

_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAX_OPEN = 128  # beside 512 connections; some systems give a process 1024 open files
_MAX_KNOWN = 50_000
_MANY = 256
_MAX_SYNCS = 64  # then a sync of the whole file system is faster: 20,000 files took 21 s one by one, and 0.2 s at once


class Tree:
    """An open root folder with all below it; a key is a relative path in it. Every method may raise ``OSError``."""

    def __init__(self) -> None:
        """Make a tree in which nothing is open; see `inside`."""
        self._root = -1
        self._open: dict[str, int] = {}
        self._known: set[str] = set()

    @contextlib.contextmanager
    def inside(self, root: int) -> Iterator[None]:
        """Work in the open folder ``root``. One thread at a time may do so."""
        self._root = root
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Close all files and folders; they are opened again when they are needed."""
        for file in self._open.values():
            os.close(file)
        self._open.clear()

    def prepare(self, root: int, keys: Collection[str]) -> set[str]:
        """Make the folders of ``keys`` that were not made before, and where there are many keys, their files too.

        Any number of threads may do so, without the lock: to make folders and files is the slowest part of a batch of
        many new users. Return the files that were made. They are empty, and stay so if the lock is not free in time.
        """
        missing = {_folder_of(key) for key in keys} - self._known
        for folder in missing:
            _make_folders(root, folder)
        if len(self._known) + len(missing) > _MAX_KNOWN:
            self._known = set()
        self._known |= missing
        return {key for key in keys if _make_file(root, key)} if len(keys) > _MANY else set()

    def status(self, key: str) -> os.stat_result | None:
        """Return the file's status, None where there is no such file."""
        try:
            status = os.fstat(self._file(key))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise disk.Foreign(errno.ELOOP, disk.FOREIGN)
        return status

    def create(self, key: str) -> os.stat_result:
        """Create the file (0600) and the folders above it (0700), and return its status."""
        try:
            file = self._file(key, os.O_CREAT)
        except FileNotFoundError:
            _make_folders(self._root, _folder_of(key))  # synced with the file, before the journal begins anew
            file = self._file(key, os.O_CREAT)
        return os.fstat(file)

    def write(self, key: str, chunk: bytes, offset: int) -> None:
        """Write all of ``chunk`` at ``offset``."""
        disk.write(self._file(key), [chunk], offset)

    def holds(self, key: str, chunk: bytes, offset: int) -> bool:
        """Return whether the file has ``chunk`` at ``offset``."""
        return disk.read(self._file(key), len(chunk), offset) == chunk

    def tail(self, key: str, size: int, length: int) -> bytes:
        """Return the last ``length`` bytes of the file, which has ``size`` bytes, or all where it has fewer."""
        return os.pread(self._file(key), length, max(size - length, 0))

    def truncate(self, key: str, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        os.ftruncate(self._file(key), size)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove the files that exist."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(key.rpartition("/")[2], dir_fd=self.folder(_folder_of(key)))
        self.close()

    def sync(self, keys: Iterable[str] | None) -> None:
        """Put the files and the folders above them on the disk; the whole file system where there are many, or None.

        Files that were removed, renamed or replaced by something else are left out.
        """
        if keys is None:
            if not disk.sync_file_system(self._root):
                os.sync()
            return
        keys = list(keys)
        if len(keys) > _MAX_SYNCS and disk.sync_file_system(self._root):
            return
        folders: set[str] = set()
        for key in keys:
            with contextlib.suppress(FileNotFoundError, disk.Foreign):
                disk.sync(self._file(key), really=True)
                folders.update(_above(key))
        for folder in folders:
            disk.sync_folder(self.folder(folder), really=True)

    def folder(self, key: str, *, make: bool = False) -> int:
        """Return the open folder; the root for an empty key. It stays open until `close`."""
        if not key:
            return self._root
        if make:
            _make_folders(self._root, key)
        if (found := self._open.get(key)) is not None:
            return found
        above, _, name = key.rpartition("/")
        return self._keep(key, disk.open_folder(name, self.folder(above)))

    def _file(self, key: str, flags: int = 0) -> int:
        if (found := self._open.get(key)) is not None:
            return found
        folder, _, name = key.rpartition("/")
        try:
            file = os.open(name, _OPEN | flags, 0o600, dir_fd=self.folder(folder))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise disk.Foreign(errno.ELOOP, disk.FOREIGN) from error
            raise
        return self._keep(key, file)

    def _keep(self, key: str, file: int) -> int:
        if len(self._open) >= _MAX_OPEN:
            self.close()
        self._open[key] = file
        return file


def _folder_of(key: str) -> str:
    return key.rpartition("/")[0]


def _above(key: str) -> Iterator[str]:
    """Yield the folders above the key, up to the root."""
    while key:
        key = _folder_of(key)
        yield key


def _make_folders(root: int, key: str) -> None:
    """Make the folder and the missing folders above it, each in the open folder above."""
    above, _, name = key.rpartition("/")
    if above:
        _make_folders(root, above)
    if name:
        with _opened(root, above) as folder:
            disk.make_folder(name, folder)


def _make_file(root: int, key: str) -> bool:
    """Make an empty file if there is nothing of that name. Return whether it was made."""
    above, _, name = key.rpartition("/")
    with _opened(root, above) as folder:
        try:
            os.close(os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _opened(root: int, key: str) -> Iterator[int]:
    """Give the folder, opened part by part; the root for an empty key."""
    folder = root
    try:
        for name in key.split("/") if key else ():
            above, folder = folder, disk.open_folder(name, folder)
            if above != root:
                os.close(above)
        yield folder
    finally:
        if folder != root:
            os.close(folder)
