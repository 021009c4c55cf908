"""Render the chart again into infra/helm/golden and three manifests of infra/kubernetes: ``make chart``.

The golden files show what a change of a template does. The manifests are the chart's modes node and metrics, and what
AuditSinks require, for those without helm.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_HELM = _ROOT / ".cache" / "bin" / "helm"
_GOLDEN = Path(__file__).with_name("golden")
CHART = Path(__file__).with_name("auditsplit")
_KUBERNETES = _ROOT / "infra" / "kubernetes"
_HELMS_KEYS = "app.kubernetes.io/(managed-by|instance)|helm.sh/(chart|resource-policy)"
_OF_HELM = re.compile(rf"^ +({_HELMS_KEYS}): .*\n", re.MULTILINE)
_METRICS_HEAD = """\
# The Metrics API of the cluster, answered by two pods, instead of metrics-server.
# Rendered from infra/helm/auditsplit by `make chart`, for those without helm.
#
# Write your image, and the CA of the pods' certificate into caBundle. docs/metrics-api.md makes both files of:
#   kubectl -n auditsplit-metrics create secret tls metrics-api-tls --cert=tls.crt --key=tls.key
apiVersion: v1
kind: Namespace
metadata:
  name: auditsplit-metrics
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
_AUDITSINKS_HEAD = """\
# AuditSinks, as Kubernetes 1.13 to 1.18 had them, for AUDIT_SINKS='… auditsink+kubernetes:'.
# Rendered from infra/helm/auditsplit by `make chart`, for those without helm.
#
# The pods require their service account's token: write automountServiceAccountToken: true into auditsplit.yaml.
#
"""
_HEAD = """\
# auditsplit beside every kube-apiserver: a pod on each control-plane node, which listens on that machine's 127.0.0.1.
# Rendered from infra/helm/auditsplit by `make chart`, for those without helm.
#
# Write your image and AUDIT_SINKS. If the sink requires credentials, they come from a secret:
#   kubectl -n auditsplit create secret generic auditsplit --from-env-file=auditsplit.env
apiVersion: v1
kind: Namespace
metadata:
  name: auditsplit
  labels:
    pod-security.kubernetes.io/enforce: privileged # the host's network requires it, all else in the pod is restricted
    pod-security.kubernetes.io/warn: baseline
"""


def helm(*arguments: str | Path) -> str:
    """Return what helm prints; its own message, where it fails, is in the error's ``stderr``."""
    return subprocess.run([_HELM, *arguments], capture_output=True, text=True, check=True).stdout


def template(values: Path) -> str:
    """Return the chart's objects with the values of a file."""
    release = "auditsplit-metrics" if values.name.startswith("metrics") else "auditsplit"
    return helm("template", release, CHART, "--namespace", release, "--values", values)


def _documents(text: str, prefix: str) -> list[str]:
    """Return those documents of ``text`` whose templates' names begin with ``prefix``."""
    head = f"---\n# Source: auditsplit/templates/{prefix}"
    return [each.rstrip() + "\n" for each in re.split(r"^(?=---\n)", text, flags=re.MULTILINE) if each.startswith(head)]


def rendered() -> dict[Path, str]:
    """Return what each rendered file of the project must hold."""
    cases = {path: template(path) for path in sorted(_GOLDEN.glob("*.values.yaml"))}
    found = {path.with_name(path.name.replace(".values", "")): text for path, text in cases.items()}
    auditsinks = "".join(_documents(found[_GOLDEN / "central.yaml"], "auditsinks-"))
    return {
        **found,
        _KUBERNETES / "auditsinks.yaml": _AUDITSINKS_HEAD + _OF_HELM.sub("", auditsinks).removeprefix("---\n"),
        _KUBERNETES / "auditsplit.yaml": _HEAD + _OF_HELM.sub("", found[_GOLDEN / "node.yaml"]),
        _KUBERNETES / "metrics-api.yaml": _METRICS_HEAD + _OF_HELM.sub("", found[_GOLDEN / "metrics.yaml"]),
    }


if __name__ == "__main__":
    for target, text in rendered().items():
        target.write_text(text)
        sys.stdout.write(f"{target.relative_to(_ROOT)}\n")
