"""The function of the Metrics API at its edges: odd requests, odd clusters, and a kube-apiserver that fails."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from support import metrics_cluster, metrics_receiver
from support.metrics_cluster import SUMMARY, Reply
from support.metrics_receiver import ADMIN, ROOT, document
from support.processes import wait_for

PROTOBUF = "application/vnd.kubernetes.protobuf"
NODE = "127.0.0.1"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"{ROOT}/namespaces/default/pods/starting", 404),
        (f"{ROOT}/namespaces/default/pods/UPPER", 404),
        (f"{ROOT}/pods?labelSelector={'a' * 17_000}", 400),
        (f"{ROOT}/pods?fieldSelector=metadata.name", 400),
        (f"{ROOT}/pods?watch=true", 405),
        (f"{ROOT}/namespaces/default/pods/busy/status", 404),
        ("/nothing", 404),
        ("/livez", 200),
    ],
)
def test_odd_requests_are_refused(tmp_path: Path, target: str, status: int) -> None:
    """With the status that metrics-server has for them."""
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.pods.append(("default", "starting", NODE, {}))
        assert function.get(target).status == status
        assert function.get(target, accept=PROTOBUF).status == status


@pytest.mark.parametrize("accept", ["application/json", PROTOBUF])
def test_an_unknown_method_is_refused(tmp_path: Path, accept: str) -> None:
    """Also where it is the name of a verb that is allowed."""
    with metrics_receiver.function(tmp_path) as function:
        assert function.ask("LIST", f"{ROOT}/pods", {"accept": accept}).status == 405


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", 200),
        ("application/json;q=1.", 200),
        ("application/json;q=0", 406),
        ("a/b;q=0.5," * 40 + "application/json", 406),
    ],
    ids=["Java's", "a point", "none", "too long"],
)
def test_qualities_are_read_as_clients_write_them(tmp_path: Path, accept: str, status: int) -> None:
    """Of a header with many media types only the first are read."""
    with metrics_receiver.function(tmp_path) as function:
        assert function.get(f"{ROOT}/nodes", accept=accept).status == status


def test_each_form_of_a_list_and_of_an_object(tmp_path: Path) -> None:
    """Protobuf has the names, a Table its rows, and JSON for a terminal is indented."""
    with metrics_receiver.function(tmp_path) as function:
        one = function.get(f"{ROOT}/namespaces/default/pods/two", accept=PROTOBUF)
        listed = function.get(f"{ROOT}/pods", accept=PROTOBUF)
        rows = function.get(f"{ROOT}/pods?includeObject=Object", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        refused = function.get(f"{ROOT}/nodes/unknown", accept=PROTOBUF)
        pretty = function.get(f"{ROOT}/nodes", **{"user-agent": "curl/8"})
        yaml = function.get(f"{ROOT}/namespaces/default/pods/busy", accept="application/yaml")

    assert {b"k8s\0"} == {bytes(answer.body[:4]) for answer in (one, listed, refused)}
    assert all(name in one.body for name in (b"two", b"sidecar", b"worker"))
    assert b"busy" in listed.body
    assert document(rows)["rows"][0]["object"]["kind"] == "PodMetrics"
    assert pretty.body.startswith(b"{\n")
    assert b"name: busy" in yaml.body


def test_a_long_list_in_yaml_is_json(tmp_path: Path) -> None:
    """Which is YAML too. YAML's own form would take seconds, which a user could ask for at will."""
    template = json.loads(SUMMARY)["pods"][0]
    names = [f"pod-{number}" for number in range(600)]
    pods = [{**template, "podRef": {"namespace": "many", "name": name}} for name in names]
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.pods += [("many", name, NODE, {}) for name in names]
        function.cluster.summaries[NODE] = lambda *_: metrics_cluster.document({"node": {}, "pods": pods})
        answer = function.get(f"{ROOT}/namespaces/many/pods", accept="application/yaml")

    assert answer.headers["Content-Type"] == "application/yaml"
    assert len(document(answer)["items"]) == 600


