"""What kube-apiserver would get wrong with a kubeconfig, loudly at its start or, worse, without a word.

`RULES` is the whole of it: each row a fault, when it is there, and why it matters. Where they come from:
``tools/clientcmd/validation.go``, ``rest/config.go`` and ``transport/`` in k8s.io/client-go v0.37, and what a real
kube-apiserver v1.37 did.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import re
import ssl
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from auditsplit.auth import CLUSTER
from auditsplit.sender import files, kubeconfig
from auditsplit.sender.kubeconfig import EXEC_API_VERSION, Cluster, Exec, Kubeconfig, User

ERROR, WARNING = "error", "warning"

_BEARER = re.compile(r"[!-~]+", re.ASCII)
_CLUSTER_PATH = re.compile(r"/clusters/([^/]*)/?\Z")
_REDIRECTING_FRONTS = (".run.app", ".cloudfunctions.net")
_IN_CLUSTER = (".svc", ".cluster.local")


class Finding(NamedTuple):
    """A fault of a kubeconfig: ``rule`` is its name, ``reason`` what happens and what to do; never holds a secret."""

    level: str
    rule: str
    reason: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.level}: {self.rule}: {self.reason}"


class Subject:
    """A kubeconfig as the rules look at it; ``path`` is where it is or will be, and its folder that of its files."""

    def __init__(self, document: Kubeconfig, path: Path) -> None:
        """Take the document."""
        self.document, self.path = document, path
        self.cluster: Cluster = document.cluster
        self.user: User = document.user

    @property
    def exec(self) -> Exec:
        """The user's program; an empty one where there is none."""
        return self.user.exec or Exec()

    @cached_property
    def url(self) -> SplitResult:
        """The server; without a host where it is no URL."""
        try:
            url = urlsplit(self.cluster.server)
            _ = url.port
        except ValueError:
            return urlsplit("")
        return url

    @property
    def host(self) -> str:
        """The server's host in lower case, or nothing."""
        return (self.url.hostname or "").rstrip(".")

    @property
    def https(self) -> bool:
        """Whether the server is one of https."""
        return self.url.scheme == "https"

    @cached_property
    def local(self) -> bool:
        """Whether the server is on the apiserver's own machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def named_cluster(self) -> str | None:
        """The cluster in the server's path; None where the path names none."""
        found = _CLUSTER_PATH.search(self.url.path)
        return found[1] if found else None

    def read(self, path: str) -> bytes | None:
        """Return what the file of that ``path`` has; None where this machine has none to read."""
        try:
            return files.resolve(path, self.path.parent).read_bytes() if path else None
        except OSError:
            return None

    def pem(self, data: str, path: str) -> bytes | None:
        """Return what the base64 ``data``, or else the file, has; None where there is neither, or it is broken."""
        try:
            return base64.b64decode("".join(data.split()), validate=True) if data else self.read(path)
        except (binascii.Error, ValueError):
            return b""


class _Rule(NamedTuple):
    level: str
    name: str
    applies: Callable[[Subject], Any]
    reason: str


def _twice(of: str) -> Callable[[Subject], bool]:
    def applies(subject: Subject) -> bool:
        names = [named.name for named in getattr(subject.document, of)]
        return len(set(names)) < len(names)

    return applies


def _absent(subject: Subject) -> str:
    """Return the names of the files that aren't here."""
    named = (subject.cluster.certificate_authority, subject.user.client_certificate, subject.user.client_key)
    return ", ".join(path for path in (*named, subject.user.token_file) if path and subject.read(path) is None)


def _no_ca(subject: Subject) -> bool:
    pem = subject.pem(subject.cluster.certificate_authority_data, subject.cluster.certificate_authority)
    if pem is None:
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return True
    return False


def _no_pair(subject: Subject) -> bool:
    user = subject.user
    certificate = subject.pem(user.client_certificate_data, user.client_certificate)
    key = subject.pem(user.client_key_data, user.client_key)
    if certificate is None or key is None:
        return False
    try:
        files.load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except (ssl.SSLError, OSError):
        return True
    return False


def _bad_token_file(subject: Subject) -> bool:
    held = subject.read(subject.user.token_file)
    return held is not None and not _BEARER.fullmatch(held.strip().decode("latin-1"))


