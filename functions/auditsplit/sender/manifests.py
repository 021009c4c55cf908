"""The audit flags as kube-apiserver takes them: on its command line, through kubeadm, or as a patch of its static pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

_OTHERS_LIVE_THERE = frozenset(map(PurePosixPath, ("/", "/etc", "/etc/kubernetes", "/var", "/var/log", "/opt", "/usr")))
_MOUNTED_BY_KUBEADM = PurePosixPath("/etc/kubernetes/pki")


class Volume(NamedTuple):
    """A path of the host that kube-apiserver's pod needs at the same place; ``kind`` is a ``hostPath`` type."""

    name: str
    path: str
    kind: str
    read_only: bool


def volumes(files: Iterable[str], log_path: str | None = None) -> list[Volume]:
    """Return what a pod must mount to read ``files`` and to write its log: each file's folder, once.

    A folder, not the file: a token file that is replaced would stay the old one in the pod for ever. Where other
    programs' secrets lie in the folder too (``/etc/kubernetes``), the file alone. What kubeadm mounts anyway is left out.
    """
    places: dict[PurePosixPath, str] = {}
    for file in map(PurePosixPath, files):
        if _MOUNTED_BY_KUBEADM not in file.parents:
            alone = file.parent in _OTHERS_LIVE_THERE
            places[file if alone else file.parent] = "File" if alone else "Directory"
    inner = [place for place in places if not any(other in place.parents for other in places)]
    found = [Volume(_name(number), str(place), places[place], True) for number, place in enumerate(sorted(inner))]  # noqa: FBT003
    if log_path:
        found.append(Volume("audit-log", str(PurePosixPath(log_path).parent), "DirectoryOrCreate", False))  # noqa: FBT003
    return found


def _name(number: int) -> str:
    return f"audit-{number}" if number else "audit"


def kubeconfig_files(kubeconfig: Mapping[str, Any], folder: str) -> list[str]:
    """Return the files that a kubeconfig names, relative ones as kube-apiserver reads them: to ``folder``."""
    named = [
        *(entry.get("cluster", {}).get("certificate-authority") for entry in kubeconfig.get("clusters") or ()),
        *(
            entry.get("user", {}).get(key)
            for entry in kubeconfig.get("users") or ()
            for key in ("tokenFile", "client-certificate", "client-key")
        ),
        *((entry.get("user", {}).get("exec") or {}).get("command") for entry in kubeconfig.get("users") or ()),
    ]
    return [str(PurePosixPath(folder, name)) for name in named if name and "/" in name]


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

    The flags are ``args``: they come after ``command``, where kubeadm puts its own, and so count more. A strategic patch
    of ``command`` itself would replace all of kubeadm's flags.
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
