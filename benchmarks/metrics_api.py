"""Measure the function of the Metrics API beside a real metrics-server: 1,000 nodes with 30 pods each.

Both ask the same kube-apiserver, whose nodes and pods kwok simulates. metrics-server scrapes kwok's
``/metrics/resource``. kwok has no summaries, so the function asks `summaries`, a recorded one for each node. Requests
go to the servers themselves, with a token. Run it alone as root: ``make bench-metrics``.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # so that it finds the tests' clusters

from benchmarks import simulated, summaries
from support import kubernetes
from support.aggregating_cluster import Cluster
from support.live_metrics import ADMIN
from support.metrics_apis import API, Function, MetricsServer, Server, manifest
from support.pki import Pair, Pki
from support.processes import BIN, free_port, kill, spawn

_SIMULATED = Path(__file__).parents[1] / "tests" / "metrics_live" / "metrics-server.yaml"
_PROTOBUF = {**ADMIN, "Accept": "application/vnd.kubernetes.protobuf, */*"}
_CACHE_S = 10
_ROUNDS = 3


class _MetricsServer(MetricsServer):
    """metrics-server with the port of kwok, and its own manifest's resolution of 15 s."""

    kwok_port = 0

    def command(self) -> list[str | Path]:
        """Return the command."""
        changed = {"--kubelet-use-node-status-port": f"--kubelet-port={self.kwok_port}"}
        kept = [part for part in super().command() if not str(part).startswith("--metric-resolution")]
        return [*(changed.get(str(part), part) for part in kept), "--metric-resolution=15s"]


@click.command()
@click.option("--nodes", default=1000, show_default=True)
@click.option("--pods", default=30, show_default=True, help="of each node")
def main(nodes: int, pods: int) -> None:
    """Print the tables of benchmarks/README.md."""
    with (
        tempfile.TemporaryDirectory() as folder,
        kubernetes.etcd(Path(folder)) as etcd,
        contextlib.ExitStack() as stack,
    ):
        cluster = Cluster(Path(folder) / "cluster", Pki(Path(folder) / "pki"), etcd)
        stack.callback(cluster.kill)
        cluster.start_apiserver()
        cluster.apply(_SIMULATED.read_text())
        cluster.apply(manifest(cluster))
        kubelets = cluster.pki.issue("kubelets", *(summaries.address(node) for node in range(nodes)))
        ports = free_port(), free_port()
        summary_bytes = _replay(stack, cluster, ports[0], nodes, pods)
        _simulate(stack, cluster, ports, kubelets)
        seconds = simulated.fill(cluster, nodes, pods)
        _MetricsServer.kwok_port = ports[1]
        servers = _MetricsServer(cluster), Function(cluster, METRICSAPI_CACHE_SECONDS=str(_CACHE_S))
        for server in servers:
            stack.callback(server.kill)
            server.start()
        _say(f"filled in {seconds:.0f} s: {nodes} nodes, {nodes * pods} pods, {summary_bytes / 1000:.0f} kB a summary")
        _report(*servers, nodes * pods)


def _replay(stack: contextlib.ExitStack, cluster: Cluster, port: int, nodes: int, pods: int) -> int:
    """Start the kubelets with summaries, each with its own certificate. Return the bytes of one summary."""
    pairs = [cluster.pki.issue(address, address) for address in map(summaries.address, range(nodes))]
    script = Path(__file__).with_name("summaries.py")
    command = [sys.executable, str(script), str(port), str(pairs[0].certificate.parent), str(nodes), str(pods)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    stack.callback(kill, process)
    if process.stdout is None:
        raise ValueError("the process has no standard output")
    stack.enter_context(process.stdout)
    return int(process.stdout.readline())


def _simulate(stack: contextlib.ExitStack, cluster: Cluster, ports: tuple[int, int], pair: Pair) -> None:
    """Start kwok. The port of a node is the one with summaries, and kwok's own is the other."""
    options = [
        f"--kubeconfig={cluster.kubeconfig}",
        f"--config={BIN / 'kwok.yaml'}",
        "--manage-all-nodes",
        f"--node-port={ports[0]}",
        f"--server-address=0.0.0.0:{ports[1]}",
        f"--tls-cert-file={pair.certificate}",
        f"--tls-private-key-file={pair.key}",
    ]
    stack.callback(kill, spawn([BIN / "kwok", *options], cluster.folder / "kwok.log", {}))


REQUESTS = {
    "all pods, JSON": ("pods", ADMIN),
    "all pods, protobuf": ("pods", _PROTOBUF),
    "all nodes, JSON": ("nodes", ADMIN),
    "ten pods by label, JSON": ("namespaces/team-07/pods?labelSelector=app%3Dapp-042", ADMIN),
    "one pod, JSON": ("namespaces/team-07/pods/app-042-3", ADMIN),
}


def _report(theirs: Server, ours: Server, pods: int) -> None:
    """Print what each costs at rest, and each request's time and CPU."""
    while _count(theirs) < pods:
        time.sleep(2)
    _say("\n| | metrics-server | function |\n| --- | ---: | ---: |")
    idle = [_used(server, lambda: time.sleep(60)) for server in (theirs, ours)]
    _say(f"| CPU seconds a minute, nobody asking | {idle[0][1]:.1f} | {idle[1][1]:.1f} |")
    first = _used(ours, lambda: _count(ours))
    _say(f"| the first list of all pods, s (CPU s) | | {first[0]:.1f} ({first[1]:.1f}) |")
    for name, (path, headers) in REQUESTS.items():
        cells = [_median(_measured(server, path, headers, 0)) for server in (theirs, ours)]
        cold = _median(_measured(ours, path, headers, _CACHE_S + 1))
        _say(f"| {name}, s (CPU s) | {cells[0]} | {cells[1]}, after {_CACHE_S} s: {cold} |")
    _say(f"| memory afterwards, MB | {_megabytes(theirs):.0f} | {_megabytes(ours):.0f} |")


def _measured(server: Server, path: str, headers: dict[str, str], wait_s: float) -> list[tuple[float, float]]:
    """Return the seconds and CPU seconds of some requests, each of them ``wait_s`` seconds after the one before."""
    found = []
    for _ in range(_ROUNDS):
        time.sleep(wait_s)
        found.append(_used(server, lambda: _get(server, path, headers)))
    return found


def _median(measured: list[tuple[float, float]]) -> str:
    seconds, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
    return f"{seconds:.2f} ({cpu:.2f})"


def _used(server: Server, work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that ``work`` takes, and the CPU seconds that the server uses meanwhile."""
    before, began = _cpu(server), time.monotonic()
    work()
    took = time.monotonic() - began
    return took, _cpu(server) - before


def _cpu(server: Server) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in _processes(server))


def _megabytes(server: Server) -> float:
    return sum(one.memory_full_info().uss for one in _processes(server)) / 1e6


def _processes(server: Server) -> list[psutil.Process]:
    if server.process is None:
        return []
    whole = psutil.Process(server.process.pid)
    return [whole, *whole.children(recursive=True)]


def _count(server: Server) -> int:
    return len(json.loads(_get(server, "pods", ADMIN) or b'{"items":[]}')["items"])


def _get(server: Server, path: str, headers: dict[str, str]) -> bytes:
    answer = server.get(f"{API}/{path}", headers)
    return answer.body if answer.status == 200 else b""  # noqa: PLR2004


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
