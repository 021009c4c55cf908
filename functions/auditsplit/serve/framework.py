"""functions-framework: Flask's requests and responses, and how its server is set up for a function of ours."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from typing import IO, Protocol

import flask

from auditsplit.errors import BrokenOff, SettingsError
from auditsplit.serve import gunicorn_worker, process
from auditsplit.serve.messages import Request, Response


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
        # Werkzeug answers // in a path with a redirect, which kube-apiserver would follow with an empty GET.
        flask.current_app.url_map.merge_slashes = False
    process.tune()
    return function


def answer(function: Function, request: flask.Request) -> flask.Response:
    """Return the function's answer to a request of Flask's."""
    response = function.handle(
        Request(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            stream=_Body(request.stream),
            peer=request.remote_addr or "",
        )
    )
    request.stream = io.BytesIO()  # the framework reads the rest of a body into memory, whatever its size
    return flask.Response(response.body, response.status, response.headers)


class _Body:
    """The request's body. Whatever the server finds wrong with it, the sender broke it off."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:  # the servers' errors have no common type: gunicorn's parser, Werkzeug, OSError
            raise BrokenOff(
                f"the body broke off ({type(error).__name__}); send it again, whole", Connection="close"
            ) from error
