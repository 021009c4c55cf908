"""A cluster with aggregation: kube-apiserver, kube-controller-manager, and real nodes on addresses of 127/8."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import trustme

from support.kubernetes import Answer, Apiserver, kubeconfig
from support.pki import Pair, Pki
from support.processes import BIN, free_port, kill, spawn, wait_for
from support.real_node import RealNode, client_config

_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None"}]}
APISERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
_PATCH = [("Content-Type", "application/merge-patch+json")]
_JSON = [("Content-Type", "application/json")]


class Cluster:
    """The cluster's programs, with files below ``folder``.

    Addresses of Services are within 127.100.0.0/16. All of it is the machine's own, so a server on a Service's address
    is the Service, without any proxy.
    """

    def __init__(self, folder: Path, pki: Pki, etcd: str) -> None:
        """Name the files. Nothing runs yet."""
        folder.mkdir()
        self.folder, self.pki, self._front = folder, pki, trustme.CA()
        self.apiserver = Apiserver(folder / "apiserver", pki, etcd)
        self.kubeconfig = folder / "admin.kubeconfig"
        self.kubeconfig.write_text(kubeconfig(self.apiserver.port, pki.ca))
        self._policy = folder / "policy.json"
        self._policy.write_text(json.dumps(_POLICY))
        self._flags = self._aggregation()
        self._programs: list[subprocess.Popen[bytes]] = []
        self.nodes: dict[str, RealNode] = {}

    def start(self) -> None:
        """Start kube-apiserver and kube-controller-manager."""
        self.start_apiserver()
        self._start(
            "kube-controller-manager",
            "--secure-port=0",
            f"--service-account-private-key-file={self.pki.service_account.key}",
            f"--root-ca-file={self.pki.ca}",
            "--use-service-account-credentials",
            "--horizontal-pod-autoscaler-sync-period=5s",
        )

    def start_scheduler(self) -> None:
        """Start kube-scheduler, for pods without the name of a node."""
        self._start("kube-scheduler", f"--secure-port={free_port()}")

    def _start(self, program: str, *options: str) -> None:
        user = self.pki.issue(program, common_name=f"system:{program}")
        config = self.folder / f"{program}.kubeconfig"
        config.write_text(json.dumps(client_config(self.apiserver.port, self.pki, user)))
        common = [f"--kubeconfig={config}", "--bind-address=127.0.0.1", "--leader-elect=false"]
        self._programs.append(spawn([BIN / program, *common, *options], self.folder / f"{program}.log", {}))

    def start_apiserver(self) -> None:
        """Start kube-apiserver, again too."""
        self.apiserver.start(None, self._policy, self._flags)

    def add_node(self, name: str) -> RealNode:
        """Start a real node and wait until it is registered."""
        node = RealNode(self.folder / name, name, self.pki, self.apiserver.port)
        self.nodes[name] = node
        node.start()
        wait_for(f"node {name}", lambda: self.apiserver.request("GET", f"/api/v1/nodes/{name}").status == 200)
        return node

    def kill(self) -> None:
        """End everything."""
        for node in self.nodes.values():
            node.kill()
        for program in self._programs:
            kill(program)
        self.apiserver.kill()

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator."""
        command = [BIN / "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def apply(self, manifest: str) -> None:
        """Apply a manifest, which must succeed."""
        done = self.kubectl("apply", "--filename", "-", stdin=manifest)
        if done.returncode:
            raise AssertionError(done.stderr)

    def get(self, path: str) -> Answer:
        """Return the answer to the administrator's GET."""
        return self.apiserver.request("GET", path)

    def json(self, path: str) -> Any:
        """Return the document at ``path``."""
        answer = self.get(path)
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer}")
        return json.loads(answer.body)

    def patch(self, path: str, change: object) -> None:
        """Change the object at ``path``, which must succeed."""
        answer = self.apiserver.request("PATCH", path, body=change, headers=_PATCH)
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer}")

    def address_of(self, namespace: str, service: str) -> str:
        """Return the address of a Service, and make kube-apiserver believe that a pod is behind it."""
        path = f"/api/v1/namespaces/{namespace}/services/{service}"
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-local", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"]}],
            "ports": [{"name": port.get("name", ""), "port": 1} for port in self.json(path)["spec"]["ports"]],
        }
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        answer = self.apiserver.request("POST", slices, body=slice_, headers=_JSON)
        if answer.status != 201:
            raise AssertionError(answer)
        address: str = self.json(path)["spec"]["clusterIP"]
        return address

    def token_of(self, namespace: str, account: str) -> str:
        """Return a new token of a ServiceAccount."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self.apiserver.request("POST", path, body=request, headers=_JSON)
        token: str = json.loads(answer.body)["status"]["token"]
        return token

    def serve_metrics_from(self, namespace: str, service: str, authority: Path) -> None:
        """Let the Service answer the Metrics API, and wait until kube-apiserver finds it available.

        The APIService is made anew, because the conditions of an old one speak of the Service before.
        """
        self.apiserver.request("DELETE", APISERVICE)
        wait_for("the APIService is deleted", lambda: self.get(APISERVICE).status == 404)
        spec = {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode(authority.read_bytes()).decode(),
            "service": {"namespace": namespace, "name": service},
        }
        kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
        document = {**kind, "metadata": {"name": APISERVICE.rpartition("/")[2]}, "spec": spec}
        answer = self.apiserver.request("POST", APISERVICE.rpartition("/")[0], body=document, headers=_JSON)
        if answer.status != 201:
            raise AssertionError(answer)
        self.wait_for_metrics()

    def wait_for_metrics(self) -> None:
        """Wait until kube-apiserver finds the APIService of the Metrics API available."""
        wait_for("the Metrics API is available", self._available)

    def _available(self) -> bool:
        conditions = self.json(APISERVICE).get("status", {}).get("conditions", [])
        return {"Available": "True"} in [{one["type"]: one["status"]} for one in conditions]

    def _aggregation(self) -> list[str]:
        authority = self.folder / "front-proxy-ca.crt"
        self._front.cert_pem.write_to_path(str(authority))
        self.front_proxy = Pair(self.folder / "front-proxy.crt", self.folder / "front-proxy.key")
        issued = self._front.issue_cert("client.example.test", common_name="front-proxy-client")
        issued.cert_chain_pems[0].write_to_path(str(self.front_proxy.certificate))
        issued.private_key_pem.write_to_path(str(self.front_proxy.key))
        return [
            "--service-cluster-ip-range=127.100.0.0/16",
            f"--requestheader-client-ca-file={authority}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-uid-headers=X-Remote-Uid",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self.front_proxy.certificate}",
            f"--proxy-client-key-file={self.front_proxy.key}",
        ]
