"""The routes: who may ask, what is asked, and the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from auditsplit.deadline import Deadline
from auditsplit.serve.messages import Request, Response
from auditsplit.telemetry.logs import FIELDS
from metricsapi import access, answers, documents, objects, representations
from metricsapi.access import Access, Attributes
from metricsapi.apiserver import Apiserver, Node
from metricsapi.clients import Loop
from metricsapi.counters import Counters
from metricsapi.errors import BadSelector, Busy, Fault, MethodNotAllowed, NotFound, Refusal, Unavailable
from metricsapi.frontproxy import Certificates
from metricsapi.kubelets import Kubelets
from metricsapi.objects import GROUP, Item, Resource
from metricsapi.representations import JSON, PROTOBUF, VERSION, Form
from metricsapi.summary import NodeFigures

_ROOT = f"/apis/{VERSION}/"
_MAX_QUERY = 16 * 1024
_PROBES = ("/livez", "/healthz", "/readyz")
_READY_S = 2.0
_SENDING_S = 0.5
"""How much of a request's time is left for its answer when kubelets are no longer waited for."""
_FORBIDDEN_METHOD = "the server does not allow this method on the requested resource"
_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """What a request asks for. ``resource`` is None where the path is not below the group's version."""

    query: Mapping[str, str]
    attributes: Attributes
    resource: Resource | None
    exists: bool
    """Whether there is such a path."""


