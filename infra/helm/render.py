"""Render the chart again into infra/helm/golden and infra/kubernetes/auditsplit.yaml: ``make chart``.

The golden files show what a change of a template does. The manifest is the chart's mode node for those without helm.
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
MANIFEST = _ROOT / "infra" / "kubernetes" / "auditsplit.yaml"
_OF_HELM = re.compile(r"^ +(app.kubernetes.io/(managed-by|instance)|helm.sh/chart): .*\n", re.MULTILINE)
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
    return helm("template", "auditsplit", CHART, "--namespace", "auditsplit", "--values", values)


def rendered() -> dict[Path, str]:
    """Return what each rendered file of the project must hold."""
    cases = {path: template(path) for path in sorted(_GOLDEN.glob("*.values.yaml"))}
    found = {path.with_name(path.name.replace(".values", "")): text for path, text in cases.items()}
    return {**found, MANIFEST: _HEAD + _OF_HELM.sub("", found[_GOLDEN / "node.yaml"])}


if __name__ == "__main__":
    for target, text in rendered().items():
        target.write_text(text)
        sys.stdout.write(f"{target.relative_to(_ROOT)}\n")
