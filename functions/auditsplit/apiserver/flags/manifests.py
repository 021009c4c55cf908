"""The audit flags for kube-apiserver's command line, for kubeadm, or as a patch of its static pod."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import yaml

from auditsplit.apiserver.kubeconfig import files
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.errors import SettingsError

_SHARED_FOLDERS = frozenset(
    map(PurePosixPath, ("/", "/etc", "/etc/kubernetes", "/bin", "/usr/bin", "/usr/local/bin", "/opt", "/root", "/tmp"))  # noqa: S108
)
_MOUNTED_BY_KUBEADM = frozenset(map(PurePosixPath, ("/etc/kubernetes/pki", "/etc/ssl/certs")))


class Volume(NamedTuple):
    """A path of the host that is mounted at the same path of kube-apiserver's pod. ``kind`` is a ``hostPath`` type."""

    name: str
    path: str
    kind: str
    read_only: bool


def volumes(paths: Iterable[str], log_path: str | None = None) -> list[Volume]:
    """Return the volumes that a pod needs to read the files at ``paths`` and to write its log, each path once.

    A file's folder is mounted, because a token file that is replaced would stay the old one in the pod. Only the file
    is mounted if its folder holds other programs' secrets (``/etc/kubernetes``), or would hide the image's own files
    (``/usr/local/bin``). A path that kubeadm mounts is left out.

    Raises:
        SettingsError: The log is in a folder that the pod may only read.
    """
    kinds = _kinds(map(PurePosixPath, paths))
    outermost = sorted(path for path in kinds if not any(other in path.parents for other in kinds))
    mounts = [
        Volume(f"audit-{number}" if number else "audit", str(path), kinds[path], read_only=True)
        for number, path in enumerate(outermost)
    ]
    return mounts + _log_volume(log_path, outermost)


def _kinds(paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, str]:
    """Return the paths to mount, with their ``hostPath`` types."""
    kinds: dict[PurePosixPath, str] = {}
    for file in paths:
        if _MOUNTED_BY_KUBEADM.intersection(file.parents):
            continue
        if file.parent in _SHARED_FOLDERS:
            kinds[file] = "File"
        else:
            kinds[file.parent] = "Directory"
    return kinds


def _log_volume(log_path: str | None, read_only: Iterable[PurePosixPath]) -> list[Volume]:
    if not log_path:
        return []
    folder = PurePosixPath(log_path).parent
    if any(path in (folder, *folder.parents) for path in read_only):
        raise SettingsError(
            f"--log-path: the pod may only read {folder}, which holds the other files. Write a path in another folder"
        )
    return [Volume("audit-log", str(folder), "DirectoryOrCreate", read_only=False)]


def kubeconfig_paths(document: Kubeconfig, folder: Path) -> list[str]:
    """Return the absolute paths of the files that a kubeconfig in ``folder`` names, as hostPaths, so without ``..``."""
    clusters = [named.cluster for named in document.clusters]
    users = [named.user for named in document.users]
    return [posixpath.normpath(files.resolve(path, folder)) for path in files.named(clusters, users)]


def command_line(flags: Mapping[str, str]) -> str:
    """Return the flags, one on each line, fit for ``$(auditsplit flags …)`` in a shell's command."""
    return "".join(f"--{name}={value}\n" for name, value in flags.items())


def kubeadm(flags: Mapping[str, str], mounts: Iterable[Volume]) -> str:
    """Return the ``ClusterConfiguration`` for ``kubeadm init --config``, or to merge into the cluster's own."""
    document = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": [{"name": name, "value": value} for name, value in flags.items()],
            "extraVolumes": [
                {
                    "name": volume.name,
                    "hostPath": volume.path,
                    "mountPath": volume.path,
                    "readOnly": volume.read_only,
                    "pathType": volume.kind,
                }
                for volume in mounts
            ],
        },
    }
    return yaml.safe_dump(document, sort_keys=False)


def static_pod(flags: Mapping[str, str], mounts: Iterable[Volume]) -> str:
    """Return the patch ``kube-apiserver+strategic.yaml`` for kubeadm's ``patches.directory``.

    The flags are ``args``. They follow ``command``, where kubeadm writes its own flags, so they take precedence. A
    strategic patch of ``command`` would replace all of kubeadm's flags.
    """
    mounts = list(mounts)
    container = {
        "name": "kube-apiserver",
        "args": [f"--{name}={value}" for name, value in flags.items()],
        "volumeMounts": [
            {"name": volume.name, "mountPath": volume.path, "readOnly": volume.read_only} for volume in mounts
        ],
    }
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-apiserver", "namespace": "kube-system"},
        "spec": {
            "containers": [container],
            "volumes": [
                {"name": volume.name, "hostPath": {"path": volume.path, "type": volume.kind}} for volume in mounts
            ],
        },
    }
    return yaml.safe_dump(document, sort_keys=False)
