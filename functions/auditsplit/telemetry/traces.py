"""Traces: a span for each phase of a request where OpenTelemetry's SDK is installed, and nothing otherwise.

The SDK exports the spans: run the server under ``opentelemetry-instrument``, or set the ``OTEL_…`` variables.
"""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Any

_NOTHING = contextlib.nullcontext()


def _tracer() -> Any:
    try:
        installed = importlib.util.find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:  # not even the API
        return None
    if installed is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - only those who have it pay for the import

    return trace.get_tracer("auditsplit")


_TRACER = _tracer()


def span(name: str, sink: str = "") -> contextlib.AbstractContextManager[Any]:
    """Return a context that is a span, or nothing."""
    if _TRACER is None:
        return _NOTHING
    attributes = {"auditsplit.sink": sink} if sink else {}
    opened: contextlib.AbstractContextManager[Any] = _TRACER.start_as_current_span(
        f"auditsplit {name}", attributes=attributes
    )
    return opened
