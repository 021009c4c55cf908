"""A cluster whose Metrics API a real metrics-server and the function answer, with pods that have a steady load."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import kubernetes
from support.aggregating_cluster import Cluster
from support.kubernetes import token
from support.metrics_apis import API, Function, MetricsServer, Server, containers, cores, manifest
from support.pki import Pki
from support.processes import wait_for

NODE = "127.0.0.1"
"""The first node. The recorded answers have a node of this name."""

WORKLOAD = {("default", "busy"), ("default", "two"), ("other", "memory")}
"""The pods of workload.yaml that have figures. The pod ``done`` ended at once."""

_FILES = Path(__file__).parents[1] / "metrics_live"
ADMIN = {"Authorization": f"Bearer {token('admin')}", "Accept": "application/json"}
"""The headers of the administrator's requests without the aggregator."""


class Live:
    """The cluster and its two servers of the Metrics API."""

    def __init__(
        self, cluster: Cluster, metrics_server: MetricsServer, function: Function, timeout_s: float = 60
    ) -> None:
        """Keep them. A request to a server that takes longer than ``timeout_s`` seconds fails."""
        self.timeout_s = timeout_s
        self.cluster, self.metrics_server, self.function = cluster, metrics_server, function

    def apply(self, name: str, node: str = NODE, **texts: str) -> None:
        """Apply a manifest of tests/metrics_live for a node, with each of ``texts`` in place of its name."""
        manifest_ = (_FILES / name).read_text().replace("NODE", node)
        for key, text in texts.items():
            manifest_ = manifest_.replace(key, text)
        self.cluster.apply(manifest_)

    def items(self, server: Server, resource: str) -> list[Any]:
        """Return the list of ``nodes`` or ``pods`` that a server answers itself."""
        answer = server.get(f"{API}/{resource}", ADMIN, self.timeout_s)
        if answer.status != 200:
            raise AssertionError(answer)
        found: list[Any] = json.loads(answer.body)["items"]
        return found

    def pods(self, server: Server) -> set[tuple[str, str]]:
        """Return the pods of which a server has figures, by namespace and name."""
        found = self.items(server, "pods")
        return {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in found}

    def nodes(self, server: Server) -> set[str]:
        """Return the nodes of which a server has figures."""
        return {node["metadata"]["name"] for node in self.items(server, "nodes")}

    def pods_now(self) -> set[tuple[str, str]]:
        """Return the pods of which the function has figures."""
        return self.pods(self.function)

    def nodes_now(self) -> set[str]:
        """Return the nodes of which the function has figures."""
        return self.nodes(self.function)

    def cores_of(self, name: str) -> list[float]:
        """Return how many cores each container of a pod in the namespace default uses, by the function's figures."""
        found = containers(self.items(self.function, "pods"))
        return [cores(usage["cpu"]) for key, usage in found.items() if key[:2] == ("default", name)]

    def phase(self, name: str) -> str:
        """Return the phase of a pod in the namespace default."""
        phase: str = self.cluster.json(f"/api/v1/namespaces/default/pods/{name}")["status"]["phase"]
        return phase

    def restarts(self, name: str) -> int:
        """Return how often the container of a pod in the namespace default was restarted."""
        return restarts(self.cluster.json(f"/api/v1/namespaces/default/pods/{name}"))

    def wait_for_pods(self, server: Server) -> None:
        """Wait until a server has figures of all pods of the workload."""
        wait_for(f"{server.service} has figures", lambda: self.pods(server) >= WORKLOAD)


def restarts(pod: Any) -> int:
    """Return how often the first container of a pod was restarted."""
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count


@contextlib.contextmanager
def live(folder: Path, **environ: str) -> Iterator[Live]:
    """Run the cluster with its workload, and both servers. ``environ`` has further settings of the function."""
    pki = Pki(folder / "pki")
    with kubernetes.etcd(folder) as etcd, contextlib.ExitStack() as stack:
        cluster = Cluster(folder / "cluster", pki, etcd)
        stack.callback(cluster.kill)
        cluster.start()
        cluster.apply((_FILES / "metrics-server.yaml").read_text())
        cluster.apply(manifest(cluster))
        cluster.add_node(NODE)
        servers = MetricsServer(cluster), Function(cluster, METRICSAPI_CACHE_SECONDS="1", **environ)
        for server in servers:
            stack.callback(server.kill)
            server.start()
        made = Live(cluster, *servers, float(environ.get("METRICSAPI_REQUEST_TIMEOUT_SECONDS", "60")))
        made.apply("workload.yaml")
        for server in servers:
            made.wait_for_pods(server)
        yield made
