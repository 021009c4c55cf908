"""The types that every room speaks of: an audit event, a malformed item, a batch.

Names, types and optionality of an event's fields are those of `audit.k8s.io/v1
<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>`_.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

API_VERSION = "audit.k8s.io/v1"

KIND_MEMBER = b'"kind":"Event",'
API_VERSION_MEMBER = f'"apiVersion":"{API_VERSION}",'.encode()
"""The members that kube-apiserver's log backend writes in front of an event. Items of an ``EventList`` have neither."""

LINE_START = b"{" + KIND_MEMBER + API_VERSION_MEMBER
"""The beginning of each line of the log backend."""

LIST_START = f'{{"kind":"EventList","apiVersion":"{API_VERSION}","metadata":{{}},"items":['.encode()
LIST_END = b"]}\n"
"""What kube-apiserver's webhook client writes around the items of a body."""

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of an event for which no time is known."""


class User(msgspec.Struct, gc=False, frozen=True):
    """The field of ``user`` and ``impersonatedUser`` that routing needs."""

    username: str | None = None


class ObjectReference(msgspec.Struct, gc=False, frozen=True):
    """The fields of ``objectRef`` that routing and redaction need."""

    namespace: str | None = None
    resource: str | None = None
    subresource: str | None = None


class Annotations(msgspec.Struct, gc=False, rename={"truncated": "audit.k8s.io/truncated"}):
    """The annotation that tells whether kube-apiserver removed an event's bodies."""

    truncated: str | None = None


class Head(msgspec.Struct, gc=False):
    """The fields of an ``Event`` that routing and the figures need; the other fields are never decoded."""

    kind: Literal["Event"] | UnsetType = UNSET
    apiVersion: Literal["audit.k8s.io/v1"] | UnsetType = UNSET  # noqa: N815 - the API's own name
    level: str | None = None
    stage: str | None = None
    verb: str | None = None
    user: User | None = None
    impersonatedUser: User | None = None  # noqa: N815
    objectRef: ObjectReference | None = None  # noqa: N815
    requestReceivedTimestamp: str | None = None  # noqa: N815
    stageTimestamp: str | None = None  # noqa: N815
    annotations: Annotations | None = None


class PolicyUser(User, gc=False, frozen=True):
    """The fields of ``user`` that a policy needs. Equal users have the same hash."""

    groups: tuple[str, ...] | None = None


class PolicyReference(ObjectReference, gc=False, frozen=True):
    """The fields of ``objectRef`` that most rules of a policy need. Equal references have the same hash."""

    apiGroup: str | None = None  # noqa: N815 - the API's own name


class NamedReference(PolicyReference, gc=False, frozen=True):
    """The fields of ``objectRef`` that a policy needs."""

    name: str | None = None


class PolicyHead(Head, gc=False):
    """The fields of an ``Event`` that are decoded where a policy is applied, and the texts of its bodies.

    ``objectRef`` lacks the name, so that requests that differ in the name alone are equal: see `NamedHead`.
    """

    user: PolicyUser | None = None
    objectRef: PolicyReference | None = None  # noqa: N815 - the API's own name
    requestURI: str | None = None  # noqa: N815 - the API's own name
    requestObject: Raw = Raw()  # noqa: N815 - the API's own name
    responseObject: Raw = Raw()  # noqa: N815 - the API's own name


class NamedHead(Head, gc=False):
    """All fields of an ``Event`` from which the request follows that a policy decides about."""

    user: PolicyUser | None = None
    objectRef: NamedReference | None = None  # noqa: N815 - the API's own name
    requestURI: str | None = None  # noqa: N815 - the API's own name


class ResponseStatus(msgspec.Struct, gc=False, frozen=True):
    """The field of ``responseStatus`` that searches need."""

    code: int | None = None


class FoundHead(Head, gc=False):
    """The fields of an ``Event`` by which events are found, and which are shown of them."""

    auditID: str | None = None  # noqa: N815 - the API's own name
    requestURI: str | None = None  # noqa: N815
    objectRef: NamedReference | None = None  # noqa: N815
    responseStatus: ResponseStatus | None = None  # noqa: N815
    sourceIPs: tuple[str, ...] | None = None  # noqa: N815
    userAgent: str | None = None  # noqa: N815


class Event(msgspec.Struct, gc=False, frozen=True):
    """One audit event: its decoded head, and its own bytes as they arrived, on one line.

    Of an event that parsers refuse, it has what decoding found out, so that redaction need not find it again.
    """

    head: Head
    raw: memoryview
    members: list[tuple[str, tuple[int, int]]] | None = None
    """The names and spans of a refused item's members."""
    marks: bytes | None = None
    """The text without its strings of an item that was scanned: see `auditsplit.decode.jsonscan.Scan.marks`."""


def line_bytes(event: Event) -> int:
    """Return the size in bytes of the event's line in kube-apiserver's log, with the line feed."""
    members = (event.head.kind is UNSET) * len(KIND_MEMBER) + (event.head.apiVersion is UNSET) * len(API_VERSION_MEMBER)
    return members + len(event.raw) + len(b"\n")


class BadItem(msgspec.Struct, gc=False, frozen=True):
    """A malformed item: ``index`` counts from 0 in the list or in the lines, ``reason`` is one sentence."""

    index: int
    reason: str
    raw: bytes


class Origin(NamedTuple):
    """What all events of a batch have in common: the cluster's name, and when the batch arrived (UTC)."""

    cluster: str
    arrived: datetime


class Batch(msgspec.Struct, frozen=True):
    """The events of one body. kube-apiserver retries with the same bytes, so ``id`` (64 hex digits) is the same."""

    id: str
    origin: Origin
    events: list[Event]
    bad: list[BadItem]
    more_bad: int = 0
    """How many more items were malformed, beside those in ``bad``."""


def event_time(head: Head, otherwise: datetime) -> datetime:
    """Return when it happened, in UTC: its ``stageTimestamp``, ``requestReceivedTimestamp``, or ``otherwise``.

    A timestamp that is null, not RFC 3339 or without a zone does not count.
    """
    for text in (head.stageTimestamp, head.requestReceivedTimestamp):
        if text:
            try:
                time = datetime.fromisoformat(text)
                if time.tzinfo is not None:
                    return time if time.tzinfo is UTC else time.astimezone(UTC)
            except (ValueError, OverflowError):
                continue
    return otherwise


def repeatable_time(events: Iterable[Event]) -> datetime:
    """Return the time for those of ``events`` that have none: that of the first event with one, else `NO_TIME`.

    A retry gives the same time. The time of arrival would give another one, and so another place.
    """
    times = (event_time(event.head, NO_TIME) for event in events)
    return next((time for time in times if time != NO_TIME), NO_TIME)
