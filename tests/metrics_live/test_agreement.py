"""The function beside a real metrics-server, over one real kubelet with a steady load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support import live_metrics, metrics_contract
from support.live_metrics import Live
from support.metrics_apis import Server, containers
from support.processes import wait_for

COMMANDS = (
    "top nodes",
    "top pods --all-namespaces --containers",
    "top pods --all-namespaces --sum",
    "top pod busy",
    "top pods --selector app=two",
    "top pod done",
    "get podmetrics --all-namespaces",
    "get nodemetrics --output name",
    "get pods.metrics.k8s.io two --output jsonpath={.containers[*].name}",
    "describe podmetrics busy",
    "explain podmetrics.containers.usage",
    "api-resources --api-group metrics.k8s.io",
)
_FIGURE = re.compile(r"\b\d[\d.]*(?:m|n|u|%|Ki|Mi|s|h\d*m?\d*s?)?\b|\d{4}-\d\d-\d\dT[\d:]+Z")


def test_both_servers_answer_every_recorded_request_and_command_alike(tmp_path: Path) -> None:
    """Each in turn behind the APIService: the same objects in the same shape, and kubectl prints the same rows."""
    with live_metrics.live(tmp_path) as live:
        expected = answers(live, live.metrics_server)
        found = answers(live, live.function)

    assert {name: found[name] for name in expected if found[name] != expected[name]} == {}


def answers(live: Live, server: Server) -> dict[str, Any]:
    """Return the shape of each answer through kube-apiserver, and what kubectl prints without figures."""
    server.register()
    cluster = live.cluster
    wait_for("kube-apiserver has the OpenAPI document", lambda: cluster.kubectl("explain", "podmetrics").returncode == 0)
    found: dict[str, Any] = {name: metrics_contract.ask(cluster, name, case) for name, case in metrics_contract.cases().items()}
    for command in COMMANDS:
        done = cluster.kubectl(*command.split())
        lines = sorted(" ".join(_FIGURE.sub("*", line).split()) for line in (done.stdout + done.stderr).splitlines())
        found[f"kubectl {command}"] = done.returncode, lines
    return found


def test_both_servers_report_the_same_figures_of_the_same_sample(tmp_path: Path) -> None:
    """Memory is equal. CPU differs by less than 1 % where both had the same two points of the kubelet."""
    with live_metrics.live(tmp_path) as live:
        compared: dict[tuple[str, str, str], tuple[dict[str, str], dict[str, str]]] = {}

        def every_container_is_compared() -> bool:
            theirs, ours = (containers(live.list(one, "pods")) for one in (live.metrics_server, live.function))
            for name in theirs.keys() & ours.keys():
                if theirs[name]["timestamp"] == ours[name]["timestamp"]:
                    compared[name] = theirs[name], ours[name]
            return compared.keys() >= theirs.keys()

        wait_for("the same sample of every container", every_container_is_compared, 120)
    for name, (theirs, ours) in compared.items():
        print(name, theirs, ours)
    assert {name for name, (theirs, ours) in compared.items() if theirs["memory"] != ours["memory"]} == set()
