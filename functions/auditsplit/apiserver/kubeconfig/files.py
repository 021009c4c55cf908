"""The files that a kubeconfig names or is: read by its rules, written so that no other sees half of one."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from pathlib import Path

_MODE = 0o600


def resolve(path: str, folder: Path) -> Path:
    """Return the absolute place of a ``path`` in a kubeconfig: a relative one starts at the kubeconfig's own folder."""
    return (folder / path).absolute()


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write ``text`` to ``path``, 0600, whole or not at all; `FileExistsError` where it is there, but to ``overwrite``.

    The text goes to a file beside it and is synced before it takes the name, so that whatever happens in between
    leaves what was there. A missing folder is made, 0700.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename, it fails where the name is taken
    finally:
        beside.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client certificate and its key, both PEM; ``ssl.SSLError`` where they are none or don't fit."""
    with tempfile.TemporaryDirectory() as folder:  # OpenSSL reads them from files alone
        paths = Path(folder, "certificate"), Path(folder, "key")
        for path, data in zip(paths, (certificate, key), strict=True):
            path.touch(_MODE)
            path.write_bytes(data)
        context.load_cert_chain(*paths, password=lambda: "")  # an encrypted key is refused, not asked about
