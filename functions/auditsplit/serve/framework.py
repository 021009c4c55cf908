"""functions-framework: Flask's requests and responses, and how its server is set up for a function of ours."""

from __future__ import annotations

import io
import logging
import select
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Protocol, cast

import flask
from werkzeug.exceptions import HTTPException

from auditsplit.errors import AuditsplitError, BrokenOff, SettingsError
from auditsplit.serve import gunicorn_worker, process
from auditsplit.serve.messages import Request, Response, fault
from auditsplit.telemetry.logs import FIELDS

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)


class Function(Protocol):
    """What answers requests; `auditsplit.serve.receiver.Receiver` is one."""

    def handle(self, request: Request, /) -> Response:
        """Return the answer."""

    def busy(self) -> Response:
        """Return the answer to a request that no thread has time to read."""


def start(compose: Callable[[Mapping[str, str]], Function], environ: Mapping[str, str]) -> Function:
    """Return the function that ``compose`` makes of the environment, with the server prepared for it.

    Wrong settings end the process with every mistake on a line.
    """
    try:
        function = compose(environ)
    except SettingsError as error:
        sys.exit("\n".join(["auditsplit can't start with these settings:", *error.mistakes]))
    gunicorn_worker.install(function.busy)
    if flask.has_app_context():
        _answer_everything(function, flask.current_app)
    process.tune()
    return function


def answer(function: Function, request: flask.Request) -> flask.Response:
    """Return the function's answer to a request of Flask's."""
    response = function.handle(
        Request(
            method=request.method,
            path=request.path,
            headers=_headers(request),
            stream=_Body(request.stream),
            peer=request.remote_addr or "",
            sender_left=_watched(request.environ.get("gunicorn.socket")),
            query=request.environ.get("QUERY_STRING", ""),
            fields=_fields(request),
            certificate=_certificate(request.environ.get("gunicorn.socket")),
        )
    )
    request.stream = io.BytesIO()  # the framework reads the rest of a body into memory, whatever its size
    return _flask_response(response)


def _watched(connection: socket.socket | None) -> Callable[[], bool]:
    """Return what tells whether the sender has closed its ``connection``. Only Linux can tell that without reading."""
    if connection is None or not hasattr(select, "POLLRDHUP"):
        return lambda: False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return lambda: bool(poll.poll(0))


def _flask_response(response: Response) -> flask.Response:
    return flask.Response(response.body, response.status, response.headers)


def _headers(request: flask.Request) -> dict[str, str]:
    """Return the headers by lower-case name. The host in an absolute target replaces Host (RFC 9112, 3.2.2)."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    target = request.environ.get("RAW_URI", "/")
    if not target.startswith("/"):
        headers["host"] = target.partition("://")[2].partition("/")[0]
    return headers


def _fields(request: flask.Request) -> list[tuple[str, str]]:
    """Return the headers as they came, in UTF-8. gunicorn's worker keeps them beside the body."""
    came = getattr(request.environ.get("wsgi.input"), gunicorn_worker.FIELDS, ())
    return [(name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in came]


def _certificate(connection: object) -> list[tuple[str, str]] | None:
    """Return the subject of the sender's certificate, None where TLS did not verify one."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    if not certificate:
        return None
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate.get("subject", ()))
    return [pair for pairs in subject for pair in pairs]


def _answer_everything(function: Function, app: flask.Flask) -> None:
    """Let ``function`` answer every request of ``app``, also where Flask would redirect, or answer in HTML.

    kube-apiserver follows a redirect with an empty GET and counts the batch as delivered. functions-framework has
    routes of its own, such as /robots.txt, and answers a fault with its message.
    """

    def refused(_: HTTPException) -> flask.Response:
        return answer(function, flask.request)

    def failed(error: Exception) -> flask.Response:
        fields = {"status": 500, "code": AuditsplitError.code, "peer": flask.request.remote_addr or ""}
        _log.error("a fault in the framework", extra={FIELDS: fields}, exc_info=error)
        return _flask_response(fault())

    app.url_map.merge_slashes = False
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, failed)
    app.register_error_handler(HTTPStatus.INTERNAL_SERVER_ERROR, failed)
    app.wsgi_app = _WholePath(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation has it


class _WholePath:
    """A WSGI application below no prefix, at the path that the sender asked for, or at ``/`` where it asked for none.

    gunicorn lets a sender on this machine choose the prefix. Flask redirects a request without a path.
    """

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") or "/"
        environ["SCRIPT_NAME"] = ""
        return self._inner(environ, start_response)


class _Body:
    """The request's body. Whatever the server finds wrong with it, the sender broke it off."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:  # the servers' errors have no common type: gunicorn's parser, Werkzeug, OSError
            raise BrokenOff(
                f"the body broke off ({type(error).__name__}). Send it again, whole", Connection="close"
            ) from error
