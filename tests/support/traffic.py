"""What people, robots and attackers ask of an apiserver."""

from __future__ import annotations

import contextlib
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from support.kubernetes import USERS, Answer, Apiserver

_MERGE, _STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
_JSON_PATCH, _APPLY = "application/json-patch+json", "application/apply-patch+yaml"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_KINDS = {
    "namespaces": ("v1", "Namespace"),
    "configmaps": ("v1", "ConfigMap"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "secrets": ("v1", "Secret"),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
}

_PASSWORD = "hunter2"  # noqa: S105 - a mark to look for
SECRET = b64encode(_PASSWORD.encode())
"""What a Secret's body has, the only spelling in which kube-apiserver records it."""

HOSTILE_NAMES = (
    "../../etc/passwd",
    "x" * 300,
    "😀 \u202e.log",
    "ALICE",
    "alice",
    "_no-user",
    ".",
    "a/../b",
    "%2e%2e",
    "a\tb",
)
"""Names to impersonate, each another's neighbour or somebody else's path."""

PARSER_BREAKERS = {
    "a lone surrogate": rb'{"data":{"k":"\ud800"}}',
    "a low surrogate alone": rb'{"metadata":{"annotations":{"\udfff":"x"}}}',
    "5,000 digits": b'{"data":{"n":' + b"9" * 5000 + b"}}",
    "1e400": b'{"spec":1e400}',
    "9,000 nested arrays": b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}",
    "9,000 nested objects": b'{"a":' * 9000 + b"1" + b"}" * 9000,
    "one name twice": b'{"data":{"k":"1","k":"2"},"user":{"username":"alice"},"data":{"k":"3"}}',
    "an envelope": b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"user":{"username":"eve"}}]}',
    "brackets and quotes": rb'{"data":{"]}":"]}],\"items\":[{\\"},"x":"\\\""}',
    "escaped separators": rb'{"data":{"k":"\u2028\u2029\u0085"}}',
    "escaped control characters": rb'{"data":{"k":"\u0000\n\r\u001f"}}',
}
"""Bodies of patches that Go takes for JSON, and some parser refuses or misreads."""


def whole(apiserver: Apiserver) -> None:
    """Drive all of it."""
    permit(apiserver)
    everyday(apiserver)
    impersonation(apiserver)
    denials(apiserver)
    one_id_for_all(apiserver)
    parser_breakers(apiserver)


def permit(apiserver: Apiserver, namespace: str = "team-a") -> None:
    """Make a namespace in which the group ``dev`` may do all with some kinds, and everybody may read."""
    _make(apiserver, "/api/v1/namespaces", namespace)
    dev, everybody = ("dev-edit", "dev", ["*"]), ("all-view", "system:authenticated", ["get", "list", "watch"])
    for name, group, verbs in (dev, everybody):
        rules = [{"apiGroups": [""], "resources": ["configmaps", "pods", "namespaces"], "verbs": verbs}]
        _make(apiserver, f"{_RBAC}/clusterroles", name, rules=rules)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]
        _make(apiserver, f"{_RBAC}/clusterrolebindings", name, roleRef=reference, subjects=subjects)


