"""Rules about the document's shape, the server, and the TLS to it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from auditsplit.auth import check_cluster
from auditsplit.webhook.rules.subject import ERROR, WARNING, Rule, Subject

_REDIRECTING_FRONTS = (".run.app", ".cloudfunctions.net")
_IN_CLUSTER = (".svc", ".cluster.local")


def _duplicates(section: str) -> Callable[[Subject], bool]:
    """Return whether two entries of a ``section`` have the same name."""

    def applies(subject: Subject) -> bool:
        names = [named.name for named in getattr(subject.document, section)]
        return len(set(names)) < len(names)

    return applies


def _invalid_cluster(subject: Subject) -> bool:
    if subject.named_cluster is None:
        return False
    try:
        check_cluster(subject.named_cluster)
    except ValueError:
        return True
    return False


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
    Rule(ERROR, "empty", lambda s: not s.document.clusters, "there are no clusters. kube-apiserver does not start"),
    Rule(
        ERROR,
        "kind",
        lambda s: s.document.kind not in ("", "Config") or s.document.api_version not in ("", "v1"),
        "the kind must be Config and the apiVersion v1. kube-apiserver does not start",
    ),
    Rule(
        ERROR,
        "no-current-context",
        lambda s: not s.document.current_context,
        "there is no current-context, and kube-apiserver does not start without it. Set it",
    ),
    Rule(
        ERROR,
        "unknown-context",
        lambda s: s.document.current_context and not s.document.context,
        "current-context does not name a context. kube-apiserver does not start",
    ),
    Rule(
        ERROR,
        "unknown-cluster",
        lambda s: s.document.context and not s.cluster.server,
        "the current context does not name a cluster with a server. kube-apiserver does not start",
    ),
    Rule(
        ERROR,
        "unknown-user",
        lambda s: (
            s.document.context
            and s.document.context.user
            and s.document.context.user not in [named.name for named in s.document.users]
        ),
        "the current context names a user that does not exist. kube-apiserver starts, and sends no credentials",
    ),
    *(
        Rule(
            ERROR,
            f"same-{section}",
            _duplicates(section),
            f"two {section} have the same name. kube-apiserver does not start",
        )
        for section in ("clusters", "contexts", "users")
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
        "the server is not a valid http or https URL. kube-apiserver does not start or does not send events. "
        "Write https://host[:port][/clusters/<cluster>]",
    ),
    Rule(
        ERROR,
        "server-query",
        lambda s: "?" in s.cluster.server or "#" in s.cluster.server,
        "kube-apiserver drops the server's query and fragment. Write a token into the user, and a cluster into the "
        "path",
    ),
    Rule(
        ERROR,
        "server-password",
        lambda s: "@" in s.url.netloc,
        "a username or password in the server's URL gets into logs, and is sent over http too. Write them into the "
        "user",
    ),
    Rule(
        ERROR,
        "server-redirects",
        lambda s: s.url.scheme == "http" and s.host.endswith(_REDIRECTING_FRONTS),
        "this front end answers http with a redirect. kube-apiserver follows it with a GET without a body, and loses "
        "the batch silently. Write https",
    ),
    Rule(
        ERROR,
        "server-cluster",
        _invalid_cluster,
        "the path does not end with a valid cluster name, so the function answers 404. Write a-z 0-9 - . and at most "
        "63 characters",
    ),
    Rule(
        WARNING,
        "server-path",
        lambda s: s.host and s.named_cluster is None and s.url.path.strip("/"),
        "the function serves only / and /clusters/<cluster>. Another path requires a gateway that removes it",
    ),
    Rule(
        WARNING,
        "cluster-dns",
        lambda s: s.host.endswith(_IN_CLUSTER),
        "kube-apiserver runs on its host's network, where a Service's name does not resolve. Write a name that the "
        "host resolves, or the Service's IP address with tls-server-name",
    ),
    Rule(
        WARNING,
        "plain-http",
        lambda s: s.host and not s.https and not s.local,
        "over http everybody on the network path can read the events, and without a token the function refuses senders "
        "from other machines. Use https",
    ),
    Rule(
        ERROR,
        "proxy-url",
        lambda s: s.cluster.proxy_url and urlsplit(s.cluster.proxy_url).scheme not in ("http", "https", "socks5"),
        "the proxy must be http, https or socks5. kube-apiserver does not start",
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
        "there is a certificate-authority beside insecure-skip-tls-verify. kube-apiserver does not start. Keep the CA",
    ),
    Rule(
        WARNING,
        "insecure",
        lambda s: s.cluster.insecure_skip_tls_verify,
        "with insecure-skip-tls-verify any server that answers gets the token and the events. Write its CA instead",
    ),
    Rule(
        ERROR,
        "two-cas",
        lambda s: s.cluster.certificate_authority and s.cluster.certificate_authority_data,
        "there is both certificate-authority and certificate-authority-data. kube-apiserver does not start. Keep one "
        "of them",
    ),
    Rule(
        ERROR,
        "no-ca",
        _no_ca,
        "the certificate-authority has no certificate in PEM. kube-apiserver does not start or trusts no server",
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
        "the settings for TLS have no effect over http. Use https",
    ),
)

RULES = (*_SHAPE, *_SERVER, *_TLS)
