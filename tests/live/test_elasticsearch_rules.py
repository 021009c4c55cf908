"""Some of Elastic's detection rules for Kubernetes, by name, on a real Elasticsearch: their conditions as query DSL.

The rules are those of elastic/detection-rules, rules/integrations/kubernetes; of their long lists of trusted images,
one stands for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from support import elastic_corpus
from support.elastic_corpus import Corpus
from support.elastic_server import Node
from support.eventlists import event

Document = dict[str, Any]
Query = dict[str, Any]

AUDIT = "kubernetes.audit"
DECISION = f"{AUDIT}.annotations.authorization_k8s_io/decision"


def every(*queries: Query, but: Query | None = None) -> Query:
    """Return the query for all of ``queries`` and not ``but``."""
    return {"bool": {"filter": list(queries), "must_not": [but] if but else []}}


def one_of(field: str, *values: object) -> Query:
    """Return the query for a field with one of some values."""
    return {"terms": {field: list(values)}}


def like(field: str, pattern: str) -> Query:
    """Return the query for a field with a value like ``pattern``, as Kibana makes it of KQL with a ``*``."""
    return {"query_string": {"fields": [field], "query": pattern.replace(":", r"\:").replace("/", r"\/")}}


SERVICE_ACCOUNT = "system:serviceaccount:kube-system:stolen"
POD = {"resource": "pods", "namespace": "kube-system", "name": "p", "apiVersion": "v1"}
ALLOWED = {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
FORBIDDEN = {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""}
CAPABLE = {"capabilities": {"add": ["BPF"]}}
TRUSTED = "registry.example/node-collector:1"


def pod(image: str = "evil", security: Document | None = None, **spec: Any) -> Document:
    """Return a pod as a request carries it."""
    container = {"name": "c", "image": image, "securityContext": security or {}}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {}, "spec": {"containers": [container], **spec}}


def attack(name: str, username: str = "mallory", **fields: Any) -> bytes:
    """Return the event of a request that was allowed, found again by ``name``."""
    given = {"annotations": ALLOWED, "userAgent": "curl/8", "sourceIPs": ["203.0.113.7"], **fields}
    annotations = given.pop("annotations")  # kube-apiserver writes them last
    return event(username, auditID=name, **given, annotations=annotations)


ROLE = {"resource": "clusterroles", "name": "r"}


def role(verb: str) -> Document:
    """Return a role as a response carries it."""
    return {"kind": "ClusterRole", "rules": [{"verbs": [verb], "resources": ["*"]}]}


ATTACKS = [
    attack("harmless", verb="create", objectRef=POD, requestObject=pod()),
    attack("privileged", verb="create", objectRef=POD, requestObject=pod(security={"privileged": True})),
    attack("privileged, denied", verb="create", objectRef=POD, requestObject=pod(security={"privileged": True}))
    .replace(b'"allow"', b'"forbid"'),
    attack("host's processes", verb="create", objectRef=POD, requestObject=pod(hostPID=True)),
    attack("host's processes, trusted", verb="patch", objectRef=POD, requestObject=pod(TRUSTED, hostPID=True)),
    attack("controller", verb="create", objectRef=POD, requestObject=pod(serviceAccountName="job-controller")),
    attack("capabilities", verb="create", objectRef=POD, requestObject=pod(security=CAPABLE)),
    attack("exec", verb="create", objectRef={**POD, "subresource": "exec"}),
    attack("secret", SERVICE_ACCOUNT, verb="get", objectRef={**POD, "resource": "secrets"}),
    attack("secrets of a person", verb="list", objectRef={**POD, "resource": "secrets"}),
    attack("denied", SERVICE_ACCOUNT, verb="list", annotations=FORBIDDEN, responseStatus={"code": 403}),
    attack("review", SERVICE_ACCOUNT, verb="create", objectRef={"resource": "selfsubjectrulesreviews"}),
    attack("anonymous", "system:anonymous", verb="get", requestURI="/api/v1/nodes"),
    attack("anonymous, for health", "system:anonymous", verb="get", requestURI="/healthz/ping"),
    attack("port", verb="create", objectRef={"resource": "services"}, requestObject={"spec": {"type": "NodePort"}}),
    attack("acts as root", "eve", verb="get", impersonatedUser={"username": "x", "groups": ["system:masters"]}),
    attack("acts as another", "eve", verb="get", impersonatedUser={"username": "x", "groups": ["team-a"]}),
    attack("role for all", verb="patch", level="RequestResponse", objectRef=ROLE, responseObject=role("*")),
    attack("role for reading", verb="patch", level="RequestResponse", objectRef=ROLE, responseObject=role("get")),
    attack("token", verb="create", objectRef={"resource": "serviceaccounts", "name": "x", "subresource": "token"}),
    attack("network", verb="create", objectRef={"resource": "services"}, requestObject={"spec": {"type": "ClusterIP"}}),
]  # fmt: skip

ALLOW = one_of(DECISION, "allow")
DATASET = one_of("event.dataset", "kubernetes.audit_logs")
STREAM = one_of("data_stream.dataset", "kubernetes.audit_logs")
CREATE, PODS = one_of(f"{AUDIT}.verb", "create"), one_of(f"{AUDIT}.objectRef.resource", "pods")
SPEC = f"{AUDIT}.requestObject.spec"
PEOPLE = like("user_agent.original", "*kubernetes/$Format")
IMAGES = like(f"{SPEC}.containers.image", "*/node-collector*")

RULES: dict[str, tuple[Query, set[str]]] = {
    "Kubernetes Anonymous Request Authorized by Unusual User Agent": (
        every(
            *(DATASET, ALLOW, {"exists": {"field": "user_agent.original"}}),
            one_of(f"{AUDIT}.user.username", "system:anonymous", "system:unauthenticated"),
            but={"bool": {"should": [PEOPLE, like(f"{AUDIT}.requestURI", "/healthz*")]}},
        ),
        {"anonymous"},
    ),
    "Kubernetes User Exec into Pod": (
        every(DATASET, PODS, one_of(f"{AUDIT}.objectRef.subresource", "exec")),
        {"exec"},
    ),
    "Kubernetes Privileged Pod Created": (
        every(STREAM, ALLOW, CREATE, PODS, one_of(f"{SPEC}.containers.securityContext.privileged", "true"), but=IMAGES),
        {"privileged"},
    ),
    "Kubernetes Pod Created With HostPID": (
        every(
            *(STREAM, ALLOW, PODS, one_of(f"{AUDIT}.verb", "create", "update", "patch")),
            one_of(f"{SPEC}.hostPID", "true"),
            but=IMAGES,
        ),
        {"host's processes"},
    ),
    "Kubernetes Secret Access via Unusual User Agent": (
        every(
            *(DATASET, one_of(f"{AUDIT}.objectRef.resource", "secrets"), one_of(f"{AUDIT}.verb", "get", "list")),
            but=PEOPLE,
        ),
        {"secret", "secrets of a person"},
    ),
    "Kubernetes Secret get or list from Node or Pod Service Account": (
        every(
            *(STREAM, one_of("event.action", "get", "list"), one_of(f"{AUDIT}.objectRef.resource", "secrets")),
            *(like("user.name", "system:serviceaccount:*"), {"exists": {"field": "source.ip"}}),
            but=one_of(f"{AUDIT}.user.groups", "system:serviceaccounts:flux-system"),
        ),
        {"secret"},
    ),
    "Kubernetes Denied Service Account Request via Unusual User Agent": (
        every(
            *(DATASET, one_of(DECISION, "forbid"), like(f"{AUDIT}.user.username", "system:serviceaccount:*")),
            but=PEOPLE,
        ),
        {"denied"},
    ),
    "Kubernetes Suspicious Self-Subject Review via Unusual User Agent": (
        every(
            *(DATASET, ALLOW, CREATE, like(f"{AUDIT}.user.username", "system:serviceaccount:*")),
            one_of(f"{AUDIT}.objectRef.resource", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
            but=PEOPLE,
        ),
        {"review"},
    ),
    "Kubernetes Suspicious Assignment of Controller Service Account": (
        every(
            *(DATASET, ALLOW, CREATE, PODS, one_of(f"{AUDIT}.objectRef.namespace", "kube-system")),
            like(f"{SPEC}.serviceAccountName", "*controller"),
        ),
        {"controller"},
    ),
    "Kubernetes Exposed Service Created With Type NodePort": (
        every(
            *(DATASET, ALLOW, one_of(f"{AUDIT}.objectRef.resource", "services"), CREATE),
            one_of(f"{SPEC}.type", "NodePort"),
        ),
        {"port"},
    ),
    "Kubernetes Container Created with Excessive Linux Capabilities": (
        every(
            *(DATASET, ALLOW, CREATE, PODS),
            one_of(f"{SPEC}.containers.securityContext.capabilities.add", "BPF", "SYS_ADMIN", "NET_ADMIN"),
        ),
        {"capabilities"},
    ),
    "Kubernetes API Request Impersonating Privileged Identity": (
        every(
            *(STREAM, ALLOW, {"exists": {"field": f"{AUDIT}.impersonatedUser.username"}}),
            one_of(f"{AUDIT}.impersonatedUser.groups", "cluster-admin", "system:cluster-admins", "system:masters"),
            but=like("user.name", "system:node:*"),
        ),
        {"acts as root"},
    ),
    "Kubernetes Service Account Token Created via TokenRequest API": (
        every(
            *(STREAM, CREATE, one_of(f"{AUDIT}.objectRef.resource", "serviceaccounts")),
            *(one_of(f"{AUDIT}.objectRef.subresource", "token"), {"exists": {"field": "user.name"}}),
            but=like("user.name", "system:node:*"),
        ),
        {"token"},
    ),
    "Kubernetes RBAC Wildcard Elevation on Existing Role": (
        every(
            *(ALLOW, one_of(f"{AUDIT}.objectRef.resource", "roles", "clusterroles")),
            *(one_of(f"{AUDIT}.verb", "update", "patch"), one_of(f"{AUDIT}.level", "RequestResponse")),
            *(one_of(f"{AUDIT}.stage", "ResponseComplete"), {"exists": {"field": f"{AUDIT}.sourceIPs"}}),
            *(one_of(f"{AUDIT}.responseObject.rules.{each}", "*") for each in ("verbs", "resources")),
            but=one_of(f"{AUDIT}.sourceIPs", "::1", "127.0.0.1"),
        ),
        {"role for all"},
    ),
}
"""By the rule's name: its conditions, and the names of the attacks that it must find, and no others."""


@functools.cache
def attacked(elastic: Node) -> Corpus:
    """Return the attacks, stored in Elasticsearch by the first call."""
    return elastic_corpus.store_items(elastic, ATTACKS, "attacked")


@pytest.mark.parametrize("name", RULES)
def test_a_detection_rule_finds_its_attack(name: str, elastic: Node) -> None:
    """And nothing else, among attacks that differ from it in one thing."""
    query, attacks = RULES[name]

    assert {found["event"]["id"] for found in attacked(elastic).found(query)} == attacks


RECORDED: dict[str, Callable[[Document], bool]] = {
    "Kubernetes User Exec into Pod": lambda found: found.get("objectRef", {}).get("subresource") == "exec",
    "Kubernetes Secret Access via Unusual User Agent": lambda found: (
        found.get("objectRef", {}).get("resource") == "secrets"
        and found["verb"] in {"get", "list"}
        and not fnmatchcase(found["userAgent"], "*kubernetes/$Format")
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_detection_rule_finds_what_was_recorded(name: str, audited: Corpus) -> None:
    """Of a real apiserver."""
    expected = {(found["auditID"], found["stage"]) for found in audited.events if RECORDED[name](found)}

    assert audited.ids(RULES[name][0]) == expected != set()