def everyday(apiserver: Apiserver, namespace: str = "team-a") -> None:
    """Create, read, patch in every way, watch and delete, as every user."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    for number, user in enumerate(USERS):
        data = {"owner": user, "note": "<b>&'ü\u2028😀'</b>"}
        _make(apiserver, maps, f"map-{number}", user, data=data)
        apiserver.request("GET", f"{maps}?limit=2", user)
        apiserver.request("GET", f"{maps}/map-{number}", user)
    patches: list[tuple[str, Any]] = [
        (_JSON_PATCH, [{"op": "add", "path": "/data/x~1y", "value": "1"}]),
        (_MERGE, {"data": {"owner": None, "merged": "1"}}),
        (_STRATEGIC, {"metadata": {"annotations": {"strategic": "1"}}}),
        (_MERGE, b'{"cut off":'),
    ]
    for content_type, patch in patches:
        _patch(apiserver, f"{maps}/map-1", "admin", content_type, patch)
    applied = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map-1}\ndata: {yaml: 'yes'}\n"
    _patch(apiserver, f"{maps}/map-1?fieldManager=e2e&force=true", "admin", _APPLY, applied)
    _make(apiserver, maps, "big", data={"blob": "0123456789abcdef" * 10_000})
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    _make(apiserver, secrets, "password", stringData={"password": _PASSWORD})
    apiserver.request("GET", f"{secrets}/password")
    apiserver.request("GET", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=0", "alice@example.com")
    apiserver.request("GET", "/version", None)
    apiserver.request("DELETE", f"{maps}/big")
    apiserver.request("DELETE", f"{maps}?labelSelector=none%3Dsuch", "alice@example.com")


def impersonation(apiserver: Apiserver, namespace: str = "team-a") -> None:
    """Be somebody with a hostile name; one of them in vain."""
    for name in HOSTILE_NAMES:
        headers = [("Impersonate-User", name), ("Impersonate-Group", "dev"), ("Impersonate-Extra-scopes", "view")]
        apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps?limit=1", headers=headers)
    apiserver.request("GET", "/api", "bob", headers=[("Impersonate-User", "admin")])


def denials(apiserver: Apiserver, namespace: str = "team-a") -> None:
    """Send forbidden requests, requests with invalid tokens, and requests without a token."""
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    answers = [
        apiserver.request("GET", secrets, "bob"),
        apiserver.request("DELETE", secrets, "alice@example.com"),
        apiserver.request("GET", secrets, None),
        *(apiserver.request("GET", secrets, f"nobody-{number}") for number in range(3)),
    ]
    _expect(answers, 403, 403, 403, 401, 401, 401)


def one_id_for_all(apiserver: Apiserver) -> None:
    """Send one ``Audit-ID`` as several users, and ids that are paths."""
    for audit_id in ("same-for-all", "../../x", "i" * 2000):
        for user in ("alice@example.com", "bob", "Bob", None):
            apiserver.request("GET", "/api/v1/nodes", user, headers=[("Audit-ID", audit_id)])


def parser_breakers(apiserver: Apiserver, namespace: str = "team-a") -> None:
    """Send every body that breaks parsers, among requests of somebody else in the same batch."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    for name, body in PARSER_BREAKERS.items():
        target = "none" if "nested" in name else "map-2"  # the apiserver takes seconds to merge a nested one
        _patch(apiserver, f"{maps}/{target}", "Bob", _MERGE, body)
        apiserver.request("GET", f"{maps}/{target}", "alice@example.com")


def credentials(apiserver: Apiserver, namespace: str = "team-a") -> list[bytes]:
    """Ask for a token and have another reviewed; return all credentials that `everyday` and this put into bodies."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    json_type = [("Content-Type", "application/json")]
    _make(apiserver, accounts, "robot")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["e2e"]}}
    made = apiserver.request("POST", f"{accounts}/robot/token", body=request, headers=json_type)
    reviewed = "token-of-somebody-to-review"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": reviewed}}
    answer = apiserver.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review, headers=json_type)
    _expect([made, answer], 201, 201)
    token: str = json.loads(made.body)["status"]["token"]
    return [SECRET, token.encode(), reviewed.encode()]


def burst(apiserver: Apiserver, numbers: Iterable[int], user: str = "alice@example.com") -> None:
    """Make a request a number, each with an id of its own."""
    for number in numbers:
        apiserver.request("GET", f"/api/v1/namespaces/default/configmaps/none-{number}", user)


@contextlib.contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[None]:
    """Repeat ``step`` in a thread until the block ends."""
    over = threading.Event()

    def drive() -> None:
        while not over.is_set():
            step()

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _make(apiserver: Apiserver, path: str, name: str, user: str = "admin", **more: Any) -> None:
    version, kind = _KINDS[path.rpartition("/")[2]]
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}
    text = json.dumps(document, ensure_ascii=False).encode()
    apiserver.request("POST", path, user, text, [("Content-Type", "application/json")])


def _patch(apiserver: Apiserver, path: str, user: str, content_type: str, patch: Any) -> None:
    apiserver.request("PATCH", path, user, patch, [("Content-Type", content_type)])


def _expect(answers: list[Answer], *statuses: int) -> None:
    found = [answer.status for answer in answers]
    if found != list(statuses):
        raise AssertionError(f"the apiserver answered {found}, not {list(statuses)}")
