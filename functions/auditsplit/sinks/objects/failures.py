"""Why an object store did not take an object, sorted by who must act."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from auditsplit.errors import SinkError


class Failure(Enum):
    """A class of failures; the value is what a log says of it."""

    WRONG_BUCKET = "the deployer's: there is no such bucket here (its name, region, account or endpoint)"
    NOT_ALLOWED = "the deployer's: these credentials may not put objects there"
    CREDENTIALS = "the deployer's: the credentials are missing, wrong or expired"
    CLOCK = "the deployer's: this machine's clock and the store's differ too much"
    REFUSED = "the deployer's: the store refuses such a put (encryption key, storage class, tags or another option)"
    THROTTLED = "the store asks for fewer requests"
    BROKEN = "the store has a fault of its own"
    UNREACHABLE = "the store can't be reached"
    SLOW = "the store did not answer in time"

    @property
    def deployers(self) -> bool:
        """Whether a deployer must act: it stays until the settings, the permissions or the machine change."""
        return self not in _PASSING

    @property
    def spreads(self) -> bool:
        """Whether other puts of the same batch can only fail likewise, so that trying them is a waste."""
        return self.deployers or self is Failure.UNREACHABLE


_PASSING = {Failure.THROTTLED, Failure.BROKEN, Failure.UNREACHABLE, Failure.SLOW}


class ObjectError(SinkError):
    """An object store refused or failed; ``failure`` is the class, ``detail`` the store's own code, never a secret."""

    def __init__(self, failure: Failure, detail: str) -> None:
        """Compose the message of both."""
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
        self.deployers = failure.deployers
        self.detail = detail


class Refusal(NamedTuple):
    """A store's answer to a put that it did not do: HTTP's status, the store's own code, the driver's exception."""

    failure: Failure
    status: int
    code: str
    error: Exception

    def of(self, key: str) -> ObjectError:
        """Return what to raise from ``error``; ``key`` is the object's."""
        return ObjectError(self.failure, f"{self.status} {self.code} to the put of {key}")


def unanswered(failure: Failure, error: Exception, key: str) -> ObjectError:
    """Return what to raise from a driver's exception that isn't an answer; its words may hold secrets, its name not."""
    return ObjectError(failure, f"{type(error).__name__} at the put of {key}")
