"""A real kubeadm: validates a configuration, and writes the static pod that a control plane node would run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.processes import BIN

NODE = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "InitConfiguration",
    "localAPIEndpoint": {"advertiseAddress": "192.0.2.1"},
    "nodeRegistration": {"name": "node", "criSocket": "unix:///none"},
}


def validate(config: Path) -> str:
    """Return what ``kubeadm config validate`` prints. A failure if it refuses the configuration."""
    return _kubeadm("config", "validate", "--config", config)


def migrate(config: Path) -> dict[str, Any]:
    """Return the ClusterConfiguration in the newest version of kubeadm's API."""
    documents = yaml.safe_load_all(_kubeadm("config", "migrate", "--old-config", config))
    return next(document for document in documents if document["kind"] == "ClusterConfiguration")


def static_pod(config: Path, folder: Path, patches: Path | None = None) -> Path:
    """Return kube-apiserver's manifest that kubeadm writes for a ClusterConfiguration, with patches from a folder."""
    folder.mkdir()
    whole = folder / "init.yaml"
    patched = {"patches": {"directory": str(patches)}} if patches else {}
    whole.write_text(yaml.safe_dump(NODE | patched) + "---\n" + yaml.safe_dump(migrate(config)))
    _kubeadm("init", "phase", "control-plane", "apiserver", "--config", whole, "--dry-run", dry=folder)
    [manifest] = folder.rglob("kube-apiserver.yaml")
    return manifest


def _kubeadm(*arguments: str | Path, dry: Path | None = None) -> str:
    environ = {"PATH": "/usr/bin:/bin", **({"KUBEADM_INIT_DRYRUN_DIR": str(dry)} if dry else {})}
    ran = subprocess.run([BIN / "kubeadm", *arguments], capture_output=True, text=True, check=False, env=environ)
    if ran.returncode:
        raise AssertionError(f"kubeadm {arguments}: exit {ran.returncode}: {ran.stderr}")
    return ran.stdout
