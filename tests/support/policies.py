"""Audit policies and requests by the thousand, from a seed, and kube-apiserver's own code that judges them."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from auditsplit.policy.rules import LEVELS, STAGES, Request

_PROGRAMS = Path(__file__).parents[2] / ".cache" / "bin"

USERS = ("alice", "bob", "system:anonymous", "system:kube-proxy", "system:node:n1", "")
GROUPS = ("dev", "system:authenticated", "system:nodes", "system:unauthenticated", "")
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "post", "")
API_GROUPS = ("", "apps", "rbac.authorization.k8s.io", "coordination.k8s.io")
RESOURCES = ("pods", "secrets", "namespaces", "deployments", "leases", "*")
SUBRESOURCES = ("", "", "status", "log", "exec", "scale", "*")
NAMESPACES = ("", "default", "kube-system", "team-a")
NAMES = ("", "a", "b", "controller-leader")
PATHS = ("/", "/healthz", "/healthz/ping", "/api", "/apis", "/metrics", "/version", "/logs/a b", "/*", "*")
URLS = ("*", "/", "/*", "/healthz*", "/healthz/", "/metrics", "/api*", "/version", "/logs/a b", "/lo")


def judged(program: str, tasks: Iterable[Any]) -> list[Any]:
    """Return the answers of a Go program to the tasks."""
    lines = "".join(f"{json.dumps(task)}\n" for task in tasks)
    ran = subprocess.run([_PROGRAMS / program], input=lines.encode(), capture_output=True, check=False)
    if ran.returncode:
        raise AssertionError(f"{program}: {ran.stderr.decode()}")
    return [json.loads(line) for line in ran.stdout.splitlines()]


def task(text: bytes, requests: Sequence[Request] = ()) -> dict[str, Any]:
    """Return the task of evaluating ``requests`` by the policy in ``text``."""
    return {"policy": base64.b64encode(text).decode(), "requests": [msgspec.to_builtins(each) for each in requests]}


def some(draw: random.Random, values: Sequence[str], share: float = 0.4) -> list[str]:
    """Return up to three of ``values``, and none with the probability of 1 - ``share``."""
    return draw.sample(values, draw.randint(1, 3)) if draw.random() < share else []


def _resource(draw: random.Random) -> str:
    resource, subresource = draw.choice(RESOURCES), draw.choice(SUBRESOURCES)
    return f"{resource}/{subresource}" if subresource else resource


def _group(draw: random.Random) -> dict[str, Any]:
    resources = [_resource(draw) for _ in range(draw.randint(0, 3))]
    return {
        "group": draw.choice((*API_GROUPS, "*")),
        "resources": resources,
        "resourceNames": some(draw, NAMES) if resources else [],
    }


def rule(draw: random.Random) -> dict[str, Any]:
    """Return a rule that kube-apiserver accepts, as a document."""
    fields: dict[str, Any] = {
        "users": some(draw, USERS),
        "userGroups": some(draw, GROUPS),
        "verbs": some(draw, VERBS),
        "omitStages": some(draw, STAGES, 0.2),
    }
    match draw.randint(0, 3):
        case 0:
            fields["nonResourceURLs"] = some(draw, URLS, 0.8)
        case 1:
            fields["namespaces"] = some(draw, NAMESPACES)
        case 2:
            fields["namespaces"] = some(draw, NAMESPACES, 0.3)
            fields["resources"] = [_group(draw) for _ in range(draw.randint(1, 3))]
    fields = {name: value for name, value in fields.items() if value or draw.random() < 0.1}
    if draw.random() < 0.3:
        fields["omitManagedFields"] = draw.choice((True, False))
    return {"level": draw.choice(LEVELS), **fields}


def policy(draw: random.Random) -> dict[str, Any]:
    """Return a policy that kube-apiserver accepts, as a document."""
    document: dict[str, Any] = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
    if draw.random() < 0.3:
        document["omitStages"] = some(draw, STAGES, 0.8)
    if draw.random() < 0.3:
        document["omitManagedFields"] = draw.choice((True, False))
    return {**document, "rules": [rule(draw) for _ in range(draw.randint(1, 6))]}


def request(draw: random.Random) -> Request:
    """Return a request that the rules of `policy` may match."""
    user = draw.choice((None, *USERS))
    groups = tuple(some(draw, GROUPS, 0.7)) if user is not None else ()
    if draw.random() < 0.3:
        path = draw.choice(PATHS)
        return Request(user=user, groups=groups, verb=draw.choice(VERBS), path=path)
    return Request(
        user=user,
        groups=groups,
        verb=draw.choice(VERBS),
        is_resource=True,
        api_group=draw.choice(API_GROUPS),
        resource=draw.choice(RESOURCES[:-1]),
        subresource=draw.choice(SUBRESOURCES[:-1]),
        namespace=draw.choice(NAMESPACES),
        name=draw.choice(NAMES),
        path="/api/v1",
    )


def requests_for(draw: random.Random, matched: dict[str, Any]) -> list[Request]:
    """Return requests of which most match a rule, given as a document, if no rule before it does."""
    requests = []
    for _ in range(20):
        base = request(draw)
        groups = matched.get("resources") or [{}]
        group = draw.choice(groups)
        resource, _, subresource = draw.choice(group.get("resources") or ["pods/log", "pods", "deployments"]).partition(
            "/"
        )
        requests.append(
            Request(
                user=draw.choice(matched.get("users") or (base.user, "alice")),
                groups=tuple(matched.get("userGroups") or base.groups),
                verb=draw.choice(matched.get("verbs") or VERBS),
                is_resource="nonResourceURLs" not in matched,
                api_group=group.get("group", ""),
                resource=resource,
                subresource=subresource,
                namespace=draw.choice(matched.get("namespaces") or NAMESPACES),
                name=draw.choice(group.get("resourceNames") or NAMES),
                path=draw.choice(matched.get("nonResourceURLs") or PATHS).replace("*", "/x"),
            )
        )
    return requests


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 2**63, "", "*", "/", "a*b", "/a*b", "get", "Metadata", "metadata", "Panic"),
    *(
        [],
        {},
        [None],
        [[]],
        [1],
        ["x"],
        {"x": 1},
        [{}],
        "Apps",
        "apps/v1",
        "a" * 254,
        "-a",
        "a.",
        "a..b",
        "v1",
        "Policy",
    ),
    *(
        "y",
        "on",
        "null",
        "~",
        "1e3",
        "0x1f",
        "2001-01-01",
        "2001-01-01T00:00:00Z",
        "1_000",
        ".5",
        "+.inf",
        "<<",
        "\ud7ff",
    ),
)
_LIKELY = 0.7
_RENAMES: tuple[Callable[[str], str], ...] = (str.lower, str.upper, str.title, lambda name: f"{name}s", lambda _: "x")


def changed(draw: random.Random, document: Any) -> Any:
    """Return ``document`` with one change somewhere in it, which kube-apiserver may refuse."""
    if isinstance(document, dict) and document and draw.random() < 0.85:
        name = draw.choice(list(document))
        match draw.randint(0, 7):
            case 0:
                return {draw.choice(_RENAMES)(key) if key == name else key: value for key, value in document.items()}
            case 1:
                return {key: value for key, value in document.items() if key != name}
            case 2:
                extra = draw.choice(
                    ("omitManagedFields", "level", "metadata", "group", "x", "users", "nonResourceURLs")
                )
                return {**document, extra: draw.choice(_VALUES)}
            case _:
                return {**document, name: changed(draw, document[name])}
    if isinstance(document, list) and document and draw.random() < 0.85:
        index = draw.randrange(len(document))
        return [*document[:index], changed(draw, document[index]), *document[index + 1 :]]
    texts = [value for value in _VALUES if isinstance(value, str)]
    return draw.choice(texts if isinstance(document, str) and draw.random() < _LIKELY else _VALUES)


def text(draw: random.Random, document: Any) -> bytes:
    """Return ``document`` as JSON or YAML, laid out in any way."""
    match draw.randint(0, 4):
        case 0:
            return json.dumps(document, separators=(",", ":"), ensure_ascii=draw.choice((True, False))).encode()
        case 1:
            return json.dumps(document, indent="\t").encode()
        case 2:
            return b"# flow\n" + json.dumps(document, indent=2).encode()
        case 3:
            return yaml.safe_dump(document, default_flow_style=None).encode()
        case _:
            return yaml.safe_dump(document, sort_keys=False).encode()


_PIECES = (
    *("\n", " ", "  ", "\t", "-", "- ", ":", ": ", "?", "? ", ",", "[", "]", "{", "}", "#", " #", "&a ", "*a", "<<: "),
    *("!!str ", "!!int ", "! ", "!x ", "|", ">", "'", '"', "%", "@", "`", "---\n", "...\n", "\\", "\x85"),
    *("yes", "no", "~", "0o7", "010", "0b1", "-0b1", ".", "1.", "1e3", "2001-1-1", "\x00", "\x7f", "\u2028", "\ud7ff"),
)


def damaged(draw: random.Random, good: bytes) -> bytes:
    """Return the text with some characters removed, repeated or put in."""
    damaged_text = good.decode()
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(damaged_text) + 1)
        end = start + draw.choice((0, 0, 0, 1, 1, 5))
        repeated = draw.random() < 0.1
        piece = damaged_text[start:end] * 2 if repeated else draw.choice((*_PIECES, "", ""))
        damaged_text = damaged_text[:start] + piece + damaged_text[end:]
    return damaged_text.encode()
