"""Questions about events, and a generated day of a busy cluster that has an answer to each."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from auditsplit.archive.find.criteria import Criteria, Resource

JUDGE = Path(__file__).parents[2] / ".cache" / "bin" / "find-judge"
DAY = datetime(2026, 11, 23, tzinfo=UTC)
PODS, SECRETS, ROLE_BINDINGS = Resource("pods"), Resource("secrets", ""), Resource("clusterrolebindings")


def _at(hour: int, minute: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute)


SEVEN: Mapping[str, Criteria] = {
    "what happened": Criteria(verbs=("delete", "deletecollection")),
    "when did it happen": Criteria(since=_at(13, 59), until=_at(14)),
    "who initiated it": Criteria(users=("alice@example.com",)),
    "on what did it happen": Criteria(
        resources=(Resource("deployments", "apps"),), namespaces=("shop",), names=("web",)
    ),
    "where was it observed": Criteria(stages=("Panic",)),
    "from where was it initiated": Criteria(source_ips=(ipaddress.ip_network("203.0.113.0/24"),)),
    "to where was it going": Criteria(subresources=("exec", "proxy", "portforward")),
}
"""The questions of Kubernetes' page about auditing."""

INCIDENTS: Mapping[str, Criteria] = {
    "who deleted the deployment web in shop between 14:00 and 15:00": Criteria(
        verbs=("delete",),
        resources=(Resource("deployments"),),
        namespaces=("shop",),
        names=("web",),
        since=_at(14),
        until=_at(15),
    ),
    "who ran a command in a pod of payments": Criteria(
        resources=(PODS,), subresources=("exec",), namespaces=("payments",)
    ),
    "who read secrets of payments": Criteria(
        verbs=("get", "list", "watch"), resources=(SECRETS,), namespaces=("payments",)
    ),
    "what was one address denied": Criteria(
        codes=(range(401, 402), range(403, 404)), source_ips=(ipaddress.ip_network("203.0.113.9/32"),)
    ),
    "what did the owner of a lost laptop do that evening": Criteria(
        users=("alice@example.com",), since=_at(20), until=_at(23)
    ),
    "who changed who may do what": Criteria(
        verbs=("create", "update", "patch", "delete"), resources=(ROLE_BINDINGS, Resource("rolebindings"))
    ),
    "who acted as an administrator": Criteria(impersonated=("admin", "system:admin")),
    "which requests failed in the server": Criteria(codes=(range(500, 600),)),
    "what did nobody known try": Criteria(users=("system:anonymous", "")),
    "what failed for the deployer in shop": Criteria(
        users=("system:serviceaccount:ci:deployer",), namespaces=("shop",), failed=True
    ),
}
"""Ten questions of incidents."""

QUESTIONS = {**SEVEN, **INCIDENTS}

_USERS = (
    *("system:apiserver", "system:kube-scheduler", "system:serviceaccount:kube-system:replicaset-controller"),
    *(f"system:node:node-{number}" for number in range(12)),
    *("system:serviceaccount:ci:deployer", "alice@example.com", "bob", "alice", "system:anonymous"),
)
_VERBS = (*("get",) * 6, *("list",) * 3, *("watch",) * 3, "update", "patch", "patch", "create", "delete")
_OBJECTS = (
    ("coordination.k8s.io", "leases", ""),
    *(("", "pods", ""), ("", "pods", "status"), ("", "configmaps", ""), ("", "secrets", ""), ("", "nodes", "status")),
    *(("apps", "deployments", ""), ("extensions", "deployments", ""), ("apps", "replicasets", "")),
    *(("rbac.authorization.k8s.io", "rolebindings", ""), ("", "pods", "log")),
)
_NAMESPACES = ("kube-system", "shop", "payments", "default", *(f"team-{letter}" for letter in "abcdef"))
_NAMES = ("web", "web-2", "api", "db", "cache", "delete", "alice", *(f"job-{number}" for number in range(50)))
_CODES = (*(200,) * 30, 201, 404, 409, 403, 500)
_NOISE = (
    '{"kind":"Role","rules":[{"verbs":["get","delete"],"resources":["pods"]}],"note":"code: 403, \\u003cweb\\u003e"}',
    '{"kind":"Status","status":"Failure","code":404}',
    '{"user":{"username":"alice@example.com"},"verb":"delete","objectRef":{"name":"web","namespace":"shop"}}',
)
_STORIES: Sequence[tuple[int, int, Mapping[str, Any]]] = (
    (
        14,
        23,
        {
            "user": "system:serviceaccount:ci:deployer",
            "verb": "delete",
            "object": ("apps", "deployments", ""),
            "namespace": "shop",
            "name": "web",
            "code": 200,
            "ip": "10.9.8.7",
        },
    ),
    (
        15,
        1,
        {
            "user": "bob",
            "verb": "delete",
            "object": ("apps", "deployments", ""),
            "namespace": "shop",
            "name": "web",
            "code": 404,
            "ip": "10.9.8.8",
        },
    ),
    (
        3,
        12,
        {
            "user": "bob",
            "verb": "create",
            "object": ("", "pods", "exec"),
            "namespace": "payments",
            "name": "db",
            "code": 101,
            "ip": "203.0.113.9",
        },
    ),
    (
        3,
        13,
        {
            "user": "bob",
            "verb": "list",
            "object": ("", "secrets", ""),
            "namespace": "payments",
            "name": "",
            "code": 403,
            "ip": "203.0.113.9",
        },
    ),
    (
        21,
        40,
        {
            "user": "alice@example.com",
            "verb": "create",
            "object": ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
            "namespace": "",
            "name": "back-door",
            "code": 201,
            "ip": "198.51.100.4",
            "as": "admin",
        },
    ),
    (
        9,
        5,
        {
            "user": "system:anonymous",
            "verb": "get",
            "object": ("", "pods", ""),
            "namespace": "default",
            "name": "web",
            "code": 500,
            "ip": "203.0.113.200",
            "stage": "Panic",
        },
    ),
)


