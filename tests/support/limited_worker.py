"""The function for functions-framework, in a worker with smaller limits: a test need not wait for the real ones.

``LIMITS`` is a JSON object of the constants in `auditsplit.serve.gunicorn_worker` to replace.
"""

from __future__ import annotations

import json
import os

from auditsplit.serve import gunicorn_worker

for _name, _limit in json.loads(os.environ["LIMITS"]).items():
    if not isinstance(getattr(gunicorn_worker, _name), type(_limit)):
        raise TypeError(f"LIMITS: {_name} of the worker is not a {type(_limit).__name__}")
    setattr(gunicorn_worker, _name, _limit)

from main import ingest  # noqa: E402 - it starts the function, with the limits of that moment

__all__ = ["ingest"]
