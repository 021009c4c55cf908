"""The image in pods of a real kubelet, by the manifests of infra/kubernetes as far as a loopback network allows."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from support import container, kubernetes, metrics_apis
from support.aggregating_cluster import Cluster
from support.container import IMAGE
from support.live_metrics import NODE, restarts
from support.metrics_apis import MANIFEST
from support.pki import Pki
from support.processes import free_port, wait_for

PLACEHOLDER = "registry.example.com/auditsplit"
EVENTS = Path(__file__).parents[1] / "data" / "eventlist-001.json"


@contextlib.contextmanager
def cluster_with_the_image(folder: Path) -> Iterator[Cluster]:
    """Run a cluster with a scheduler, and a control-plane node that has the image."""
    with kubernetes.etcd(folder) as etcd, contextlib.ExitStack() as stack:
        cluster = Cluster(folder / "cluster", Pki(folder / "pki"), etcd)
        stack.callback(cluster.kill)
        cluster.apiserver.disabled_admission = []  # so that pods get their tokens
        cluster.start()
        cluster.start_scheduler()
        node = cluster.add_node(NODE)
        archive = folder / "image.tar"
        container.buildah("push", "--quiet", IMAGE, f"docker-archive:{archive}:{IMAGE}")
        node.import_image(archive)
        archive.unlink()
        cluster.patch(f"/api/v1/nodes/{NODE}", {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}})
        yield cluster


def test_the_audit_function_runs_beside_kube_apiserver(tmp_path: Path) -> None:
    """The DaemonSet's pod gets ready, stores the events that are posted to it, and is replaced without a failure."""
    port = free_port()
    manifest = with_image((MANIFEST.parent / "auditsplit.yaml").read_text()).replace("8888", str(port))
    with cluster_with_the_image(tmp_path) as cluster:
        cluster.apply(manifest.replace("s3://my-bucket/audit?region=eu-central-1", "'stdout:'"))
        rolled_out(cluster, "auditsplit", "daemonset/auditsplit")
        events = EVENTS.read_bytes()
        status = post(port, "/clusters/prod", events)
        log = cluster.nodes[NODE].log_of("auditsplit", "auditsplit")
        cluster.kubectl("--namespace", "auditsplit", "rollout", "restart", "daemonset/auditsplit")
        rolled_out(cluster, "auditsplit", "daemonset/auditsplit")
        again = post(port, "/clusters/prod", events)
        pods = running(cluster, "auditsplit")

    assert (status, again) == (200, 200)
    assert all(event["auditID"] in log for event in json.loads(events)["items"])
    assert [restarts(pod) for pod in pods] == [0]


def test_the_metrics_api_runs_with_the_roles_of_its_pod(tmp_path: Path) -> None:
    """The Deployment's pod has its own token, the secret's certificate and HTTPS probes. kubectl top shows the pod."""
    port = free_port()
    with cluster_with_the_image(tmp_path) as cluster:
        name = "auditsplit-metrics"
        pair = cluster.pki.issue(name, f"{name}.{name}.svc")
        cluster.kubectl("create", "namespace", name)
        files = ("--cert", pair.certificate, "--key", pair.key)
        cluster.kubectl("--namespace", name, "create", "secret", "tls", "metrics-api-tls", *files)
        cluster.apply(on_the_hosts_network(cluster, port))
        cluster.address_of(name, name)  # no EndpointSlice may have the pod's address, which is of the loopback network
        rolled_out(cluster, name, f"deployment/{name}")
        cluster.wait_for_metrics()
        top = ("top", "pods", "--namespace", name, "--containers", "--no-headers")
        wait_for("figures of the pod", lambda: cluster.kubectl(*top).returncode == 0)
        shown = cluster.kubectl(*top).stdout.split()
        nodes = cluster.kubectl("top", "nodes", "--no-headers").stdout.split()
        pods = running(cluster, name)

    assert shown[:2] == [pods[0]["metadata"]["name"], "metrics"]
    assert nodes[0] == NODE
    assert [restarts(pod) for pod in pods] == [0]


def on_the_hosts_network(cluster: Cluster, port: int) -> str:
    """Return the manifest of the Metrics API for one pod that listens on a port of the machine."""
    documents = list(yaml.safe_load_all(with_image(metrics_apis.manifest(cluster))))
    by_kind: dict[str, Any] = {document["kind"]: document for document in documents}
    by_kind["Namespace"]["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}
    by_kind["Service"]["spec"]["ports"][0]["port"] = port
    by_kind["APIService"]["spec"]["service"]["port"] = port
    by_kind["Deployment"]["spec"]["replicas"] = 1  # two pods cannot have the same port
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    pod["containers"][0]["ports"][0]["containerPort"] = port
    environ = {one["name"]: one for one in pod["containers"][0]["env"]}
    environ["PORT"]["value"] = str(port)
    apiserver = {"name": "METRICSAPI_APISERVER", "value": f"https://127.0.0.1:{cluster.apiserver.port}"}
    pod["containers"][0]["env"].append(apiserver)
    return yaml.safe_dump_all(documents)


def with_image(manifest: str) -> str:
    """Return a manifest with the image in place of the one to be written."""
    return manifest.replace(f"{PLACEHOLDER}:{IMAGE.rpartition(':')[2]}", IMAGE)


def rolled_out(cluster: Cluster, namespace: str, name: str) -> None:
    """Wait until the pods of the newest version are ready, and no others are there."""
    done = cluster.kubectl("--namespace", namespace, "rollout", "status", name, "--timeout=120s")
    if done.returncode:
        described = cluster.kubectl("--namespace", namespace, "describe", "pods").stdout
        raise AssertionError(f"{done.stderr}\n{described}\n{cluster.nodes[NODE].log_of(namespace, '*')}")


def running(cluster: Cluster, namespace: str) -> list[Any]:
    """Return the pods of a namespace that are not about to end."""
    pods = cluster.json(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def post(port: int, path: str, body: bytes) -> int:
    """Return the status of a POST to the function."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
