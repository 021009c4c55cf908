"""kube-apiserver: nodes, pods, reviews, and the configuration of the front proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import orjson

from metricsapi.clients import Answer, Client, TooLarge
from metricsapi.errors import BadSelector, Unavailable

_LIST_BYTES = 512 * 1024 * 1024
_OBJECT_BYTES = 4 * 1024 * 1024
_PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FRONT_PROXY = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class Address(msgspec.Struct, frozen=True):
    """An address of a node."""

    type: str = ""
    address: str = ""


class _Endpoint(msgspec.Struct, frozen=True):
    Port: int = 0


class _Endpoints(msgspec.Struct, frozen=True, rename="camel"):
    kubelet_endpoint: _Endpoint = _Endpoint()


class NodeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of a node's status that lead to its kubelet."""

    addresses: tuple[Address, ...] = ()
    daemon_endpoints: _Endpoints = _Endpoints()


class Metadata(msgspec.Struct, frozen=True):
    """The parts of an object's metadata that the Metrics API shows."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}


class Node(msgspec.Struct, frozen=True):
    """A node."""

    metadata: Metadata
    status: NodeStatus = NodeStatus()

    def kubelet_port(self) -> int:
        """Return the port of the node's kubelet."""
        return self.status.daemon_endpoints.kubelet_endpoint.Port or 10250


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A running pod. ``node`` is empty where only the metadata was asked for."""

    metadata: Metadata
    spec: _PodSpec = _PodSpec()


class _Nodes(msgspec.Struct):
    items: list[Node] | None = None


class _Pods(msgspec.Struct):
    items: list[Pod] | None = None


class _Status(msgspec.Struct):
    message: str = ""


_NODES = msgspec.json.Decoder(_Nodes)
_PODS = msgspec.json.Decoder(_Pods)
_STATUS = msgspec.json.Decoder(_Status)
_CONFIG = msgspec.json.Decoder(dict[str, Any])


class Apiserver:
    """Asks kube-apiserver. Errors are `Unavailable`, or `BadSelector` where the sender's selector is not valid."""

    def __init__(self, client: Client, url: str, timeout_s: float) -> None:
        """Keep the client, the server's URL, and how long an answer may take, in seconds."""
        self._client, self._url, self._timeout_s = client, url, timeout_s

    async def nodes(self, labels: str = "", name: str = "") -> list[Node]:
        """Return the nodes, those that a label selector selects, or the one of that name."""
        query = {"labelSelector": labels, "fieldSelector": name and f"metadata.name={name}"}
        found: _Nodes = await self._list("/api/v1/nodes", query, _NODES)
        return found.items or []  # the metadata of nothing is null

    async def pods(self, namespace: str, labels: str, name: str) -> list[Pod]:
        """Return the running pods of a namespace, or of all of them where it is empty.

        The pods of one namespace come with their nodes, so that only the kubelets of those are asked. The pods of all
        namespaces come as metadata alone.
        """
        fields = "status.phase=Running" + (f",metadata.name={name}" if name else "")
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods" if namespace else "/api/v1/pods"
        headers = {} if namespace else {"Accept": _PARTIAL}
        query = {"labelSelector": labels, "fieldSelector": fields}
        found: _Pods = await self._list(path, query, _PODS, headers)
        return found.items or []  # the metadata of nothing is null

    async def review(self, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of a TokenReview or SubjectAccessReview with this ``spec``."""
        group = "authentication" if kind == "TokenReview" else "authorization"
        document = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "spec": spec}
        path = f"/apis/{group}.k8s.io/v1/{kind.lower()}s"
        answer = await self._send(path, _OBJECT_BYTES, body=orjson.dumps(document))
        status = _decoded(_CONFIG, answer, kind).get("status")
        if not isinstance(status, dict):
            raise Unavailable(f"kube-apiserver's {kind} has no status")
        return status

    async def front_proxy(self) -> dict[str, str]:
        """Return the data of the ConfigMap extension-apiserver-authentication."""
        data = _decoded(_CONFIG, await self._send(_FRONT_PROXY, _OBJECT_BYTES), "ConfigMap").get("data")
        if not isinstance(data, dict):
            raise Unavailable("the ConfigMap kube-system/extension-apiserver-authentication has no data")
        return data

    async def _list(
        self, path: str, query: Mapping[str, str], decoder: Any, headers: dict[str, str] | None = None
    ) -> Any:
        given = {name: value for name, value in query.items() if value}
        url = f"{path}?{urlencode({'resourceVersion': '0', **given})}"
        answer = await self._send(url, _LIST_BYTES, headers=headers)
        if answer.status == 400 and query["labelSelector"]:  # noqa: PLR2004 - Bad Request
            raise BadSelector(_message(answer))
        return _decoded(decoder, answer, path)

    async def _send(self, path: str, max_bytes: int, **more: Any) -> Answer:
        try:
            return await self._client.send(self._url + path, self._timeout_s, max_bytes, **more)
        except TooLarge as error:
            raise Unavailable(f"kube-apiserver's answer to {path} has more than {max_bytes} bytes") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"kube-apiserver did not answer: {type(error).__name__}: {error}") from error


def _decoded(decoder: Any, answer: Answer, what: str) -> Any:
    if answer.status not in (200, 201):
        raise Unavailable(f"kube-apiserver answered {answer.status} to {what}: {_message(answer)}")
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Unavailable(f"kube-apiserver's answer to {what} is malformed: {error}") from error


def _message(answer: Answer) -> str:
    try:
        return _STATUS.decode(answer.body).message[:2000]
    except msgspec.DecodeError:
        return ""