def day(events: int) -> Iterator[bytes]:
    """Yield the lines of a day: so many events at even distances, with the stories of the incidents among them."""
    stories = {int((hour * 60 + minute) / 1440 * events): story for hour, minute, story in _STORIES}
    step = timedelta(days=1) / events
    for number in range(events):
        yield _line(number, DAY + number * step, stories.get(number) or _ordinary(number))


def _ordinary(number: int) -> Mapping[str, Any]:
    """Return an event of the number. Other primes for each field give any mix of values."""
    mixed = number * 2654435761 % 2**32
    return {
        "user": _USERS[mixed // 7 % len(_USERS)],
        "verb": _VERBS[mixed // 11 % len(_VERBS)],
        "object": _OBJECTS[mixed // 13 % len(_OBJECTS)],
        "namespace": _NAMESPACES[mixed // 17 % len(_NAMESPACES)],
        "name": _NAMES[mixed // 19 % len(_NAMES)],
        "code": _CODES[mixed // 23 % len(_CODES)],
        "ip": f"10.{mixed // 29 % 4}.0.{mixed // 31 % 250}",
        "noise": _NOISE[mixed // 37 % len(_NOISE)] if mixed % 5 == 0 else "",
    }


def _line(number: int, time: datetime, story: Mapping[str, Any]) -> bytes:
    group, resource, subresource = story["object"]
    namespace, name = story["namespace"], story["name"]
    uri = f"/apis/{group}/v1/namespaces/{namespace}/{resource}/{name}/{subresource}".rstrip("/")
    parts = {"resource": resource, "namespace": namespace, "name": name, "apiGroup": group, "subresource": subresource}
    reference = ",".join(f'"{field}":"{value}"' for field, value in parts.items() if value)
    other = f'"impersonatedUser":{{"username":"{story["as"]}"}},' if "as" in story else ""
    body = f'"requestObject":{story["noise"]},' if story.get("noise") else ""
    at = f"{time:%FT%T.%fZ}"
    return (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata",'
        f'"auditID":"{number:08x}-0000-4000-8000-000000000000","stage":"{story.get("stage", "ResponseComplete")}",'
        f'"requestURI":"{uri}","verb":"{story["verb"]}","user":{{"username":"{story["user"]}",'
        f'"groups":["system:authenticated"]}},{other}"sourceIPs":["{story["ip"]}"],"userAgent":"kubectl/v1.37.2",'
        f'"objectRef":{{{reference},"apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":{story["code"]}}},'
        f'{body}"requestReceivedTimestamp":"{at}","stageTimestamp":"{at}",'
        '"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}\n'
    ).encode()


def judged(questions: Iterable[Criteria], files: Iterable[Path]) -> list[list[tuple[str, ...]]]:
    """Return what the judge finds for each question: the auditID, stage and time of each event, sorted."""
    asked = list(questions)
    task = "\n".join([json.dumps([_task(each) for each in asked]), *map(str, files)])
    done = subprocess.run([JUDGE], input=task, capture_output=True, text=True, check=True)
    answers: list[list[tuple[str, ...]]] = [[] for _ in asked]
    for line in done.stdout.splitlines():
        index, *identity = line.split("\t")
        answers[int(index)].append(tuple(identity))
    return list(map(sorted, answers))


def _task(criteria: Criteria) -> dict[str, Any]:
    """Return the criteria as the judge reads them."""
    return {
        **{name: getattr(criteria, name) for name in ("users", "impersonated", "verbs", "namespaces", "names")},
        **{name: getattr(criteria, name) for name in ("subresources", "failed", "stages")},
        "resources": [each._asdict() for each in criteria.resources],
        "codes": [(codes.start, codes.stop - 1) for codes in criteria.codes],
        "source_ips": [str(network) for network in criteria.source_ips],
        "since": criteria.since and criteria.since.isoformat(),
        "until": criteria.until and criteria.until.isoformat(),
    }
