"""Traces: a span for each phase of a request, where OpenTelemetry's SDK is installed, and nothing otherwise.

How spans leave the process is the SDK's matter: run the server under ``opentelemetry-instrument``, or set it up by its
``OTEL_…`` variables.
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
    from opentelemetry import trace  # noqa: PLC0415 - an import that only those pay for who have it

    return trace.get_tracer("auditsplit")


_tracer_found = _tracer()


def span(name: str, store: str = "") -> contextlib.AbstractContextManager[Any]:
    """Return a context that is a span, or nothing."""
    if _tracer_found is None:
        return _NOTHING
    attributes = {"auditsplit.store": store} if store else {}
    found: contextlib.AbstractContextManager[Any] = _tracer_found.start_as_current_span(
        f"auditsplit {name}", attributes=attributes
    )
    return found
