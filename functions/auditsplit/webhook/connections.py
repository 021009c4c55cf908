"""Connections of urllib3 that a watch shuts down when its time is over.

urllib3 bounds each read of a socket. A server that sends a byte now and then would hold a request for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Any, Self

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_current = threading.local()


class Watch:
    """The time of one request of this thread. When it is over, the request's connection is shut down."""

    def __init__(self, timeout_s: float) -> None:
        """Allow ``timeout_s`` seconds from now on."""
        self.timeout_s = timeout_s
        self.tls = ""
        """The version of TLS. Empty without TLS."""
        self.connect_s = 0.0
        """Seconds until the connection was there."""
        self.is_reused = False
        """Whether the connection served another request before."""
        self._began = time.monotonic()
        self._over = threading.Event()
        self._guarding = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        """Watch the connections that this thread uses."""
        _current.watch = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Watch no longer."""
        del _current.watch
        if self._timer:
            self._timer.cancel()
        with self._guarding:
            if self._socket:
                self._socket.close()
            self._socket = None

    @property
    def is_over(self) -> bool:
        """Whether the connection was shut down."""
        return self._over.is_set()

    def elapsed_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def guard(self, connection: socket.socket) -> None:
        """Shut ``connection`` down when the time is over."""
        with self._guarding:
            if self._socket:
                self._socket.close()
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))  # TLS takes the other one apart
        if self._timer is None:
            self._timer = threading.Timer(max(0.0, self.timeout_s - self.elapsed_s()), self._shut)
            self._timer.daemon = True
            self._timer.start()

    def connected(self, connection: socket.socket | ssl.SSLSocket, *, again: bool) -> None:
        """Note that a request begins on ``connection``, and whether it had one before."""
        self.guard(connection)
        self.connect_s = self.elapsed_s()
        self.tls = (connection.version() or "") if isinstance(connection, ssl.SSLSocket) else ""
        self.is_reused = again

    def _shut(self) -> None:
        self._over.set()
        with self._guarding, contextlib.suppress(OSError):  # the server may have closed the connection before
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    """A connection that tells the thread's `Watch` of its socket."""

    _requests = 0

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _current.watch.guard(connection)
        return connection

    def request(self, *arguments: Any, **options: Any) -> None:
        """Send a request, on a connection that is opened first."""
        if self.sock is None:
            self._requests = 0
            self.connect()
        _current.watch.connected(self.sock, again=self._requests > 0)
        self._requests += 1
        super().request(*arguments, **options)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same with TLS."""

    def connect(self) -> None:
        """Connect without urllib3's warning of a server that is not verified: the deployer asked for it."""
        super().connect()
        self.is_verified = True


class HttpPool(HTTPConnectionPool):
    """Connections without TLS."""

    ConnectionCls = _Watched


class HttpsPool(HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = _WatchedTls
