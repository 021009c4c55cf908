"""The routes: who may ask, what is asked, and the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from auditsplit.deadline import Deadline
from auditsplit.serve.messages import Request, Response
from auditsplit.telemetry.logs import FIELDS
from metricsapi import access, answers, discovery, objects, openapi, representations
from metricsapi.access import Access, Attributes
from metricsapi.apiserver import Apiserver
from metricsapi.clients import Loop
from metricsapi.errors import BadSelector, Fault, MethodNotAllowed, NotFound, Refusal, Unavailable
from metricsapi.frontproxy import Certificates
from metricsapi.kubelets import Kubelets, Observer
from metricsapi.objects import GROUP, Item, Resource
from metricsapi.representations import VERSION, Form

_ROOT = f"/apis/{VERSION}/"
_MAX_QUERY = 16 * 1024
_PROBES = ("/livez", "/healthz", "/readyz")
_READY_S = 2.0
_NOWHERE = "the server could not find the requested resource"
_FORBIDDEN_METHOD = "the server does not allow this method on the requested resource"
_log = logging.getLogger(__name__)


class Metrics(Observer, Protocol):
    """What counts for Prometheus."""

    content_type: str

    def request(self, resource: str, verb: str, status: int, seconds: float, /) -> None:
        """Count an answered request."""

    def text(self) -> bytes:
        """Return the metrics."""


class _Target(NamedTuple):
    """What a path names. ``resource`` is None where the path is not below the group's version."""

    resource: Resource | None
    attributes: Attributes
    exists: bool = True


