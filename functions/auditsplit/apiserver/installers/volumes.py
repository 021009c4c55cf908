"""The folders and files that kube-apiserver's pod must mount for the audit webhook."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from auditsplit.errors import SettingsError
from auditsplit.webhook.kubeconfig import files
from auditsplit.webhook.kubeconfig.schema import Kubeconfig

_SHARED_FOLDERS = frozenset(
    map(PurePosixPath, ("/", "/etc", "/etc/kubernetes", "/bin", "/usr/bin", "/usr/local/bin", "/opt", "/root", "/tmp"))  # noqa: S108
)


class Volume(NamedTuple):
    """A path of the host that is mounted at the same path of kube-apiserver's pod. ``kind`` is a ``hostPath`` type."""

    name: str
    path: str
    kind: str
    read_only: bool


def volumes(paths: Iterable[str], mounted: Collection[str], log_path: str | None = None) -> list[Volume]:
    """Return the volumes that a pod needs to read the files at ``paths`` and to write its log, each path once.

    A file's folder is mounted, because a token file that is replaced would stay the old one in the pod. Only the file
    is mounted if its folder holds other programs' secrets (``/etc/kubernetes``), or would hide the image's own files
    (``/usr/local/bin``).

    Args:
        paths: Absolute paths of files.
        mounted: Paths that are mounted without us. What lies below them is left out.
        log_path: The audit log. None for no log in a file.

    Raises:
        SettingsError: The log is in a folder that the pod may only read.
    """
    kinds = _kinds([path for path in paths if not covers(mounted, path)])
    outermost = sorted(path for path in kinds if not any(other in path.parents for other in kinds))
    mounts = [
        Volume(f"auditsplit-{number}" if number else "auditsplit", str(path), kinds[path], read_only=True)
        for number, path in enumerate(outermost)
    ]
    return mounts + _log_volume(log_path, outermost, mounted)


def covers(mounted: Iterable[str], path: str) -> bool:
    """Return whether ``path`` is one of the ``mounted`` paths or lies below one."""
    file = PurePosixPath(path)
    return any(PurePosixPath(folder) in (file, *file.parents) for folder in mounted)


def _kinds(paths: Iterable[str]) -> dict[PurePosixPath, str]:
    """Return the paths to mount, with their ``hostPath`` types."""
    kinds: dict[PurePosixPath, str] = {}
    for file in map(PurePosixPath, paths):
        if file.parent in _SHARED_FOLDERS:
            kinds[file] = "File"
        else:
            kinds[file.parent] = "Directory"
    return kinds


def _log_volume(log_path: str | None, read_only: Iterable[PurePosixPath], mounted: Iterable[str]) -> list[Volume]:
    if not log_path:
        return []
    folder = PurePosixPath(log_path).parent
    if any(path in (folder, *folder.parents) for path in read_only):
        raise SettingsError(
            f"--log-path: the pod may only read {folder}, which holds the other files. Write a path in another folder"
        )
    if covers(mounted, str(folder)):
        return []
    return [Volume("auditsplit-log", str(folder), "DirectoryOrCreate", read_only=False)]


def kubeconfig_paths(document: Kubeconfig, folder: Path) -> list[str]:
    """Return the absolute paths of the files that a kubeconfig in ``folder`` names, as hostPaths, so without ``..``."""
    clusters = [named.cluster for named in document.clusters]
    users = [named.user for named in document.users]
    return [posixpath.normpath(files.resolve(path, folder)) for path in files.named(clusters, users)]
