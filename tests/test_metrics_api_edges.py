"""The function of the Metrics API at its edges: odd requests, odd clusters, and a kube-apiserver that fails."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support import metrics_cluster, metrics_receiver
from support.metrics_cluster import SUMMARY
from support.metrics_receiver import ADMIN, ROOT, Function, document

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
    ("reply", "status"),
    [
        ((201, b"{}"), 503),
        ((201, b"not JSON"), 503),
        ((201, b" " * (8 * 1024 * 1024)), 503),
        ((201, b'{"status":{"authenticated":true,"user":{"groups":5}}}'), 500),
    ],
    ids=["no status", "malformed", "huge", "wrong type"],
)
def test_an_odd_token_review_admits_nobody(tmp_path: Path, reply: tuple[int, bytes], status: int) -> None:
    """The sender is asked to try again, or told of a fault."""
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.failure = reply
        assert function.get(f"{ROOT}/nodes", bearer="alice-token").status == status


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
        hang.set()
        cluster.apiserver.close()
        gone = function.get(f"{ROOT}/nodes").status

    assert (before, hanging, gone, function.receiver.busy().status) == (200, 503, 503, 503)


def test_nodes_without_an_address_or_a_kubelet_are_left_out(tmp_path: Path) -> None:
    """And a node that was removed is forgotten."""
    with metrics_receiver.function(tmp_path, METRICSAPI_KUBELET_ADDRESS_TYPES="ExternalIP") as function:
        without_address = function.names("nodes")
    (tmp_path / "second").mkdir()
    with metrics_receiver.function(tmp_path / "second", METRICSAPI_CACHE_SECONDS="1") as function:
        function.cluster.kubelets["127.0.0.2"].close()
        one = function.names("nodes")
        known = seen(function)
        function.cluster.kubelets.pop("127.0.0.2")
        function.names("pods")
        fewer = seen(function)

    assert (without_address, one) == ([], [NODE])
    assert (known, fewer) == ({NODE, "127.0.0.2"}, {NODE})


def seen(function: Function) -> set[str]:
    """Return the nodes that the function remembers."""
    return set(function.receiver._kubelets._entries)


@pytest.mark.parametrize(
    ("member", "value"),
    [("usageNanoCores", None), ("usageNanoCores", -1), ("time", "2026-99-99T00:00:00Z"), ("time", "")],
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
