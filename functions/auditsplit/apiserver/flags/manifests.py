"""The audit flags as kube-apiserver takes them: on its command line, through kubeadm, or by its static pod's patch."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from auditsplit.errors import SettingsError

_OTHERS_LIVE_THERE = frozenset(
    map(PurePosixPath, ("/", "/etc", "/etc/kubernetes", "/bin", "/usr/bin", "/usr/local/bin", "/opt", "/root", "/tmp"))  # noqa: S108
)
_MOUNTED_BY_KUBEADM = frozenset(map(PurePosixPath, ("/etc/kubernetes/pki", "/etc/ssl/certs")))


class Volume(NamedTuple):
    """A path of the host that kube-apiserver's pod needs at the same place; ``kind`` is a ``hostPath`` type."""

    name: str
    path: str
    kind: str
    read_only: bool


def volumes(files: Iterable[str], log_path: str | None = None) -> list[Volume]:
    """Return what a pod must mount to read ``files`` and to write its log: each file's folder, once.

    A folder, not the file: a token file that is replaced would stay the old one in the pod for ever. The file alone
    where other programs' secrets lie beside it (``/etc/kubernetes``) or the folder would hide the image's own
    (``/usr/local/bin``). What kubeadm mounts anyway is left out. A log beside the files is a `SettingsError`.
    """
    places: dict[PurePosixPath, str] = {}
    for file in map(PurePosixPath, files):
        if not _MOUNTED_BY_KUBEADM.intersection(file.parents):
            alone = file.parent in _OTHERS_LIVE_THERE
            places[file if alone else file.parent] = "File" if alone else "Directory"
    outer = [place for place in places if not any(other in place.parents for other in places)]
    found = [Volume(_name(number), str(place), places[place], True) for number, place in enumerate(sorted(outer))]  # noqa: FBT003
    if log_path:
        folder = PurePosixPath(log_path).parent
        if any(place in (folder, *folder.parents) for place in outer):
            raise SettingsError(f"--log-path: {folder} holds the files too, which the pod may only read; write another")
        found.append(Volume("audit-log", str(folder), "DirectoryOrCreate", False))  # noqa: FBT003
    return found


def _name(number: int) -> str:
    return f"audit-{number}" if number else "audit"


def kubeconfig_files(kubeconfig: Mapping[str, Any], folder: str) -> list[str]:
    """Return the files that a kubeconfig names, relative ones as kube-apiserver reads them: to ``folder``."""
    clusters = [entry.get("cluster") or {} for entry in kubeconfig.get("clusters") or ()]
    users = [entry.get("user") or {} for entry in kubeconfig.get("users") or ()]
    named = [cluster.get("certificate-authority") for cluster in clusters]
    named += [user.get(key) for user in users for key in ("tokenFile", "client-certificate", "client-key")]
    commands = [(user.get("exec") or {}).get("command") for user in users]
    named += [command for command in commands if command and "/" in command]  # others are looked for in PATH
    return [posixpath.normpath(posixpath.join(folder, name)) for name in named if name]  # a hostPath takes no ..


def command_line(flags: Mapping[str, str]) -> str:
    """Return the flags, one on each line: they can stand in a shell's command as ``$(auditsplit flags …)``."""
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

    The flags are ``args``: they come after ``command``, where kubeadm puts its own, and so count more. A strategic
    patch of ``command`` itself would replace all of kubeadm's flags.
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
