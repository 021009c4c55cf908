"""The audit flags in the format of each installer of Kubernetes, with the mounts for their files.

A format is a row of `INSTALLERS`. Its module says which pages of the installer's documentation it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from auditsplit.apiserver.installers import kind, kops, kubeadm, kubespray, minikube, rancher, static_pod, talos
from auditsplit.apiserver.installers.plan import Plan
from auditsplit.apiserver.installers.tree import Change

__all__ = ["INSTALLERS", "Installer", "Plan", "command_line"]


class Installer(NamedTuple):
    """A format: what it is, how it is written, and how it is merged into a file that exists.

    ``holds`` is whether the content of the files goes into the document. ``comments`` is whether lines may begin with
    ``#``. ``missing`` are flags that the installer cannot set. ``note`` is a warning about the document.
    """

    title: str
    write: Callable[[Plan], str]
    merge: Callable[[str, Plan], tuple[str, list[Change]]] | None = None
    holds: bool = False
    comments: bool = True
    missing: frozenset[str] = frozenset()
    note: str = ""


def command_line(plan: Plan) -> str:
    """Return the flags, one on each line, fit for ``$(auditsplit flags …)`` in a shell's command."""
    return "".join(f"--{name}={value}\n" for name, value in plan.flags.items())


_NEW = (
    "This is for a new cluster. Run over a running node, it would replace the cluster's own settings. Use --merge there"
)

INSTALLERS: Mapping[str, Installer] = {
    "flags": Installer("flags of kube-apiserver's command line", command_line, comments=False),
    "kubeadm": Installer("a ClusterConfiguration, v1beta4", kubeadm.writer(kubeadm.V1BETA4), kubeadm.merge, note=_NEW),
    "kubeadm-v1beta3": Installer("the same, v1beta3", kubeadm.writer(kubeadm.V1BETA3), kubeadm.merge, note=_NEW),
    "static-pod": Installer("a patch for kubeadm's patches folder", static_pod.patch, static_pod.merge),
    "rke2": Installer("a file for /etc/rancher/rke2/config.yaml.d", rancher.rke2),
    "k3s": Installer("a file for /etc/rancher/k3s/config.yaml.d", rancher.k3s),
    "kops": Installer("a part of the cluster's spec", kops.write, holds=True, missing=kops.MISSING),
    "kind": Installer("a configuration of kind", kind.write),
    "minikube": Installer("options for minikube start", minikube.write, comments=False),
    "talos": Installer("a patch of the machine configuration", talos.write, holds=True),
    "kubespray": Installer("variables of the inventory", kubespray.write),
}
"""The formats of ``auditsplit flags --format``."""
