"""functions-framework's entry point: ``functions-framework --source functions/main.py --target ingest``.

Translates between Flask and `auditsplit.http`, nothing else.
"""

from __future__ import annotations

import io
import logging
import os
import sys

import flask
import functions_framework

from auditsplit import http, telemetry
from auditsplit.errors import SettingsError
from auditsplit.settings import Settings

telemetry.configure()
try:
    _receiver = http.Receiver(Settings.read(os.environ))
except SettingsError as error:
    sys.exit("\n".join(["auditsplit can't start with these settings:", *error.mistakes]))
if not _receiver.settings.tokens:
    logging.getLogger("auditsplit").warning(
        "AUDIT_TOKENS is not set: only senders on this machine are taken; 'auditsplit token <cluster>' makes one"
    )
if flask.has_app_context():
    # Werkzeug answers // in a path with a redirect, which the apiserver would follow with an empty GET.
    flask.current_app.url_map.merge_slashes = False


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    """Answer one request; see `auditsplit.http`."""
    answer = _receiver.handle(
        http.Request(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            stream=request.stream,
            peer=request.remote_addr or "",
        )
    )
    request.stream = io.BytesIO()  # the framework reads what is left of a body into memory, however much it is
    return flask.Response(answer.body, answer.status, answer.headers)
