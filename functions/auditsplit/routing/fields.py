"""The fields of key templates: for each, the value in an event and the name that a key gets for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias

from auditsplit.decode.people import Person, people
from auditsplit.event import Event, Head, Origin, event_time
from auditsplit.routing import names

WhichUser: TypeAlias = Literal["authenticated", "impersonated"]
"""Whose name ``{user}`` is where an event has an impersonated user too."""

_KUBERNETES_WORDS = frozenset(
    [
        "None",
        "Metadata",
        "Request",
        "RequestResponse",
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
    ]
)


class Field(NamedTuple):
    """A field of templates. A batch has few different values, so each value is encoded once for all its events."""

    value: Callable[[Any, Origin], Any]
    """Returns the value in an event, of its `Head` or of the `Event`: None where the event does not have the value.

    Fields with the same function share the value.
    """
    name: Callable[[Any], str]
    """Returns the name for a value, which must be safe in a path. `_name` does it for any text, and for None."""
    help: str
    """The value, in words for the docs."""
    fixed_bytes: int = 0
    """The length of every name. 0 where it depends on the value."""
    of_event: bool = False
    """Whether ``value`` requires the `Event`, because the value is not in the head."""

    @property
    def max_bytes(self) -> int:
        """The length of the longest name."""
        return self.fixed_bytes or names.MAX_BYTES

    @property
    def is_time(self) -> bool:
        """Whether the value depends on the time of the event."""
        return self.value is _hour


def _authenticated_user(head: Head, _: Origin) -> str | None:
    return head.user.username if head.user else None


def _impersonated_user(head: Head, origin: Origin) -> str | None:
    user = head.impersonatedUser
    return (user and user.username) or _authenticated_user(head, origin)


def _verb(head: Head, _: Origin) -> str | None:
    return head.verb


def _level(head: Head, _: Origin) -> str | None:
    return head.level


def _stage(head: Head, _: Origin) -> str | None:
    return head.stage


def _namespace(head: Head, _: Origin) -> str | None:
    return head.objectRef.namespace if head.objectRef else None


def _resource(head: Head, _: Origin) -> str | None:
    return head.objectRef.resource if head.objectRef else None


def _cluster(_: Head, origin: Origin) -> str:
    return origin.cluster


def _hour(head: Head, origin: Origin) -> tuple[int, int, int, int]:
    time = event_time(head, origin.arrived)
    return time.year, time.month, time.day, time.hour


def _person(event: Event, *, impersonated: bool) -> Person | None:
    """Return the user whose name ``{user}`` is."""
    user, other = people(bytes(event.raw))
    return other if impersonated and other and other.username else user


def _uid(event: Event, _: Origin, *, impersonated: bool) -> str | None:
    person = _person(event, impersonated=impersonated)
    return person.uid if person else None


def _extra(event: Event, _: Origin, *, key: str, impersonated: bool) -> str | None:
    person = _person(event, impersonated=impersonated)
    values = (person.extra or {}).get(key) if person else None
    return values[0] if values else None


def _user_name(value: str | None) -> str:
    return names.encode(value) if value else names.NO_USER


def _name(value: str | None) -> str:
    return names.encode(value) if value else names.ABSENT


def _word(value: str | None) -> str:
    """Return a level or stage as Kubernetes spells it, and any other value encoded."""
    return value if value in _KUBERNETES_WORDS else _name(value)


def _time(form: str, text: str) -> Field:
    """Return a field that formats year, month, day and hour by ``form``."""
    return Field(
        _hour,
        lambda hour: form.format(*hour),
        f"{text}, of the event's time in UTC",
        fixed_bytes=len(form.format(2000, 1, 1, 0)),
    )


_USER_HELP = "the user, as `AUDIT_USER` chooses. `_no-user` if the event has none, which is no user's name"
_USERS: Mapping[WhichUser, Field] = {
    "authenticated": Field(_authenticated_user, _user_name, _USER_HELP),
    "impersonated": Field(_impersonated_user, _user_name, _USER_HELP),
}

_UID_HELP = "the `uid` of the user whose name `{user}` is, `none` without one"
_UIDS: Mapping[WhichUser, Field] = {
    "authenticated": Field(partial(_uid, impersonated=False), _name, _UID_HELP, of_event=True),
    "impersonated": Field(partial(_uid, impersonated=True), _name, _UID_HELP, of_event=True),
}

EXTRA = "extra:"
"""The beginning of a field's name that has a key of ``user.extra`` behind it, such as ``extra:sessionName``."""

EXTRA_HELP = (
    "the first value of `KEY` in that user's `extra`, `none` without the key. Where many persons share a user name, as "
    "with an assumed role on EKS, `{user}/{extra:sessionName}` tells them apart"
)
"""What the docs say of a field of `EXTRA`."""

FIELDS: Mapping[str, Field] = {
    "user": _USERS["authenticated"],
    "uid": _UIDS["authenticated"],
    "namespace": Field(_namespace, _name, "the namespace of the object, `none` if it has none"),
    "cluster": Field(_cluster, _name, "the cluster that sent the event"),
    "verb": Field(_verb, _name, "the verb of the request, such as `get`"),
    "resource": Field(
        _resource, _name, "the resource of the object, such as `pods`, `none` if the request has no object"
    ),
    "level": Field(_level, _word, "the audit level, such as `Metadata`"),
    "stage": Field(_stage, _word, "the stage, such as `ResponseComplete`"),
    "date": _time("{:04}-{:02}-{:02}", "the date, such as `2026-11-23`"),
    "year": _time("{:04}", "the year"),
    "month": _time("{1:02}", "the month, `01` to `12`"),
    "day": _time("{2:02}", "the day, `01` to `31`"),
    "hour": _time("{3:02}", "the hour, `00` to `23`"),
}
"""The fields with a fixed name, with ``user`` and ``uid`` of the authenticated user."""


@lru_cache
def field(name: str, user: WhichUser = "authenticated") -> Field | None:
    """Return the field of a name, None if there is none. ``user`` is whose name ``{user}`` is.

    ``extra:KEY`` is the first value of this key in the user's ``extra``.
    """
    if name.startswith(EXTRA) and name != EXTRA:
        value = partial(_extra, key=name.removeprefix(EXTRA), impersonated=user == "impersonated")
        return Field(value, _name, EXTRA_HELP, of_event=True)
    return {**FIELDS, "user": _USERS[user], "uid": _UIDS[user]}.get(name)
