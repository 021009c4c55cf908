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
from support.metrics_apis import API, Function, MetricsServer, Server, manifest
from support.pki import Pki
from support.processes import wait_for

NODE = "127.0.0.1"
"""The first node. The recorded answers have a node of this name."""

WORKLOAD = {("default", "busy"), ("default", "two"), ("other", "memory")}
"""The pods of workload.yaml that have figures. The pod ``done`` ended at once."""

_FILES = Path(__file__).parents[1] / "metrics_live"
_ADMIN = {"Authorization": f"Bearer {token('admin')}", "Accept": "application/json"}


class Live:
    """The cluster and its two servers of the Metrics API."""

    def __init__(self, cluster: Cluster, metrics_server: MetricsServer, function: Function) -> None:
        """Keep them."""
        self.cluster, self.metrics_server, self.function = cluster, metrics_server, function

    def apply(self, name: str, node: str = NODE, **texts: str) -> None:
        """Apply a manifest of tests/metrics_live for a node, with each of ``texts`` in place of its name."""
        manifest_ = (_FILES / name).read_text().replace("NODE", node)
        for key, text in texts.items():
            manifest_ = manifest_.replace(key, text)
        self.cluster.apply(manifest_)

    def list(self, server: Server, resource: str, timeout_s: float = 60) -> Any:
        """Return the list of ``nodes`` or ``pods`` that a server answers itself."""
        answer = server.get(f"{API}/{resource}", _ADMIN, timeout_s)
        if answer.status != 200:  # noqa: PLR2004
            raise AssertionError(answer)
        return json.loads(answer.body)

    def pods(self, server: Server) -> set[tuple[str, str]]:
        """Return the pods of which a server has figures, by namespace and name."""
        found = self.list(server, "pods")["items"]
        return {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in found}

    def nodes(self, server: Server) -> set[str]:
        """Return the nodes of which a server has figures."""
        return {node["metadata"]["name"] for node in self.list(server, "nodes")["items"]}

    def wait_for_pods(self, server: Server) -> None:
        """Wait until a server has figures of all pods of the workload."""
        wait_for(f"{server.service} has figures", lambda: self.pods(server) >= WORKLOAD)


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
        made = Live(cluster, *servers)
        made.apply("workload.yaml")
        for server in servers:
            made.wait_for_pods(server)
        yield made
