"""gunicorn's threaded worker, but no thread waits for a sender who says nothing, and none closes politely.

gunicorn 27's own gives every new connection a thread, which waits in it for the first byte (5 s) and then for the whole
head (for ever); and it closes connections in its main loop, where it waits up to 2 s for the other end to close too. So
as many silent connections as there are threads stop a server, and a few senders that leave theirs open slow it down.

Here a connection waits with the idle ones until its request's head is whole, which the kernel keeps meanwhile; the
longest waiting one makes room when there are too many. A thread reads a request for `READ_S` at the most, and a
connection that ends is drained by the poller. A request for which no thread gets free within `WAIT_S`, or before there
are too many, is refused unread, so that a sender knows in time, and what waits takes the kernel's memory and not ours.
"""

from __future__ import annotations

import contextlib
import enum
import math
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import ClassVar

from gunicorn import config
from gunicorn.workers.gthread import TConn, ThreadWorker

from auditsplit.serve.messages import Response

HEAD_S = 10.0
"""For a request's head, from the connection's first moment or the answer before."""

READ_S = 10.0
"""For a request's body, all of it; the apiserver waits 30 s for the answer."""

WAIT_S = 4.0
"""For a thread; with the 25 s that a request may then take (`deadline`), within the 30 s that the apiserver waits."""

CONNECTIONS = 512
"""At once, in a worker; every one is an open file, of which some systems give a process 1024."""

_REST_S = 0.001  # to wait for more of a body that nobody read: hardly more than a look
_REST_BYTES = 64 * 1024
_LINGER_S = 2.0  # in which a sender that is still sending gets to read the answer
_LINGER_BYTES = 32 * 1024 * 1024
_HEAD_BYTES = 32 * 1024  # more than any apiserver's: its token is the largest part
_PIECE_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_TOO_LARGE = Response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {}, b"")


def install(busy: Callable[[], Response]) -> None:
    """Make it what gunicorn takes where nothing else is asked for; functions-framework has no option for it.

    ``busy`` gives the answer to a request that found no thread.
    """
    Worker.busy = staticmethod(busy)
    config.WorkerClass.default = Worker
    config.WorkerConnections.default = CONNECTIONS


