"""The function beside a real metrics-server, over one real kubelet with a steady load."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from support import live_metrics, metrics_contract
from support.live_metrics import Live
from support.metrics_apis import Server, containers, cores
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
    "get pods.metrics.k8s.io busy --output jsonpath={.containers[*].name}",
    "describe podmetrics busy",
    "explain podmetrics.containers.usage",
    "api-resources --api-group metrics.k8s.io",
)
_FIGURE = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z|\b\d[\d.]*(?:m|n|u|%|Ki|Mi|s|h\d*m?\d*s?)?\b")
_HOUSEKEEPING_S = (9.5, 19.9)
"""A window of metrics-server between these is of two successive samples of cadvisor, as the kubelet's own rate is."""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_YOUNG = timedelta(seconds=40)
"""The samples of a container's first seconds are not compared: some are the runtime's, taken at each request."""


def test_both_servers_answer_every_recorded_request_and_command_alike(tmp_path: Path) -> None:
    """Each in turn behind the APIService: the same objects in the same shape, and kubectl prints the same rows."""
    with live_metrics.live(tmp_path) as live:
        expected = answers(live, live.metrics_server)
        found = answers(live, live.function)

    assert {name: (answer, found[name]) for name, answer in expected.items() if found[name] != answer} == {}


def answers(live: Live, server: Server) -> dict[str, tuple[int, Any]]:
    """Return each answer's status and shape through kube-apiserver, and what kubectl prints without figures."""
    server.register()
    cluster = live.cluster
    wait_for("the OpenAPI document", lambda: cluster.kubectl("explain", "podmetrics").returncode == 0)
    cases = metrics_contract.cases().items()
    found: dict[str, tuple[int, Any]] = {name: metrics_contract.ask(cluster, name, case) for name, case in cases}
    found["openapi-v2"] = 200, openapi_2(server)
    for command in COMMANDS:
        done = cluster.kubectl(*command.split())
        lines = sorted(" ".join(_FIGURE.sub("*", line).split()) for line in (done.stdout + done.stderr).splitlines())
        found[f"kubectl {command}"] = done.returncode, lines
    return found


def openapi_2(server: Server) -> dict[str, Any]:
    """Return the paths and models of the API in a server's OpenAPI document, which kube-apiserver reads."""
    document = json.loads(server.get("/openapi/v2", live_metrics.ADMIN).body)
    return {name: part for name, part in (document["paths"] | document["definitions"]).items() if "metrics" in name}


def test_both_servers_report_the_same_figures_of_the_same_sample(tmp_path: Path) -> None:
    """Memory is equal. CPU differs by less than 1 % where both figures are of the same two samples."""
    with live_metrics.live(tmp_path) as live:
        compared: list[Compared] = []
        wait_for("all have two samples in common", lambda: compare(live, compared), 180)

    report(compared)
    assert [one for one in compared if one.memory[0] != one.memory[1]] == []
    assert [one for one in compared if one.is_same_window and abs(one.ratio - 1) > 0.01] == []


class Compared(NamedTuple):
    """The figures of a node or a container at one time: metrics-server's, and the function's."""

    name: tuple[str, ...]
    timestamp: str
    is_same_window: bool
    cpu: tuple[str, str]
    memory: tuple[str, str]

    @property
    def ratio(self) -> float:
        """The function's CPU in metrics-server's."""
        theirs, ours = self.cpu
        return cores(ours) / cores(theirs)


def compare(live: Live, compared: list[Compared]) -> bool:
    """Add what both have of the same time. Return whether each node and container had the same two samples once."""
    theirs, ours = usages(live, live.metrics_server), usages(live, live.function)
    known = {(one.name, one.timestamp) for one in compared}
    began = starts(live)
    for name in theirs.keys() & ours.keys():
        one, other = theirs[name], ours[name]
        age = datetime.fromisoformat(one["timestamp"]) - began.get(name, _LONG_AGO)
        if one["timestamp"] == other["timestamp"] and (name, one["timestamp"]) not in known and age > _YOUNG:
            is_same = _HOUSEKEEPING_S[0] < float(one["window"].removesuffix("s")) < _HOUSEKEEPING_S[1]
            both = (one["cpu"], other["cpu"]), (one["memory"], other["memory"])
            compared.append(Compared(name, one["timestamp"], is_same, *both))
    return {one.name for one in compared if one.is_same_window} >= theirs.keys()


def starts(live: Live) -> dict[tuple[str, ...], datetime]:
    """Return when each container started."""
    found: dict[tuple[str, ...], datetime] = {}
    for pod in live.cluster.json("/api/v1/pods")["items"]:
        for one in pod["status"].get("containerStatuses", []):
            if "running" in one["state"]:
                name = (pod["metadata"]["namespace"], pod["metadata"]["name"], one["name"])
                found[name] = datetime.fromisoformat(one["state"]["running"]["startedAt"])
    return found


def usages(live: Live, server: Server) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the usage of each node, and of the container of each pod that has one, with its time and window.

    The time of a pod with several is that of one of them, and the others' samples are of other times.
    """
    pods = [pod for pod in live.items(server, "pods") if len(pod["containers"]) == 1]
    found: dict[tuple[str, ...], dict[str, str]] = containers(pods)
    for node in live.items(server, "nodes"):
        times = {"timestamp": node["timestamp"], "window": node["window"]}
        found[(node["metadata"]["name"],)] = {**node["usage"], **times}
    return found


def report(compared: list[Compared]) -> None:
    """Print what docs/proofs/metrics-api.md has: ``pytest -s`` shows it."""
    same = [abs(one.ratio - 1) for one in compared if one.is_same_window]
    others = [abs(one.ratio - 1) for one in compared if not one.is_same_window]
    sys.stdout.write(f"{len(compared)} samples in common, {len(same)} of the same window: CPU within {max(same):.4%}\n")
    if others:
        sys.stdout.write(f"{len(others)} of another window: CPU within {max(others):.0%}\n")
