"""kind's cluster: the files as mounts of the node, and the flags as a patch of kubeadm's configuration.

The format: https://kind.sigs.k8s.io/docs/user/auditing/. A patch is for the version of kubeadm's API that it names, so
there is one for each version, and kind uses the one that fits the Kubernetes version of its node.
"""

from __future__ import annotations

from auditsplit.apiserver.installers.kubeadm import MOUNTED, V1BETA3, V1BETA4, document
from auditsplit.apiserver.installers.plan import Plan, dump


def write(plan: Plan) -> str:
    """Return the configuration for ``kind create cluster --config``.

    The host's files lie below ``./files``, in folders named as on the node.
    """
    mounts = [
        {"hostPath": f"./files{volume.path}", "containerPath": volume.path, "readOnly": True}
        for volume in plan.volumes(MOUNTED)
        if volume.read_only
    ]
    patches = [dump(document(plan, version)) for version in (V1BETA3, V1BETA4)]
    node = {"role": "control-plane", "extraMounts": mounts, "kubeadmConfigPatches": patches}
    return dump({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]})
