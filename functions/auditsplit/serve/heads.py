"""How much of a request's head has arrived on a socket, without reading it: the kernel holds the bytes meanwhile."""

from __future__ import annotations

import enum
import select
import socket

MAX_BYTES = 32 * 1024
"""The largest head. kube-apiserver's are smaller: the token is the largest part."""

_END = b"\r\n\r\n"


class Head(enum.Enum):
    """How much of a request's head has arrived; ``COMPLETE`` also where no more will arrive."""

    AWAITED = enum.auto()
    COMPLETE = enum.auto()
    TOO_LARGE = enum.auto()
    NONE = enum.auto()
    """The other end has closed, as it may after an answer."""


def peek(sock: socket.socket, ahead: bytes, *, tls: bool) -> Head:
    """Return how much of the head has arrived. While it is awaited, a poller is silent until more arrives.

    Args:
        sock: the connection.
        ahead: the head's first bytes, which were read together with the request before.
        tls: whether the bytes on ``sock`` are TLS's, in which no head can be seen.
    """
    try:
        arrived = socket.socket.recv(sock, MAX_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (BlockingIOError, TimeoutError):  # by the socket's own timeout, which a request before may have set
        return Head.COMPLETE if _END in ahead else Head.AWAITED
    except OSError:
        return Head.COMPLETE  # a thread finds out what is wrong
    if not arrived and not ahead:
        return Head.NONE
    head = _judge(sock, ahead, arrived, tls=tls)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(arrived) + 1 if head is Head.AWAITED else 1)
    return head


def _judge(sock: socket.socket, ahead: bytes, arrived: bytes, *, tls: bool) -> Head:
    if tls or _END in ahead + arrived:
        return Head.COMPLETE
    if len(arrived) == MAX_BYTES:
        return Head.TOO_LARGE
    return Head.COMPLETE if _is_closing(sock) else Head.AWAITED


def _is_closing(sock: socket.socket) -> bool:
    """Return whether the other end sends no more. A wake-up alone does not tell: the kernel wakes early at times."""
    poll = select.poll()
    poll.register(sock, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
