"""The function of the Metrics API, in front of servers that answer as a kubelet and kube-apiserver were recorded to."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from support import metrics_cluster, metrics_contract, metrics_receiver
from support.metrics_cluster import SUMMARY, Authority, Cluster, Https, Reply
from support.metrics_receiver import ADMIN, PROXY, ROOT

from auditsplit.errors import SettingsError
from metricsapi.settings import Settings

SECOND = "127.0.0.2"
LABELS = [("", "os", "linux"), ("", "arch", "amd64"), ("beta.", "os", "linux"), ("beta.", "arch", "amd64")]


def test_every_recorded_request_is_answered_as_metrics_server_did(tmp_path: Path) -> None:
    """By status, media type and body, apart from figures and times."""
    with metrics_receiver.function(tmp_path) as function:
        as_recorded(function.cluster)
        wrong = {}
        for name, case in metrics_contract.cases().items():
            answer = function.ask(case.method, case.path, {"accept": case.accept})
            recorded = metrics_contract.recorded(name)
            found = answer.status, metrics_contract.shape(name, bytes(answer.body))
            if found != recorded:
                wrong[name] = found, recorded

    assert not wrong


def as_recorded(cluster: Cluster) -> None:
    """Give the cluster the nodes, pods and labels with which metrics-server was recorded."""
    cluster.labels = {f"{prefix}kubernetes.io/{name}": value for prefix, name, value in LABELS}
    scaled = [("default", f"scaled-75ffccd695-{end}") for end in ("8cb7m", "bkwgs", "jhlqh")]
    second = [*scaled, ("kube-system", "static-127.0.0.2")]
    cluster.pods += [
        ("default", name, SECOND, {"app": "scaled", "pod-template-hash": "75ffccd695"}) for _, name in scaled
    ]
    cluster.pods.append(("kube-system", "static-127.0.0.2", SECOND, {"app": "static"}))
    recorded = json.loads(SUMMARY)
    (busy,) = [pod for pod in recorded["pods"] if pod["podRef"]["name"] == "busy"]
    pods = [{**busy, "podRef": {"namespace": namespace, "name": name, "uid": name}} for namespace, name in second]
    cluster.summaries[SECOND] = lambda *_: metrics_cluster.document({**recorded, "pods": pods})
    cluster.selectors = {
        "a=b": lambda _: False,
        "app=none": lambda _: False,
        "kubernetes.io/os=linux": lambda labels: labels.get("kubernetes.io/os") == "linux",
        "app=busy": lambda labels: labels.get("app") == "busy",
        "app in (busy,memory),tier": lambda labels: labels.get("app") in ("busy", "memory") and "tier" in labels,
    }


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((403, b"Forbidden"), "status"),
        ((200, b"<html>"), "malformed"),
        ((200, SUMMARY[:-9]), "malformed"),
        ((200, b" " * (17 * 1024 * 1024)), "too large"),
    ],
    ids=["403", "html", "cut", "huge"],
)
def test_a_faulty_kubelet_leaves_out_its_node_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reply: Reply, code: str
) -> None:
    """The other node is answered, and the log has the reason once."""
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.summaries[SECOND] = lambda *_: reply
        names = [function.names("nodes") for _ in range(2)]

    assert names == [["127.0.0.1"]] * 2
    assert [record.levelname for record in caplog.records if record.name == "metricsapi.kubelets"] == ["WARNING"]
    assert REGISTRY.get_sample_value("metricsapi_kubelet_requests_total", {"outcome": code})


def test_a_kubelet_that_does_not_answer_costs_its_own_time_alone(tmp_path: Path) -> None:
    """The others' figures are there once its second is over."""
    hang = threading.Event()
    with metrics_receiver.function(tmp_path, METRICSAPI_KUBELET_TIMEOUT_SECONDS="1") as function:
        function.cluster.summaries[SECOND] = lambda *_: (200 if hang.wait(30) else 500, b"")
        names = function.names("nodes")
        hang.set()

    assert names == ["127.0.0.1"]


def test_a_certificate_of_another_authority_gets_no_token(tmp_path: Path) -> None:
    """METRICSAPI_KUBELET_INSECURE_TLS accepts it."""
    names = {}
    for insecure in ("false", "true"):
        (tmp_path / insecure).mkdir()
        with metrics_receiver.function(tmp_path / insecure, METRICSAPI_KUBELET_INSECURE_TLS=insecure) as function:
            cluster = function.cluster
            stranger = Https(Authority(tmp_path / insecure, "other").serving("127.0.0.1"), lambda *_: (200, SUMMARY))
            cluster.kubelets[SECOND].close()
            cluster.kubelets[SECOND] = stranger
            names[insecure] = function.names("nodes"), len(stranger.requests)

    assert names == {"false": (["127.0.0.1"], 0), "true": (["127.0.0.1", SECOND], 1)}


