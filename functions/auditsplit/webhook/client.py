"""Post as kube-apiserver posts its batches: the same URL, query, headers, credentials and trust.

It differs in the HTTP version: HTTP/1.1, where kube-apiserver speaks HTTP/2 over TLS. A redirect is returned, not
followed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import posixpath
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from auditsplit.webhook.answers import Answer, printable, retry_after_s
from auditsplit.webhook.tls import context_for

_HEADERS = {"Accept": "application/json, */*", "Accept-Encoding": "identity"}
_MAX_ANSWER_BYTES = 256 * 1024  # a receipt names up to 100 malformed items and their places


class Unreachable(Exception):
    """No answer came. The message says why."""


class NotTrusted(Unreachable):
    """The server's certificate, or its name, is not trusted."""


class TlsFailed(Unreachable):
    """TLS failed for another reason."""


class TimedOut(Unreachable):
    """No complete answer came in time."""


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


def post(  # noqa: PLR0913 - each is a part of the request
    endpoint: Endpoint,
    credentials: Credentials,
    body: bytes,
    timeout_s: float,
    *,
    user_agent: str,
    content_type: str = "application/json",
) -> Reply:
    """Post ``body`` and return the reply.

    Args:
        endpoint: Where to post. Its URL must be ``http`` or ``https`` with a host.
        credentials: What to authenticate with.
        body: A document of the ``content_type``.
        timeout_s: Seconds for connecting, sending and the whole answer, even if the answer trickles in.
        user_agent: The ``User-Agent`` header.
        content_type: The ``Content-Type`` header.

    Raises:
        Unreachable: No complete answer came in time.
        ValueError: The endpoint's CAs have a character outside of ASCII.
        ssl.SSLError: A CA, certificate or key is not valid PEM.
    """
    url = urlsplit(endpoint.url)
    context = _context(endpoint, credentials) if url.scheme == "https" else None
    began = time.monotonic()
    with _failures(url, timeout_s), _connected(endpoint, url, context, timeout_s) as connection:
        connect_s = time.monotonic() - began
        headers = {**_HEADERS, "Content-Type": content_type, "User-Agent": user_agent, "Host": url.netloc}
        if context:
            headers |= _authorization(credentials)
        connection.request("POST", _target(endpoint, url), body, headers)
        response = connection.getresponse()
        start = response.read(_MAX_ANSWER_BYTES)
        if response.length and len(start) < _MAX_ANSWER_BYTES:
            raise http.client.IncompleteRead(start, response.length)
        total_s = time.monotonic() - began
    location = response.getheader("Location")
    to = urljoin(endpoint.url, location) if location else ""
    later_s = retry_after_s(response.getheader("Retry-After"))
    answer = Answer(response.status, to, start, urlsplit(to).netloc == url.netloc, later_s)
    return Reply(answer, connection.tls, connect_s, total_s)


def clean_path(path: str) -> str:
    """Return a server's path as kube-apiserver sends it: no ``//``, ``.`` or ``..``, and no slash at its end."""
    return posixpath.normpath(f"/{path.lstrip('/')}").rstrip("/")


def _target(endpoint: Endpoint, url: SplitResult) -> str:
    """Return the request's target: a path, or a whole URL for a proxy that gets plain HTTP."""
    path = f"{clean_path(url.path) or '/'}?timeout=30s"
    return f"http://{url.netloc}{path}" if endpoint.proxy_url and url.scheme == "http" else path


class _Connection(http.client.HTTPConnection):
    """A connection, perhaps through a proxy's tunnel, whose TLS name may differ from the host."""

    def __init__(self, host: str, port: int, timeout_s: float, tls: tuple[ssl.SSLContext, str] | None) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._context_and_name, self.tls = tls, ""

    def connect(self) -> None:
        super().connect()
        if self._context_and_name:
            context, name = self._context_and_name
            wrapped = context.wrap_socket(self.sock, server_hostname=name)
            self.tls, self.sock = wrapped.version() or "", wrapped


def _new_connection(
    endpoint: Endpoint, url: SplitResult, context: ssl.SSLContext | None, timeout_s: float
) -> _Connection:
    """Return a connection to the server or its proxy, not yet open."""
    host, port = _address(url)
    tls = (context, endpoint.tls_server_name or host) if context else None
    if not endpoint.proxy_url:
        return _Connection(host, port, timeout_s, tls)
    proxy = urlsplit(endpoint.proxy_url)
    if proxy.scheme != "http":
        raise Unreachable(f"this client uses http proxies only, not {proxy.scheme}")
    connection = _Connection(*_address(proxy), timeout_s, tls)
    if context:
        connection.set_tunnel(host, port, _proxy_authorization(proxy))
    return connection


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


@contextmanager
def _connected(
    endpoint: Endpoint, url: SplitResult, context: ssl.SSLContext | None, timeout_s: float
) -> Iterator[_Connection]:
    """Yield an open connection that is cut off after ``timeout_s``, however slowly an answer still trickles in."""
    ends = time.monotonic() + timeout_s
    connection = _new_connection(endpoint, url, context, timeout_s)
    try:
        connection.connect()
        with _cut_off(connection.sock, ends - time.monotonic()):
            yield connection
    finally:
        connection.close()


@contextmanager
def _cut_off(sock: socket.socket, after_s: float) -> Iterator[None]:
    """Shut the socket down after ``after_s``, and raise ``TimeoutError`` then."""
    over = threading.Event()

    def shut() -> None:
        over.set()
        with contextlib.suppress(OSError):  # the server may have closed the connection before
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(after_s, shut)
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError


@contextmanager
def _failures(url: SplitResult, timeout_s: float) -> Iterator[None]:
    """Turn every error that prevents an answer into `Unreachable`."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NotTrusted(f"TLS: the server's certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise TlsFailed(f"TLS: {error.reason or error}") from error
    except TimeoutError as error:
        raise TimedOut(f"no answer within {timeout_s:g} s") from error
    except socket.gaierror as error:
        raise Unreachable(f"the name {url.hostname} does not resolve here ({error.strerror})") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(f"{printable(reason)}, at {url.netloc}") from error


def _context(endpoint: Endpoint, credentials: Credentials) -> ssl.SSLContext:
    return context_for(
        endpoint.ca_pem,
        credentials.certificate_pem,
        credentials.key_pem,
        verify=not endpoint.insecure_skip_tls_verify,
    )


def _authorization(credentials: Credentials) -> dict[str, str]:
    if credentials.token:
        return {"Authorization": f"Bearer {credentials.token}"}
    if credentials.username or credentials.password:
        return {"Authorization": _basic(credentials.username, credentials.password)}
    return {}


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    return {"Proxy-Authorization": _basic(proxy.username, proxy.password or "")} if proxy.username else {}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
