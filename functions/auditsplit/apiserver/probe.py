"""A probe: one empty EventList, posted as kube-apiserver posts its batches, and what the answer would do to a batch.

The same URL, query, headers, credentials and trust; over HTTP/1.1, where kube-apiserver speaks HTTP/2 over TLS. A
redirect is told, not followed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from auditsplit.apiserver.kubeconfig import credentials, files
from auditsplit.apiserver.kubeconfig.schema import Cluster, Kubeconfig, User
from auditsplit.apiserver.rules.subject import cleaned
from auditsplit.webhook.answers import Answer, printable

_BODY = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[]}\n'
_HEADERS = {
    "Accept": "application/json, */*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "auditsplit-probe",
}
_MAX_ANSWER_BYTES = 64 * 1024


class Unreachable(Exception):
    """No answer came: the credentials, the network, TLS or the time; says which, and what to do."""


class Reached(NamedTuple):
    """An answer, the TLS that it came over ("" where none), and the seconds that connecting and all of it took."""

    answer: Answer
    tls: str
    connect_s: float
    total_s: float


def probe(document: Kubeconfig, folder: Path, timeout_s: float) -> Reached:
    """Post an empty list to the faultless ``document``'s server; `Unreachable` where no answer comes in ``timeout_s``.

    Relative paths start at ``folder``. An ``exec`` program is run, with the same time.
    """
    try:
        user = credentials.resolve(document.user, folder, timeout_s)
        context = _tls(document.cluster, user, folder) if urlsplit(document.cluster.server).scheme == "https" else None
    except (ValueError, OSError) as error:
        raise Unreachable(str(error)) from error
    return _post(document.cluster, user, context, timeout_s)


def _post(cluster: Cluster, user: User, context: ssl.SSLContext | None, timeout_s: float) -> Reached:
    url = urlsplit(cluster.server)
    began = time.monotonic()
    with _failures(url, timeout_s), _connected(cluster, url, context, timeout_s) as connection:
        connected = time.monotonic()
        authorization = _authorization(user) if context else {}
        path = f"{cleaned(url.path) or '/'}?timeout=30s"
        if cluster.proxy_url and not context:
            path = f"http://{url.netloc}{path}"
        connection.request("POST", path, _BODY, {**_HEADERS, "Host": url.netloc, **authorization})
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER_BYTES)
        if response.length and len(body) < _MAX_ANSWER_BYTES:
            raise http.client.IncompleteRead(body, response.length)
        total_s = time.monotonic() - began
    location = response.getheader("Location")
    to = urljoin(cluster.server, location) if location else ""
    answer = Answer(response.status, to, body, same_host=urlsplit(to).netloc == url.netloc)
    return Reached(answer, connection.tls, connected - began, total_s)


class _Connection(http.client.HTTPConnection):
    """A connection, by way of a proxy perhaps, with TLS under a name that need not be the host's."""

    def __init__(self, host: str, port: int, timeout_s: float, tls: tuple[ssl.SSLContext, str] | None) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._context_and_name, self.tls = tls, ""

    def connect(self) -> None:
        super().connect()
        if self._context_and_name:
            context, name = self._context_and_name
            wrapped = context.wrap_socket(self.sock, server_hostname=name)
            self.tls, self.sock = wrapped.version() or "", wrapped


@contextmanager
def _connected(
    cluster: Cluster, url: SplitResult, context: ssl.SSLContext | None, timeout_s: float
) -> Iterator[_Connection]:
    """Yield a connection that is cut off when ``timeout_s`` are over, however slowly something still comes."""
    ends = time.monotonic() + timeout_s
    host, port = url.hostname or "", url.port or (443 if context else 80)
    tls = (context, cluster.tls_server_name or host) if context else None
    if cluster.proxy_url:
        proxy = urlsplit(cluster.proxy_url)
        if proxy.scheme != "http":
            raise Unreachable(f"this probe goes through http proxies only, not {proxy.scheme}; the apiserver would")
        connection = _Connection(proxy.hostname or "", proxy.port or 80, timeout_s, tls)
        if context:
            connection.set_tunnel(host, port, _proxy_authorization(proxy))
    else:
        connection = _Connection(host, port, timeout_s, tls)
    try:
        connection.connect()
        with _cut_off(connection.sock, ends - time.monotonic()):
            yield connection
    finally:
        connection.close()


@contextmanager
def _cut_off(sock: socket.socket, after_s: float) -> Iterator[None]:
    over = threading.Event()

    def shut() -> None:
        over.set()
        with contextlib.suppress(OSError):  # the other end may have been sooner
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
    """Turn what keeps an answer from coming into `Unreachable`."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"TLS: the server's certificate is not trusted: {error.verify_message}; name its CA in "
            "certificate-authority, and the name that it has in tls-server-name"
        ) from error
    except ssl.SSLError as error:
        raise Unreachable(
            f"TLS: {error.reason or error}; is this port one of https, does it want a client certificate?"
        ) from error
    except TimeoutError as error:
        raise Unreachable(
            f"no answer within {timeout_s:g} s; kube-apiserver gives up after 30 s and tries 5 times"
        ) from error
    except socket.gaierror as error:
        raise Unreachable(f"the name {url.hostname} doesn't resolve here ({error.strerror})") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(f"{printable(reason)}, at {url.netloc}") from error


def _tls(cluster: Cluster, user: User, folder: Path) -> ssl.SSLContext:
    """Return a context that trusts what Go would: the file's CAs alone, or the machine's; names in SANs only."""
    pem = base64.b64decode(cluster.certificate_authority_data)
    if cluster.certificate_authority:
        pem = files.resolve(cluster.certificate_authority, folder).read_bytes()
    context = ssl.create_default_context(cadata=pem.decode("ascii") or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    if cluster.insecure_skip_tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if user.has_certificate:
        pair = base64.b64decode(user.client_certificate_data), base64.b64decode(user.client_key_data)
        files.load_pair(context, *pair)
    return context


def _authorization(user: User) -> dict[str, str]:
    if user.token:
        return {"Authorization": f"Bearer {user.token}"}
    if user.username or user.password:
        return {"Authorization": _basic(user.username, user.password)}
    return {}


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    return {"Proxy-Authorization": _basic(proxy.username, proxy.password or "")} if proxy.username else {}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