class Receiver:
    """Answers requests. Any number of threads may use one at once."""

    def __init__(  # noqa: PLR0913 - the parts that `bootstrap` composes
        self,
        *,
        loop: Loop,
        apiserver: Apiserver,
        kubelets: Kubelets,
        certificates: Certificates,
        counters: Counters,
        timeout_s: float,
    ) -> None:
        """Keep the parts. ``timeout_s`` is how long a request may take, in seconds."""
        self._loop, self._apiserver, self._kubelets = loop, apiserver, kubelets
        self._access, self._certificates = Access(apiserver), certificates
        self._counters, self._timeout_s = counters, timeout_s
        self._ready_until, self._failed_check = float("-inf"), ""

    def handle(self, request: Request) -> Response:
        """Return the answer. A refused or failed request is logged."""
        began = time.monotonic()
        asked = _asked(request)
        response = self._answered(request, asked)
        resource = asked.resource.plural if asked.exists and asked.resource else "other"
        verb = asked.attributes.verb if asked.attributes.verb in ("get", "list") else "other"
        self._counters.request(resource, verb, response.status, time.monotonic() - began)
        return response

    def busy(self) -> Response:
        """Return the answer to a request that no thread has time to read."""
        return answers.refused(Busy("every thread is busy. Ask again"), JSON, pretty=False)

    def _answered(self, request: Request, asked: _Asked) -> Response:
        fault = None
        try:
            return self._route(request, asked)
        except Refusal as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged whole
            refusal, fault = Fault("a fault"), error
        fields = {"peer": request.peer, "path": request.path[:200], "status": refusal.status}
        _log.log(refusal.level, "%s", refusal, extra={FIELDS: fields}, exc_info=fault)
        media_type = JSON if fault else answers.error_type(request)
        return answers.refused(refusal, media_type, pretty=answers.is_pretty(request, asked.query))

    def _route(self, request: Request, asked: _Asked) -> Response:
        if request.path in _PROBES:
            return self._probe(request.path)
        deadline = Deadline.after(self._timeout_s)
        # Outside the loop, in which the configuration is read again.
        proxy = None if request.certificate is None else self._certificates.front_proxy()
        user = self._loop.run(self._access.authenticate(request, proxy), deadline.left_s())
        self._loop.run(self._access.authorize(user, asked.attributes), deadline.left_s())
        if asked.resource is None:
            return self._document(request, asked)
        if not asked.exists:
            raise NotFound("the server could not find the requested resource", {})
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(_FORBIDDEN_METHOD, {})
        if asked.attributes.verb == "watch":
            details = {"group": GROUP, "kind": asked.resource.plural}
            kind = f'"{asked.resource.plural}.{GROUP}"'
            raise MethodNotAllowed(f"watch is not supported on resources of kind {kind}", details)
        return self._metrics(request, asked, asked.resource, deadline)

    def _metrics(self, request: Request, asked: _Asked, resource: Resource, deadline: Deadline) -> Response:
        name = asked.attributes.name
        form = representations.negotiate(request.headers.get("accept", ""), is_list=not name)
        if not name and len(request.query) > _MAX_QUERY:
            raise BadSelector(f"the query has more than {_MAX_QUERY} bytes")
        selected = objects.field_selector("" if name else asked.query.get("fieldSelector", ""))
        found, exists = self._loop.run(self._found(asked, resource, deadline), deadline.left_s())
        items = [item for item in found if selected(item)]
        now, include = int(time.time()), asked.query.get("includeObject", "")
        if not name:
            body = representations.of_items(form, resource, items, now, include)
        elif items:
            body = representations.of_item(form, items[0], now, include)
        else:
            raise _not_found(asked.attributes, resource, exists=exists)
        return answers.encoded(200, body, form, pretty=answers.is_pretty(request, asked.query))

    async def _found(self, asked: _Asked, resource: Resource, deadline: Deadline) -> tuple[list[Item], bool]:
        """Return the metrics, and whether the object that is asked for exists."""
        namespace, name = asked.attributes.namespace, asked.attributes.name
        if any(part and not objects.NAME.fullmatch(part) for part in (namespace, name)):
            return [], False
        labels = "" if name else asked.query.get("labelSelector", "")
        if not resource.namespaced:
            nodes = await self._apiserver.nodes(labels, name)
            return objects.nodes(nodes, await self._figures(nodes, deadline)), bool(nodes)
        pods = await self._apiserver.pods(namespace, labels, name)
        nodes = await self._apiserver.all_nodes() if pods else []
        if namespace:
            names = {pod.spec.node_name for pod in pods}
            nodes = [node for node in nodes if node.metadata.name in names]
        return objects.pods(pods, await self._figures(nodes, deadline)), bool(pods)

    async def _figures(self, nodes: list[Node], deadline: Deadline) -> dict[str, NodeFigures]:
        return await self._kubelets.figures(nodes, deadline.left_s() - _SENDING_S)

    def _document(self, request: Request, asked: _Asked) -> Response:
        """Return discovery, OpenAPI or this function's own metrics."""
        if request.path == "/metrics":
            return Response(200, {"Content-Type": Counters.content_type, **answers.HEADERS}, self._counters.text())
        path = request.path.rstrip("/")
        if document := documents.cacheable(path, request.headers):
            return document
        found = documents.discovery(path)
        if not found:
            return Response(404, dict(answers.PLAIN), b"404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(_FORBIDDEN_METHOD, {})
        media_type = representations.negotiate(request.headers.get("accept", ""), is_list=True).media_type
        form = Form(JSON if media_type == PROTOBUF else media_type)
        return answers.encoded(200, found, form, pretty=answers.is_pretty(request, asked.query))

    def _probe(self, path: str) -> Response:
        if path == "/readyz" and time.monotonic() > self._ready_until:
            self._failed_check = self._check()
            self._ready_until = time.monotonic() + _READY_S
        if path == "/readyz" and self._failed_check:
            text = f"[+]ping ok\n[-]{self._failed_check} failed: reason withheld\nreadyz check failed\n"
            return Response(500, dict(answers.PLAIN), text.encode())
        return Response(200, dict(answers.PLAIN), b"ok")

    def _check(self) -> str:
        """Return the name of the check that failed, empty where all succeeded."""
        try:
            self._certificates.front_proxy()
            self._loop.run(self._apiserver.nodes(name="readyz"), self._timeout_s)
        except Unavailable as error:
            _log.error("not ready: %s", error)
            return "kube-apiserver"
        return ""


def _asked(request: Request) -> _Asked:
    """Return what a request asks for, and what the user must be allowed to do."""
    query = dict(parse_qsl(request.query[:_MAX_QUERY], keep_blank_values=True))
    parts = request.path.removeprefix(_ROOT).rstrip("/").split("/") if request.path.startswith(_ROOT) else [""]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:  # noqa: PLR2004 - namespaces/<name>/<resource>
        namespace, parts = parts[1], parts[2:]
    plural, name, rest = parts[0], parts[1] if len(parts) > 1 else "", parts[2:]
    if not plural:
        return _Asked(query, Attributes(request.method.lower(), request.path), None, exists=True)
    verb = access.verb(request.method, query, named=bool(name))
    attributes = Attributes(verb, request.path, "/".join([plural[:100], *rest]), namespace, name)
    resource = objects.RESOURCES.get(plural, objects.PODS)
    exists = plural in objects.RESOURCES and not rest
    return _Asked(
        query, attributes, resource, exists and (bool(namespace) == resource.namespaced or not (namespace or name))
    )


def _not_found(asked: Attributes, resource: Resource, *, exists: bool) -> NotFound:
    if not exists:
        details = {"name": asked.name, "kind": resource.missing}
        return NotFound(f'{resource.missing} "{asked.name}" not found', details)
    name, kind = f"{asked.namespace}/{asked.name}".lstrip("/"), resource.kind.lower()
    return NotFound(f'{kind}.{GROUP} "{name}" not found', {"name": name, "group": GROUP, "kind": kind})