class _Head(enum.Enum):
    """How much of a request's head has come; ``WHOLE`` also where no more will."""

    AWAITED = enum.auto()
    WHOLE = enum.auto()
    TOO_LARGE = enum.auto()
    NONE = enum.auto()
    """The other end has closed, as it may after an answer."""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module. All but `handle` runs in the worker's main loop."""

    busy: ClassVar[staticmethod[[], Response]]

    def init_process(self) -> None:
        """Begin with no connections."""
        self._queued: dict[TConn, tuple[float, Future[object]]] = {}
        self._reading: dict[TConn, float] = {}
        self._lingering: dict[TConn, int] = {}
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, if need be in the place of the one that drains, awaits a head or a thread for longest."""
        super().accept(listener)
        if self.nr_conns < self.worker_connections:
            return
        if self._lingering:
            conn = next(iter(self._lingering))
            while self._drain(conn, conn.sock):  # or the sender might not see the answer
                pass
            self._end(conn)
        elif self.pending_conns:
            self.pending_conns[0].timeout = 0.0
            super().murder_pending()
        else:
            self._refuse(math.inf, most=1)

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread if its request's head is there; else let it wait."""
        ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""  # of a next request, read with the last
        head = self._head(conn, ahead)
        if head is _Head.AWAITED:
            self._wait(conn, ahead)
        else:
            self._go_on(conn, head)

    def on_pending_socket_readable(self, conn: TConn, ahead: bytes, client: socket.socket) -> None:
        """Look at what came on a waiting connection, if it was not ended since the poller told of it."""
        if conn not in self.pending_conns:
            return
        head = self._head(conn, ahead)
        if head is not _Head.AWAITED:
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._go_on(conn, head)

    def handle(self, conn: TConn) -> object:
        """Answer one request, in a thread; its sender is cut off when it takes too long."""
        self._reading[conn] = time.monotonic() + READ_S
        try:
            return super().handle(conn)
        finally:
            del self._reading[conn]

    def _keepalive_after(self, conn: TConn, keepalive: object) -> bool:
        """Keep the connection for another request if this one was read to its end; no thread waits for the rest."""
        if not keepalive:
            return False
        conn.sock.settimeout(_REST_S)  # not a deadline, which a busy machine misses where there is nothing left to read
        return bool(conn.parser.finish_body(max_bytes=_REST_BYTES))

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        """Keep the connection, or end it without waiting for the other end."""
        if not fs.cancelled() and not fs.exception() and fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """End what took its time: waiting for a head or a thread, draining, and reading in a thread."""
        super().murder_pending()
        now = time.monotonic()
        self._refuse(now - WAIT_S)
        for conn in [conn for conn in self._lingering if conn.timeout < now]:
            self._end(conn)
        for conn, ends in self._reading.copy().items():
            if ends < now:
                with contextlib.suppress(OSError):  # of the plain socket: TLS's own gives up the answer as well
                    socket.socket.shutdown(conn.sock, socket.SHUT_RD)

    def _go_on(self, conn: TConn, head: _Head) -> None:
        if head is _Head.WHOLE:
            conn.data_ready = True
            done: Future[object] = self.tpool.submit(self.handle, conn)
            self._queued.pop(conn, None)  # its request before; the queue is in the order of time
            self._queued[conn] = time.monotonic(), done
            done.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))
        else:
            if head is _Head.TOO_LARGE:
                _say(conn, _TOO_LARGE)
            self._linger(conn)

    def _refuse(self, since: float, most: int = CONNECTIONS) -> None:
        """Refuse those that have been waiting for a thread since then; over gunicorn's own TLS nothing can be said."""
        since = -math.inf if self.cfg.is_ssl else since
        while self._queued and most:
            conn, (queued, done) = next(iter(self._queued.items()))
            waits = not (done.running() or done.done())
            if waits and queued > since:
                break
            del self._queued[conn]
            if waits and done.cancel():  # then `finish_request` is called
                _say(conn, self.busy())
                most -= 1

    def _wait(self, conn: TConn, ahead: bytes) -> None:
        conn.timeout = time.monotonic() + HEAD_S
        conn.sock.settimeout(0)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn, ahead))

    def _head(self, conn: TConn, ahead: bytes) -> _Head:
        """Return how far the head is; while it is awaited, the poller is silent until more of it has come."""
        try:
            seen = socket.socket.recv(conn.sock, _HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return _Head.WHOLE if _HEAD_END in ahead else _Head.AWAITED
        except OSError:
            return _Head.WHOLE  # a thread finds out what is wrong
        if not seen and not ahead:
            return _Head.NONE
        ended = len(seen) < conn.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        if ended or self.cfg.is_ssl or _HEAD_END in ahead + seen:
            head = _Head.WHOLE
        else:
            head = _Head.AWAITED if len(seen) < _HEAD_BYTES else _Head.TOO_LARGE
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1 if head is _Head.AWAITED else 1)
        return head

    def _linger(self, conn: TConn) -> None:
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.settimeout(0)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # it is closed already
            self.nr_conns -= 1
            conn.close()
            return
        conn.timeout = time.monotonic() + _LINGER_S
        self._lingering[conn] = _LINGER_BYTES

    def _drain(self, conn: TConn, client: socket.socket) -> bool:
        """Read on, and return whether there may be more; what has no more is ended."""
        if conn not in self._lingering:  # it was ended since the poller told of it, to make room
            return False
        try:
            came = len(socket.socket.recv(client, _PIECE_BYTES))
        except BlockingIOError:
            return False
        except OSError:
            came = 0
        self._lingering[conn] -= came
        if not came or self._lingering[conn] < 0:
            self._end(conn)
        return True

    def _end(self, conn: TConn) -> None:
        if self._lingering.pop(conn, None) is None:
            return
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _say(conn: TConn, response: Response) -> None:
    """Send a whole answer, in the little that any socket takes at once, and announce the connection's end."""
    status = HTTPStatus(response.status)
    headers = {**response.headers, "Content-Length": len(response.body), "Connection": "close"}
    lines = [f"HTTP/1.1 {status:d} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    with contextlib.suppress(OSError):
        conn.sock.send("\r\n".join([*lines, "", ""]).encode() + response.body)
