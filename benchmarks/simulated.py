"""Nodes and pods for kwok, which simulates kubelets: what `metrics_api` fills a cluster with."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import summaries
from support.aggregating_cluster import Cluster
from support.kubernetes import token


def fill(cluster: Cluster, nodes: int, pods: int) -> float:
    """Make the nodes and pods, and wait until kwok runs all of them. Return the seconds."""
    began = time.monotonic()
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{one:02}"}} for one in range(pods)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_poster(cluster), (("/api/v1/namespaces", one) for one in namespaces)))
        list(pool.map(_poster(cluster), (("/api/v1/nodes", _node(one)) for one in range(nodes))))
        list(pool.map(_poster(cluster), (_pod(node, one) for node in range(nodes) for one in range(pods))))
    while cluster.json("/api/v1/pods?fieldSelector=status.phase%3DPending&limit=1")["items"]:
        time.sleep(1)
    return time.monotonic() - began


def _poster(cluster: Cluster) -> Callable[[tuple[str, dict[str, Any]]], None]:
    """Return a function that posts an object, on a connection of its thread's own."""
    local = threading.local()

    def post(asked: tuple[str, dict[str, Any]]) -> None:
        path, body = asked
        if not hasattr(local, "connection"):
            context = cluster.pki.trusting()
            local.connection = http.client.HTTPSConnection("127.0.0.1", cluster.apiserver.port, context=context)
        headers = {"Authorization": f"Bearer {token('admin')}", "Content-Type": "application/json"}
        local.connection.request("POST", path, json.dumps(body), headers)
        response = local.connection.getresponse()
        said = response.read()
        if response.status != 201:  # noqa: PLR2004
            raise AssertionError(said)

    return post


def _node(node: int) -> dict[str, Any]:
    name, address = summaries.name(node), summaries.address(node)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"metrics.k8s.io/resource-metrics-path": f"/metrics/nodes/{name}/metrics/resource"},
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": address}],
        },
    }


def _pod(node: int, number: int) -> tuple[str, dict[str, Any]]:
    namespace, name = summaries.pod(node, number)
    usage = {"kwok.x-k8s.io/usage-cpu": "40m", "kwok.x-k8s.io/usage-memory": "50Mi"}
    return f"/api/v1/namespaces/{namespace}/pods", {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": summaries.app(node)}, "annotations": usage},
        "spec": {
            "nodeName": summaries.name(node),
            "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "none"}],
        },
    }
