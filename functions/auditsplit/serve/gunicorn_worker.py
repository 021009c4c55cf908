"""gunicorn's threaded worker, changed so that no thread waits for a silent sender or for the end of a connection.

gunicorn 27's own worker gives every new connection a thread. The thread waits for the first byte (5 s) and then for the
whole head (for ever). It closes connections in its main loop, where it waits up to 2 s for the other end to close too.
So a few silent connections stop a server, and a few senders that leave connections open slow it down.

Here a connection waits with the idle ones until its request's head is complete. The kernel holds the bytes meanwhile.
When there are too many connections, the longest waiting one is closed. A thread reads a request for `READ_S` at most,
and the poller drains a connection that ends. A request for which no thread is free within `WAIT_S`, or for which there
is no room, is refused unread. So a sender knows in time, and waiting requests take the kernel's memory and not ours.

gunicorn is pinned to a minor version, and a test compares the methods that this module overrides.
"""

from __future__ import annotations

import contextlib
import math
import queue
import selectors
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ClassVar

from gunicorn import config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Message
from gunicorn.workers.gthread import TConn, ThreadWorker

from auditsplit.serve import heads, unread
from auditsplit.serve.heads import Head
from auditsplit.serve.messages import Response

HEAD_S = 10.0
"""For a request's head, from the connection's start or from the last answer on it."""

READ_S = 10.0
"""For a request's whole body. kube-apiserver waits 30 s for the answer."""

WAIT_S = 4.0
"""For a thread. With the 25 s that a request may then take (`auditsplit.deadline`), within kube-apiserver's 30 s."""

CONNECTIONS = 512
"""At once, in a worker. Each is an open file, and some systems give a process 1024 of them."""

FIELDS = "auditsplit_fields"
"""The attribute of a request's body that has the headers as they came. WSGI joins repeated headers with commas."""

_REST_S = 0.001  # to wait for the unread rest of a body: hardly more than a look
_REST_BYTES = 64 * 1024
_LINGER_S = 2.0  # in which a sender that is still sending can read the answer
_LINGER_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 256 * 1024


def install(busy: Callable[[], Response]) -> None:
    """Make Worker gunicorn's default worker class. functions-framework has no option for it.

    ``busy`` returns the answer to a request for which no thread is free.
    """
    Worker.busy = staticmethod(busy)
    config.WorkerClass.default = Worker
    config.WorkerConnections.default = CONNECTIONS
    config.ControlSocketDisable.default = True  # all servers of a user would share its path, below HOME


