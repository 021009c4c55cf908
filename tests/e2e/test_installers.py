"""What the installers are given: kubeadm's own program, a real kube-apiserver, and docs/cluster/kubeadm.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import commands, kubeadm, kubernetes
from support.apiserver_flags import REFUSED
from support.function import Function
from support.kubernetes import QUICK, Apiserver
from support.pki import Pki
from support.processes import BIN, wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "cluster" / "kubeadm.md").read_text()
STEPS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LOAD = ["--rate", "200", "--platform", "cloud-run"]
CLUSTERS = {
    "v1beta4": """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.0
controlPlaneEndpoint: api.example.com:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
apiServer:
  certSANs: [api.example.com]
  extraArgs:
  - {name: oidc-issuer-url, value: "https://id.example.com"}
  - {name: audit-webhook-mode, value: blocking}
  extraVolumes:
  - {name: audit, hostPath: /etc/oidc, mountPath: /etc/oidc, readOnly: true, pathType: DirectoryOrCreate}
""",
    "v1beta3": """\
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
kubernetesVersion: v1.36.0
controlPlaneEndpoint: api.example.com:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
apiServer:
  certSANs: [api.example.com]
  extraArgs: {oidc-issuer-url: "https://id.example.com", audit-webhook-mode: blocking}
  extraVolumes:
  - {name: audit, hostPath: /etc/oidc, mountPath: /etc/oidc, readOnly: true, pathType: DirectoryOrCreate}
""",
}


def container(manifest: Path) -> dict[str, Any]:
    """Return the container of kube-apiserver."""
    [found] = yaml.safe_load(manifest.read_text())["spec"]["containers"]
    return dict(found)


def arguments(manifest: Path) -> dict[str, str]:
    """Return the flags of kube-apiserver's container by name."""
    words = [*container(manifest)["command"][1:], *container(manifest).get("args", [])]
    return dict(word.removeprefix("--").split("=", 1) for word in words)


def mounts(manifest: Path) -> dict[str, tuple[bool, str]]:
    """Return whether each mount is read-only, and its path on the machine."""
    volumes = {
        volume["name"]: volume["hostPath"]["path"] for volume in yaml.safe_load(manifest.read_text())["spec"]["volumes"]
    }
    return {
        mount["mountPath"]: (mount.get("readOnly", False), volumes[mount["name"]])
        for mount in container(manifest)["volumeMounts"]
    }


@pytest.mark.parametrize(("flags", "rule"), REFUSED)
def test_kube_apiserver_refuses_what_check_finds(pki: Pki, tmp_path: Path, flags: str, rule: str) -> None:
    """Beside ``--secure-port=0``, which ends it in any case after all flags were validated."""
    refused = run_to_its_end(pki, tmp_path, *flags.split())
    fine = run_to_its_end(pki, tmp_path)

    assert re.fullmatch(r'.*err="--secure-port 0 must be [^"]*"', fine)
    assert refused.replace(fine, "")
    assert not re.fullmatch(r'.*err="--secure-port 0 must be [^"]*"', refused), rule


