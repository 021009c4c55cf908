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
_OF_RELEASE = "?labelSelector=app.kubernetes.io/instance%3D{}"
_PATHS = {
    "ClusterRole": f"/apis/rbac.authorization.k8s.io/v1/clusterroles{_OF_RELEASE}",
    "ClusterRoleBinding": f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings{_OF_RELEASE}",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "CustomResourceDefinition": f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions{_OF_RELEASE}",
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
"""By kind: the path of the objects of a namespace, or of the release that has the name of that namespace."""


def started(server: Apiserver, pki: Pki, folder: Path) -> list[str]:
    """Start an apiserver that knows the operator's kinds; return helm's options that lead to it."""
    webhook = folder / "webhook.yaml"
    webhook.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **NOWHERE}))
    server.start(webhook)
    for plural in ("servicemonitors", "prometheusrules"):
        definition = yaml.safe_load((DEFINITIONS / f"monitoring.coreos.com_{plural}.yaml").read_text())
        post(server, CRDS, definition)
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


def post(server: Apiserver, path: str, document: dict[str, Any]) -> dict[str, Any]:
    """Make an object as the administrator; return it."""
    made = server.request("POST", path, body=document, headers=[("Content-Type", "application/json")])
    assert made.status == 201, made.body
    answer: dict[str, Any] = json.loads(made.body)
    return answer


def served(server: Apiserver, plural: str) -> bool:
    """Return whether the apiserver serves a kind of the operator."""
    return server.request("GET", f"/apis/monitoring.coreos.com/v1/{plural}").status == 200


def found(server: Apiserver, namespace: str = NAMESPACE) -> dict[str, list[dict[str, Any]]]:
    """Return by kind the objects in the namespace, and those of the cluster that its release made."""
    answers = {kind: server.request("GET", path.format(namespace)) for kind, path in _PATHS.items()}
    return {kind: json.loads(answer.body)["items"] for kind, answer in answers.items() if answer.status == 200}


def kinds(server: Apiserver, namespace: str = NAMESPACE) -> set[str]:
    """Return the kinds of which `found` has an object."""
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
    """The upgrade changes the pods where a setting changed. Nothing is left over but the definition of AuditSinks."""
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
    assert kinds(server) == {"CustomResourceDefinition"}


def test_auditsinks_outlive_the_release(apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path) -> None:
    """The pods may only list them and write their status, and no longer than the release follows them."""
    server = apiserver()
    options = [*started(server, pki, tmp_path), "--values", str(MODES["central"])]
    without = "auditSinks.enabled=false,settings.AUDIT_SINKS=memory:"

    done = [helm("install", "auditsplit", CHART, "--create-namespace", *options)]
    wait_for("AuditSinks are served", lambda: server.request("GET", AUDITSINKS).status == 200)
    post(server, AUDITSINKS, AUDITSINK)
    granted = [allowed(server)]
    done.append(helm("upgrade", "auditsplit", CHART, *options, "--set", without))
    granted.append(allowed(server))
    done.append(helm("uninstall", "auditsplit", *options[:-2]))
    done.append(helm("install", "auditsplit", CHART, *options))
    refused = helm("install", "second", CHART, *options)
    done.append(helm("install", "second", CHART, *options, "--set", "auditSinks.crd=false"))

    assert [each.returncode for each in done] == [0] * len(done), [each.stderr for each in done]
    assert granted == [{("list", ""), ("patch", "status")}, set()]
    assert "auditsinks.auditregistration.k8s.io" in refused.stderr
    (left,) = json.loads(server.request("GET", AUDITSINKS).body)["items"]
    assert left["metadata"]["name"] == "mysink"


def test_a_release_takes_over_what_kubectl_applied(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path
) -> None:
    """With --take-ownership, without which helm refuses. The AuditSinks stay."""
    server = apiserver()
    options = [*started(server, pki, tmp_path), "--values", str(MODES["central"]), "--create-namespace"]
    for document in yaml.safe_load_all((ROOT / "infra" / "kubernetes" / "auditsinks.yaml").read_text()):
        post(server, _PATHS[document["kind"]].partition("?")[0], document)
    wait_for("AuditSinks are served", lambda: server.request("GET", AUDITSINKS).status == 200)
    post(server, AUDITSINKS, AUDITSINK)

    refused = helm("install", "auditsplit", CHART, *options)
    taken = helm("install", "auditsplit", CHART, *options, "--take-ownership")

    assert "invalid ownership metadata" in refused.stderr
    assert taken.returncode == 0, taken.stderr
    assert kinds(server) >= FOLLOWING
    assert len(json.loads(server.request("GET", AUDITSINKS).body)["items"]) == 1


AUDITSINKS = "/apis/auditregistration.k8s.io/v1alpha1/auditsinks"
AUDITSINK = {
    "apiVersion": "auditregistration.k8s.io/v1alpha1",
    "kind": "AuditSink",
    "metadata": {"name": "mysink"},
    "spec": {"policy": {"level": "None"}, "webhook": {"clientConfig": {"url": "https://audit.app"}}},
}
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


def allowed(server: Apiserver) -> set[tuple[str, str]]:
    """Return the verbs with the subresources of AuditSinks that RBAC grants to the service account of the pods."""
    (workload,) = found(server)["Deployment"]
    user = f"system:serviceaccount:{NAMESPACE}:{workload['spec']['template']['spec']['serviceAccountName']}"

    def may(verb: str, subresource: str) -> bool:
        asked = {"group": "auditregistration.k8s.io", "resource": "auditsinks", "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {**asked, "subresource": subresource}},
        }
        answer = post(server, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    return {(verb, subresource) for verb in _VERBS for subresource in ("", "status") if may(verb, subresource)}


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
    headings = (*installs, "Follow the cluster's AuditSinks", "Verify", "Upgrade", "Remove")
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
    assert kinds_after[3]["auditsplit"] - kinds_after[2]["auditsplit"] == FOLLOWING
    left = {"auditsplit": {"CustomResourceDefinition"}}
    assert kinds_after[-1] == {namespace: left.get(namespace, set()) for namespace in NAMESPACES}


FOLLOWING = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
"""The kinds that a release makes to follow AuditSinks."""
