"""The chart by itself: what it renders, and which values it refuses."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm import CHART, GOLDEN, MODES, ROOT, golden, helm, objects
from support.kubernetes import kubeconfig
from support.pki import Pki

from auditsplit import __version__
from auditsplit.settings import Settings

FOLLOW = "auditSinks.enabled=true,settings.AUDIT_SINKS=memory: auditsink+kubernetes:"
RENDER = runpy.run_path(str(ROOT / "infra" / "helm" / "render.py"))


def test_the_golden_files_and_the_manifest_are_the_charts() -> None:
    """`make chart` writes them again."""
    for path, text in RENDER["rendered"]().items():
        assert path.read_text() == text, path


@pytest.mark.parametrize("mode", MODES)
def test_the_chart_passes_helms_lint(mode: str) -> None:
    """Strictly, with the values of each golden file."""
    linted = helm("lint", "--strict", CHART, "--values", MODES[mode])

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_charts_versions_are_the_projects() -> None:
    """The tag of the image is the chart's appVersion."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("settings.AUDIT_SINKS=", "AUDIT_SINKS"),
        ("settings.AUDIT_TOKENS=prod=sha256:0", "AUDIT_TOKENS"),
        ("settings.lower=x", "lower"),
        ("mode=both", "mode"),
        ("port=80", "port"),
        ("image.digest=sha256:0", "digest"),
        ("replica=2", "replica"),
        ("ingress.enabled=true", "tlsSecretName"),
        ("serviceMonitor.enabled=true", "must be false in mode node"),
        ("mode=metrics", "tlsSecretName"),
        ("metrics.caBundle=-----BEGIN", "caBundle"),
        ("auditSinks=true", "auditSinks"),
        ("auditSinks.crds=true", "crds"),
        ("auditSinks.enabled=true", "names no AuditSinks of the cluster"),
        (f"{FOLLOW},settings.AUDIT_SINKS=auditsink:/etc/sinks.d", "names no AuditSinks of the cluster"),
        (f"{FOLLOW},settings.KUBECONFIG=/etc/other.yaml", "must be false with settings.KUBECONFIG"),
        (f"{FOLLOW},auditSinks.enabled=false", "auditSinks.enabled: must be true"),
        ("settings.AUDIT_SINKS=AuditSink+Kubernetes:?timeout=5", "auditSinks.enabled: must be true"),
        (f"{FOLLOW},mode=metrics,metrics.tlsSecretName=x", "must be false in mode metrics"),
    ],
)
def test_wrong_values_are_refused_by_name(values: str, reason: str) -> None:
    """A misspelt value would otherwise be ignored. A token's hash belongs into the Secret."""
    arguments = ["--set-json", '{"settings":{"AUDIT_SINKS":"memory:"}}', "--set", values]

    refused = helm("template", "auditsplit", CHART, *arguments)

    assert refused.returncode == 1
    assert reason in refused.stderr


