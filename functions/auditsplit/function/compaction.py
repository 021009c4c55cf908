"""The function ``compact``. The import reads the settings, and ends the process if one is wrong."""

from __future__ import annotations

import os

import flask
import functions_framework

from auditsplit import bootstrap
from auditsplit.serve import framework

_compaction = framework.start(bootstrap.compaction, os.environ)


@functions_framework.http
def compact(request: flask.Request) -> flask.Response:
    """Answer one request of the schedule."""
    return framework.answer(_compaction, request)
