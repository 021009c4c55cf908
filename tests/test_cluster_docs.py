"""docs/cluster/installers.md: its commands work, and what they write has no fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from auditsplit.apiserver.installers import INSTALLERS

PAGE = (Path(__file__).parents[1] / "docs" / "cluster" / "installers.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MANIFEST = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {"containers": [{"name": "kube-apiserver", "command": ["kube-apiserver", "--etcd-servers=http://x"]}]},
}
KINDS = {
    "auditsplit.yaml": {"kube-apiserver-arg+", "kube-apiserver-extra-mount+"},
    "auditsplit-k3s.yaml": {"kube-apiserver-arg+"},
    "kops.yaml": {"spec"},
    "kind.yaml": {"kind", "apiVersion", "nodes"},
    "talos.yaml": {"machine", "cluster"},
    "kubespray.yaml": {"kube_kubeadm_apiserver_extra_args", "apiserver_extra_volumes"},
    "merged.yaml": {"apiVersion", "kind", "spec"},
}


def run_the_page(folder: Path) -> None:
    """Run the page's commands in their order in a folder with a manifest."""
    (folder / "kube-apiserver.yaml").write_text(yaml.safe_dump(MANIFEST))
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in COMMANDS:
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environ, check=True, timeout=60)


def test_the_commands_write_what_the_installers_read(tmp_path: Path) -> None:
    """Each file has the installer's keys at its top. kOps' and Talos' have the files' content, and so the token."""
    run_the_page(tmp_path)

    written = {name: yaml.safe_load((tmp_path / name).read_text()) for name in KINDS}
    kubeconfig = (tmp_path / "files" / "webhook.yaml").read_text()
    assert {name: set(document) for name, document in written.items()} == KINDS
    assert (tmp_path / "options.txt").read_text().startswith("--extra-config=apiserver.audit-policy-file=/etc/ssl/")
    assert kubeconfig in {asset["content"] for asset in written["kops.yaml"]["spec"]["fileAssets"]}
    assert [file["content"] for file in written["talos.yaml"]["machine"]["files"]] == [kubeconfig]
    assert written["talos.yaml"]["cluster"]["apiServer"]["auditPolicy"]["kind"] == "Policy"


def test_every_format_has_a_section_with_a_command() -> None:
    """Except for the flags themselves, and kubeadm, which has a page of its own."""
    used = set(re.findall(r"--format (\S+)", "".join(COMMANDS)))

    assert used == set(INSTALLERS) - {"flags", "kubeadm", "kubeadm-v1beta3"}
