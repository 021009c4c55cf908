"""The function ``metrics``. The import reads the settings, and ends the process if one is wrong."""

from __future__ import annotations

import os

import flask
import functions_framework

from auditsplit.serve import framework
from metricsapi import bootstrap

_receiver = framework.start(bootstrap.receiver, os.environ)


@functions_framework.http
def metrics(request: flask.Request) -> flask.Response:
    """Answer one request. `metricsapi.receiver` has the routes."""
    return framework.answer(_receiver, request)
