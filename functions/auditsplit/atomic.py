"""Write a file as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def atomic_write(path: Path, data: bytes, *, mode: int, overwrite: bool) -> None:
    """Write ``data`` to ``path``, durably and as a whole.

    The data goes to a temporary file in the same folder and is synced before the file gets its name. An error or a
    crash before that leaves ``path`` as it was. An error leaves no temporary file. A crash may leave one, named
    ``.<name>.<8 hex digits>``.

    Args:
        path: The file to write. Its folder must exist.
        data: The file's content.
        mode: The file's permissions, whatever the umask. They replace those of a file that exists.
        overwrite: Whether to replace a file that exists.

    Raises:
        FileExistsError: ``path`` exists, even as a dangling link, and ``overwrite`` is false.
        OSError: The file cannot be written.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, a link fails when the name exists
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
