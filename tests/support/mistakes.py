"""Kubeconfigs with a mistake, each under the name that ``auditsplit kubeconfig check`` has for it, and what it does.

What a real kube-apiserver makes of them is the reason why the checker refuses them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from support.pki import Pki
from support.receiver import Posted

SECRET = "secret-of-the-e2e-tests"  # noqa: S105 - a mark to look for

Document: TypeAlias = "dict[str, Any]"


class Place(NamedTuple):
    """Where a mistake is made: a receiver over TLS and one without, the function, certificates, a folder for files."""

    https: str
    http: str
    function: str
    pki: Pki
    folder: Path

    def file(self, name: str, text: str) -> str:
        """Write a file that only this user can read or run; return its path."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o700)
        return str(path)


class Outcome(NamedTuple):
    """What became of it: ``refused`` is what the apiserver said where it didn't start, ``lost`` what it counted."""

    refused: str | None
    got: Sequence[Posted]
    logged: int
    lost: int


Expectation: TypeAlias = "Callable[[Outcome], bool]"


def refused(*words: str) -> Expectation:
    """Expect that the apiserver doesn't start, and says one of ``words``."""
    return lambda outcome: outcome.refused is not None and any(word in outcome.refused for word in words)


def bare(outcome: Outcome) -> bool:
    """Expect batches without any credentials, of which the apiserver says nothing."""
    posts = [posted for posted in outcome.got if posted.body]
    shown = [posted for posted in posts if "authorization" in posted.headers or posted.peer]
    return outcome.refused is None and bool(posts) and not shown and not outcome.lost


def lost(outcome: Outcome) -> bool:
    """Expect that it starts, and that every event is lost and counted, without a byte of it on the way."""
    return outcome.refused is None and not outcome.got and 0 < outcome.lost == outcome.logged


def silently_lost(outcome: Outcome) -> bool:
    """Expect a GET without a body after each POST, and that the apiserver takes this for a delivery."""
    methods = [posted.method for posted in outcome.got]
    gets = [posted for posted in outcome.got if posted.method == "GET"]
    return 0 < methods.count("POST") == len(gets) and not any(posted.body for posted in gets) and not outcome.lost


def arriving(what: Callable[[Posted], bool]) -> Expectation:
    """Expect batches that all are as ``what`` says."""
    return lambda outcome: outcome.refused is None and bool(outcome.got) and all(map(what, outcome.got))


def document(at: Place, user: Document | None = None, cluster: Document | None = None, server: str = "") -> Document:
    """Return a kubeconfig for the receiver over TLS, or for ``server``, with more members of its user and cluster."""
    authority = {"certificate-authority": str(at.pki.ca)} if not server.startswith("http:") else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": server or at.https, **authority, **(cluster or {})}}],
        "users": [{"name": "a", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }


def _basic(posted: Posted) -> str:
    return base64.b64decode(posted.headers.get("authorization", "").removeprefix("Basic ")).decode()


def _exec(at: Place, **changes: Any) -> Document:
    script = (
        '#!/bin/sh\necho \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        f'"status":{{"token":"{SECRET}"}}}}\'\n'
    )
    program = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
    found = {**program, "command": at.file("plugin", script), **changes}
    return {"exec": {name: value for name, value in found.items() if value is not None}}


def _twice(at: Place, what: str) -> Document:
    made = document(at)
    return {**made, what: made[what] * 2}


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _pair(at: Place) -> Document:
    return {"client-certificate": str(at.pki.client.certificate), "client-key": str(at.pki.client.key)}


