"""RKE2's and k3s's configuration, as a file of ``config.yaml.d``.

``kube-apiserver-arg+`` adds to the arguments of config.yaml, where the key without ``+`` would replace them:
https://docs.k3s.io/installation/configuration. RKE2 runs kube-apiserver as a static pod with
``kube-apiserver-extra-mount``: https://docs.rke2.io/advanced. k3s runs it in its own process, which sees every file.
"""

from __future__ import annotations

from typing import Any

from auditsplit.apiserver.installers.plan import Plan, dump

MOUNTED = ("/etc/ssl/certs", "/var/lib/rancher/rke2/server/logs")
"""What RKE2 mounts in kube-apiserver's pod by itself."""


def rke2(plan: Plan) -> str:
    """Return the file for ``/etc/rancher/rke2/config.yaml.d/``."""
    mounts = [f"{volume.path}:{volume.path}" + (":ro" if volume.read_only else "") for volume in plan.volumes(MOUNTED)]
    return dump(_arguments(plan) | ({"kube-apiserver-extra-mount+": mounts} if mounts else {}))


def k3s(plan: Plan) -> str:
    """Return the file for ``/etc/rancher/k3s/config.yaml.d/``."""
    return dump(_arguments(plan))


def _arguments(plan: Plan) -> dict[str, Any]:
    return {"kube-apiserver-arg+": [f"{name}={value}" for name, value in plan.flags.items()]}
