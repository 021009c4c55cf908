"""kubeadm's ClusterConfiguration, a new one or merged into the cluster's own.

kubeadm.k8s.io/v1beta3 has extraArgs as a mapping, and kubeadm up to v1.36 reads it. v1beta4 has a list of names and
values, and kubeadm from v1.31 on reads it: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auditsplit.apiserver.installers.plan import Plan, dump
from auditsplit.apiserver.installers.tree import Change, Tree
from auditsplit.apiserver.installers.volumes import Volume
from auditsplit.errors import SettingsError

MOUNTED = ("/etc/kubernetes/pki", "/etc/ssl/certs")
"""What kubeadm mounts in kube-apiserver's pod on every distribution."""
V1BETA3, V1BETA4 = "kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4"
KIND = "ClusterConfiguration"


def document(plan: Plan, version: str) -> dict[str, Any]:
    """Return a ClusterConfiguration of ``version`` with the plan's flags and volumes and nothing else."""
    return {
        "apiVersion": version,
        "kind": KIND,
        "apiServer": {
            "extraArgs": dict(plan.flags)
            if version == V1BETA3
            else [{"name": name, "value": value} for name, value in plan.flags.items()],
            "extraVolumes": [_extra_volume(volume) for volume in plan.volumes(MOUNTED)],
        },
    }


def writer(version: str) -> Callable[[Plan], str]:
    """Return the function that writes a ClusterConfiguration of ``version`` for ``kubeadm init --config``."""
    return lambda plan: dump(document(plan, version))


def merge(text: str, plan: Plan) -> tuple[str, list[Change]]:
    """Return the ClusterConfiguration in ``text`` with the plan's flags and volumes, and what was changed in it.

    All that is there stays, also other documents of the file. A flag that is there gets the plan's value.

    Raises:
        SettingsError: There is no ClusterConfiguration of a known version in ``text``.
    """
    tree = Tree(text)
    root = tree.document(KIND)
    version = str(root.get("apiVersion"))
    if version not in (V1BETA3, V1BETA4):
        raise SettingsError(
            f"--merge: {version} is not {V1BETA3} or {V1BETA4}. Run 'kubeadm config migrate' over the file first"
        )
    server = root.child("apiServer")
    if version == V1BETA3:
        changes = server.child("extraArgs").set_all(plan.flags)
    else:
        changes = server.items("extraArgs").set_named(plan.flags)
    present = server.items("extraVolumes")
    certificates = str(root.get("certificatesDir") or MOUNTED[0])
    mounted = (*MOUNTED, certificates, *present.values("mountPath"))
    for volume in plan.volumes(mounted):
        renamed = volume._replace(name=present.free_name(volume.name))
        present.append(_extra_volume(renamed))
        changes.append(Change(f"volume {renamed.path}", None, "mounted"))
    return tree.text(), changes


def _extra_volume(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "hostPath": volume.path,
        "mountPath": volume.path,
        "readOnly": volume.read_only,
        "pathType": volume.kind,
    }
