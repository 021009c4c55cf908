"""The function of the Metrics API in this process, in front of a cluster of `metrics_cluster`."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from auditsplit.serve.messages import Request, Response
from metricsapi.settings import Settings
from support import metrics_cluster
from support.environment import METRICS_FOLDER
from support.metrics_cluster import Cluster
from support.processes import wait_for

if TYPE_CHECKING:
    from metricsapi.receiver import Receiver

ROOT = "/apis/metrics.k8s.io/v1beta1"
PROXY = [("commonName", "front-proxy-client")]
"""The subject of the front proxy's certificate."""

ADMIN = (("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"), ("X-Remote-Group", "system:authenticated"))
"""The headers by which the front proxy names an administrator."""


class Function:
    """The function and its cluster."""

    def __init__(self, cluster: Cluster, receiver: Receiver) -> None:
        """Keep them."""
        self.cluster, self.receiver = cluster, receiver

    def get(self, target: str, *, bearer: str = "", **headers: str) -> Response:
        """Return the answer to a GET by the front proxy for an administrator, or by the holder of a token."""
        named = {"accept": "application/json", **headers}
        if bearer:
            named["authorization"] = f"Bearer {bearer}"
        return self.ask("GET", target, named, () if bearer else ADMIN, None if bearer else PROXY)

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        fields: tuple[tuple[str, str], ...] = ADMIN,
        certificate: list[tuple[str, str]] | None = PROXY,
    ) -> Response:
        """Return the answer to a request. Names of ``headers`` are in lower case."""
        parts = urlsplit(target)
        request = Request(
            method=method,
            path=unquote(parts.path),
            headers=headers,
            stream=io.BytesIO(),
            peer="127.0.0.1",
            query=parts.query,
            fields=(*fields, *headers.items()),
            certificate=certificate,
        )
        return self.receiver.handle(request)

    def names(self, target: str) -> list[str]:
        """Return the names in a list."""
        return [item["metadata"]["name"] for item in document(self.get(f"{ROOT}/{target}"))["items"]]


def document(response: Response) -> Any:
    """Return the JSON document of a response."""
    return json.loads(bytes(response.body))


@contextlib.contextmanager
def function(folder: Path, nodes: tuple[str, ...] = ("127.0.0.1", "127.0.0.2"), **environ: str) -> Iterator[Function]:
    """Run a cluster, and the function with further settings in front of it."""
    with metrics_cluster.running(folder, nodes) as cluster, _metrics():
        from metricsapi import bootstrap  # noqa: PLC0415 - it sets the folder of metrics

        receiver, _ = bootstrap.compose(Settings.read(cluster.environ(**environ)))
        try:
            yield Function(cluster, receiver)
        finally:
            loop = receiver._loop
            for client in (receiver._apiserver._client, receiver._kubelets._client):
                loop.run(client.close(), 10)
            if inner := loop._loop:
                wait_for("the connections' end", lambda: len(inner._selector.get_map()) == 1)  # type: ignore[attr-defined]
                inner.call_soon_threadsafe(inner.stop)
                wait_for("the loop's end", lambda: not inner.is_running())
                inner.close()


@contextlib.contextmanager
def _metrics() -> Iterator[None]:
    """Set the folder of metrics for the block alone: it changes how other tests' metrics work."""
    os.environ.update(_folder)
    try:
        yield
    finally:
        if folder := os.environ.pop(METRICS_FOLDER, None):
            _folder[METRICS_FOLDER] = folder


_folder: dict[str, str] = {}
