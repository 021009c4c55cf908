"""The flags as documents for kubeadm and for the static pod's patch, with the volumes for their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from support.bombs import ALIAS_BOMB

from auditsplit.apiserver.flags import manifests
from auditsplit.apiserver.flags.manifests import Volume
from auditsplit.apiserver.kubeconfig import schema
from auditsplit.cli import main
from auditsplit.errors import SettingsError

FLAGS = {"audit-webhook-mode": "batch", "audit-webhook-batch-max-size": "400"}


def run(*arguments: str) -> Result:
    """Run the command for a small load. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, ["flags", "--rate", "20", "--platform", "local", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def mounts(*files: str, log_path: str | None = None) -> dict[str, tuple[str, bool]]:
    """Return the mounted paths, each with its hostPath's type and whether it is read-only."""
    return {volume.path: (volume.kind, volume.read_only) for volume in manifests.volumes(files, log_path)}


def test_a_folder_with_several_files_is_mounted_once() -> None:
    """The folder is mounted, so that the pod sees a token file that is replaced."""
    assert mounts("/etc/kubernetes/audit/a.yaml", "/etc/kubernetes/audit/token", "/etc/kubernetes/audit/x/ca") == {
        "/etc/kubernetes/audit": ("Directory", True)
    }


@pytest.mark.parametrize("file", ["/etc/kubernetes/webhook.yaml", "/usr/local/bin/get-token", "/token"])
def test_only_the_file_is_mounted_from_a_shared_folder(file: str) -> None:
    """The pod must not see admin.conf, and kube-apiserver's own program must not be hidden."""
    assert mounts(file) == {file: ("File", True)}


@pytest.mark.parametrize("file", ["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/audit/ca.crt", "/etc/ssl/certs/x"])
def test_a_path_that_kubeadm_mounts_is_left_out(file: str) -> None:
    """The kubelet refuses a second mount of one path."""
    assert mounts(file) == {}


def test_the_logs_folder_is_writable() -> None:
    """It is made if it is missing. The other folders are read-only."""
    assert mounts("/a/b/c", log_path="/var/log/kubernetes/audit/audit.log") == {
        "/a/b": ("Directory", True),
        "/var/log/kubernetes/audit": ("DirectoryOrCreate", False),
    }


@pytest.mark.parametrize("log_path", ["/a/b/audit.log", "/a/b/log/audit.log"])
def test_a_log_in_a_read_only_folder_is_refused(log_path: str) -> None:
    """Otherwise the pod could write its own kubeconfig, or could not write its log."""
    with pytest.raises(SettingsError, match="--log-path"):
        manifests.volumes(["/a/b/webhook.yaml"], log_path)


def test_volume_names_are_unique() -> None:
    """Kubernetes requires it."""
    volumes = manifests.volumes(["/a/x", "/b/x", "/c/x"], "/d/x")

    assert [volume.name for volume in volumes] == ["audit", "audit-1", "audit-2", "audit-log"]


def test_a_kubeconfigs_paths_are_absolute() -> None:
    """Relative paths start at its folder, and ``..`` is resolved, since a hostPath must not have it."""
    users: list[dict[str, Any]] = [
        {"user": {"tokenFile": "token", "client-certificate": "/pki/a.crt", "client-key": "/pki/a.key"}},
        {"user": {"exec": {"command": "gcloud"}}},
        {"user": {"exec": {"command": "/opt/bin/token"}}},
        {"user": None},
    ]
    kubeconfig = {"clusters": [{"cluster": {"certificate-authority": "../ca.crt"}}], "users": users}

    document = schema.decode(schema.parse(yaml.safe_dump(kubeconfig)))

    paths = manifests.kubeconfig_paths(document, Path("/etc/audit"))

    assert paths == ["/etc/ca.crt", "/etc/audit/token", "/pki/a.crt", "/pki/a.key", "/opt/bin/token"]


def test_kubeadms_arguments_are_names_and_values() -> None:
    """kubeadm.k8s.io/v1beta4 has lists of them, and every value is a string."""
    document = yaml.safe_load(manifests.kubeadm(FLAGS, [Volume("audit", "/a", "Directory", read_only=True)]))

    assert (document["apiVersion"], document["kind"]) == ("kubeadm.k8s.io/v1beta4", "ClusterConfiguration")
    assert document["apiServer"]["extraArgs"] == [{"name": name, "value": value} for name, value in FLAGS.items()]
    assert document["apiServer"]["extraVolumes"] == [
        {"name": "audit", "hostPath": "/a", "mountPath": "/a", "readOnly": True, "pathType": "Directory"}
    ]


def test_the_patch_sets_args_and_not_command() -> None:
    """A strategic patch would replace the whole command."""
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
    """Standard output is the file, and the comments in it say why its values are so."""
    result = run("--format", form)

    assert result.exit_code == 0
    assert result.stdout.startswith("# 20 events/s, 40 at the peak")
    assert yaml.safe_load(result.stdout)["apiVersion"] in ("v1", "kubeadm.k8s.io/v1beta4")
    assert "is not on this machine. Name the files that it needs with --file" in result.stderr


def test_the_files_of_a_local_kubeconfig_are_mounted(tmp_path: Path) -> None:
    """And the files that ``--file`` names."""
    config = tmp_path / "webhook.yaml"
    config.write_text(yaml.safe_dump({"clusters": [{"cluster": {"certificate-authority": "/pki/ca.crt"}}]}))

    result = run("--format", "kubeadm", "--config", str(config), "--file", "/token/now")

    paths = {volume["hostPath"] for volume in yaml.safe_load(result.stdout)["apiServer"]["extraVolumes"]}
    assert paths == {str(tmp_path), "/etc/kubernetes/audit", "/pki", "/token"}
    assert result.stderr == ""


@pytest.mark.parametrize(
    "text", ["- 1", "{", "clusters: [1]", "users: [{user: {tokenFile: 5}}]", "a: \x01", ALIAS_BOMB]
)
def test_a_malformed_kubeconfig_is_reported(tmp_path: Path, text: str) -> None:
    """With its path, and without its content, which may be a secret."""
    config = tmp_path / "webhook.yaml"
    config.write_text(text)

    result = run("--format", "kubeadm", "--config", str(config))

    assert result.exit_code == 2
    assert f"{config}: not a readable kubeconfig" in result.stderr
    assert result.stdout == ""


def test_a_log_on_standard_output_needs_no_volume() -> None:
    """A log beside the files is misuse."""
    fine = run("--format", "static-pod", "--log-path", "-")
    misuse = run("--format", "static-pod", "--log-path", "/etc/kubernetes/audit/audit.log")

    assert [volume["name"] for volume in yaml.safe_load(fine.stdout)["spec"]["volumes"]] == ["audit"]
    assert (misuse.exit_code, misuse.stdout) == (2, "")
