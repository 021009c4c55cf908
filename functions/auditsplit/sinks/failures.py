"""Why a sink did not take events: one vocabulary for all sinks, with what to do about each.

A sink maps its driver's errors and its server's answers to a `Failure`. An error that no table knows is `UNMAPPED`,
which is retried: a new class of a driver's errors must not cost a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from auditsplit.errors import SinkError


class Action(Enum):
    """What to do about a failure."""

    RETRY = "retry"
    """The same again, after a pause, while the deadline allows. Then the sender retries."""
    SHRINK = "shrink"
    """Less of the same: a smaller request, or the document without the field that is refused."""
    REJECT = "reject"
    """Write the event to ``_rejected/`` once nothing more can be left out of it."""
    GIVE_UP = "give up"
    """Nothing before a deployer acts. The sender gets its 503 at once, and retries."""


class Failure(Enum):
    """A class of failures: what to do, and the words for the log."""

    WRONG_PLACE = Action.GIVE_UP, "the bucket or container does not exist here. Check its name, region and endpoint"
    NO_STREAM = Action.GIVE_UP, "no template makes a data stream of this name. Run 'auditsplit elasticsearch setup'"
    OCCUPIED = Action.GIVE_UP, "another template makes a data stream of this name. Choose another target"
    NOT_ALLOWED = Action.GIVE_UP, "these credentials may not write there. Grant the permission that the docs name"
    CREDENTIALS = Action.GIVE_UP, "the credentials are missing, wrong or expired. Renew them"
    CERTIFICATE = (
        Action.GIVE_UP,
        "the server's certificate is not trusted, or it speaks no TLS. Check ca_file or fingerprint",
    )
    CLOCK = Action.GIVE_UP, "this machine's clock and the server's differ too much. Synchronise them"
    CONFIGURATION = Action.GIVE_UP, "the driver refuses its configuration. Check the sink's options and its own files"
    WRONG_SERVER = Action.GIVE_UP, "the server is not Elasticsearch 9. Check the URL"
    BLOCKED = Action.GIVE_UP, "the index is closed or read-only. Open it"
    FULL = Action.GIVE_UP, "the cluster may hold no more shards. Raise cluster.max_shards_per_node or delete indices"
    REFUSED = Action.GIVE_UP, "the server refuses such a request. Check the sink's options"
    TOO_LARGE = Action.SHRINK, "larger than the server accepts in one request. Raise its limit"
    DOCUMENT = Action.REJECT, "a field of the document is not accepted"
    THROTTLED = Action.RETRY, "the server asks for fewer requests"
    BROKEN = Action.RETRY, "the server has a fault of its own"
    NO_SHARD = Action.RETRY, "the index's primary shard is not available"
    UNREACHABLE = Action.RETRY, "the server can't be reached"
    SLOW = Action.RETRY, "no answer in time"
    DISK = Action.RETRY, "the disk did not take it"
    UNMAPPED = Action.RETRY, "the driver raised an error that auditsplit does not know. Please report it"

    def __init__(self, action: Action, words: str) -> None:
        """Keep both parts of the value."""
        self.action = action
        self.words = words

    @property
    def needs_deployer(self) -> bool:
        """Whether it stays until a deployer changes settings, permissions, the server or the machine."""
        return self.action in (Action.GIVE_UP, Action.SHRINK)


class SinkFailure(SinkError):
    """A sink did not take a batch: ``failure`` is the class, ``detail`` the server's own words.

    ``detail`` never holds a secret or an event's body.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        """Compose the message of both."""
        super().__init__(f"{failure.words} ({detail})")
        self.failure = failure
        self.needs_deployer = failure.needs_deployer
        self.detail = detail


DriverErrors: TypeAlias = Mapping[type[Exception], Failure]
"""What the classes of a driver's errors mean. A subclass without a row of its own means what its ancestor means."""


def rows(module: Any, failure: Failure, *names: str) -> DriverErrors:
    """Return a row for each of the classes ``names`` in a driver's ``module``.

    The extras accept a range of versions. A name that the installed version does not have gets no row.
    """
    return {getattr(module, name): failure for name in names if hasattr(module, name)}


def failure_of(error: Exception, errors: DriverErrors) -> Failure:
    """Return what ``error`` means by the row of its nearest ancestor, `Failure.UNMAPPED` where no row maps it."""
    return next((errors[kind] for kind in type(error).__mro__ if kind in errors), Failure.UNMAPPED)


def by_status(status: int, statuses: Mapping[int, Failure]) -> Failure:
    """Return what an answer's HTTP status means: its entry, else `Failure.BROKEN` from 500 on and `REFUSED` below."""
    return statuses.get(status) or (Failure.BROKEN if status >= 500 else Failure.REFUSED)  # noqa: PLR2004 - as in HTTP
