"""The function of the Metrics API, in front of servers that answer as a kubelet and kube-apiserver were recorded to."""

from __future__ import annotations

from pathlib import Path

from support import metrics_contract, metrics_receiver
from support.metrics_receiver import Function

SHORTER = {"openapi-v3-group", "openapi-v3-index", "unknown-version"}
"""Answers that differ: the function's OpenAPI documents are shorter, and kube-apiserver itself gave the last one."""


def test_every_recorded_request_is_answered_as_metrics_server_did(tmp_path: Path) -> None:
    """By status, media type and body, apart from figures and times."""
    with metrics_receiver.function(tmp_path) as function:
        label(function)
        wrong = {}
        for name, case in metrics_contract.cases().items():
            answer = function.ask(case.method, case.path, {"accept": case.accept})
            recorded = metrics_contract.recorded(name)
            found = answer.status, metrics_contract.shape(name, bytes(answer.body))
            if found != recorded:
                wrong[name] = found, recorded

    assert wrong.keys() == SHORTER, wrong


def label(function: Function) -> None:
    """Let the cluster's selectors select what kube-apiserver's did."""
    function.cluster.selectors = {
        "a=b": lambda _: False,
        "app=none": lambda _: False,
        "kubernetes.io/os=linux": lambda labels: labels.get("kubernetes.io/os") == "linux",
        "app=busy": lambda labels: labels.get("app") == "busy",
        "app in (busy,memory),tier": lambda labels: labels.get("app") in ("busy", "memory") and "tier" in labels,
    }