def _readable(subject: Subject) -> bool:
    user = subject.user
    secret = user.token or user.password or user.client_key_data
    return bool(secret) and subject.path.is_file() and bool(subject.path.stat().st_mode & 0o077)


def _kinds(user: User) -> list[str]:
    """Return which ways to an ``Authorization`` header a user has."""
    ways = {"token": user.token, "tokenFile": user.token_file, "basic": user.username or user.password}
    return [name for name, value in {**ways, "exec": user.exec}.items() if value]


_SHAPE: tuple[_Rule, ...] = (
    _Rule(ERROR, "empty", lambda s: not s.document.clusters, "there is no cluster in it; kube-apiserver doesn't start"),
    _Rule(
        ERROR,
        "kind",
        lambda s: s.document.kind not in ("", "Config") or s.document.api_version not in ("", "v1"),
        "kube-apiserver doesn't start with another kind than Config and apiVersion than v1",
    ),
    _Rule(
        ERROR,
        "no-current-context",
        lambda s: not s.document.current_context,
        "kube-apiserver takes no other context than the current one, and doesn't start without; set current-context",
    ),
    _Rule(
        ERROR,
        "unknown-context",
        lambda s: s.document.current_context and not s.document.context,
        "current-context names none of the contexts; kube-apiserver doesn't start",
    ),
    _Rule(
        ERROR,
        "unknown-cluster",
        lambda s: s.document.context and not s.cluster.server,
        "the current context names no cluster with a server; kube-apiserver doesn't start",
    ),
    _Rule(
        ERROR,
        "unknown-user",
        lambda s: (
            s.document.context
            and s.document.context.user
            and s.document.context.user not in [named.name for named in s.document.users]
        ),
        "the current context names none of the users; kube-apiserver starts all the same, and shows no credentials",
    ),
    *(
        _Rule(ERROR, f"same-{of}", _twice(of), f"two {of} have one name; kube-apiserver doesn't start")
        for of in ("clusters", "contexts", "users")
    ),
)

_SERVER: tuple[_Rule, ...] = (
    _Rule(
        ERROR,
        "server-url",
        lambda s: (
            s.cluster.server
            and (s.url.scheme not in ("http", "https") or not s.host or re.search(r"[\0-\x20\x7f]", s.cluster.server))
        ),
        "the server is no URL of http or https; write https://host[:port][/clusters/<cluster>]",
    ),
    _Rule(
        ERROR,
        "server-query",
        lambda s: "?" in s.cluster.server or "#" in s.cluster.server,
        "kube-apiserver drops the server's query and fragment; a token goes into the user, a cluster into the path",
    ),
    _Rule(
        ERROR,
        "server-password",
        lambda s: "@" in s.url.netloc,
        "a name or password in the server ends up in logs, and goes out over http too; put them into the user",
    ),
    _Rule(
        ERROR,
        "server-redirects",
        lambda s: (
            re.search(r"//|/\.\.?(/|\Z)", s.url.path)
            or (s.url.scheme == "http" and s.host.endswith(_REDIRECTING_FRONTS))
        ),
        "front ends answer this URL with a redirect, which kube-apiserver follows with a GET without a body: the "
        "batch is lost without a word; write the URL, https, with single slashes and without dots",
    ),
    _Rule(
        ERROR,
        "server-cluster",
        lambda s: s.named_cluster is not None and not CLUSTER.fullmatch(s.named_cluster),
        "the path's cluster is no name for one, so the function answers 404; write a-z 0-9 - . and at most 63",
    ),
    _Rule(
        WARNING,
        "server-path",
        lambda s: s.host and s.named_cluster is None and s.url.path.strip("/"),
        "the function answers / and /clusters/<cluster> only; another path wants a gateway that takes it away",
    ),
    _Rule(
        WARNING,
        "cluster-dns",
        lambda s: s.host.endswith(_IN_CLUSTER),
        "kube-apiserver runs on its host's network, where a Service's name doesn't resolve; write a name that the "
        "host resolves, or the Service's IP address with tls-server-name",
    ),
    _Rule(
        WARNING,
        "plain-http",
        lambda s: s.host and not s.https and not s.local,
        "over http whoever is on the way reads the events, and the function takes no sender from elsewhere without "
        "a token; use https",
    ),
    _Rule(
        ERROR,
        "proxy-url",
        lambda s: s.cluster.proxy_url and urlsplit(s.cluster.proxy_url).scheme not in ("http", "https", "socks5"),
        "the proxy is none of http, https, socks5; kube-apiserver doesn't start",
    ),
)

