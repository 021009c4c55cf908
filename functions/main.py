"""functions-framework's entry point: ``functions-framework --source functions/main.py --target ingest``."""

from __future__ import annotations

import os

import flask
import functions_framework

from auditsplit import bootstrap
from auditsplit.serve import framework

_receiver = framework.start(bootstrap.counting_receiver, os.environ)


@functions_framework.http
def ingest(request: flask.Request) -> flask.Response:
    """Answer one request; see `auditsplit.serve.receiver`."""
    return framework.answer(_receiver, request)
