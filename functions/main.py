"""functions-framework's entry point: ``functions-framework --source functions/main.py --target ingest``.

Translates between Flask and `auditsplit.serve.receiver`, and installs `auditsplit.serve.gunicorn_worker`; nothing else.
"""

from __future__ import annotations

import atexit
import gc
import importlib.util
import io
import logging
import os
import sys
from typing import IO

import flask
import functions_framework

from auditsplit.errors import BrokenOff, SettingsError
from auditsplit.serve import gunicorn_worker, process, receiver
from auditsplit.settings import Settings
from auditsplit.telemetry import logs


def _metrics() -> receiver.Metrics | None:
    """Return what counts for Prometheus, if that is installed; on Cloud Run nobody could ask a single instance."""
    if "K_SERVICE" in os.environ or not importlib.util.find_spec("prometheus_client"):
        return None
    from auditsplit.telemetry import metrics  # noqa: PLC0415 - costs 70 ms

    main_process = os.getpid()
    atexit.register(lambda: metrics.forget() if os.getpid() == main_process else None)
    return metrics


logs.configure()
try:
    _receiver = receiver.Receiver(Settings.read(os.environ), _metrics())
except SettingsError as error:
    sys.exit("\n".join(["auditsplit can't start with these settings:", *error.mistakes]))
_receiver.recover()
if not _receiver.settings.tokens:
    logging.getLogger("auditsplit").warning(
        "AUDIT_TOKENS is not set: only senders on this machine are taken; 'auditsplit token <cluster>' makes one"
    )
gunicorn_worker.install(_receiver.busy)
if flask.has_app_context():
    # Werkzeug answers // in a path with a redirect, which the apiserver would follow with an empty GET.
    flask.current_app.url_map.merge_slashes = False
process.keep_freed()
gc.freeze()  # what is loaded by now stays: collections pass it by, and the workers that are forked share its pages
gc.set_threshold(5_000)  # a batch is hundreds of objects, and none of them in a cycle


class _Body:
    """The request's body; whatever the server finds wrong with it, the sender broke it off."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:  # the servers' errors have no common type: gunicorn's parser, Werkzeug, OSError
            raise BrokenOff(
                f"the body broke off ({type(error).__name__}); send it again, whole", Connection="close"
            ) from error


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    """Answer one request; see `auditsplit.serve.receiver`."""
    answer = _receiver.handle(
        receiver.Request(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            stream=_Body(request.stream),
            peer=request.remote_addr or "",
        )
    )
    request.stream = io.BytesIO()  # the framework reads what is left of a body into memory, however much it is
    return flask.Response(answer.body, answer.status, answer.headers)
