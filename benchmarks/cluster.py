"""A workload as of a busy cluster: generated events of 20 users, of which 9 % are on Secrets, with both bodies.

The recordings of ``tests/data`` come from one small cluster. Here all users are mixed, and levels, verbs and resources
have their shares. The fields are in the order of kube-apiserver's encoder. Each run generates the same events.
"""

from __future__ import annotations

import json
import random
from typing import Any

_SEED = 20261126
_SECRET_EVERY = 11
_SECRET_BYTES = (400, 1000)
_BODY_BYTES = (700, 1500)
_LEVELS = {"Metadata": 0.49, "Request": 0.3, "RequestResponse": 0.21}
_NAMESPACES = ("kube-system", "default", "payments", "frontend", "monitoring", "build")
_RESOURCES = (
    ("", "pods"), ("", "configmaps"), ("", "services"), ("", "endpoints"), ("", "events"), ("apps", "deployments"),
    ("apps", "replicasets"), ("coordination.k8s.io", "leases"), ("rbac.authorization.k8s.io", "roles"),
)  # fmt: skip
_USERS = (
    "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "kubernetes-admin", "ci-deployer",
    *(f"system:node:ip-10-0-{node}-17.eu-west-1.compute.internal" for node in range(4)),
    *(f"system:serviceaccount:{namespace}:controller" for namespace in _NAMESPACES),
    *(f"{name}@example.com" for name in ("alice", "bob", "carol", "dave", "erin")),
)  # fmt: skip


def events(count: int) -> list[bytes]:
    """Return ``count`` events as list items, some 2.2 kB each on average."""
    dice = random.Random(_SEED)  # noqa: S311 - repeatable
    return [_event(dice, secret=index % _SECRET_EVERY == 0) for index in range(count)]


def _event(dice: random.Random, *, secret: bool) -> bytes:
    group, resource = ("", "secrets") if secret else dice.choice(_RESOURCES)
    level = "RequestResponse" if secret else dice.choices([*_LEVELS], [*_LEVELS.values()])[0]
    namespace, user = dice.choice(_NAMESPACES), dice.choice(_USERS)
    name = f"{resource}-{_hex(dice, 10)}"
    api = f"/apis/{group}/v1" if group else "/api/v1"
    bodies = {"Metadata": (), "Request": ("requestObject",), "RequestResponse": ("requestObject", "responseObject")}
    document: dict[str, Any] = {
        "level": level,
        "auditID": _uid(dice),
        "stage": "ResponseComplete",
        "requestURI": f"{api}/namespaces/{namespace}/{resource}/{name}?fieldManager=kubectl-client-side-apply",
        "verb": dice.choice(("get", "list", "create", "update", "patch")),
        "user": {
            "username": user,
            "uid": _uid(dice),
            "groups": ["system:authenticated", f"system:serviceaccounts:{namespace}"],
            "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={_uid(dice)}"]},
        },
        "sourceIPs": [f"10.0.{dice.randrange(256)}.{dice.randrange(1, 255)}"],
        "userAgent": f"controller/v1.37.2 (linux/amd64) kubernetes/{_hex(dice, 7)}",
        "objectRef": {
            "resource": resource,
            "namespace": namespace,
            "name": name,
            "uid": _uid(dice),
            **({"apiGroup": group} if group else {}),
            "apiVersion": "v1",
            "resourceVersion": str(dice.randrange(10**7)),
        },
        "responseStatus": {"metadata": {}, "code": dice.choice((200, 200, 201, 404))},
        **{body: _secret(dice, name) if secret else _object(dice, namespace, name) for body in bodies[level]},
        "requestReceivedTimestamp": "2026-11-26T10:00:00.000000Z",
        "stageTimestamp": f"2026-11-26T10:00:00.{dice.randrange(10**6):06}Z",
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": f'RBAC: allowed by RoleBinding "{name}/{namespace}" of Role "edit"',
        },
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _secret(dice: random.Random, name: str) -> dict[str, Any]:
    data = {"password": _hex(dice, dice.randrange(*_SECRET_BYTES))}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": data, "type": "Opaque"}


def _object(dice: random.Random, namespace: str, name: str) -> dict[str, Any]:
    """Return an object with containers, of a size that the dice choose."""
    size, containers = dice.randrange(*_BODY_BYTES), list[dict[str, Any]]()
    annotations = {"note": 'quoted "text" \\ ünicode ☃', "checksum/config": _hex(dice, 64)}
    metadata = {"name": name, "namespace": namespace, "uid": _uid(dice), "annotations": annotations}
    document: dict[str, Any] = {
        "kind": "Object",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {"containers": containers},
    }
    while len(json.dumps(document)) < size:
        containers.append(
            {
                "name": f"c-{_hex(dice, 5)}",
                "image": f"registry.example.com/team/{name}@sha256:{_hex(dice, 64)}",
                "args": ["--leader-elect=true", f"--v={dice.randrange(10)}"],
                "resources": {"requests": {"cpu": "100m", "memory": f"{dice.randrange(4096)}Mi"}},
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }
        )
    return document


def _hex(dice: random.Random, digits: int) -> str:
    return f"{dice.getrandbits(4 * digits):0{digits}x}"


def _uid(dice: random.Random) -> str:
    return "-".join(_hex(dice, digits) for digits in (8, 4, 4, 4, 12))