class Receiver:
    """Answers requests. Any number of threads may use one at once."""

    def __init__(  # noqa: PLR0913 - the parts that `bootstrap` composes
        self,
        *,
        loop: Loop,
        apiserver: Apiserver,
        kubelets: Kubelets,
        certificates: Certificates,
        metrics: Metrics,
        timeout_s: float,
    ) -> None:
        """Keep the parts. ``timeout_s`` is how long a request may take, in seconds."""
        self._loop, self._apiserver, self._kubelets = loop, apiserver, kubelets
        self._access, self._certificates = Access(apiserver), certificates
        self._metrics, self._timeout_s = metrics, timeout_s
        self._ready: tuple[float, str] = float("-inf"), ""

    def handle(self, request: Request) -> Response:
        """Return the answer. A refused or failed request is logged."""
        began = time.monotonic()
        query = dict(parse_qsl(request.query[:_MAX_QUERY], keep_blank_values=True))
        target = _target(request, query)
        response = self._answered(request, query, target)
        resource = target.resource.plural if target.resource else "other"
        verb = target.attributes.verb if target.attributes.verb in ("get", "list") else "other"
        self._metrics.request(resource, verb, response.status, time.monotonic() - began)
        return response

    def busy(self) -> Response:
        """Return the answer to a request that no thread has time to read."""
        return answers.refused(Unavailable("every thread is busy. Ask again"), representations.JSON, pretty=False)

    def _answered(self, request: Request, query: Mapping[str, str], target: _Target) -> Response:
        pretty = answers.is_pretty(request, query)
        fields = {"peer": request.peer, "path": request.path[:200]}
        try:
            return self._route(request, query, target)
        except Unavailable as error:
            _log.error("%s", error, extra={FIELDS: {**fields, "status": 503}})
            error = Unavailable("kube-apiserver did not answer; the log of this function has the reason. Ask again")
            return answers.refused(error, answers.error_type(request), pretty=pretty)
        except Refusal as error:
            if error.status not in (404, 405):
                _log.warning("refused: %s", error, extra={FIELDS: {**fields, "status": error.status}})
            return answers.refused(error, answers.error_type(request), pretty=pretty)
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged whole
            _log.error("a fault", extra={FIELDS: {**fields, "status": 500}}, exc_info=error)
            return answers.refused(
                Fault("a fault in this function, described in its log"), representations.JSON, pretty=pretty
            )

    def _route(self, request: Request, query: Mapping[str, str], target: _Target) -> Response:
        if request.path in _PROBES:
            return self._probe(request.path)
        deadline = Deadline.after(self._timeout_s)
        # Outside the loop, in which the configuration is read again.
        proxy = None if request.certificate is None else self._certificates.front_proxy()
        user = self._run(self._access.authenticate(request, proxy), deadline)
        self._run(self._access.authorize(user, target.attributes), deadline)
        if target.resource is None:
            return self._document(request, query)
        if not target.exists:
            raise NotFound(_NOWHERE, {})
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(_FORBIDDEN_METHOD, {})
        if target.attributes.verb == "watch":
            kind = f"{target.resource.plural}.{GROUP}"
            details = {"group": GROUP, "kind": target.resource.plural}
            raise MethodNotAllowed(f'watch is not supported on resources of kind "{kind}"', details)
        return self._metrics_of(request, query, target.resource, target.attributes, deadline)

    def _metrics_of(
        self, request: Request, query: Mapping[str, str], resource: Resource, asked: Attributes, deadline: Deadline
    ) -> Response:
        form = representations.negotiate(request.headers.get("accept", ""), is_list=not asked.name)
        now, include = int(time.time()), query.get("includeObject", "")
        if asked.name:
            item = self._one(resource, asked, deadline)
            body = representations.of_item(form, resource, item, now, include)
        else:
            if len(request.query) > _MAX_QUERY:
                raise BadSelector(f"the query has more than {_MAX_QUERY} bytes")
            selected = objects.field_selector(query.get("fieldSelector", ""))
            labels = query.get("labelSelector", "")
            items = [item for item in self._items(resource, asked, labels, deadline)[0] if selected(item)]
            body = representations.of_items(form, resource, items, now, include)
        return answers.encoded(200, body, form, pretty=answers.is_pretty(request, query))

    def _one(self, resource: Resource, asked: Attributes, deadline: Deadline) -> Item:
        items, exists = self._items(resource, asked, "", deadline)
        if items:
            return items[0]
        if not exists:
            raise NotFound(
                f'{resource.missing} "{asked.name}" not found', {"name": asked.name, "kind": resource.missing}
            )
        name = f"{asked.namespace}/{asked.name}" if resource.namespaced else asked.name
        kind = resource.kind.lower()
        raise NotFound(f'{kind}.{GROUP} "{name}" not found', {"name": name, "group": GROUP, "kind": kind})

    def _items(self, resource: Resource, asked: Attributes, labels: str, deadline: Deadline) -> tuple[list[Item], bool]:
        """Return the metrics, and whether the object that ``asked`` names exists."""
        if any(name and not objects.NAME.fullmatch(name) for name in (asked.namespace, asked.name)):
            return [], False
        gather = self._pods if resource.namespaced else self._nodes
        found: tuple[list[Item], bool] = self._run(gather(asked, labels, deadline), deadline)
        return found

    async def _nodes(self, asked: Attributes, labels: str, deadline: Deadline) -> tuple[list[Item], bool]:
        nodes = await self._apiserver.nodes(labels, asked.name)
        return objects.nodes(nodes, await self._kubelets.figures(nodes, _wait_s(deadline))), bool(nodes)

    async def _pods(self, asked: Attributes, labels: str, deadline: Deadline) -> tuple[list[Item], bool]:
        pods = await self._apiserver.pods(asked.namespace, labels, asked.name)
        if not pods:
            return [], False
        nodes = await self._apiserver.nodes()
        self._kubelets.forget(node.metadata.name for node in nodes)
        if asked.namespace:
            names = {pod.spec.node_name for pod in pods}
            nodes = [node for node in nodes if node.metadata.name in names]
        return objects.pods(pods, await self._kubelets.figures(nodes, _wait_s(deadline))), True

    def _document(self, request: Request, query: Mapping[str, str]) -> Response:
        """Return discovery, OpenAPI or this function's own metrics."""
        if request.path == "/metrics":
            return Response(200, {"Content-Type": self._metrics.content_type, **answers.HEADERS}, self._metrics.text())
        path = request.path.rstrip("/")
        accept = request.headers.get("accept", "")
        if path == "/apis" and discovery.wants_aggregated(accept):
            return openapi.cacheable(discovery.AGGREGATED_DOCUMENT, request.headers, discovery.AGGREGATED, "public")
        if document := openapi.document(path):
            return openapi.cacheable(document, request.headers, representations.JSON, "no-cache, private")
        if not (found := discovery.DOCUMENTS.get(path)):
            return Response(404, dict(answers.PLAIN), b"404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(_FORBIDDEN_METHOD, {})
        media_type = representations.negotiate(accept, is_list=True).media_type
        form = Form(representations.JSON if media_type == representations.PROTOBUF else media_type)
        return answers.encoded(200, dict(found), form, pretty=answers.is_pretty(request, query))

    def _probe(self, path: str) -> Response:
        if path != "/readyz":
            return Response(200, dict(answers.PLAIN), b"ok")
        checked, mistake = self._ready
        if time.monotonic() - checked > _READY_S:
            mistake = self._not_ready()
            self._ready = time.monotonic(), mistake
        if not mistake:
            return Response(200, dict(answers.PLAIN), b"ok")
        text = f"[+]ping ok\n[-]{mistake} failed: reason withheld\nreadyz check failed\n"
        return Response(500, dict(answers.PLAIN), text.encode())

    def _not_ready(self) -> str:
        """Return the name of the check that failed, empty where all succeeded."""
        try:
            self._certificates.front_proxy()
            self._run(self._apiserver.nodes(), Deadline.after(self._timeout_s))
        except Unavailable as error:
            _log.error("not ready: %s", error)
            return "kube-apiserver"
        return ""

    def _run(self, work: Any, deadline: Deadline) -> Any:
        try:
            return self._loop.run(work, deadline.left_s())
        except TimeoutError as error:
            raise Unavailable("kube-apiserver did not answer in time") from error


def _wait_s(deadline: Deadline) -> float:
    """Return how long kubelets may be waited for: less than the request's time, so that their answers can be sent."""
    return max(0.0, deadline.left_s() - 0.5)


def _target(request: Request, query: Mapping[str, str]) -> _Target:
    """Return what the path names, and what the user must be allowed to do."""
    path = request.path
    parts = path.removeprefix(_ROOT).rstrip("/").split("/") if path.startswith(_ROOT) else [""]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:  # noqa: PLR2004 - namespaces/<name>/<resource>
        namespace, parts = parts[1], parts[2:]
    plural, name, rest = parts[0], parts[1] if len(parts) > 1 else "", parts[2:]
    if not plural:
        return _Target(None, Attributes(request.method.lower(), path))
    verb = access.verb(request.method, query, named=bool(name))
    resource = objects.RESOURCES.get(plural, Resource(plural[:100], "", namespaced=True, missing=""))
    exists = bool(resource.kind) and not rest and (bool(namespace) == resource.namespaced or not (namespace or name))
    return _Target(resource, Attributes(verb, path, "/".join([resource.plural, *rest]), namespace, name), exists)
