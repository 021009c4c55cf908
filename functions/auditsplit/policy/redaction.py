"""Redaction: remove bodies from events before a sink gets them, by resource.

An audit `policy <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#audit-policy>`_ should keep bodies out of
the trail. Redaction is for the bodies that the policy lets pass. Unless the deployer writes other rules, `DEFAULT`
redacts where the Kubernetes API carries credentials. Secrets hold credentials. The answer to a TokenRequest
(``serviceaccounts/token``) is a credential. A TokenReview contains a credential and repeats it. These stay: a
CertificateSigningRequest, since it and its certificate are public, and a ConfigMap, since it is not meant for secrets.

An annotation of the event names the parts that were removed. See `cut`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from auditsplit.event import Event, ObjectReference
from auditsplit.policy.cut import without
from auditsplit.policy.parts import BODIES, PARTS
from auditsplit.routing.fields import WhichUser

DEFAULT: Mapping[str, tuple[str, ...]] = {
    "secrets": BODIES,
    "serviceaccounts/token": BODIES,
    "tokenreviews": BODIES,
}
"""The parts that are removed, by resource, or by resource and subresource."""

_NONE, _EVERY = "none", "*"
_RESOURCE = re.compile(r"\*|[a-z0-9-]+(?:/[a-z0-9-]+)?", re.ASCII)
_MAX_SHOWN_CHARACTERS = 60


class Redaction:
    """A `Transform` that removes parts of events, by rules for resources. For an event, the most exact rule counts."""

    OPTION_WORDS: ClassVar[str] = "rules such as secrets=requestObject, with %20 between two rules, or none"

    def __init__(self, rules: Mapping[str, tuple[str, ...]] = DEFAULT) -> None:
        """Use ``rules``: some of `PARTS` for each ``resource``, ``resource/subresource`` or ``*``."""
        self._rules = rules
        self._parts_of_unknown = tuple(part for part in PARTS if any(part in parts for parts in rules.values()))
        self._watched = {resource.partition("/")[0] for resource, parts in rules.items() if parts}
        if self._watched:
            self._watched.add("")  # the resource of an event that names none

    def __str__(self) -> str:
        """Return the rules as ``AUDIT_DROP`` has them, with the defaults that apply."""
        rules = [f"{resource}={','.join(parts) or _NONE}" for resource, parts in self._rules.items()]
        return " ".join(rules) or _NONE

    @classmethod
    def parse(cls, text: str) -> Redaction:
        """Return the redaction that ``AUDIT_DROP`` asks for.

        Args:
            text: Rules such as ``secrets=requestObject,responseObject``, with spaces between. A rule replaces the
                default for its resource. ``none`` as the parts removes nothing from that resource's events. The word
                ``none`` in place of a rule removes the defaults.

        Raises:
            ValueError: With every mistake on a line of its own.
        """
        words = text.split()
        return cls({**({} if _NONE in words else DEFAULT), **_parse_rules(words)})

    @classmethod
    def from_option(cls, text: str, user: WhichUser) -> Redaction:  # noqa: ARG003 - the signature of all option types
        """Return the redaction that an option in a sink's URL asks for: its own rules, without the defaults.

        ``ValueError`` has every mistake on a line of its own.
        """
        return cls(_parse_rules(text.split()))

    def __bool__(self) -> bool:
        """Return whether anything is redacted."""
        return bool(self._watched)

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events in their order, with new events in place of those that lose a part."""
        suspects = self._suspects(events)
        if not suspects:
            return events
        redacted = list(events)
        for index in suspects:
            event = events[index]
            redacted[index] = _without_parts(event, self._parts(event.head.objectRef))
        return redacted

    def _suspects(self, events: list[Event]) -> Sequence[int]:
        """Return the indices of the events that a rule may apply to. It is quick: it only looks up each resource."""
        watched = self._watched
        if not watched:
            return ()
        if _EVERY in watched:
            return range(len(events))
        return [
            index
            for index, event in enumerate(events)
            if (reference := event.head.objectRef) is None or (reference.resource or "") in watched
        ]

    def _parts(self, reference: ObjectReference | None) -> tuple[str, ...]:
        """Return the parts that an event loses. An event that names no resource loses all that any rule removes.

        The API group does not count: a resource named ``secrets`` in another API is as secret.
        """
        if reference is None or not reference.resource:
            return self._parts_of_unknown
        for name in (f"{reference.resource}/{reference.subresource}", reference.resource, _EVERY):
            if name in self._rules:
                return self._rules[name]
        return ()


NOTHING = Redaction({})
"""Removes nothing."""


def _parse_rules(words: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the parts by resource. The word ``none`` adds no rule."""
    rules: dict[str, tuple[str, ...]] = {}
    mistakes: list[str] = []
    for word in words:
        if word == _NONE:
            continue
        resource, _, parts = word.partition("=")
        mistakes += _mistakes(word, rules)
        rules[resource] = tuple(part for part in PARTS if part in parts.split(","))
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return rules


def _mistakes(rule: str, earlier: Mapping[str, object]) -> Iterator[str]:
    resource, equals, parts = rule.partition("=")
    shown = rule[:_MAX_SHOWN_CHARACTERS]
    if not equals:
        yield f"{shown!r} is not a valid rule. Write <resource>={shown}, or *={shown} for every resource"
    elif not _RESOURCE.fullmatch(resource):
        yield (
            f"{resource[:_MAX_SHOWN_CHARACTERS]!r} is not a valid resource. Write it as in an audit policy, in lower "
            "case and without its group: secrets, serviceaccounts/token, or * for every resource"
        )
    elif resource in earlier:
        yield f"{resource} has two rules. Write one rule with the parts of both, with commas between"
    elif parts != _NONE:
        for part in parts.split(","):
            if part not in PARTS:
                shown = part[:_MAX_SHOWN_CHARACTERS]
                yield f"{resource}: must be {_NONE}, or some of {', '.join(PARTS)}, not {shown!r}"


def _without_parts(event: Event, parts: tuple[str, ...]) -> Event:
    if not parts:
        return event
    raw = without(bytes(event.raw), parts, event.members, event.marks)
    return event if raw is None else Event(event.head, memoryview(raw))
