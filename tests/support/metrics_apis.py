"""The two servers of the Metrics API on the addresses of their Services: a real metrics-server, and the function."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from support.aggregating_cluster import Cluster
from support.processes import BIN, kill, spawn, wait_until_ready

_ROOT = Path(__file__).parents[2]
MANIFEST = _ROOT / "infra" / "kubernetes" / "metrics-api.yaml"
API = "/apis/metrics.k8s.io/v1beta1"
RESOLUTION_S = 10
"""How often metrics-server asks each kubelet: the smallest that it accepts."""


class Answer(NamedTuple):
    """An answer of a server."""

    status: int
    body: bytes


class Server:
    """A server behind the Service ``service`` of ``namespace``, which exists."""

    namespace: str
    service: str

    def __init__(self, cluster: Cluster) -> None:
        """Issue its certificate and its token. Nothing runs yet."""
        self.cluster, self.folder = cluster, cluster.folder / self.service
        self.folder.mkdir()
        self.address = cluster.address_of(self.namespace, self.service)
        self.log = self.folder / "server.log"
        self.serving = cluster.pki.issue(self.service, f"{self.service}.{self.namespace}.svc", self.address)
        self.token = self.folder / "token"
        self.token.write_text(cluster.token_of(self.namespace, self.service))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str | Path]:
        """Return the command that starts it."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """Return the variables of its environment."""
        return {}

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = spawn(self.command(), self.log, self.environ())
        wait_until_ready(self.process, self.log, lambda: self.get("/livez", {}).status == 200)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self.process is not None:
            kill(self.process)

    def register(self) -> None:
        """Let this server answer the Metrics API of the cluster."""
        self.cluster.serve_metrics_from(self.namespace, self.service, self.cluster.pki.ca)

    def get(self, path: str, headers: Mapping[str, str], timeout_s: float = 60) -> Answer:
        """Return the answer to a GET without the aggregator."""
        connection = http.client.HTTPSConnection(
            self.address, 443, context=ssl.create_default_context(cafile=str(self.cluster.pki.ca)), timeout=timeout_s
        )
        with closing(connection):
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.read())


class MetricsServer(Server):
    """A real metrics-server."""

    namespace, service = "kube-system", "metrics-server"

    def command(self) -> list[str | Path]:
        """Return the command, with the options of metrics-server's own manifest as far as a loopback network allows."""
        config = self.folder / "kubeconfig"
        document = yaml.safe_load(self.cluster.kubeconfig.read_text())
        document["users"][0]["user"] = {"tokenFile": str(self.token)}
        config.write_text(json.dumps(document))
        names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        return [
            BIN / "metrics-server",
            *(f"--{name}={config}" for name in names),
            f"--bind-address={self.address}",
            "--secure-port=443",
            f"--tls-cert-file={self.serving.certificate}",
            f"--tls-private-key-file={self.serving.key}",
            f"--kubelet-certificate-authority={self.cluster.pki.ca}",
            "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
            "--kubelet-use-node-status-port",
            f"--metric-resolution={RESOLUTION_S}s",
            "--kubelet-request-timeout=5s",
        ]


class Function(Server):
    """The function ``metrics`` in its real server, with the roles and the Service of the manifest."""

    namespace, service = "auditsplit-metrics", "auditsplit-metrics"

    def __init__(self, cluster: Cluster, **environ: str) -> None:
        """Take further settings. Nothing runs yet."""
        super().__init__(cluster)
        self._more = environ

    def command(self) -> list[str | Path]:
        """Return the command of the manifest's pod."""
        return [str(part) for part in self._container()["command"]]

    def environ(self) -> dict[str, str]:
        """Return what the manifest's pod has, with the address and the files of this machine."""
        return {
            **{one["name"]: one["value"] for one in self._container()["env"]},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOST": self.address,
            "PORT": "443",
            "METRICSAPI_APISERVER": f"https://127.0.0.1:{self.cluster.apiserver.port}",
            "METRICSAPI_CA_FILE": str(self.cluster.pki.ca),
            "METRICSAPI_TOKEN_FILE": str(self.token),
            "METRICSAPI_CERT_FILE": str(self.serving.certificate),
            "METRICSAPI_KEY_FILE": str(self.serving.key),
            **self._more,
        }

    def _container(self) -> Any:
        documents = yaml.safe_load_all(MANIFEST.read_text())
        (deployment,) = [found for found in documents if found["kind"] == "Deployment"]
        return deployment["spec"]["template"]["spec"]["containers"][0]


def manifest(cluster: Cluster) -> str:
    """Return the manifest as a deployer completes it: with the CA of the pods' certificate."""
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    (apiservice,) = [found for found in documents if found["kind"] == "APIService"]
    apiservice["spec"]["caBundle"] = base64.b64encode(cluster.pki.ca.read_bytes()).decode()
    return yaml.safe_dump_all(documents)


def containers(pods: list[Any]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return each container's usage and its pod's timestamp and window, by namespace, pod and container."""
    return {
        (pod["metadata"]["namespace"], pod["metadata"]["name"], container["name"]): {
            **container["usage"],
            "timestamp": pod["timestamp"],
            "window": pod["window"],
        }
        for pod in pods
        for container in pod["containers"]
    }


def cores(quantity: str) -> float:
    """Return a quantity of CPU in cores."""
    number, unit = quantity.rstrip("num"), quantity.lstrip("0123456789")
    return int(number) / {"": 1, "m": 1e3, "u": 1e6, "n": 1e9}[unit]
