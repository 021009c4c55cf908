"""The front proxy: kube-apiserver's aggregator, which tells in headers who asks.

Its client certificate must be signed by the request header CA, and carry an allowed name. The ConfigMap
``kube-system/extension-apiserver-authentication`` has that CA, the names, and the names of the headers. It is read
again every minute. The server's own certificate is read again when its file changes.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from metricsapi.errors import Unavailable

_REFRESH_S = 60.0
_RETRY_S = 2.0
_NAMES = msgspec.json.Decoder(list[str])
_log = logging.getLogger(__name__)


class FrontProxy(NamedTuple):
    """Who the front proxy is, and in which headers it names a user. Names of headers are in lower case."""

    ca: str
    allowed_names: frozenset[str]
    """The common names of its certificate. None means that any name is allowed."""
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]
    uid_headers: tuple[str, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> FrontProxy:
        """Return the configuration in the ConfigMap's data. `Unavailable` where it is malformed or incomplete."""

        def names(key: str, default: str) -> tuple[str, ...]:
            return tuple(name.lower() for name in _NAMES.decode(data.get(f"requestheader-{key}") or default))

        ca = data.get("requestheader-client-ca-file")
        if not ca:
            raise Unavailable("kube-apiserver has no --requestheader-client-ca-file; the Metrics API requires it")
        try:
            return cls(
                ca,
                frozenset(_NAMES.decode(data.get("requestheader-allowed-names") or "[]")),
                names("username-headers", '["X-Remote-User"]'),
                names("group-headers", '["X-Remote-Group"]'),
                names("extra-headers-prefix", '["X-Remote-Extra-"]'),
                names("uid-headers", '["X-Remote-Uid"]'),
            )
        except msgspec.DecodeError as error:
            raise Unavailable(f"the ConfigMap extension-apiserver-authentication is malformed: {error}") from error


class Certificates:
    """The server's TLS contexts. Any number of threads may use one at once."""

    def __init__(self, certfile: Path, keyfile: Path, fetch: Callable[[], FrontProxy]) -> None:
        """Keep the files, and ``fetch``, which returns the front proxy's configuration or raises `Unavailable`."""
        self._files, self._fetch = (certfile, keyfile), fetch
        self._lock = threading.Lock()
        self._proxy: FrontProxy | None = None
        self._next = float("-inf")
        self._context: tuple[object, ssl.SSLContext] | None = None

    def front_proxy(self) -> FrontProxy:
        """Return the configuration, at most a minute old while kube-apiserver answers. `Unavailable` at the start.

        One thread reads it again, and the others go on with the old one meanwhile.
        """
        if time.monotonic() >= self._next and self._lock.acquire(blocking=self._proxy is None):
            try:
                if time.monotonic() >= self._next:
                    self._refresh()
            finally:
                self._lock.release()
        if self._proxy is None:
            raise Unavailable("the front proxy's configuration has not been read yet")
        return self._proxy

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection. It verifies a client's certificate where there is one."""
        proxy = self.front_proxy()
        key = (proxy.ca, *(path.stat().st_mtime_ns for path in self._files))
        if self._context is None or self._context[0] != key:
            self._context = key, self._build(proxy.ca)
        return self._context[1]

    def _refresh(self) -> None:
        try:
            self._proxy = self._fetch()
            self._next = time.monotonic() + _REFRESH_S
        except Unavailable as error:
            self._next = time.monotonic() + _RETRY_S
            _log.error("the front proxy's configuration: %s", error)

    def _build(self, ca: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca)
        context.load_cert_chain(*self._files)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context