MISTAKES: Sequence[tuple[str, Callable[[Place], Document], Expectation]] = (
    ("empty", lambda _: {}, refused("invalid configuration")),
    ("kind", lambda at: {**document(at), "kind": "Pod"}, refused("no kind")),
    ("no-current-context", lambda at: {**document(at), "current-context": ""}, refused("invalid configuration")),
    ("unknown-context", lambda at: {**document(at), "current-context": "b"}, refused("context was not found")),
    ("unknown-cluster", lambda at: {**document(at), "clusters": []}, refused("invalid configuration")),
    ("unknown-user", lambda at: {**document(at), "users": []}, bare),
    ("same-clusters", lambda at: _twice(at, "clusters"), refused("duplicate name")),
    ("same-contexts", lambda at: _twice(at, "contexts"), refused("duplicate name")),
    ("same-users", lambda at: _twice(at, "users"), refused("duplicate name")),
    ("type", lambda at: document(at, {"token": 7}), refused("cannot unmarshal")),
    ("unknown-field", lambda at: document(at, {"tokenfile": at.file("t", SECRET)}), bare),
    ("server-url", lambda at: document(at, server="ftp://127.0.0.1"), lost),
    (
        "server-query",
        lambda at: document(at, server=f"{at.https}/?token={SECRET}#x"),
        arriving(lambda posted: SECRET not in posted.target and "timeout=" in posted.target),
    ),
    (
        "server-password",
        lambda at: document(at, {}, server=at.http.replace("//", f"//name:{SECRET}@")),
        arriving(lambda posted: _basic(posted) == f"name:{SECRET}"),
    ),
    (
        "server-redirects",
        lambda at: document(at, {}, {"proxy-url": at.http}, "http://audit.run.app"),
        silently_lost,
    ),
    ("server-cluster", lambda at: document(at, server=f"{at.function}/clusters/Prod"), lost),
    ("proxy-url", lambda at: document(at, cluster={"proxy-url": "ftp://127.0.0.1"}), refused("proxy")),
    ("insecure-with-ca", lambda at: document(at, cluster={"insecure-skip-tls-verify": True}), refused("insecure")),
    (
        "two-cas",
        lambda at: document(at, cluster={"certificate-authority-data": _data(at.pki.ca)}),
        refused("certificate-authority-data and certificate-authority are both specified"),
    ),
    (
        "no-ca",
        lambda at: document(at, cluster={"certificate-authority": at.file("ca", "none")}),
        refused("unable to load root certificates"),
    ),
    ("credentials-over-http", lambda at: document(at, server=at.http), bare),
    ("credentials-over-http", lambda at: document(at, {"tokenFile": at.file("t", SECRET)}, server=at.http), bare),
    ("credentials-over-http", lambda at: document(at, {"username": "a", "password": SECRET}, server=at.http), bare),
    ("credentials-over-http", lambda at: document(at, _pair(at), server=at.http), bare),
    ("credentials-over-http", lambda at: document(at, _exec(at), server=at.http), bare),
    (
        "token-and-basic",
        lambda at: document(at, {"token": SECRET, "username": "a", "password": "b"}),
        refused("more than one authentication method"),
    ),
    (
        "two-tokens",
        lambda at: document(at, {"token": SECRET, "tokenFile": at.file("t", "another")}),
        arriving(lambda posted: posted.headers["authorization"] == "Bearer another"),
    ),
    (
        "exec-ignored",
        lambda at: document(at, {"token": "another", **_exec(at)}),
        arriving(lambda posted: posted.headers["authorization"] == "Bearer another"),
    ),
    ("token-characters", lambda at: document(at, {"token": f"{SECRET}\n"}), lost),
    ("token-file-content", lambda at: document(at, {"tokenFile": at.file("t", f"{SECRET}\n{SECRET}\n")}), lost),
    (
        "basic-colon",
        lambda at: document(at, {"username": "a:b", "password": SECRET}),
        arriving(lambda posted: _basic(posted).partition(":")[2] == f"b:{SECRET}"),
    ),
    (
        "half-certificate",
        lambda at: document(at, {"client-certificate": str(at.pki.client.certificate)}),
        refused("client-key-data or client-key must be specified"),
    ),
    (
        "two-certificates",
        lambda at: document(at, {**_pair(at), "client-certificate-data": _data(at.pki.client.certificate)}),
        refused("client-cert-data and client-cert are both specified"),
    ),
    (
        "certificate-pair",
        lambda at: document(at, {**_pair(at), "client-key": str(at.pki.receiver.key)}),
        lost,
    ),
    (
        "auth-provider",
        lambda at: document(at, {"auth-provider": {"name": "gcp"}}),
        refused("gcp auth plugin has been removed"),
    ),
    (
        "impersonation",
        lambda at: document(at, {"token": SECRET, "as": "somebody"}),
        arriving(lambda posted: posted.headers.get("impersonate-user") == "somebody"),
    ),
    ("exec-command", lambda at: document(at, _exec(at, command=None)), refused("command must be specified")),
    (
        "exec-version",
        lambda at: document(at, _exec(at, apiVersion="client.authentication.k8s.io/v1alpha1")),
        refused("exec"),
    ),
    (
        "exec-interactive",
        lambda at: document(at, _exec(at, interactiveMode=None)),
        refused("interactiveMode must be specified"),
    ),
    ("exec-interactive", lambda at: document(at, _exec(at, interactiveMode="Always")), lost),
    (
        "exec-variable",
        lambda at: document(at, _exec(at, env=[{"value": "x"}])),
        refused("env variable name must be specified"),
    ),
)
"""The mistakes by the checker's name for them: how one is made, and what a kube-apiserver does with it."""
