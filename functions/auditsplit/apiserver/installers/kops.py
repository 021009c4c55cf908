"""kOps' cluster spec: fields of ``kubeAPIServer`` and ``fileAssets``.

kOps names a flag in camel case, and has no field for ``--audit-webhook-truncate-…``. The folder
``/srv/kubernetes/kube-apiserver`` is mounted in kube-apiserver's pod: https://kops.sigs.k8s.io/cluster_spec/.
"""

from __future__ import annotations

from typing import Any

from auditsplit.apiserver.installers.plan import Plan, dump
from auditsplit.apiserver.installers.volumes import covers
from auditsplit.errors import SettingsError

FOLDER = "/srv/kubernetes/kube-apiserver"
MISSING = frozenset({"audit-webhook-truncate-enabled", "audit-webhook-truncate-max-event-size"})
"""Flags that kOps has no field for."""
_NUMBERS = ("batch-max-size", "batch-buffer-size", "batch-throttle-burst", "maxage", "maxbackup", "maxsize")
_LOG_FIELDS = {
    "audit-log-maxage": "auditLogMaxAge",
    "audit-log-maxbackup": "auditLogMaxBackups",
    "audit-log-maxsize": "auditLogMaxSize",
}


def write(plan: Plan) -> str:
    """Return the part of the cluster's ``spec`` to merge in with ``kops edit cluster``.

    Raises:
        SettingsError: A file is outside of the folder that kOps mounts.
    """
    outside = [path for path in plan.paths if not covers([FOLDER, "/etc/ssl/certs"], path)]
    if outside:
        raise SettingsError(
            f"--format kops: kOps mounts only {FOLDER}, and {outside[0]} is elsewhere. Write"
            f" --policy {FOLDER}/policy.yaml --config {FOLDER}/webhook.yaml, and files that the kubeconfig names there"
        )
    fields = {field(name): _value(name, value) for name, value in plan.flags.items() if name not in MISSING}
    assets = [
        {
            "name": path.rpartition("/")[2].replace(".", "-"),
            "path": path,
            "roles": ["ControlPlane"],
            "mode": "0440",
            "content": content,
        }
        for path, content in plan.contents.items()
    ]
    return dump({"spec": {"kubeAPIServer": fields, **({"fileAssets": assets} if assets else {})}})


def field(flag: str) -> str:
    """Return kOps' field for a flag: ``auditWebhookBatchMaxSize``."""
    first, *rest = flag.split("-")
    return _LOG_FIELDS.get(flag) or first + "".join(word.capitalize() for word in rest)


def _value(flag: str, value: str) -> Any:
    if flag == "audit-webhook-batch-throttle-enable":
        return value == "true"
    return int(value) if flag.endswith(_NUMBERS) else value