_TLS: tuple[_Rule, ...] = (
    _Rule(
        ERROR,
        "insecure-with-ca",
        lambda s: (
            s.cluster.insecure_skip_tls_verify
            and (s.cluster.certificate_authority or s.cluster.certificate_authority_data)
        ),
        "insecure-skip-tls-verify beside a certificate-authority; kube-apiserver doesn't start; keep the CA",
    ),
    _Rule(
        WARNING,
        "insecure",
        lambda s: s.cluster.insecure_skip_tls_verify,
        "with insecure-skip-tls-verify whoever answers gets the token and the events; name the CA instead",
    ),
    _Rule(
        ERROR,
        "two-cas",
        lambda s: s.cluster.certificate_authority and s.cluster.certificate_authority_data,
        "both certificate-authority and certificate-authority-data; kube-apiserver doesn't start; keep one",
    ),
    _Rule(
        ERROR,
        "no-ca",
        _no_ca,
        "the certificate-authority has no certificate in PEM; kube-apiserver doesn't start, or trusts nothing",
    ),
    _Rule(
        WARNING,
        "tls-over-http",
        lambda s: (
            s.url.scheme == "http"
            and (
                s.cluster.certificate_authority
                or s.cluster.certificate_authority_data
                or s.cluster.tls_server_name
                or s.cluster.insecure_skip_tls_verify
            )
        ),
        "the settings for TLS count for nothing over http; use https",
    ),
    _Rule(
        WARNING,
        "absent-file",
        _absent,
        "a file that it names is not on this machine; where it isn't on the apiserver's either, that doesn't start, or "
        "sends nothing. A relative path starts at the kubeconfig's folder",
    ),
)

_USER: tuple[_Rule, ...] = (
    _Rule(
        ERROR,
        "credentials-over-http",
        lambda s: s.url.scheme == "http" and s.user.has_credentials,
        "over http kube-apiserver leaves all credentials out without a word; use https, or no credentials for a "
        "function on its own machine",
    ),
    _Rule(
        WARNING,
        "no-credentials",
        lambda s: s.document.context and not s.user.has_credentials and not s.local,
        "there are no credentials, and without a token the function takes senders on its own machine only",
    ),
    _Rule(
        ERROR,
        "token-and-basic",
        lambda s: "basic" in _kinds(s.user) and {"token", "tokenFile"} & set(_kinds(s.user)),
        "a token and a username or password; kube-apiserver doesn't start; keep the token",
    ),
    _Rule(
        ERROR,
        "two-tokens",
        lambda s: s.user.token and s.user.token_file,
        "both token and tokenFile; the file wins, the token counts while it can't be read; keep one",
    ),
    _Rule(
        ERROR,
        "exec-ignored",
        lambda s: s.user.exec and (len(_kinds(s.user)) > 1 or s.user.has_certificate),
        "exec beside other credentials; kube-apiserver never runs it then; keep one",
    ),
    _Rule(
        ERROR,
        "token-characters",
        lambda s: s.user.token and not _BEARER.fullmatch(s.user.token),
        "the token has a space, line break or other character that no header may have, at its end perhaps; "
        "kube-apiserver fails to send anything",
    ),
    _Rule(
        ERROR,
        "token-file-content",
        _bad_token_file,
        "the tokenFile has no token, or more than one line; kube-apiserver fails to send anything",
    ),
    _Rule(
        ERROR,
        "basic-colon",
        lambda s: ":" in s.user.username,
        "the username has a colon, at which the receiver would cut it",
    ),
    _Rule(
        ERROR,
        "half-certificate",
        lambda s: s.user.has_certificate != bool(s.user.client_key or s.user.client_key_data),
        "a client certificate without its key, or a key without a certificate; kube-apiserver doesn't start, or shows "
        "nothing",
    ),
    _Rule(
        ERROR,
        "two-certificates",
        lambda s: (
            (s.user.client_certificate and s.user.client_certificate_data)
            or (s.user.client_key and s.user.client_key_data)
        ),
        "a client certificate or key both as file and as data; kube-apiserver doesn't start; keep one",
    ),
    _Rule(
        ERROR,
        "certificate-pair",
        _no_pair,
        "the client certificate and key are no PEM, are encrypted or don't fit; kube-apiserver doesn't start, or "
        "fails to send anything",
    ),
    _Rule(
        WARNING,
        "not-bearer",
        lambda s: s.user.has_credentials and not s.user.has_bearer,
        "the function itself knows bearer tokens only: something in front of it has to check this, and add one",
    ),
    _Rule(
        ERROR,
        "auth-provider",
        lambda s: s.user.auth_provider is not None,
        "auth-provider is none that kube-apiserver has; use exec or tokenFile",
    ),
    _Rule(
        ERROR,
        "impersonation",
        lambda s: s.user.as_ or s.user.as_uid or s.user.as_groups or s.user.as_user_extra,
        "as, as-uid, as-groups and as-user-extra are for apiservers; the function knows none of them; leave them out",
    ),
    _Rule(
        WARNING,
        "readable",
        _readable,
        "others on this machine can read the file, and its secret; chmod 600",
    ),
)