def test_documents_are_cached_by_their_digest(tmp_path: Path) -> None:
    """If-None-Match gets 304, as the aggregator asks."""
    with metrics_receiver.function(tmp_path) as function:
        first = function.get("/openapi/v2")
        again = function.get("/openapi/v2", **{"if-none-match": first.headers["Etag"]})
        posted = function.ask("POST", "/apis/metrics.k8s.io", {})

    assert (first.status, again.status, posted.status) == (200, 304, 405)


def test_users_without_permission_are_refused_in_kubernetes_words(tmp_path: Path) -> None:
    """For a path too. Extra attributes reach the review."""
    fields = (("X-Remote-User", "alice"), ("X-Remote-Extra-Scope%2fx", "read"), ("X-Remote-Group", "dev"))
    with metrics_receiver.function(tmp_path) as function:
        refused = function.ask("GET", "/metrics", {}, fields)
        review = json.loads(function.cluster.asked("/apis/authorization")[0][3])["spec"]
        long = function.get(f"{ROOT}/nodes", bearer="a" * 20_000)

    assert document(refused)["message"] == 'forbidden: User "alice" cannot get path "/metrics"'
    assert (review["user"], review["groups"]) == ("alice", ["dev", "system:authenticated"])
    assert review["extra"] == {"scope/x": ["read"]}
    assert long.status == 401


@pytest.mark.parametrize(
    "reply",
    [b"{}", b"not JSON", b" " * (8 * 1024 * 1024), b'{"status":{"authenticated":true,"user":{"groups":5}}}'],
    ids=["no status", "malformed", "huge", "wrong type"],
)
def test_an_odd_token_review_admits_nobody(tmp_path: Path, reply: bytes) -> None:
    """The sender is asked to try again."""
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.failure = 201, reply
        assert function.get(f"{ROOT}/nodes", bearer="alice-token").status == 503


@pytest.mark.parametrize(
    "change", [{"requestheader-client-ca-file": ""}, {"requestheader-allowed-names": "front-proxy-client"}]
)
def test_a_cluster_without_a_front_proxy_is_reported(tmp_path: Path, change: dict[str, str]) -> None:
    """Nobody is believed then."""
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.config |= change
        assert function.get(f"{ROOT}/nodes").status == 503
        assert function.get("/readyz").status == 500


def test_a_kube_apiserver_that_hangs_or_is_gone_ends_in_503(tmp_path: Path) -> None:
    """Within METRICSAPI_REQUEST_TIMEOUT_SECONDS."""
    hang = threading.Event()
    with metrics_receiver.function(tmp_path, METRICSAPI_REQUEST_TIMEOUT_SECONDS="1") as function:
        before = function.get(f"{ROOT}/nodes").status
        cluster = function.cluster
        cluster.apiserver.route = lambda *asked: cluster.answer(*asked) if hang.wait(30) else (500, b"")
        hanging = function.get(f"{ROOT}/nodes").status
        cluster.apiserver.close()
        gone = function.get(f"{ROOT}/nodes").status
        hang.set()

    assert (before, hanging, gone, function.receiver.busy().status) == (200, 503, 503, 503)


def test_a_list_that_hangs_delays_nobody_who_asks_later(tmp_path: Path) -> None:
    """One connection to kube-apiserver hangs, and the next are answered."""
    hang, first = threading.Event(), threading.Event()
    with metrics_receiver.function(tmp_path) as function, ThreadPoolExecutor(1) as pool:
        cluster = function.cluster
        function.get(f"{ROOT}/nodes")

        def answer(*asked: Any) -> Reply:
            if not first.is_set():
                first.set()
                hang.wait(30)
            return cluster.answer(*asked)

        cluster.apiserver.route = answer
        hanging = pool.submit(function.get, f"{ROOT}/nodes")
        first.wait(30)
        time.sleep(1.1)
        later = function.get(f"{ROOT}/nodes").status
        alone = not hanging.done()
        hang.set()
        statuses = later, hanging.result().status

    assert alone
    assert statuses == (200, 200)


