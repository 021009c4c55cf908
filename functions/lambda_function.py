"""AWS Lambda's entry point: the handler ``lambda_function.ingest``. It does not need functions-framework."""

from __future__ import annotations

import os
from typing import Any, Protocol

from auditsplit import bootstrap
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.errors import SettingsError
from auditsplit.serve import lambda_events, subscription

_ANSWER_S = 1.0  # of the function's time, kept for the answer

try:
    _receiver = bootstrap.receiver(os.environ)
except SettingsError as error:
    raise SettingsError("auditsplit can't start with these settings:", *error.mistakes) from None


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still take."""


def ingest(event: lambda_events.Event, context: Context) -> dict[str, Any]:
    """Answer one request, or take what CloudWatch Logs sends.

    The sinks get the time that Lambda leaves, so that a 503 comes before Lambda's own end.
    """
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000 - _ANSWER_S)
    if subscription.is_subscription(event):
        return subscription.receive(event, _receiver.settings, _receiver.ingest, deadline.within(REQUEST_S))
    request = lambda_events.request_of(event)
    return lambda_events.answer_to(event, _receiver.handle(request, deadline))
