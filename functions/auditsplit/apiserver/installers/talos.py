"""A patch of Talos' machine configuration, for ``talosctl patch machineconfig``.

Talos writes the audit policy itself, from ``cluster.apiServer.auditPolicy``. Files can be made only below ``/var``, and
kube-apiserver does not run as root: https://docs.siderolabs.com/talos/latest/reference/configuration/v1alpha1/config.
"""

from __future__ import annotations

from typing import Any

import yaml

from auditsplit.apiserver.installers.plan import Octal, Plan, dump
from auditsplit.apiserver.installers.volumes import covers
from auditsplit.errors import SettingsError

_POLICY = "audit-policy-file"
_READABLE = 0o444
"""kube-apiserver's user must be able to read the files. Nobody can log in to the machine."""


def write(plan: Plan) -> str:
    """Return the patch. Without the files' content it has the flags and mounts alone.

    Raises:
        SettingsError: A file is not below ``/var``.
    """
    policy = plan.flags.get(_POLICY, "")
    paths = tuple(path for path in plan.paths if path != policy)
    outside = [path for path in paths if not covers(["/var"], path)]
    if outside:
        raise SettingsError(
            f"--format talos: Talos makes files only below /var, and {outside[0]} is elsewhere. Write"
            " --config /var/lib/auditsplit/webhook.yaml, and the files that the kubeconfig names beside it"
        )
    server: dict[str, Any] = {
        "extraArgs": {name: value for name, value in plan.flags.items() if name != _POLICY},
        "extraVolumes": [
            {"hostPath": volume.path, "mountPath": volume.path, "readonly": volume.read_only}
            for volume in plan._replace(paths=paths).volumes(())
        ],
    }
    if policy in plan.contents:
        server["auditPolicy"] = yaml.safe_load(plan.contents[policy])
    files = [
        {"path": path, "op": "create", "permissions": Octal(_READABLE), "content": content}
        for path, content in plan.contents.items()
        if path != policy
    ]
    return dump(({"machine": {"files": files}} if files else {}) | {"cluster": {"apiServer": server}})
