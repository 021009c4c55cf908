"""kube-apiserver: nodes, pods, reviews, and the configuration of the front proxy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import orjson

from metricsapi.clients import Answer, Client, TooLarge
from metricsapi.errors import BadSelector, Unavailable
from metricsapi.shared import Shared

T = TypeVar("T")

_LIST_BYTES = 512 * 1024 * 1024
_OBJECT_BYTES = 4 * 1024 * 1024
_JOIN_S = 1.0
_PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FRONT_PROXY = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class _Address(msgspec.Struct, frozen=True):
    type: str = ""
    address: str = ""


class _Endpoint(msgspec.Struct, frozen=True, rename={"port": "Port"}):
    port: int = 0


class _Endpoints(msgspec.Struct, frozen=True, rename="camel"):
    kubelet_endpoint: _Endpoint = _Endpoint()


class NodeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of a node's status that lead to its kubelet."""

    addresses: tuple[_Address, ...] = ()
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


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The node of a pod, empty where only the metadata was asked for."""

    node_name: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A running pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()


class _List(msgspec.Struct, Generic[T]):
    items: list[T] | None = None
    """None is the metadata of nothing."""


class _Status(msgspec.Struct):
    message: str = ""


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = {}


class User(msgspec.Struct, frozen=True):
    """A user, as kube-apiserver knows it."""

    username: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class Verdict(msgspec.Struct, frozen=True):
    """What a TokenReview or a SubjectAccessReview has found."""

    authenticated: bool = False
    user: User = User()
    allowed: bool = False
    denied: bool = False
    reason: str = ""


class _Review(msgspec.Struct):
    status: Verdict


class Apiserver:
    """Asks kube-apiserver. Errors are `Unavailable`, or `BadSelector` where the sender's selector is not valid.

    Who asks for the same list at the same time shares it.
    """

    def __init__(self, client: Client, url: str, timeout_s: float, nodes_s: float) -> None:
        """Keep the client, the server's URL, and times in seconds.

        Args:
            client: what sends.
            url: of the server.
            timeout_s: how long an answer may take.
            nodes_s: for how long `all_nodes` keeps its list.
        """
        self._client, self._url, self._timeout_s = client, url, timeout_s
        self._all_nodes: Shared[list[Node]] = Shared(lambda _: nodes_s, join_s=_JOIN_S)
        self._lists: Shared[list[Any]] = Shared(lambda _: 0, join_s=_JOIN_S)

    async def nodes(self, labels: str = "", name: str = "") -> list[Node]:
        """Return the nodes, those that a label selector selects, or the one of that name."""
        query = {"labelSelector": labels, "fieldSelector": f"metadata.name={name}" if name else ""}
        return await self._list("/api/v1/nodes", query, _List[Node])

    async def all_nodes(self) -> list[Node]:
        """Return the nodes of some seconds ago. The list is big, and every request for pods requires it."""
        return await self._all_nodes.get(None, self.nodes)

    async def pods(self, namespace: str, labels: str, name: str) -> list[Pod]:
        """Return the running pods of a namespace, or of all of them where it is empty.

        The pods of one namespace come with their nodes, so that only the kubelets of those are asked. The pods of all
        namespaces come as metadata alone.
        """
        fields = "status.phase=Running" + (f",metadata.name={name}" if name else "")
        query = {"labelSelector": labels, "fieldSelector": fields}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods" if namespace else "/api/v1/pods"
        accept = "application/json" if namespace else _PARTIAL
        return await self._list(path, query, _List[Pod], accept=accept)

    async def review(self, kind: str, spec: Mapping[str, Any]) -> Verdict:
        """Return what a TokenReview or SubjectAccessReview with this ``spec`` finds."""
        group = "authentication" if kind == "TokenReview" else "authorization"
        document = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "spec": spec}
        path = f"/apis/{group}.k8s.io/v1/{kind.lower()}s"
        answer = await self._send(path, _OBJECT_BYTES, body=orjson.dumps(document))
        return _decoded(_Review, answer, kind).status

    async def front_proxy(self) -> dict[str, str]:
        """Return the data of the ConfigMap extension-apiserver-authentication."""
        return _decoded(_ConfigMap, await self._send(_FRONT_PROXY, _OBJECT_BYTES), _FRONT_PROXY).data

    async def _list(
        self,
        path: str,
        query: Mapping[str, str],
        kind: type[_List[T]],
        accept: str = "application/json",
    ) -> list[T]:
        given = {name: value for name, value in query.items() if value}
        url = f"{path}?{urlencode({'resourceVersion': '0', **given})}"

        async def ask() -> list[T]:
            answer = await self._send(url, _LIST_BYTES, headers={"Accept": accept})
            if answer.status == HTTPStatus.BAD_REQUEST and query["labelSelector"]:
                raise BadSelector(_message(answer))
            return _decoded(kind, answer, path).items or []

        return cast("list[T]", await self._lists.get(url, ask))

    async def _send(self, path: str, max_bytes: int, **more: Any) -> Answer:
        try:
            return await self._client.send(self._url + path, self._timeout_s, max_bytes, **more)
        except TooLarge as error:
            raise Unavailable(f"kube-apiserver's answer to {path} has more than {max_bytes} bytes") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"kube-apiserver did not answer: {type(error).__name__}: {error}") from error


def _decoded(kind: type[T], answer: Answer, what: str) -> T:
    if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
        raise Unavailable(f"kube-apiserver answered {answer.status} to {what}: {_message(answer)}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(f"kube-apiserver's answer to {what} is malformed: {error}") from error


def _message(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Status).message[:2000]
    except msgspec.DecodeError:
        return ""
