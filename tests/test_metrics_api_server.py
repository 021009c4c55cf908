"""The function of the Metrics API in its real server, with TLS and client certificates."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from support import metrics_cluster
from support.metrics_cluster import Authority, Cluster
from support.metrics_receiver import ROOT
from support.processes import free_port, spawn, terminate, wait_until_ready

pytestmark = pytest.mark.slow
FUNCTION = Path(__file__).parents[1] / "functions" / "metrics.py"
FRAMEWORK = Path(sys.executable).parent / "functions-framework"


@contextmanager
def server(folder: Path, cluster: Cluster) -> Iterator[int]:
    """Run functions-framework with the function. Yield its port."""
    port = free_port()
    where = ["--host", "127.0.0.1", "--port", str(port)]
    environ = [f"{name}={value}" for name, value in cluster.environ().items()]
    command: list[str | Path] = [
        "/usr/bin/env",
        *environ,
        FRAMEWORK,
        "--source",
        FUNCTION,
        "--target",
        "metrics",
        *where,
    ]
    process = spawn(command, folder / "server.log", {})
    try:
        wait_until_ready(process, folder / "server.log", lambda: get(port, "/livez", client(cluster))[0] == 200)
        yield port
    finally:
        terminate(process, 30)


def client(cluster: Cluster, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return a client's context, with a certificate."""
    context = ssl.create_default_context(cafile=str(cluster.authority.file))
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def get(port: int, path: str, context: ssl.SSLContext, user: str = "") -> tuple[int, bytes]:
    """Return status and body of a GET, with the header of the front proxy for a user."""
    headers = {"X-Remote-User": user, "X-Remote-Group": "system:masters"} if user else {}
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_the_headers_of_the_front_proxy_count_with_its_certificate_alone(tmp_path: Path) -> None:
    """A certificate of another authority ends the handshake. Two servers without any state in common agree."""
    pods = f"{ROOT}/pods"
    with ExitStack() as stack:
        cluster = stack.enter_context(metrics_cluster.running(tmp_path))
        first, second = (stack.enter_context(server(tmp_path, cluster)) for _ in range(2))
        proxy = client(cluster, cluster.proxy_authority.issue("front-proxy-client"))
        answers = [get(port, pods, proxy, "admin") for port in (first, second)]
        without = get(first, pods, client(cluster), "admin")
        stranger = client(cluster, Authority(tmp_path, "stranger").issue("front-proxy-client"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(first, pods, stranger, "admin")

    assert [status for status, _ in answers] == [200, 200]
    names = [[item["metadata"]["name"] for item in json.loads(body)["items"]] for _, body in answers]
    assert names[0] == names[1] == ["busy", "two", "static-127.0.0.1", "memory"]
    assert without[0] == 403