_EXEC: tuple[_Rule, ...] = (
    _Rule(ERROR, "exec-command", lambda s: s.user.exec and not s.exec.command, "exec without a command; kube-apiserver doesn't start"),
    _Rule(
        ERROR,
        "exec-version",
        lambda s: s.user.exec and s.exec.api_version != EXEC_API_VERSION,
        f"exec wants the apiVersion {EXEC_API_VERSION}; with another kube-apiserver doesn't start, or asks in an old "
        "version",
    ),
    _Rule(
        ERROR,
        "exec-interactive",
        lambda s: s.user.exec and s.exec.interactive_mode not in ("Never", "IfAvailable"),
        "exec without interactiveMode: Never; without one kube-apiserver doesn't start, and for Always it has no "
        "terminal, so it fails to send anything",
    ),
    _Rule(
        ERROR,
        "exec-variable",
        lambda s: any(not variable.name for variable in s.exec.env),
        "an environment variable of exec has no name; kube-apiserver doesn't start",
    ),
    _Rule(
        WARNING,
        "exec-image",
        lambda s: s.user.exec,
        "the program has to be where kube-apiserver runs; its own image has no shell, no gcloud and no Python, so "
        "there use a tokenFile that something on the host renews",
    ),
)

RULES: tuple[_Rule, ...] = (*_SHAPE, *_SERVER, *_TLS, *_USER, *_EXEC)


def check(document: Kubeconfig, path: Path) -> list[Finding]:
    """Return what is wrong with the ``document`` that is or will be at ``path``, in the table's order."""
    subject = Subject(document, path)
    found = []
    for rule in RULES:
        if applies := rule.applies(subject):
            about = f" ({applies})" if rule.name == "absent-file" else ""
            found.append(Finding(rule.level, rule.name, rule.reason + about))
    return found


def read(text: str, path: Path) -> tuple[Kubeconfig, list[Finding]]:
    """Return the kubeconfig in ``text``, read from ``path``, and what is wrong with it.

    A field of another type leaves an empty document beside the finding. ``ValueError`` where it is no YAML mapping.
    """
    parsed = kubeconfig.parse(text)
    if not isinstance(parsed, dict | None):
        raise ValueError("this is no kubeconfig: expected a mapping with clusters, contexts, users")
    strange = list(_strange(parsed))
    try:
        document = kubeconfig.decode(parsed or {})
    except ValueError as error:
        reason = f"{error}; kube-apiserver doesn't start (put what looks like a number into quotes)"
        return Kubeconfig(), [Finding(ERROR, "type", reason), *strange]
    return document, [*strange, *check(document, path)]


def _strange(parsed: Any) -> Iterator[Finding]:
    for path, known in kubeconfig.unknown(parsed):
        near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        reason = f"{path[:80]!r} is no field of a kubeconfig, so kube-apiserver ignores it without a word{hint}"
        yield Finding(ERROR if near else WARNING, "unknown-field", reason)
