"""The chart in a real kube-apiserver, with the Prometheus operator's own definitions: installed, upgraded, removed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import pages
from support.helm import CHART, MODES, ROOT, golden, helm
from support.kubernetes import Apiserver, kubeconfig, token
from support.pki import Pki
from support.processes import BIN, wait_for

DEFINITIONS = BIN.parent / "prometheus-operator"
NAMESPACE = "auditsplit"
NAMESPACES = ("auditsplit", "audit", "metrics-api")
_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
}


def started(server: Apiserver, pki: Pki, folder: Path) -> list[str]:
    """Start an apiserver that knows the operator's kinds; return helm's options that lead to it."""
    webhook = folder / "webhook.yaml"
    webhook.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **NOWHERE}))
    server.start(webhook)
    for plural in ("servicemonitors", "prometheusrules"):
        definition = yaml.safe_load((DEFINITIONS / f"monitoring.coreos.com_{plural}.yaml").read_text())
        made = server.request("POST", CRDS, body=definition, headers=[("Content-Type", "application/json")])
        assert made.status == 201, made.body
        wait_for(plural, lambda name=plural: served(server, name))  # type: ignore[misc]
    where = [f"--kube-apiserver=https://127.0.0.1:{server.port}", f"--kube-token={token('admin')}"]
    return [*where, f"--kube-ca-file={pki.ca}", f"--namespace={NAMESPACE}"]


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NOWHERE = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
    "current-context": "c",
}
"""A webhook at which nothing listens: these tests look at no event."""


def served(server: Apiserver, plural: str) -> bool:
    """Return whether the apiserver serves a kind of the operator."""
    return server.request("GET", f"/apis/monitoring.coreos.com/v1/{plural}").status == 200


def found(server: Apiserver, namespace: str = NAMESPACE) -> dict[str, list[dict[str, Any]]]:
    """Return the objects in the namespace by kind."""
    answers = {kind: server.request("GET", path.format(namespace)) for kind, path in _PATHS.items()}
    return {kind: json.loads(answer.body)["items"] for kind, answer in answers.items() if answer.status == 200}


def kinds(server: Apiserver, namespace: str = NAMESPACE) -> set[str]:
    """Return the kinds of which an object is in the namespace."""
    return {kind for kind, items in found(server, namespace).items() if items}


@pytest.mark.parametrize("mode", MODES)
def test_the_apiserver_would_accept_each_object(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path, mode: str
) -> None:
    """By a dry run on the server, which then holds nothing of it."""
    server = apiserver()
    options = started(server, pki, tmp_path)

    dry = helm("install", "auditsplit", CHART, "--values", MODES[mode], "--dry-run=server", *options)

    assert dry.returncode == 0, dry.stderr
    assert f"kind: {golden(mode)[-1]['kind']}" in dry.stdout
    assert kinds(server) == set()


def test_a_release_is_installed_upgraded_and_removed(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path
) -> None:
    """The upgrade changes the pods where a setting changed. Nothing is left over but the Secret, which people made."""
    server = apiserver()
    options = started(server, pki, tmp_path)
    values = ["--values", str(MODES["central"])]

    installed = helm("install", "auditsplit", CHART, *values, "--create-namespace", *options)
    first = found(server)
    upgraded = helm("upgrade", "auditsplit", CHART, *values, "--set", "settings.AUDIT_CLUSTER=prod", *options)
    second = found(server)
    removed = helm("uninstall", "auditsplit", *options)

    assert [done.returncode for done in (installed, upgraded, removed)] == [0, 0, 0], installed.stderr + upgraded.stderr
    assert {kind for kind, items in first.items() if items} == {made["kind"] for made in golden("central")}
    checksums = [
        state["Deployment"][0]["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for state in (first, second)
    ]
    assert checksums[0] != checksums[1]
    assert second["ConfigMap"][0]["data"]["AUDIT_CLUSTER"] == "prod"
    assert kinds(server) == set()


def test_the_commands_of_the_page_are_run_in_their_order(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path
) -> None:
    """docs/deploy/helm.md, from both installs to the removal, with helm's own variables for the apiserver."""
    server = apiserver()
    started(server, pki, tmp_path)
    environ = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HELM_KUBEAPISERVER": f"https://127.0.0.1:{server.port}",
        "HELM_KUBETOKEN": token("admin"),
        "HELM_KUBECAFILE": str(pki.ca),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    (tmp_path / "kubeconfig").write_text(kubeconfig(server.port, pki.ca))
    installs = ("Install beside kube-apiserver", "Install as a central receiver", "Install as the Metrics API")
    headings = (*installs, "Verify", "Upgrade", "Remove")
    kinds_after = []

    for heading in headings:
        script = pages.commands("deploy/helm.md", heading)
        ran = subprocess.run(
            ["/bin/sh", "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        kinds_after.append({namespace: kinds(server, namespace) for namespace in NAMESPACES})

    assert "DaemonSet" in kinds_after[0]["auditsplit"]
    assert {"Deployment", "Ingress"} <= kinds_after[1]["audit"]
    assert {"Deployment", "Service"} <= kinds_after[2]["metrics-api"]
    assert kinds_after[-1] == {namespace: set() for namespace in NAMESPACES}
