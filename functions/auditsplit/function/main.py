"""The function ``ingest``. The import reads the settings, and ends the process if one is wrong."""

from __future__ import annotations

import os

import flask
import functions_framework

from auditsplit import bootstrap
from auditsplit.serve import framework

_receiver = framework.start(bootstrap.counting_receiver, os.environ)


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    """Answer one request. `auditsplit.serve.receiver` has the routes."""
    return framework.answer(_receiver, request)
