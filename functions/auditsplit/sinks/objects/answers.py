"""How an object store answered a put that it did not do, and what the answer means for the rest of the batch."""

from __future__ import annotations

from typing import NamedTuple

from auditsplit.sinks.failures import Action, Failure, SinkFailure


class RefusedPut(NamedTuple):
    """An answer other than success: the HTTP status, the store's own error code, and the driver's exception."""

    failure: Failure
    status: int
    code: str
    error: Exception

    def failure_at(self, key: str) -> SinkFailure:
        """Return what to raise from ``error``; ``key`` is the object's."""
        return SinkFailure(self.failure, f"{self.status} {self.code} to the put of {key}")


def unanswered(failure: Failure, error: Exception, key: str) -> SinkFailure:
    """Return what to raise from ``error``, a driver's exception that is not an answer.

    Only the name of its class goes into the message, because its words may hold secrets.
    """
    return SinkFailure(failure, f"{type(error).__name__} at the put of {key}")


def ends_batch(failure: Failure) -> bool:
    """Return whether the other puts of the batch can only fail in the same way, so that trying them is a waste."""
    return failure.action is not Action.RETRY or failure is Failure.UNREACHABLE
