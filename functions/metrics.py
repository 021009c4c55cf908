"""functions-framework's entry point: ``functions-framework --source functions/metrics.py --target metrics``."""

from __future__ import annotations

from metricsapi.function import metrics

__all__ = ["metrics"]
