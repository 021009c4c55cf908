"""A cluster for the Metrics API: HTTPS servers that answer as kube-apiserver and kubelets were recorded to."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

DATA = Path(__file__).parents[1] / "data" / "metricsapi"
SUMMARY = (DATA / "kubelet" / "summary-only-cpu-and-memory.json").read_bytes()
MASTER = {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
ALICE = {"username": "alice", "groups": ["system:authenticated"], "uid": "uid-alice", "extra": {"scope": ["a", "b"]}}
TOKENS = {"admin-token": MASTER, "alice-token": ALICE}

Reply = tuple[int, bytes]
Route = Callable[[str, str, Mapping[str, str], bytes], Reply]
"""A method, the path with its query, the headers and the body make a status and a body."""


class Https:
    """An HTTPS server on 127.0.0.1 whose answers ``route`` makes. ``requests`` has the requests it received."""

    def __init__(self, context: ssl.SSLContext, route: Route) -> None:
        """Listen on a free port."""
        self.route = route
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                outer.requests.append((self.command, self.path, headers, body))
                status, answer = outer.route(self.command, self.path, headers, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.ThreadingHTTPServer):
    """A server that does not report connections that its clients end."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        pass


class Authority:
    """A certificate authority, with files below ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        """Make it."""
        self.ca, self._folder = trustme.CA(), folder
        self.pem = self.ca.cert_pem.bytes().decode()
        self.file = folder / f"{name}.crt"
        self.file.write_text(self.pem)

    def issue(self, common_name: str, *identities: str) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key."""
        issued = self.ca.issue_cert(*(identities or ("client.example.test",)), common_name=common_name)
        certificate, key = (self._folder / f"{self.file.stem}-{common_name}.{end}" for end in ("crt", "key"))
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        return certificate, key

    def serving(self, *identities: str) -> ssl.SSLContext:
        """Return the context of a server with these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*identities, common_name="server").configure_cert(context)
        return context


def document(value: object, status: int = 200) -> Reply:
    """Return an answer with a JSON document."""
    return status, json.dumps(value).encode()


class Cluster:
    """An apiserver and a kubelet for each node. Tests change its members before they ask.

    ``pods`` are as ``(namespace, name, node, labels)``.
    """

    def __init__(self, folder: Path, nodes: tuple[str, ...] = ("127.0.0.1", "127.0.0.2")) -> None:
        """Start the servers, with the recorded pods and the recorded summary on the first node."""
        self.authority, self.proxy_authority = Authority(folder, "cluster"), Authority(folder, "proxy")
        self.summaries: dict[str, Route] = {name: lambda *_: (200, b'{"node":{},"pods":[]}') for name in nodes}
        self.summaries[nodes[0]] = lambda *_: (200, SUMMARY)
        self.kubelets = {
            name: Https(self.authority.serving("127.0.0.1"), lambda *asked, name=name: self.summaries[name](*asked))
            for name in nodes
        }
        self.apiserver = Https(self.authority.serving("127.0.0.1"), self.answer)
        self.pods: list[tuple[str, str, str, dict[str, str]]] = [
            ("default", "busy", nodes[0], {"app": "busy", "tier": "work"}),
            ("default", "two", nodes[0], {"app": "two"}),
            ("kube-system", "static-127.0.0.1", nodes[0], {"app": "static"}),
            ("other", "memory", nodes[0], {"app": "memory"}),
        ]
        self.labels = {"kubernetes.io/os": "linux"}
        self.selectors: dict[str, Callable[[dict[str, str]], bool]] = {}
        """By label selector: which labels it selects. kube-apiserver reads selectors; this server only knows these."""
        self.allowed: Callable[[dict[str, Any]], bool] = lambda _: False
        """Whether a SubjectAccessReview's spec is allowed."""
        self.failure: Reply | None = None
        self.config = {
            "requestheader-client-ca-file": self.proxy_authority.pem,
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
        }
        self.token = folder / "token"
        self.token.write_text("service-account-token\n")
        self.certificate, self.key = self.authority.issue("metricsapi", "127.0.0.1", "localhost")

    def environ(self, **more: str) -> dict[str, str]:
        """Return the settings with which the function uses this cluster."""
        return {
            "METRICSAPI_APISERVER": f"https://127.0.0.1:{self.apiserver.port}",
            "METRICSAPI_CA_FILE": str(self.authority.file),
            "METRICSAPI_TOKEN_FILE": str(self.token),
            "METRICSAPI_CERT_FILE": str(self.certificate),
            "METRICSAPI_KEY_FILE": str(self.key),
            **more,
        }

    def asked(self, path: str) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return the requests to the apiserver below ``path``."""
        return [request for request in self.apiserver.requests if request[1].startswith(path)]

    def close(self) -> None:
        """End the servers."""
        for server in (self.apiserver, *self.kubelets.values()):
            server.close()

    def answer(self, _: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as kube-apiserver."""
        if headers.get("authorization") != "Bearer service-account-token":
            return document({"kind": "Status", "message": "Unauthorized"}, HTTPStatus.UNAUTHORIZED)
        if self.failure:
            return self.failure
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path.endswith("/tokenreviews"):
            user = TOKENS.get(json.loads(body)["spec"]["token"])
            return document({"status": {"authenticated": bool(user), "user": user or {}}}, HTTPStatus.CREATED)
        if path.endswith("/subjectaccessreviews"):
            return document({"status": {"allowed": self.allowed(json.loads(body)["spec"])}}, HTTPStatus.CREATED)
        if path.endswith("/extension-apiserver-authentication"):
            return document({"data": self.config})
        return self._list(path, query)

    def _list(self, path: str, query: Mapping[str, list[str]]) -> Reply:
        labels = query.get("labelSelector", [""])[0]
        fields = dict(term.split("=") for term in query.get("fieldSelector", [""])[0].split(",") if term)
        fields.pop("status.phase", None)
        if labels and labels not in self.selectors:
            message = "unable to parse requirement: found '', expected: ',', ')' or identifier"
            return document({"kind": "Status", "message": message}, HTTPStatus.BAD_REQUEST)
        selects = self.selectors[labels] if labels else lambda _: True
        found = self._nodes() if path == "/api/v1/nodes" else self._pods(path.split("/")[-2])
        name = fields.get("metadata.name", "")
        return document(
            {
                "items": [
                    one for one in found if selects(one["metadata"]["labels"]) and name in ("", one["metadata"]["name"])
                ]
            }
        )

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": name, "labels": {**self.labels, "kubernetes.io/hostname": name}},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port}},
                },
            }
            for name, server in self.kubelets.items()
        ]

    def _pods(self, within: str) -> list[dict[str, Any]]:
        """Return the pods of a namespace, or of all of them below ``v1``."""
        return [
            {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"nodeName": node}}
            for namespace, name, node, labels in self.pods
            if within in ("v1", namespace)
        ]


@contextlib.contextmanager
def running(folder: Path, nodes: tuple[str, ...] = ("127.0.0.1", "127.0.0.2")) -> Iterator[Cluster]:
    """Run a cluster."""
    cluster = Cluster(folder, nodes)
    try:
        yield cluster
    finally:
        cluster.close()
