"""functions-framework's entry point: ``functions-framework --source functions/compaction.py --target compact``."""

from __future__ import annotations

from auditsplit.function.compaction import compact

__all__ = ["compact"]