def run_to_its_end(pki: Pki, folder: Path, *flags: str) -> str:
    """Return the last words of a kube-apiserver that refuses its flags."""
    key = pki.service_account
    needed = ["--etcd-servers=http://127.0.0.1:1", "--service-account-issuer=https://x", "--secure-port=0"]
    needed += [f"--service-account-key-file={key.certificate}", f"--service-account-signing-key-file={key.key}"]
    needed += [f"--cert-dir={folder}", "--audit-webhook-config-file=/none", "--audit-policy-file=/none"]
    needed += ["--audit-webhook-truncate-enabled"]
    ran = subprocess.run(
        [BIN / "kube-apiserver", *needed, *flags], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode
    return next(line for line in reversed(ran.stderr.splitlines()) if "rror" in line or "failed" in line)


@pytest.mark.parametrize("version", CLUSTERS)
def test_kubeadm_runs_the_merged_configuration(tmp_path: Path, version: str) -> None:
    """It accepts both versions, and its static pod has the cluster's own flags and mounts beside ours."""
    before, after = tmp_path / "cluster.yaml", tmp_path / "merged.yaml"
    before.write_text(CLUSTERS[version])
    after.write_text(commands.auditsplit("flags", *LOAD, "--format", "kubeadm", "--merge", before).out)
    kubeadm.validate(after)

    old, new = (kubeadm.static_pod(file, tmp_path / f"{file.stem}-pod") for file in (before, after))
    ours = dict(line[2:].split("=", 1) for line in commands.auditsplit("flags", *LOAD).out.splitlines())

    assert arguments(new) == arguments(old) | ours
    assert mounts(new) == mounts(old) | {"/etc/kubernetes/audit": (True, "/etc/kubernetes/audit")}
    assert commands.auditsplit("flags", "check", new, "--platform", "cloud-run").out == ""


@pytest.mark.parametrize("form", ["kubeadm", "kubeadm-v1beta3"])
def test_kubeadm_accepts_a_new_configuration(tmp_path: Path, form: str) -> None:
    """Of each version that it reads."""
    file = tmp_path / "cluster.yaml"
    file.write_text(commands.auditsplit("flags", *LOAD, "--format", form, "--log-path", "/var/log/audit/a.log").out)

    assert kubeadm.validate(file) == "ok\n"


FILES = {
    "kops": "/srv/kubernetes/kube-apiserver",
    "kind": "/etc/kubernetes/audit",
    "talos": "/var/lib/auditsplit",
}
SERVERS: dict[str, Callable[[Any], Any]] = {
    "kops": lambda document: document["spec"]["kubeAPIServer"]["auditWebhookBatchMaxSize"],
    "kind": lambda document: document["nodes"][0]["extraMounts"][0]["containerPath"],
    "talos": lambda document: document["cluster"]["apiServer"]["extraArgs"]["audit-webhook-batch-max-size"],
}


@pytest.mark.parametrize("form", FILES)
def test_the_installers_own_types_read_the_format(tmp_path: Path, form: str) -> None:
    """They refuse a field that they do not have, and read back what was written. Talos applies the patch too."""
    there, files = FILES[form], tmp_path / "files"
    files.mkdir()
    commands.policy(files / "policy.yaml", "minimal")
    commands.auditsplit("kubeconfig", "prod", "--server", "https://x.example.com", "--output", files / "webhook.yaml")
    options: list[str | Path] = ["--format", form, "--files", files, "--log-path", "/var/log/audit/audit.log"]
    paths = ["--policy", f"{there}/policy.yaml", "--config", f"{there}/webhook.yaml"]
    text = commands.auditsplit("flags", *LOAD, *options, *paths).out

    read = installer(form, text)
    refused = installer(form, f"{text}unknown: 1\n", expected=1)

    assert SERVERS[form](json.loads(read.stdout)) in (400, "400", there)
    assert "unknown" in refused.stderr


def installer(form: str, text: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Return what the installer's own types make of a document."""
    ran = subprocess.run([BIN / "installers", form], input=text, capture_output=True, text=True, check=False)
    assert ran.returncode == expected, ran.stderr
    return ran


def test_kubeadm_accepts_kinds_patches(tmp_path: Path) -> None:
    """Each is a whole ClusterConfiguration of its version."""
    [node] = yaml.safe_load(commands.auditsplit("flags", *LOAD, "--format", "kind").out)["nodes"]

    for number, patch in enumerate(node["kubeadmConfigPatches"]):
        file = tmp_path / f"{number}.yaml"
        file.write_text(patch)
        assert kubeadm.validate(file) == "ok\n"


def test_the_patch_and_the_merged_manifest_are_the_same_pod(tmp_path: Path) -> None:
    """Whether kubeadm patches its manifest, or we merge into it."""
    cluster, patches = tmp_path / "cluster.yaml", tmp_path / "patches"
    cluster.write_text(CLUSTERS["v1beta4"])
    patches.mkdir()
    patch = commands.auditsplit("flags", *LOAD, "--format", "static-pod").out
    (patches / "kube-apiserver+strategic.yaml").write_text(patch)
    plain = kubeadm.static_pod(cluster, tmp_path / "plain")
    patched = kubeadm.static_pod(cluster, tmp_path / "patched", patches)
    merged = tmp_path / "merged.yaml"
    merged.write_text(commands.auditsplit("flags", *LOAD, "--format", "static-pod", "--merge", plain).out)

    assert arguments(merged) == arguments(patched)
    assert mounts(merged) == mounts(patched)


def test_the_pages_commands_change_a_running_cluster_and_change_it_back(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """Each in its order. The test is the kubelet: it runs kube-apiserver with the audit flags of the manifest."""
    server, receiver = apiserver(), function()
    audit, manifests = tmp_path / "audit", tmp_path / "manifests"
    cluster, admin, nowhere = tmp_path / "first.yaml", tmp_path / "admin.conf", tmp_path / "nowhere.yaml"
    cluster.write_text(CLUSTERS["v1beta4"])
    manifests.mkdir()
    first = kubeadm.static_pod(cluster, tmp_path / "first").read_text()
    (manifests / "kube-apiserver.yaml").write_text(first)
    commands.kubeconfig(nowhere, "prod", "https://127.0.0.1:9", pki.ca)
    server.start(nowhere)
    admin.write_text(kubernetes.kubeconfig(server.port, pki.ca))
    setting, files, probe, *steps, back = [adapted(step, tmp_path, receiver.url, pki.ca) for step in STEPS]
    upload = f"kubeadm init phase upload-config kubeadm --kubeconfig {admin} --config {cluster}"
    shell(setting, upload)
    uploaded = configuration(setting)

    receiver.start(commands.tokens_in(shell(setting, files)))
    shell(setting, probe)
    merge, check, send, change, verify = steps
    shell(setting, merge)
    shell(setting, check)
    shell(setting, send)
    shell(setting, change)
    server.kill()
    changed = arguments(manifests / "kube-apiserver.yaml")
    audits = [f"--{name}={value}" for name, value in changed.items() if name.startswith("audit-")]
    server.start(audit / "webhook.yaml", audit / "policy.yaml", [*audits, *QUICK])
    verified = shell(setting, verify)
    server.request("GET", "/api/v1/namespaces", "alice@example.com")
    wait_for("alice's event", lambda: any("alice" in place for place in receiver.stored()))
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(configuration(setting))
    again = arguments(kubeadm.static_pod(rendered, tmp_path / "again"))
    shell(setting, back)

    assert "ok" in verified
    assert re.search(r"apiserver_audit_event_total [1-9]", verified)
    assert "no errors" in verified
    assert again == changed
    assert changed["oidc-issuer-url"] == "https://id.example.com"
    assert yaml.safe_load(configuration(setting)) == yaml.safe_load(uploaded)
    assert (manifests / "kube-apiserver.yaml").read_text() == first


def adapted(step: str, folder: Path, url: str, ca: Path) -> str:
    """Return a step of the page with this test's paths and receiver."""
    paths = {
        "/etc/kubernetes/": f"{folder}/",
        "/root/": f"{folder}/",
        "https://audit.example.com": f"{url} --ca-file {ca}",
    }
    for shown, here in paths.items():
        step = step.replace(shown, here)
    return step


def configuration(setting: str) -> str:
    """Return the cluster's own ClusterConfiguration, by the page's command."""
    [command] = [line for step in STEPS for line in step.splitlines() if line.startswith("kubectl -n kube-system")]
    return shell(setting, command.partition(" > ")[0])


def shell(setting: str, step: str) -> str:
    """Run a step after the page's settings. Return what it printed, standard error too."""
    path = f"{BIN}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{setting}\n{step}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": path, "HOME": "/nonexistent"},
        timeout=120,
    )
    assert not ran.returncode, (step, ran.stdout)
    return ran.stdout