def test_the_front_proxys_configuration_does_not_wait_for_kube_apiserver(tmp_path: Path) -> None:
    """One connection tries to read it again, the others use the old one. Without any, the answer is 503."""
    hang = threading.Event()
    with metrics_receiver.function(tmp_path) as function, ThreadPoolExecutor(4) as pool:
        cluster, certificates = function.cluster, function.receiver._certificates
        cluster.apiserver.route = lambda *asked: cluster.answer(*asked) if hang.wait(30) else (500, b"")
        without = [function.get(f"{ROOT}/nodes").status, function.get("/readyz").status]
        hang.set()
        wait_for("the configuration", lambda: function.get("/readyz").status == 200)
        hang.clear()
        certificates._next = float("-inf")
        reading = pool.submit(certificates.front_proxy)
        wait_for("the lock", certificates._lock.locked)
        others = [pool.submit(certificates.context) for _ in range(3)]
        for other in others:
            other.result()
        alone = not reading.done()
        kept = reading.result()
        hang.set()

    assert without == [503, 500]
    assert alone
    assert kept.user_headers == ("x-remote-user",)


def test_a_kubelet_tells_the_figures_of_its_own_pods(tmp_path: Path) -> None:
    """Where the node of a pod is known: for the pods of a namespace, which autoscalers ask for."""
    (forged,) = [pod for pod in json.loads(SUMMARY)["pods"] if pod["podRef"]["name"] == "busy"]
    forged["containers"][0]["cpu"] |= {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "usageNanoCores": 10**12}
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.pods.append(("default", "beside", "127.0.0.2", {}))
        function.cluster.summaries["127.0.0.2"] = lambda *_: metrics_cluster.document({"node": {}, "pods": [forged]})
        items = document(function.get(f"{ROOT}/namespaces/default/pods"))["items"]

    cpu = {item["metadata"]["name"]: item["containers"][0]["usage"]["cpu"] for item in items}
    assert cpu["busy"].endswith("n")


def test_a_summary_with_too_many_pods_is_malformed(tmp_path: Path) -> None:
    """It would keep the loop busy that serves all others."""
    with metrics_receiver.function(tmp_path) as function:
        pods = b'{"node":{},"pods":[' + b"1," * 100_000 + b"1]}"
        function.cluster.summaries["127.0.0.2"] = lambda *_: (200, pods)
        assert function.names("nodes") == [NODE]

    assert REGISTRY.get_sample_value("metricsapi_kubelet_requests_total", {"outcome": "malformed"})


def test_nodes_without_an_address_or_a_kubelet_are_left_out(tmp_path: Path) -> None:
    """And what is known of a node is forgotten after METRICSAPI_CACHE_SECONDS."""
    with metrics_receiver.function(tmp_path, METRICSAPI_KUBELET_ADDRESS_TYPES="ExternalIP") as function:
        without_address = function.names("nodes")
    (tmp_path / "second").mkdir()
    with metrics_receiver.function(tmp_path / "second", METRICSAPI_CACHE_SECONDS="1") as function:
        function.cluster.kubelets["127.0.0.2"].close()
        one = function.names("nodes")
        answers = function.receiver._kubelets._answers._tasks
        known = len(answers)
        wait_for("all is forgotten", lambda: not answers)

    assert (without_address, one, known) == ([], [NODE], 2)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("usageNanoCores", None),
        ("usageNanoCores", -1),
        *(("time", f"{day}T00:00:00Z") for day in ("2026-99-99", "1969-12-31", "0001-01-01", "9999-12-31")),
        ("time", ""),
    ],
)
def test_a_node_without_a_valid_figure_is_left_out(tmp_path: Path, member: str, value: object) -> None:
    """Its pods have their own figures."""
    broken = json.loads(SUMMARY)
    broken["node"]["cpu"][member] = value
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.summaries[NODE] = lambda *_: metrics_cluster.document(broken)
        assert function.names("nodes") == []
        assert "busy" in function.names("pods")


def test_a_head_is_answered_as_a_get(tmp_path: Path) -> None:
    """By the same permission."""
    with metrics_receiver.function(tmp_path) as function:
        assert function.ask("HEAD", f"{ROOT}/nodes", {}, ADMIN).status == 200