def test_requests_at_once_share_one_request_to_each_kubelet(tmp_path: Path) -> None:
    """And later requests use its answer for METRICSAPI_CACHE_SECONDS."""
    with metrics_receiver.function(tmp_path) as function, ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda _: function.names("pods"), range(16)))
        asked = {name: len(kubelet.requests) for name, kubelet in function.cluster.kubelets.items()}

    assert len({tuple(names) for names in lists}) == 1
    assert set(asked.values()) == {1}


def test_the_list_of_nodes_is_kept_for_the_next_requests_for_pods(tmp_path: Path) -> None:
    """It is big, and each autoscaler asks for the pods of its label. Requests at once share a list of pods."""
    with metrics_receiver.function(tmp_path) as function, ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda _: function.get(f"{ROOT}/namespaces/default/pods").status, range(16)))
        lists = len(function.cluster.asked("/api/v1/nodes"))

    assert (statuses, lists) == ({200}, 1)


def test_a_strangers_resource_makes_no_metric(tmp_path: Path) -> None:
    """A name that a sender chooses would take memory for good."""
    with metrics_receiver.function(tmp_path) as function:
        refused = function.ask("GET", f"{ROOT}/chosen", {}, (), None).status

    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    resources = {one.labels["resource"] for one in samples if one.name == "metricsapi_requests_total"}
    assert refused == 403
    assert "other" in resources
    assert "chosen" not in resources


def test_entries_without_valid_figures_are_left_out_one_by_one(tmp_path: Path) -> None:
    """A counter that went back, a time that is none, no sample: each costs its own pod."""
    broken = json.loads(SUMMARY)
    by_name = {pod["podRef"]["name"]: pod["containers"][0] for pod in broken["pods"]}
    by_name["busy"]["cpu"]["usageNanoCores"] = 2**64 - 5
    by_name["two"]["cpu"]["time"] = "yesterday"
    by_name["memory"]["memory"] = None
    with metrics_receiver.function(tmp_path) as function:
        function.cluster.summaries["127.0.0.1"] = lambda *_: metrics_cluster.document(broken)
        names = function.names("pods")

    assert names == ["static-127.0.0.1"]


def test_kube_apiserver_decides_who_asks_and_what_is_allowed(tmp_path: Path) -> None:
    """By TokenReview and SubjectAccessReview. Headers count with the front proxy's certificate alone."""
    nodes = f"{ROOT}/nodes"
    with metrics_receiver.function(tmp_path) as function:
        alice = function.get(nodes, bearer="alice-token").status, function.get(nodes, bearer="alice-token").status
        reviews = len(function.cluster.asked("/apis/authorization"))
        function.cluster.allowed = lambda spec: spec["resourceAttributes"]["resource"] == "pods"
        statuses = {
            "alice's pods": function.get(f"{ROOT}/pods", bearer="alice-token").status,
            "an administrator": function.get(nodes, bearer="admin-token").status,
            "a bad token": function.get(nodes, bearer="nonsense").status,
            "headers alone": function.ask("GET", nodes, {}, ADMIN, None).status,
            "another certificate": function.ask("GET", nodes, {}, ADMIN, [("commonName", "somebody")]).status,
            "the proxy without a user": function.ask("GET", nodes, {}, (), PROXY).status,
            "the proxy for alice": function.ask("GET", f"{ROOT}/pods", {}, (("X-Remote-User", "alice"),), PROXY).status,
        }

    assert (alice, reviews) == ((403, 403), 1)
    assert statuses == {
        "alice's pods": 200,
        "an administrator": 200,
        "a bad token": 401,
        "headers alone": 403,
        "another certificate": 401,
        "the proxy without a user": 401,
        "the proxy for alice": 200,
    }


def test_an_apiserver_that_fails_ends_in_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the reason, and the answer has none of it."""
    with metrics_receiver.function(tmp_path) as function:
        before = function.get("/readyz").status
        function.cluster.failure = (500, b"secret")
        answer = function.get(f"{ROOT}/nodes", bearer="alice-token")

    assert (before, answer.status, answer.headers["Retry-After"]) == (200, 503, "1")
    assert b"secret" not in answer.body
    assert "kube-apiserver answered 500" in caplog.text


def test_wrong_settings_are_reported_together() -> None:
    """Each with what to write instead."""
    wrong = {
        "METRICSAPI_APISERVER": "http://plain",
        "METRICSAPI_CERT_FILE": "/nowhere",
        "METRICSAPI_CACHE_SECONDS": "soon",
        "METRICSAPI_KUBELET_ADDRESS_TYPES": "Home",
        "METRICSAPI_TYPO": "1",
    }

    with pytest.raises(SettingsError) as refused:
        Settings.read(wrong)

    assert {mistake.partition(":")[0] for mistake in refused.value.mistakes} >= wrong.keys()