def _keep_fields(_: object, request: Message) -> None:
    """Keep the headers beside the body, which is the part of the request that WSGI passes on."""
    setattr(request.body, FIELDS, request.headers)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module. All methods but `handle` and `handle_error` run in the worker's main loop."""

    busy: ClassVar[staticmethod[[], Response]]

    def init_process(self) -> None:
        """Start with no connections, and let no header of a sender's choose a path or a scheme."""
        self.cfg.set("forwarder_headers", "")
        self.cfg.set("secure_scheme_headers", {})
        self.cfg.set("pre_request", _keep_fields)
        self._queued: dict[TConn, tuple[float, Future[object]]] = {}
        self._reading: dict[TConn, float] = {}
        self._lingering: dict[TConn, int] = {}
        super().init_process()

    def init_signals(self) -> None:
        """Set the handlers of signals, and stop if SIGTERM came before. gunicorn would stop only after 30 s.

        Until now the process had the handler of its parent. It notes signals in a queue that only the parent reads.
        """
        inherited = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        super().init_signals()
        noted: queue.SimpleQueue[int] = getattr(inherited, "SIG_QUEUE", queue.SimpleQueue())
        with contextlib.suppress(queue.Empty):
            while noted.get_nowait() != signal.SIGTERM:
                pass
            self.alive = False

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. If there are too many, end the one that has waited or drained for longest."""
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
        """Give the connection a thread if its request's head is complete; otherwise let it wait."""
        ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""  # of the next request, already read
        head = heads.peek(conn.sock, ahead, tls=self.cfg.is_ssl)
        if head is Head.AWAITED:
            self._wait(conn, ahead)
        else:
            self._proceed(conn, head)

    def handle(self, conn: TConn) -> object:
        """Answer one request, in a thread. `murder_pending` stops the reading when it takes too long."""
        self._reading[conn] = time.monotonic() + READ_S
        try:
            return super().handle(conn)
        finally:
            del self._reading[conn]

    def _keepalive_after(self, conn: TConn, keepalive: object) -> bool:
        """Return whether the connection stays for another request: if this request was read to its end."""
        if not keepalive:
            return False
        conn.sock.settimeout(_REST_S)  # not a deadline: a busy machine would miss it
        try:
            return bool(conn.parser.finish_body(max_bytes=_REST_BYTES))
        except ParseException:
            return False  # the request has its answer, and gets no second one

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:  # noqa: ARG002
        """Answer a request that cannot be read."""
        unread.send(client, unread.answer_to(exc, addr))

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        """Keep the connection, or end it without waiting for the other end."""
        if not fs.cancelled() and not fs.exception() and fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """End what took too long: waiting for a head or a thread, draining, and reading in a thread."""
        super().murder_pending()
        now = time.monotonic()
        self._refuse(now - WAIT_S)
        for conn in [conn for conn in self._lingering if conn.timeout < now]:
            self._end(conn)
        for conn, ends in self._reading.copy().items():
            if ends < now:
                with contextlib.suppress(OSError):  # of the plain socket: TLS's own gives up the answer as well
                    socket.socket.shutdown(conn.sock, socket.SHUT_RD)

    def _head_readable(self, conn: TConn, ahead: bytes, client: socket.socket) -> None:
        """Look at what arrived on a waiting connection. Events for a closed connection are ignored."""
        if conn not in self.pending_conns:
            return
        head = heads.peek(conn.sock, ahead, tls=self.cfg.is_ssl)
        if head is not Head.AWAITED:
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._proceed(conn, head)

    def _proceed(self, conn: TConn, head: Head) -> None:
        if head is Head.COMPLETE:
            conn.data_ready = True
            done: Future[object] = self.tpool.submit(self.handle, conn)
            self._queued.pop(conn, None)  # its last request; the queue is in the order of time
            self._queued[conn] = time.monotonic(), done
            done.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))
        else:
            if head is Head.TOO_LARGE:
                unread.send(conn.sock, unread.too_large(conn.client))
            self._linger(conn)

    def _refuse(self, since: float, most: int = CONNECTIONS) -> None:
        """Refuse the requests that wait for a thread since then. Over gunicorn's own TLS no answer can be sent."""
        since = -math.inf if self.cfg.is_ssl else since
        while self._queued and most:
            conn, (queued, done) = next(iter(self._queued.items()))
            waits = not (done.running() or done.done())
            if waits and queued > since:
                break
            del self._queued[conn]
            if waits and done.cancel():  # then `finish_request` is called
                unread.send(conn.sock, self.busy())
                most -= 1

    def _wait(self, conn: TConn, ahead: bytes) -> None:
        conn.timeout = time.monotonic() + HEAD_S
        conn.sock.settimeout(0)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._head_readable, conn, ahead))

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
        """Read on, and return whether more may arrive. At its end the connection is closed."""
        if conn not in self._lingering:  # closed to make room
            return False
        try:
            count = len(socket.socket.recv(client, _PIECE_BYTES))
        except (BlockingIOError, TimeoutError):
            return False
        except OSError:
            count = 0
        self._lingering[conn] -= count
        if not count or self._lingering[conn] < 0:
            self._end(conn)
        return True

    def _end(self, conn: TConn) -> None:
        if self._lingering.pop(conn, None) is None:
            return
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
