"""The flags as documents: kubeadm's, the static pod's patch, and the volumes that the files need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from auditsplit.apiserver.flags import manifests
from auditsplit.apiserver.flags.manifests import Volume
from auditsplit.cli import main
from auditsplit.errors import SettingsError

FLAGS = {"audit-webhook-mode": "batch", "audit-webhook-batch-max-size": "400"}


def run(*arguments: str) -> Result:
    """Run the command for a small load; an exception but its own exit is the test's failure."""
    result = CliRunner().invoke(main, ["flags", "--rate", "20", "--platform", "local", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def places(*files: str, log_path: str | None = None) -> dict[str, tuple[str, bool]]:
    """Return what is mounted: the hostPath's type and whether it is read-only, by path."""
    return {volume.path: (volume.kind, volume.read_only) for volume in manifests.volumes(files, log_path)}


def test_a_folder_is_mounted_once() -> None:
    """So that a token file which is replaced is the new one in the pod too."""
    assert places("/etc/kubernetes/audit/a.yaml", "/etc/kubernetes/audit/token", "/etc/kubernetes/audit/x/ca") == {
        "/etc/kubernetes/audit": ("Directory", True)
    }


@pytest.mark.parametrize("file", ["/etc/kubernetes/webhook.yaml", "/usr/local/bin/get-token", "/token"])
def test_a_file_among_others_is_mounted_alone(file: str) -> None:
    """Neither is admin.conf shown to the pod, nor kube-apiserver's own program hidden from it."""
    assert places(file) == {file: ("File", True)}


@pytest.mark.parametrize("file", ["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/audit/ca.crt", "/etc/ssl/certs/x"])
def test_what_kubeadm_mounts_is_not_mounted_again(file: str) -> None:
    """A second mount of one path is refused by the kubelet."""
    assert places(file) == {}


def test_the_logs_folder_is_made_and_may_be_written() -> None:
    """Beside the others, which may only be read."""
    assert places("/a/b/c", log_path="/var/log/kubernetes/audit/audit.log") == {
        "/a/b": ("Directory", True),
        "/var/log/kubernetes/audit": ("DirectoryOrCreate", False),
    }


@pytest.mark.parametrize("log_path", ["/a/b/audit.log", "/a/b/log/audit.log"])
def test_a_log_beside_the_files_is_refused(log_path: str) -> None:
    """The pod could write its own kubeconfig, or could not write its log."""
    with pytest.raises(SettingsError, match="--log-path"):
        manifests.volumes(["/a/b/webhook.yaml"], log_path)


def test_volumes_have_names_of_their_own() -> None:
    """As Kubernetes wants them."""
    found = manifests.volumes(["/a/x", "/b/x", "/c/x"], "/d/x")

    assert [volume.name for volume in found] == ["audit", "audit-1", "audit-2", "audit-log"]


def test_a_kubeconfigs_files_are_found() -> None:
    """Relative ones beside the kubeconfig; a command without a slash is looked for in PATH, and is no file."""
    users: list[dict[str, Any]] = [
        {"user": {"tokenFile": "token", "client-certificate": "/pki/a.crt", "client-key": "/pki/a.key"}},
        {"user": {"exec": {"command": "gcloud"}}},
        {"user": {"exec": {"command": "/opt/bin/token"}}},
        {"user": None},
    ]
    kubeconfig = {"clusters": [{"cluster": {"certificate-authority": "../ca.crt"}}], "users": users}

    found = manifests.kubeconfig_files(kubeconfig, "/etc/audit")

    assert found == ["/etc/ca.crt", "/etc/audit/token", "/pki/a.crt", "/pki/a.key", "/opt/bin/token"]


def test_kubeadm_gets_names_and_values() -> None:
    """kubeadm.k8s.io/v1beta4 has lists, and takes every value as a string."""
    document = yaml.safe_load(manifests.kubeadm(FLAGS, [Volume("audit", "/a", "Directory", read_only=True)]))

    assert (document["apiVersion"], document["kind"]) == ("kubeadm.k8s.io/v1beta4", "ClusterConfiguration")
    assert document["apiServer"]["extraArgs"] == [{"name": name, "value": value} for name, value in FLAGS.items()]
    assert document["apiServer"]["extraVolumes"] == [
        {"name": "audit", "hostPath": "/a", "mountPath": "/a", "readOnly": True, "pathType": "Directory"}
    ]


def test_the_patch_leaves_the_command_alone() -> None:
    """A strategic patch would replace all of it."""
    document = yaml.safe_load(manifests.static_pod(FLAGS, [Volume("audit", "/a", "File", read_only=True)]))

    [container] = document["spec"]["containers"]
    assert container == {
        "name": "kube-apiserver",
        "args": ["--audit-webhook-mode=batch", "--audit-webhook-batch-max-size=400"],
        "volumeMounts": [{"name": "audit", "mountPath": "/a", "readOnly": True}],
    }
    assert document["spec"]["volumes"] == [{"name": "audit", "hostPath": {"path": "/a", "type": "File"}}]


@pytest.mark.parametrize("form", ["kubeadm", "static-pod"])
def test_documents_begin_with_the_reasons(form: str) -> None:
    """As comments: what is on standard output is the file, and the file says why it is so."""
    result = run("--format", form)

    assert result.exit_code == 0
    assert result.stdout.startswith("# 20 events/s, 40 at the peak")
    assert yaml.safe_load(result.stdout)["apiVersion"] in ("v1", "kubeadm.k8s.io/v1beta4")
    assert "isn't on this machine: name the files that it needs with --file" in result.stderr


def test_the_files_of_a_kubeconfig_that_is_here_are_mounted(tmp_path: Path) -> None:
    """And those that are named."""
    config = tmp_path / "webhook.yaml"
    config.write_text(yaml.safe_dump({"clusters": [{"cluster": {"certificate-authority": "/pki/ca.crt"}}]}))

    result = run("--format", "kubeadm", "--config", str(config), "--file", "/token/now")

    paths = {volume["hostPath"] for volume in yaml.safe_load(result.stdout)["apiServer"]["extraVolumes"]}
    assert paths == {str(tmp_path), "/etc/kubernetes/audit", "/pki", "/token"}
    assert result.stderr == ""


@pytest.mark.parametrize("text", ["- 1", "{", "clusters: [1]", "users: [{user: {tokenFile: 5}}]", "a: \x01"])
def test_a_broken_kubeconfig_is_told(tmp_path: Path, text: str) -> None:
    """By its name and without its content, which may be a secret."""
    config = tmp_path / "webhook.yaml"
    config.write_text(text)

    result = run("--format", "kubeadm", "--config", str(config))

    assert result.exit_code == 1
    assert f"{config}: no kubeconfig that can be read" in result.stderr
    assert result.stdout == ""


def test_a_log_on_standard_output_needs_no_volume() -> None:
    """And one beside the files is misuse."""
    fine = run("--format", "static-pod", "--log-path", "-")
    misuse = run("--format", "static-pod", "--log-path", "/etc/kubernetes/audit/audit.log")

    assert [volume["name"] for volume in yaml.safe_load(fine.stdout)["spec"]["volumes"]] == ["audit"]
    assert (misuse.exit_code, misuse.stdout) == (2, "")
