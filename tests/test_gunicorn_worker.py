"""The worker in the real server: senders that are slow on purpose delay no other sender."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import cast

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn, ThreadWorker
from support.eventlists import event, eventlist
from support.processes import wait_for
from support.server import Server, answered

from auditsplit import auth
from auditsplit.serve import gunicorn_worker

START = Callable[..., Server]
BODY_BEGUN = b"Content-Length: 9000000\r\n\r\n{"
HALF_HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIMITED = Path(__file__).parent / "support" / "limited_worker.py"
SLOW = Path(__file__).parent / "support" / "slow_worker.py"
MANY = gunicorn_worker.CONNECTIONS + 100


@contextlib.contextmanager
def connected(server: Server, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open ``count`` connections, say the same on each, and close them at the end."""
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(count)
        ]
        for connection in opened:
            connection.sendall(said)
        yield opened


@pytest.mark.parametrize("said", [b"", HALF_HEAD, b"GET /healthz HTTP/1.0\r\n\r\n"])
def test_idle_connections_delay_no_other_sender(serve: START, said: bytes) -> None:
    """Silent, within a head, and answered but never closed: more than a worker may have, and a batch gets through."""
    server = serve(THREADS="1")

    with connected(server, MANY, said):
        answers = [server.post(eventlist([event(auditID=f"{number}")])) for number in range(3)]

    assert [answer.status for answer in answers] == [200] * 3


def test_a_head_may_come_in_pieces(serve: START) -> None:
    """Also the second on a connection, and one of which the first half came with the request before."""
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    server = serve(THREADS="1")

    with connected(server, 1) as [connection]:
        for piece in (request[:9], request[9:-1], request[-1:] + request[:9], request[9:]):
            connection.sendall(piece)
            assert server.request("GET", "/healthz").status == 200
        connection.sendall(request[:9])
        connection.shutdown(socket.SHUT_WR)
        answers = answered(connection)

    assert answers.count(b"HTTP/1.1 200") == 2


def test_two_requests_in_one_piece(serve: START) -> None:
    """Both are answered, though no more comes that would wake the poller."""
    server = serve(THREADS="1")

    with connected(server, 1, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2) as [connection]:
        connection.shutdown(socket.SHUT_WR)
        answers = answered(connection)

    assert answers.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("said", [b"", HALF_HEAD, HALF_HEAD + BODY_BEGUN])
def test_a_reset_ends_that_connection_alone(serve: START, said: bytes) -> None:
    """Before a head, within it, and within a body that a thread reads: the worker lives on."""
    server = serve(THREADS="2")

    with connected(server, 1, said) as [connection]:
        assert server.request("GET", "/healthz").status == 200
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert server.post(eventlist([event()])).status == 200
    assert "Traceback" not in server.log.read_text()


def test_gunicorn_still_has_the_methods_that_the_worker_overrides() -> None:
    """A new minor version of gunicorn may rename them, and the worker would lose its protection without an error."""
    inherited = {
        name: list(inspect.signature(getattr(ThreadWorker, name)).parameters)
        for name in vars(gunicorn_worker.Worker)
        if callable(getattr(ThreadWorker, name, None)) and not name.startswith("__")
    }
    own = {name: list(inspect.signature(getattr(gunicorn_worker.Worker, name)).parameters) for name in inherited}
    with socket.socket() as sock:
        attributes = vars(TConn(Config(), sock, ("", 0), ("", 0)))

    assert own == inherited, "gunicorn changed a method that auditsplit.serve.gunicorn_worker overrides: compare them"
    assert own.keys() == {
        "init_process",
        "init_signals",
        "accept",
        "enqueue_req",
        "handle",
        "handle_error",
        "_keepalive_after",
        "finish_request",
        "murder_pending",
    }
    assert {"sock", "parser", "timeout", "data_ready"} <= attributes.keys(), "gunicorn's TConn has changed"


def test_a_worker_that_has_just_started_stops_at_sigterm(tmp_path: Path, serve: START) -> None:
    """Gunicorn's own worker loses a signal of that moment. It runs until gunicorn kills it 30 s later."""
    server = serve(main=SLOW, WORKERS="2")
    wait_for("the second worker to start", (tmp_path / "starting").exists)

    server.process.send_signal(signal.SIGTERM)
    wait_for("the first worker to stop", lambda: len(server.workers()) == 1)
    (tmp_path / "go").touch()

    assert server.process.wait(20) == 0


