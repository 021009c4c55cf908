"""Why no answer came: the errors of urllib3 and of sockets, in words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult

from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from auditsplit.webhook.answers import printable
from auditsplit.webhook.connections import Watch


class Unreachable(Exception):
    """No answer came. The message says why."""


class NotTrusted(Unreachable):
    """The server's certificate, or its name, is not trusted."""


class TlsFailed(Unreachable):
    """TLS failed for another reason."""


class TimedOut(Unreachable):
    """No complete answer came in time."""


class Stale(Exception):
    """A kept connection turned out to be closed, after some seconds."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self.after_s = after_s


@contextmanager
def failures(url: SplitResult, watch: Watch) -> Iterator[None]:
    """Turn every error that prevents an answer into `Unreachable`."""
    try:
        yield
        if watch.is_over:  # the answer's end is that of the connection, which was shut down
            raise TimeoutError
    except (HTTPError, OSError) as error:
        if watch.is_over or (isinstance(error, HTTPTimeoutError) and not isinstance(error, NewConnectionError)):
            raise TimedOut(f"no answer within {watch.timeout_s:g} s") from error
        if watch.is_reused and isinstance(error, ProtocolError):
            raise Stale(watch.elapsed_s()) from error
        raise _explained(error, url) from error


def _explained(error: Exception, url: SplitResult) -> Unreachable:
    """Return the reason why no answer came, by the error beneath urllib3's."""
    inner = error.original_error if isinstance(error, ProxyError) else error
    if isinstance(inner, NameResolutionError):
        return Unreachable(f"the name {url.hostname} does not resolve here ({_strerror(inner.__cause__)})")
    beneath = inner.__cause__ if isinstance(inner, NewConnectionError) else next(iter(reversed(inner.args)), inner)
    if isinstance(inner, SSLError):
        if isinstance(beneath, ssl.SSLCertVerificationError):
            return NotTrusted(f"TLS: the server's certificate is not trusted: {beneath.verify_message}")
        return TlsFailed(f"TLS: {getattr(beneath, 'reason', None) or beneath}")
    return Unreachable(f"{printable(_strerror(beneath) or type(inner).__name__)}, at {url.netloc}")


def _strerror(error: object) -> str:
    return getattr(error, "strerror", None) or str(error or "")
