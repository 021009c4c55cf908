"""The function for functions-framework, whose second worker starts only when there is a file ``go``."""

from __future__ import annotations

import time
from pathlib import Path

from auditsplit.serve import gunicorn_worker
from main import ingest

_init_process = gunicorn_worker.Worker.init_process


def _slowly(worker: gunicorn_worker.Worker) -> None:
    if worker.age == 2:
        Path("starting").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    _init_process(worker)


setattr(gunicorn_worker.Worker, _init_process.__name__, _slowly)

__all__ = ["ingest"]
