"""kubespray's variables: arguments and volumes that it puts into kubeadm's configuration.

kubespray's own ``kubernetes_audit_webhook`` writes a kubeconfig without credentials, so these variables do not use it:
https://github.com/kubernetes-sigs/kubespray/blob/master/docs/ansible/vars.md.
"""

from __future__ import annotations

from auditsplit.apiserver.installers.kubeadm import MOUNTED as MOUNTED_BY_KUBEADM
from auditsplit.apiserver.installers.plan import Plan, dump

MOUNTED = (*MOUNTED_BY_KUBEADM, "/etc/kubernetes/ssl")


def write(plan: Plan) -> str:
    """Return the variables, for a file in the inventory's ``group_vars/k8s_cluster/``."""
    volumes = [
        {"name": volume.name, "hostPath": volume.path, "mountPath": volume.path, "readOnly": volume.read_only}
        for volume in plan.volumes(MOUNTED)
    ]
    return dump({"kube_kubeadm_apiserver_extra_args": dict(plan.flags), "apiserver_extra_volumes": volumes})
