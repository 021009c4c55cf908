"""functions-framework's entry point: ``functions-framework --source functions/main.py --target ingest``."""

from __future__ import annotations

from auditsplit.function.main import ingest

__all__ = ["ingest"]
