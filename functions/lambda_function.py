"""AWS Lambda's entry point: the handler ``lambda_function.ingest``.

Translates between Lambda's events and `auditsplit.serve.receiver`, nothing else; functions-framework is not needed.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from auditsplit import deadline
from auditsplit.errors import SettingsError
from auditsplit.serve import lambda_events, receiver
from auditsplit.settings import Settings
from auditsplit.telemetry import logs

_ANSWER_S = 1.0  # what of the function's time is kept for the answer

logs.configure()
try:
    _receiver = receiver.Receiver(Settings.read(os.environ))
except SettingsError as error:
    raise SettingsError("auditsplit can't start with these settings:", *error.mistakes) from None
_receiver.recover()


class Context(Protocol):
    """What of Lambda's context object is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still take."""


def ingest(event: lambda_events.Event, context: Context) -> dict[str, Any]:
    """Answer one request; see `auditsplit.serve.receiver`. Sinks get the time that Lambda leaves: 503 beats its end."""
    with deadline.within(context.get_remaining_time_in_millis() / 1000 - _ANSWER_S):
        return lambda_events.answer_to(event, _receiver.handle(lambda_events.request_of(event)))