@pytest.mark.parametrize("mode", ["node", "central"])
def test_pods_that_follow_auditsinks_have_a_token_with_the_role(mode: str) -> None:
    """And other pods have no token, no role and no definition."""
    followed = rendered("--values", MODES["node"], "--set", f"mode={mode},{FOLLOW}")
    other = rendered("--values", MODES["node"], "--set", f"mode={mode}")

    (binding,) = followed["ClusterRoleBinding"]
    (account,) = followed["ServiceAccount"]
    assert binding["roleRef"]["name"] == followed["ClusterRole"][0]["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", **{key: account["metadata"][key] for key in ("name", "namespace")}}
    ]
    assert pod(followed)["automountServiceAccountToken"] is True
    assert pod(followed)["serviceAccountName"] == account["metadata"]["name"]
    assert pod(other)["automountServiceAccountToken"] is False
    assert followed.keys() - other.keys() == {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


def rendered(*arguments: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Return by kind the objects that the chart makes."""
    made = helm("template", "auditsplit", CHART, "--namespace", "audit", *arguments)
    assert made.returncode == 0, made.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for each in yaml.safe_load_all(made.stdout):
        found.setdefault(each["kind"], []).append(each)
    return found


def pod(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the spec of the workload's pods."""
    (workload,) = found.get("DaemonSet", []) + found.get("Deployment", [])
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def test_the_definition_of_auditsinks_can_be_left_to_others() -> None:
    """A cluster has one, and helm refuses to make it where another release did."""
    own = rendered("--values", MODES["central"])
    others = rendered("--values", MODES["central"], "--set", "auditSinks.crd=false")

    assert own.keys() - others.keys() == {"CustomResourceDefinition"}


def test_another_clusters_auditsinks_require_nothing_of_this_cluster() -> None:
    """A kubeconfig has the credentials."""
    named = "settings.AUDIT_SINKS=auditsink+kubernetes:,settings.KUBECONFIG=/etc/other.yaml"

    found = rendered("--values", MODES["node"], "--set", named)

    assert "ClusterRole" not in found
    assert pod(found)["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("mode", "values"), [("node", "auditSinks=null"), ("central", 'auditSinks={"enabled":true,"crd":null}')]
)
def test_values_of_an_older_release_render_the_same(mode: str, values: str) -> None:
    """An upgrade with --reuse-values has no defaults of values that are new in this chart."""
    arguments = ("--namespace", "auditsplit", "--values", MODES[mode], "--set-json", values)

    assert helm("template", "auditsplit", CHART, *arguments).stdout == (GOLDEN / f"{mode}.yaml").read_text()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "metrics"])
def test_the_settings_are_valid(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the function reads them. A kubeconfig takes the place of the pod's token."""
    (settings,) = [found["data"] for found in objects(mode, "ConfigMap")]
    (tmp_path / "kubeconfig").write_text(kubeconfig(1, Pki(tmp_path / "pki").ca))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    assert Settings.read(settings).sinks


@pytest.mark.parametrize("mode", MODES)
def test_each_selector_finds_the_pods(mode: str) -> None:
    """Of the workload, the Service, the budget, the network policy and the monitor."""
    (pod,) = [found["spec"]["template"] for kind in ("DaemonSet", "Deployment") for found in objects(mode, kind)]
    labels = pod["metadata"]["labels"].items()

    selectors = [selector for found in golden(mode) for selector in selectors_of(found)]

    assert selectors
    assert all(selector.items() <= labels for selector in selectors)


def selectors_of(found: dict[str, Any]) -> list[dict[str, str]]:
    """Return an object's selectors of pods; a ServiceMonitor's is of the Service, which has the same labels."""
    if found["kind"] == "Service":
        return [found["spec"]["selector"]]
    chosen = [found.get("spec", {}).get(name) for name in ("selector", "podSelector")]
    return [selector["matchLabels"] for selector in chosen if selector]


def test_the_outside_reaches_neither_metrics_nor_health() -> None:
    """The Ingress passes on the two paths that senders use."""
    ((ingress,), (service,)) = objects("central", "Ingress"), objects("central", "Service")
    (rule,) = ingress["spec"]["rules"]
    paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    backends = [path["backend"]["service"] for path in rule["http"]["paths"]]

    assert paths == {"/": "Exact", "/clusters": "Prefix"}
    assert {backend["name"] for backend in backends} == {service["metadata"]["name"]}
    assert {backend["port"]["name"] for backend in backends} == {service["spec"]["ports"][0]["name"]}


@pytest.mark.parametrize("mode", [mode for mode in MODES if objects(mode, "PrometheusRule")])
def test_the_alerts_are_prometheus_own_file(mode: str) -> None:
    """The same groups that promtool tests."""
    (rule,) = objects(mode, "PrometheusRule")

    assert rule["spec"] == yaml.safe_load((ROOT / "infra" / "prometheus" / "auditsplit.rules.yaml").read_text())


def test_a_packed_chart_renders_the_same(tmp_path: Path) -> None:
    """A package has the alerts too, which are a link in the checkout."""
    packed = helm("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("*.tgz")

    rendered = helm("template", "auditsplit", archive, "--namespace", "auditsplit", "--values", MODES["central"])

    assert packed.returncode == 0
    assert rendered.stdout == (GOLDEN / "central.yaml").read_text()
