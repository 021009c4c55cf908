"""Post as kube-apiserver posts its batches: the same URL, query, headers, credentials and trust.

It differs in the HTTP version: HTTP/1.1, where kube-apiserver speaks HTTP/2 over TLS. A redirect is returned, not
followed. Connections are used again, and a deadline holds for all of a request: connecting, TLS, and an answer that
trickles in.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool

from auditsplit.webhook.answers import Answer, retry_after_s
from auditsplit.webhook.connections import HttpPool, HttpsPool, Watch
from auditsplit.webhook.failures import Stale, Unreachable, failures
from auditsplit.webhook.tls import context_for

_HEADERS = {"Accept": "application/json, */*", "Accept-Encoding": "identity"}
_CONNECTIONS = 16  # that are kept for other requests
_MAX_ANSWER_BYTES = 256 * 1024  # a receipt names up to 100 malformed items and their places


class Endpoint(NamedTuple):
    """Where to post, and which server to trust there.

    Without ``ca_pem`` the machine's CAs are trusted. ``tls_server_name`` replaces the URL's host in the check of the
    certificate. ``proxy_url`` is empty or an ``http`` URL.
    """

    url: str
    ca_pem: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    proxy_url: str = ""


class Credentials(NamedTuple):
    """A bearer token, or else basic credentials, and a client certificate in PEM. None of it is sent over ``http``."""

    token: str = ""
    username: str = ""
    password: str = ""
    certificate_pem: bytes = b""
    key_pem: bytes = b""


class Reply(NamedTuple):
    """An answer, the TLS version (empty without TLS), and the seconds until connected and until the answer's end."""

    answer: Answer
    tls: str
    connect_s: float
    total_s: float


class Client:
    """Posts to one endpoint, and keeps its connections. Any number of threads may use one at once.

    It must not be shared with a forked process.
    """

    def __init__(self, endpoint: Endpoint, credentials: Credentials, *, user_agent: str) -> None:
        """Connect to nothing yet.

        Args:
            endpoint: Where to post. Its URL must be ``http`` or ``https`` with a host.
            credentials: What to authenticate with.
            user_agent: The ``User-Agent`` header.

        Raises:
            Unreachable: The proxy is not an ``http`` proxy.
            ValueError: The endpoint's CAs have a character outside of ASCII.
            ssl.SSLError: A CA, certificate or key is not valid PEM.
        """
        url = urlsplit(endpoint.url)
        self._url, self._target = url, _target(endpoint, url)
        self._headers = {**_HEADERS, "User-Agent": user_agent, "Host": url.netloc}
        if url.scheme == "https":
            self._headers |= _authorization(credentials)
        self._pool = _pool(endpoint, url, credentials)

    def post(
        self,
        body: bytes,
        timeout_s: float,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        """Post ``body`` and return the reply.

        Args:
            body: A document of the ``content_type``.
            timeout_s: Seconds for connecting, sending and the whole answer, even if the answer trickles in.
            content_type: The ``Content-Type`` header.
            headers: More headers.

        Raises:
            Unreachable: No complete answer came in time.
        """
        more = {**self._headers, "Content-Type": content_type, **headers}
        try:
            return self._exchange(body, more, timeout_s)
        except Stale as error:  # the server had closed the kept connection
            return self._exchange(body, more, timeout_s - error.after_s)

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()

    def _exchange(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        with Watch(timeout_s) as watch, failures(self._url, watch):
            response = self._pool.urlopen(
                "POST",
                self._target,
                body,
                headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
                preload_content=False,
                decode_content=False,
            )
            start = b""
            while piece := response.read(_MAX_ANSWER_BYTES - len(start)):
                start += piece
            response.drain_conn() if len(start) < _MAX_ANSWER_BYTES else response.close()
        location = response.headers.get("Location")
        to = urljoin(self._url.geturl(), location) if location else ""
        later_s = retry_after_s(response.headers.get("Retry-After"))
        answer = Answer(response.status, to, start, urlsplit(to).netloc == self._url.netloc, later_s)
        return Reply(answer, watch.tls, watch.connect_s, watch.elapsed_s())


def clean_path(path: str) -> str:
    """Return a server's path as kube-apiserver sends it: no ``//``, ``.`` or ``..``, and no slash at its end."""
    return posixpath.normpath(f"/{path.lstrip('/')}").rstrip("/")


def _target(endpoint: Endpoint, url: SplitResult) -> str:
    """Return the request's target: a path, or a whole URL for a proxy that gets plain HTTP."""
    path = f"{clean_path(url.path) or '/'}?timeout=30s"
    return f"http://{url.netloc}{path}" if endpoint.proxy_url and url.scheme == "http" else path


def _pool(endpoint: Endpoint, url: SplitResult, credentials: Credentials) -> HTTPConnectionPool:
    """Return the connections to the server, perhaps through a proxy. None of them is open."""
    tls: dict[str, object] = {}
    if url.scheme == "https":
        context = context_for(
            endpoint.ca_pem,
            credentials.certificate_pem,
            credentials.key_pem,
            verify=not endpoint.insecure_skip_tls_verify,
        )
        tls = {"ssl_context": context, "server_hostname": endpoint.tls_server_name or url.hostname}
    manager: urllib3.PoolManager
    if endpoint.proxy_url:
        proxy = urlsplit(endpoint.proxy_url)
        if proxy.scheme != "http":
            raise Unreachable(f"this client uses http proxies only, not {proxy.scheme}")
        manager = urllib3.ProxyManager(
            f"http://{proxy.netloc.rpartition('@')[2]}",
            proxy_headers={"Proxy-Authorization": _basic(proxy.username, proxy.password)} if proxy.username else {},
            maxsize=_CONNECTIONS,
        )
    else:
        manager = urllib3.PoolManager(maxsize=_CONNECTIONS)
    manager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    return manager.connection_from_host(url.hostname, url.port, url.scheme, tls)


def _authorization(credentials: Credentials) -> dict[str, str]:
    if credentials.token:
        return {"Authorization": f"Bearer {credentials.token}"}
    if credentials.username or credentials.password:
        return {"Authorization": _basic(credentials.username, credentials.password)}
    return {}


def _basic(username: str, password: str | None) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode()
