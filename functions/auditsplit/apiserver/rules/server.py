"""Where to post: the document's shape, the server and its TLS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from auditsplit.apiserver.rules.subject import ERROR, WARNING, Rule, Subject
from auditsplit.auth import CLUSTER

_REDIRECTING_FRONTS = (".run.app", ".cloudfunctions.net")
_IN_CLUSTER = (".svc", ".cluster.local")


def _twice(of: str) -> Callable[[Subject], bool]:
    def applies(subject: Subject) -> bool:
        names = [named.name for named in getattr(subject.document, of)]
        return len(set(names)) < len(names)

    return applies


def _no_ca(subject: Subject) -> bool:
    pem = subject.pem(subject.cluster.certificate_authority_data, subject.cluster.certificate_authority)
    if pem is None:
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return True
    return False


_SHAPE: tuple[Rule, ...] = (
    Rule(ERROR, "empty", lambda s: not s.document.clusters, "there is no cluster in it; kube-apiserver doesn't start"),
    Rule(
        ERROR,
        "kind",
        lambda s: s.document.kind not in ("", "Config") or s.document.api_version not in ("", "v1"),
        "kube-apiserver doesn't start with another kind than Config and apiVersion than v1",
    ),
    Rule(
        ERROR,
        "no-current-context",
        lambda s: not s.document.current_context,
        "kube-apiserver takes no other context than the current one, and doesn't start without; set current-context",
    ),
    Rule(
        ERROR,
        "unknown-context",
        lambda s: s.document.current_context and not s.document.context,
        "current-context names none of the contexts; kube-apiserver doesn't start",
    ),
    Rule(
        ERROR,
        "unknown-cluster",
        lambda s: s.document.context and not s.cluster.server,
        "the current context names no cluster with a server; kube-apiserver doesn't start",
    ),
    Rule(
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
        Rule(ERROR, f"same-{of}", _twice(of), f"two {of} have one name; kube-apiserver doesn't start")
        for of in ("clusters", "contexts", "users")
    ),
)

_SERVER: tuple[Rule, ...] = (
    Rule(
        ERROR,
        "server-url",
        lambda s: (
            s.cluster.server
            and (s.url.scheme not in ("http", "https") or not s.host or re.search(r"[\0-\x20\x7f]", s.cluster.server))
        ),
        "the server is no URL of http or https: kube-apiserver doesn't start, or sends nothing; write https://host[:port][/clusters/<cluster>]",
    ),
    Rule(
        ERROR,
        "server-query",
        lambda s: "?" in s.cluster.server or "#" in s.cluster.server,
        "kube-apiserver drops the server's query and fragment; a token goes into the user, a cluster into the path",
    ),
    Rule(
        ERROR,
        "server-password",
        lambda s: "@" in s.url.netloc,
        "a name or password in the server ends up in logs, and goes out over http too; put them into the user",
    ),
    Rule(
        ERROR,
        "server-redirects",
        lambda s: s.url.scheme == "http" and s.host.endswith(_REDIRECTING_FRONTS),
        "this front end answers http with a redirect, which kube-apiserver follows with a GET without a body: the "
        "batch is lost without a word; write https",
    ),
    Rule(
        ERROR,
        "server-cluster",
        lambda s: s.named_cluster is not None and not CLUSTER.fullmatch(s.named_cluster),
        "the path's cluster is no name for one, so the function answers 404; write a-z 0-9 - . and at most 63",
    ),
    Rule(
        WARNING,
        "server-path",
        lambda s: s.host and s.named_cluster is None and s.url.path.strip("/"),
        "the function answers / and /clusters/<cluster> only; another path wants a gateway that takes it away",
    ),
    Rule(
        WARNING,
        "cluster-dns",
        lambda s: s.host.endswith(_IN_CLUSTER),
        "kube-apiserver runs on its host's network, where a Service's name doesn't resolve; write a name that the "
        "host resolves, or the Service's IP address with tls-server-name",
    ),
    Rule(
        WARNING,
        "plain-http",
        lambda s: s.host and not s.https and not s.local,
        "over http whoever is on the way reads the events, and the function takes no sender from elsewhere without "
        "a token; use https",
    ),
    Rule(
        ERROR,
        "proxy-url",
        lambda s: s.cluster.proxy_url and urlsplit(s.cluster.proxy_url).scheme not in ("http", "https", "socks5"),
        "the proxy is none of http, https, socks5; kube-apiserver doesn't start",
    ),
)

_TLS: tuple[Rule, ...] = (
    Rule(
        ERROR,
        "insecure-with-ca",
        lambda s: (
            s.cluster.insecure_skip_tls_verify
            and (s.cluster.certificate_authority or s.cluster.certificate_authority_data)
        ),
        "insecure-skip-tls-verify beside a certificate-authority; kube-apiserver doesn't start; keep the CA",
    ),
    Rule(
        WARNING,
        "insecure",
        lambda s: s.cluster.insecure_skip_tls_verify,
        "with insecure-skip-tls-verify whoever answers gets the token and the events; name the CA instead",
    ),
    Rule(
        ERROR,
        "two-cas",
        lambda s: s.cluster.certificate_authority and s.cluster.certificate_authority_data,
        "both certificate-authority and certificate-authority-data; kube-apiserver doesn't start; keep one",
    ),
    Rule(
        ERROR,
        "no-ca",
        _no_ca,
        "the certificate-authority has no certificate in PEM; kube-apiserver doesn't start, or trusts nothing",
    ),
    Rule(
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
)

RULES = (*_SHAPE, *_SERVER, *_TLS)
