"""minikube's command-line options.

minikube can mount nothing in kube-apiserver's pod. Files below ``~/.minikube/files/etc/ssl/certs`` come to
``/etc/ssl/certs``, which kubeadm mounts: https://minikube.sigs.k8s.io/docs/tutorials/audit-policy/.
"""

from __future__ import annotations

from auditsplit.apiserver.installers.plan import Plan
from auditsplit.apiserver.installers.volumes import covers
from auditsplit.errors import SettingsError

FOLDER = "/etc/ssl/certs"


def write(plan: Plan) -> str:
    """Return the options for ``minikube start``, one on each line, as in ``minikube start $(auditsplit flags …)``.

    Raises:
        SettingsError: A file or the log is where minikube mounts nothing.
    """
    log = (plan.log_path,) if plan.log_path and plan.log_path != "-" else ()
    outside = [path for path in (*plan.paths, *log) if not covers([FOLDER], path)]
    if outside:
        raise SettingsError(
            f"--format minikube: kube-apiserver sees only {FOLDER}, and {outside[0]} is elsewhere. Write"
            f" --policy {FOLDER}/audit/policy.yaml --config {FOLDER}/audit/webhook.yaml, and --log-path -"
        )
    return "".join(f"--extra-config=apiserver.{name}={value}\n" for name, value in plan.flags.items())
