"""Faults of kubelets, kube-apiserver and pods: the function answers for everything else within its deadline."""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import psutil
from support import live_metrics
from support.live_metrics import NODE, WORKLOAD, Live
from support.metrics_apis import API
from support.metrics_cluster import SUMMARY, Authority, Https, Reply
from support.pki import Pair
from support.processes import wait_for

DEADLINE_S = 5
LIMITS = {"METRICSAPI_KUBELET_TIMEOUT_SECONDS": "2", "METRICSAPI_REQUEST_TIMEOUT_SECONDS": str(DEADLINE_S)}
SECOND = "127.0.0.2"
BUSY = "while :; do true; sleep 0.1; done"
ANSWERS: dict[str, Reply] = {
    "cut": (200, SUMMARY[: len(SUMMARY) // 2]),
    "forbidden": (403, b"Forbidden (user=system:serviceaccount:a:b, verb=get, resource=nodes, subresource(s)=[stats])"),
    "html": (200, b"<html>not a kubelet</html>"),
    "huge": (200, b" " * (17 * 1024 * 1024)),
}
"""What kubelets answer that are none, by the name of their node."""

ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/auditsplit-metrics"

CODES = {"cut": "malformed", "forbidden": "status", "html": "malformed", "huge": "too large", "stranger": "certificate"}
"""The code in the log for each of these nodes."""


def test_a_faulty_kubelet_leaves_out_its_own_node_alone(tmp_path: Path) -> None:
    """Stopped, killed, with garbage, 403, a huge answer or another certificate: only its own pods are missing.

    Real kubelets answer 403 once the role lacks ``nodes/stats``, and the figures are back when it has it again.
    """
    with live_metrics.live(tmp_path, **LIMITS) as live, impostors(tmp_path, live) as stranger:
        second = live.cluster.add_node(SECOND)
        live.apply("pod.yaml", SECOND, NAME="beside", RESTARTS="Always", COMMAND=BUSY)
        beside = ("default", "beside")
        all_pods = {*WORKLOAD, beside}
        wait_for("figures of both nodes", lambda: (live.nodes_now(), live.pods_now()) == ({NODE, SECOND}, all_pods))

        second.signal_kubelet(signal.SIGSTOP)
        wait_for("the stopped node is left out", lambda: (live.nodes_now(), live.pods_now()) == ({NODE}, WORKLOAD))
        assert live.cluster.kubectl("get", "--raw", f"{API}/nodes/{SECOND}").returncode == 1
        second.signal_kubelet(signal.SIGCONT)
        wait_for("the node is back", lambda: (live.nodes_now(), live.pods_now()) == ({NODE, SECOND}, all_pods))

        second.kill_kubelet()
        wait_for("the dead node is left out", lambda: (live.nodes_now(), live.pods_now()) == ({NODE}, WORKLOAD))
        other = Authority(tmp_path, "other").issue("kubelet", SECOND)
        second.start_kubelet(Pair(*other))
        wait_for("the refusal", lambda: live.nodes_now() == {NODE} and (SECOND, "certificate") in codes(live))
        assert live.pods_now() == WORKLOAD
        second.kill_kubelet()
        second.start_kubelet()
        wait_for("the node is back again", lambda: (live.nodes_now(), live.pods_now()) == ({NODE, SECOND}, all_pods))

        assert codes(live) >= set(CODES.items())
        assert stranger.requests == []  # so it never saw the token

        rules = live.cluster.json(ROLE)["rules"]
        live.cluster.patch(ROLE, {"rules": [rule for rule in rules if rule["resources"] != ["nodes/stats"]]})
        wait_for("each kubelet's 403", lambda: live.nodes_now() == set())
        assert codes(live) >= {(NODE, "status"), (SECOND, "status")}
        live.cluster.patch(ROLE, {"rules": rules})
        wait_for("both nodes are back", lambda: live.nodes_now() == {NODE, SECOND})


@contextlib.contextmanager
def impostors(folder: Path, live: Live) -> Iterator[Https]:
    """Register nodes whose kubelets are none. Yield the one whose certificate another authority issued."""
    pki = live.cluster.pki
    trusted = pki.serving(pki.issue("impostor", NODE))
    with contextlib.ExitStack() as stack:
        for name, reply in ANSWERS.items():
            add_node(live, name, stack, trusted, reply)
        yield add_node(live, "stranger", stack, Authority(folder, "stranger").serving(NODE), (200, SUMMARY))


def add_node(live: Live, name: str, stack: contextlib.ExitStack, context: ssl.SSLContext, reply: Reply) -> Https:
    """Register a node whose kubelet answers everything with ``reply``."""
    server = Https(context, lambda *_: reply)
    stack.callback(server.close)
    status = {
        "addresses": [{"type": "InternalIP", "address": NODE}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port}},
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
    made = live.cluster.apiserver.request(
        "POST", "/api/v1/nodes", body=node, headers=[("Content-Type", "application/json")]
    )
    assert made.status == 201, made
    return server


def codes(live: Live) -> set[tuple[str, str]]:
    """Return the node and the code of each line in the function's log that has both."""
    lines = [json.loads(line) for line in live.function.log.read_text().splitlines() if line.startswith("{")]
    return {(line["node"], line["code"]) for line in lines if {"node", "code"} <= line.keys()}


def test_the_function_outlives_kube_apiserver(tmp_path: Path) -> None:
    """Without it a request ends in 503 within the deadline. With it again, all is answered, without a restart."""
    with live_metrics.live(tmp_path, **LIMITS) as live:
        live.function.register()
        live.cluster.apiserver.kill()
        alive = live.function.get("/livez", {}, DEADLINE_S)
        ready = live.function.get("/readyz", {}, DEADLINE_S)
        refused = live.function.get(f"{API}/pods", live_metrics.ADMIN, DEADLINE_S)

        live.cluster.start_apiserver()
        live.cluster.wait_for_metrics()
        wait_for("figures through kube-apiserver", lambda: live.cluster.kubectl("top", "pod", "busy").returncode == 0)
        wait_for("the function is ready", lambda: live.function.get("/readyz", {}).status == 200)

    assert [alive.status, ready.status, refused.status] == [200, 500, 503]


def test_pods_come_and_go_without_a_wrong_figure(tmp_path: Path) -> None:
    """One starts, is killed and restarted, one completes, one is deleted. The other pods are in every answer."""
    with live_metrics.live(tmp_path, **LIMITS) as live:
        seen: list[set[tuple[str, str]]] = []

        def has(name: str) -> bool:
            cores = live.cores_of(name)
            seen.append(live.pods_now())
            assert all(0 < one < (psutil.cpu_count() or 1) for one in cores), cores
            return ("default", name) in seen[-1]

        marked = "while :; do i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; sleep 0.1; done; echo marked"
        live.apply("pod.yaml", NAME="started", RESTARTS="Always", COMMAND=marked)
        live.apply(
            "pod.yaml",
            NAME="ended",
            RESTARTS="Never",
            COMMAND="i=0; while [ $i -lt 200 ]; do i=$((i+1)); sleep 0.1; done",
        )
        wait_for("the new pod", lambda: has("started"))
        wait_for("the other new pod", lambda: has("ended") or live.phase("ended") == "Succeeded")

        for process in psutil.process_iter(["cmdline"]):
            if marked in (process.info["cmdline"] or ()):
                process.kill()
        wait_for("the restart", lambda: live.restarts("started") == 1)
        wait_for("the restarted pod", lambda: has("started"))

        wait_for("the end", lambda: live.phase("ended") == "Succeeded")
        wait_for("the ended pod is left out", lambda: not has("ended"))
        live.cluster.kubectl("delete", "pod", "started", "--wait=false")
        wait_for("the deleted pod is left out", lambda: not has("started"))

    assert all(one >= WORKLOAD for one in seen)
