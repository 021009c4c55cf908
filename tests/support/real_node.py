"""A real node: kubelet, containerd and runc, in a mount and a process namespace of their own. It requires root.

Pods have no network of their own, because no network plugin is here: each has ``hostNetwork: true``. The node has the
image ``localhost/busybox:1``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from support import busybox_image
from support.pki import Pair, Pki
from support.processes import BIN, free_port, kill, spawn, wait_for

_SOCKET = "/run/containerd/containerd.sock"
"""The kubelet's figures of containers come from here, and from nowhere else: it has no option for the path."""

_CGROUPS = Path("/sys/fs/cgroup")
_PRIVATE = ("/var/log/containers", "/var/lib/kubelet", "/run/containerd")
"""Folders of the machine, each of which the node has its own copy of."""

_INIT = """
mount --bind "$0" "$0" && mount --make-rshared "$0" || exit
for folder in "$@"; do
  mkdir -p "$folder" "$0/private$folder" && mount --bind "$0/private$folder" "$folder" || exit
done
touch "$0/mounted"
while :; do sleep 3600 & wait; done
"""
"""Process 1 of the namespaces, which also waits for orphans."""

_CONTAINERD = """version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  conf_dir = "{folder}/cni"
"""


class RealNode:
    """A node whose name and address is ``name``, an address of the loopback network."""

    def __init__(self, folder: Path, name: str, pki: Pki, apiserver: int) -> None:
        """Write its files. Nothing runs yet.

        Args:
            folder: where its logs are.
            name: an address as 127.0.0.1.
            pki: the authority of the kubelet's certificate and of its clients'.
            apiserver: the port of kube-apiserver on 127.0.0.1.
        """
        self.name, self.port, self.logs = name, free_port(), folder
        folder.mkdir()
        self.folder = Path(tempfile.mkdtemp(prefix="node-"))  # a socket's path has at most 107 characters
        self._cgroup = f"auditsplit-{os.getpid()}-{name}"
        self._pki = pki
        self._init: subprocess.Popen[bytes] | None = None
        self._runtime: subprocess.Popen[bytes] | None = None
        self._kubelet: subprocess.Popen[bytes] | None = None
        for part in ("static", "cni", "kubelet", "pod-logs", "volume-plugins"):
            (self.folder / part).mkdir()
        # A node is not ready without the configuration of a network plugin, though no pod uses it.
        network = {"cniVersion": "0.3.1", "name": "none", "plugins": [{"type": "loopback"}]}
        (self.folder / "cni" / "10-none.conflist").write_text(json.dumps(network))
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(folder=self.folder, socket=_SOCKET))
        self.serving = pki.issue(f"kubelet-{name}", name)
        user = pki.issue(f"node-{name}", common_name=f"system:node:{name}", organization="system:nodes")
        (self.folder / "kubeconfig").write_text(json.dumps(client_config(apiserver, pki, user)))

    def start(self) -> None:
        """Start the runtime, import the image and start the kubelet."""
        self._make_cgroups()
        flags = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        command: list[str | Path] = ["/usr/bin/unshare", *flags, "/bin/sh", "-c", _INIT, self.folder, *_PRIVATE]
        self._init = spawn(command, self.logs / "init.log", {})
        wait_for("the node's namespaces", (self.folder / "mounted").exists)
        environ = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self._runtime = self._inside("containerd", "--config", self.folder / "containerd.toml", **environ)
        wait_for("containerd", lambda: self._control("version").returncode == 0)
        for name, said in (("busybox", ["/bin/sh"]), ("pause", ["/bin/sleep", "2147483647"])):
            archive = self.folder / f"{name}.tar"
            busybox_image.write(archive, f"localhost/{name}:1", said)
            self.import_image(archive)
        self.start_kubelet()

    def import_image(self, archive: Path) -> None:
        """Give the node the image in an archive."""
        self._control("--namespace", "k8s.io", "images", "import", archive).check_returncode()

    def log_of(self, namespace: str, container: str) -> str:
        """Return what the containers of this name have written, in the form of the container runtime interface."""
        files = sorted((self.folder / "pod-logs").glob(f"{namespace}_*/{container}/*.log"))
        return "".join(file.read_text() for file in files)

    def start_kubelet(self, serving: Pair | None = None) -> None:
        """Start the kubelet, with another certificate if one is given."""
        config = self.folder / "kubelet.yaml"
        config.write_text(json.dumps(self._config(serving or self.serving)))
        named: list[str | Path] = ["--hostname-override", self.name, "--root-dir", self.folder / "kubelet"]
        self._kubelet = self._inside("kubelet", "--config", config, "--kubeconfig", self.folder / "kubeconfig", *named)

    def kill_kubelet(self) -> None:
        """End the kubelet with SIGKILL. Its pods go on."""
        if self._kubelet is not None:
            kill(self._kubelet)

    def signal_kubelet(self, number: signal.Signals) -> None:
        """Send a signal to the kubelet."""
        if self._kubelet is not None:
            for process in psutil.Process(self._kubelet.pid).children():
                process.send_signal(number)

    def kill(self) -> None:
        """End every process of the node, and remove its control groups."""
        for process in (self._init, self._runtime, self._kubelet):  # all processes of a namespace end with its first
            if process is not None:
                kill(process)
        for folder in [_CGROUPS / self._cgroup, *(one / self._cgroup for one in _CGROUPS.iterdir())]:
            wait_for(f"{folder} is removed", lambda folder=folder: _removed(folder))  # type: ignore[misc]
        for path in _PRIVATE:
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        shutil.rmtree(self.folder)

    def _enter(self) -> list[str | Path]:
        if self._init is None:
            raise ValueError("the node is not started")
        (inside,) = psutil.Process(self._init.pid).children()
        return ["/usr/bin/nsenter", "--target", str(inside.pid), "--mount", "--pid", "--"]

    def _control(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        command = [*self._enter(), BIN / "ctr", "--address", _SOCKET, *arguments]
        return subprocess.run(command, capture_output=True, check=False)

    def _inside(self, program: str, *arguments: str | Path, **environ: str) -> subprocess.Popen[bytes]:
        return spawn([*self._enter(), BIN / program, *arguments], self.logs / f"{program}.log", environ)

    def _cgroup_folders(self) -> list[Path]:
        if (_CGROUPS / "cgroup.controllers").exists():
            return [_CGROUPS / self._cgroup]
        return [folder / self._cgroup for folder in _CGROUPS.iterdir() if (folder / "tasks").exists()]

    def _make_cgroups(self) -> None:
        for folder in self._cgroup_folders():
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # a parent without processors is refused
                if (folder / name).exists():
                    (folder / name).write_text((folder.parent / name).read_text())

    def _config(self, serving: Pair) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.name,
            "port": self.port,
            "healthzPort": 0,
            "readOnlyPort": 0,
            "failCgroupV1": False,
            "makeIPTablesUtilChains": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "staticPodPath": str(self.folder / "static"),
            "podLogsDir": str(self.folder / "pod-logs"),
            "volumePluginDir": str(self.folder / "volume-plugins"),
            "resolvConf": "",
            "failSwapOn": False,
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%", "nodefs.inodesFree": "0%"},
            "imageGCHighThresholdPercent": 100,
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._pki.ca)},
            },
            "authorization": {
                "mode": "Webhook",
                "webhook": {"cacheAuthorizedTTL": "1s", "cacheUnauthorizedTTL": "1s"},  # so that roles can change
            },
        }


def client_config(port: int, pki: Pki, user: Pair) -> dict[str, Any]:
    """Return the kubeconfig of a user with a client certificate."""
    credentials = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(pki.ca)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": credentials}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


def _removed(folder: Path) -> bool:
    """Remove control groups, the deepest first. A group of a process that just ended is busy for a moment."""
    if not folder.exists():
        return True
    for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            below.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()
