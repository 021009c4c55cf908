"""Complete reads, complete writes, syncs, and folders that are opened without following links.

The system calls alone may read or write less than asked, and follow a link in any part of a path but the last.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = (
    getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
)  # O_PATH takes half the time
_LINUX_5_8 = (5, 8)  # from here on syncfs reports what could not be written


class Foreign(OSError):
    """A file or folder that the sink did not make: a link, or something of another kind."""


def _find_syncfs() -> Callable[[int], int] | None:
    """Return the C library's syncfs, None where there is none or where it hides errors."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or not version or (int(version[1]), int(version[2])) < _LINUX_5_8:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


_syncfs = _find_syncfs()


def write(file: int, chunks: Sequence[bytes], offset: int) -> None:
    """Write all of ``chunks``, one after the other, from ``offset`` on."""
    if len(chunks) == 1 and os.pwrite(file, chunks[0], offset) == len(chunks[0]):
        return  # as nearly always
    for first in range(0, len(chunks), _IOV_MAX):
        some: list[bytes | memoryview] = list(chunks[first : first + _IOV_MAX])
        while some:
            written = os.pwritev(file, some, offset)
            offset += written
            while some and written >= len(some[0]):
                written -= len(some.pop(0))
            if written:
                some[0] = memoryview(some[0])[written:]


def read(file: int, length: int, offset: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or fewer where the file ends before."""
    parts = []
    while length and (part := os.pread(file, length, offset)):
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def sync(file: int, *, really: bool) -> None:
    """Sync an open file's data to the disk, if ``really``."""
    if really:
        _sync_data(file)


def sync_folder(folder: int, *, really: bool) -> None:
    """Sync an open folder's entries to the disk, if ``really``."""
    if really:
        with closing(os.open(".", _READ_FOLDER, dir_fd=folder)) as file:
            os.fsync(file)


def names_in(folder: int) -> list[str]:
    """Return the names of what an open folder has."""
    with closing(os.open(".", _READ_FOLDER, dir_fd=folder)) as file:
        return os.listdir(file)  # noqa: PTH208 - pathlib has no folders that are open


def sync_file_system(folder: int) -> bool:
    """Sync all of the open folder's file system to the disk. Return False where its errors would not be reported."""
    if _syncfs is None:
        return False
    if _syncfs(folder):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return True


def size(file: int) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(file).st_size


def make_root(root: Path, *, really: bool) -> None:
    """Make the folder and the missing folders above it, private to this user. With ``really``, sync their entries."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        with closing(open_root(path.parent)) as file:
            sync_folder(file, really=really)


FOREIGN = (
    "a symbolic link, or a file in place of a folder, is where a key has to go. Find it in the sink's folder with "
    "'find . ! -type f ! -type d', and move it away"
)
"""The reason of a `Foreign`. It does not name the key, which may hold a user's name."""


def open_root(root: Path) -> int:
    """Open the folder. Only here symbolic links are followed: the deployer chose this path."""
    return os.open(root, _READ_FOLDER)


def open_folder(name: str, above: int) -> int:
    """Open the folder ``name`` in the open folder ``above``. `Foreign` where it is a link or not a folder."""
    if name in ("", ".", ".."):
        raise Foreign(errno.EINVAL, f"{name!r} is not the name of a folder")
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Foreign(error.errno, FOREIGN) from error
        raise


def make_folder(name: str, above: int) -> None:
    """Make the folder ``name`` in the open folder ``above``, private to this user, if it does not exist."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)


def replace(name: str, data: bytes, new: str, folder: int, new_folder: int, *, really: bool) -> None:  # noqa: PLR0913 - two names
    """Replace the file ``name`` of an open folder by one of ``data``, whole or not at all, private to this user.

    ``new`` is the file's name in ``new_folder`` until it is complete. No such file is left, also after an error.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with closing(os.open(new, flags, 0o600, dir_fd=new_folder)) as file:
            write(file, [data], 0)
            sync(file, really=really)
        os.replace(new, name, src_dir_fd=new_folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=new_folder)
        raise
    sync_folder(folder, really=really)


@contextlib.contextmanager
def closing(file: int) -> Iterator[int]:
    """Give the open file, and close it at the end of the block."""
    try:
        yield file
    finally:
        os.close(file)