@pytest.mark.parametrize("read", [True, False])
def test_a_busy_machine_keeps_a_connection_that_was_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, *, read: bool
) -> None:
    """The thread may have been interrupted for long. A connection whose body is incomplete is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(Config(), ours, ("", 0), ("", 0))
        conn.init()
        theirs.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n" + (b"12345" if read else b"123")
        )
        request = next(conn.parser)
        if read:
            request.body.read(5)
        monkeypatch.setattr(time, "monotonic", itertools.count(step=3600).__next__)

        kept = gunicorn_worker.Worker._keepalive_after(cast("gunicorn_worker.Worker", None), conn, keepalive=True)

    assert kept is read


def test_events_for_a_closed_connection_are_ignored() -> None:
    """The connection was closed to make room after the poller had reported it. An error would end the worker."""
    ended = gunicorn_worker.Worker.__new__(gunicorn_worker.Worker)
    ended._lingering, ended.pending_conns = {}, deque()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(Config(), ours, ("", 0), ("", 0))
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")

        ended._drain(conn, ours)
        ended._head_readable(conn, b"", ours)

        assert ours.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_head_without_end_is_refused(serve: START) -> None:
    """431 after 32 KiB, as gunicorn's own limits are far higher."""
    server = serve()

    with connected(server, 1, HALF_HEAD + b"X-Long: " + b"x" * 100_000) as [connection]:
        answer = answered(connection)

    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_slow_body_is_cut_off(serve: START) -> None:
    """In a head without an answer, in a body with 400; nothing of it is stored."""
    server = serve(main=LIMITED, LIMITS='{"HEAD_S": 1.0, "READ_S": 1.0}', THREADS="2")

    with (
        connected(server, 1, HALF_HEAD) as [head],
        connected(server, 1, HALF_HEAD + BODY_BEGUN) as [body],
    ):
        answers = answered(head), answered(body)

    assert answers[0] == b""
    assert answers[1].startswith(b"HTTP/1.1 400 ")
    assert b'"code":"broken-off"' in answers[1]
    assert not (server.folder / "var").exists()


def test_an_unknown_sender_is_answered_before_its_body_has_come(serve: START) -> None:
    """It holds no thread; what it sends nevertheless is read and dropped, so that it gets to the answer."""
    _, known = auth.new_token("prod")
    server = serve(THREADS="1", AUDIT_TOKENS=str(known))

    with connected(server, 8, HALF_HEAD + BODY_BEGUN) as opened:
        assert server.request("GET", "/healthz").status == 200
        for connection in opened:
            connection.sendall(b"x" * 5_000_000)
        answers = [answered(connection) for connection in opened]

    assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers)


def test_a_request_without_a_free_thread_is_refused_in_time(serve: START) -> None:
    """The answer is 503 with Retry-After while the thread is still busy. The next request is served."""
    server = serve(main=LIMITED, LIMITS='{"READ_S": 3.0, "WAIT_S": 1.0}', THREADS="1")

    with connected(server, 1, HALF_HEAD + BODY_BEGUN) as [slow], ThreadPoolExecutor() as senders:
        waiting = [senders.submit(server.post, eventlist([event(auditID=f"{number}")])) for number in range(3)]
        answers = [each.result() for each in waiting]
        answered(slow)
    after = server.post(eventlist([event()]))

    assert [answer.status for answer in answers] == [503] * 3
    assert {answer.headers["retry-after"] for answer in answers} == {"5"}
    assert {answer.json()["code"] for answer in answers} == {"busy"}
    assert after.status == 200
    metrics = server.request("GET", "/metrics").body.decode().splitlines()
    refused = [line for line in metrics if line.startswith("auditsplit_requests_total") and 'status="503"' in line]
    assert sorted(refused) == [
        'auditsplit_requests_total{cluster="default",status="503"} 0.0',
        'auditsplit_requests_total{cluster="other",status="503"} 3.0',
    ]
    assert server.log.read_text().count('"code":"busy"') == 3


def test_requests_beyond_the_limit_are_refused_at_once(serve: START) -> None:
    """There are three times as many as a worker's connections. The oldest get no thread, and need not wait for one."""
    body = b"x" * 100_000
    request = HALF_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    connections = 64
    limits = json.dumps({"CONNECTIONS": connections, "READ_S": 60.0, "WAIT_S": 60.0})
    server = serve(main=LIMITED, LIMITS=limits, THREADS="1")

    def answer(connection: socket.socket) -> bytes:
        with connection:
            return answered(connection).partition(b"\r\n")[0]

    with contextlib.ExitStack() as stack:
        stack.enter_context(connected(server, 1, HALF_HEAD + BODY_BEGUN))
        pool = stack.enter_context(ThreadPoolExecutor(3 * connections))
        opened = [stack.enter_context(connected(server, 1, request))[0] for _ in range(3 * connections)]
        answers = as_completed([pool.submit(answer, connection) for connection in opened])
        first = [next(answers).result() for _ in range(connections)]
        for connection in opened:
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)

    assert first == [b"HTTP/1.1 503 Service Unavailable"] * connections
