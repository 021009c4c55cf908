"""Redaction: which bodies are cut out of events before a store gets them, by resource.

The place to keep bodies out of an audit trail is the `policy
<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#audit-policy>`_; this is for those that it let through.
Without a word from the deployer (`DEFAULT`) they are cut where the Kubernetes API carries credentials: Secrets hold
them, the answer to a TokenRequest (``serviceaccounts/token``) is one, a TokenReview asks about one and repeats it. A
CertificateSigningRequest and its certificate are public, a ConfigMap is not for secrets: these stay.

What is missing, an annotation of the event says; see `excision`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from auditsplit.event import Event, ObjectReference
from auditsplit.policy.cut import BODIES, PARTS, without
from auditsplit.routing.template import WhichUser

DEFAULT: Mapping[str, tuple[str, ...]] = {
    "secrets": BODIES,
    "serviceaccounts/token": BODIES,
    "tokenreviews": BODIES,
}
"""The parts by resource, or by resource and subresource."""

_NONE, _EVERY = "none", "*"
_RESOURCE = re.compile(r"\*|[a-z0-9-]+(?:/[a-z0-9-]+)?", re.ASCII)


class Redaction:
    """The parts to cut by resource; the most exact rule for an event counts alone."""

    def __init__(self, rules: Mapping[str, tuple[str, ...]] = DEFAULT) -> None:
        """Take the rules: ``resource``, ``resource/subresource`` or ``*``, each with some of `PARTS`."""
        self._rules = rules
        self._of_unknown = tuple(part for part in PARTS if any(part in parts for parts in rules.values()))
        self._suspects = {resource.partition("/")[0] for resource, parts in rules.items() if parts}
        if self._suspects:
            self._suspects.add("")  # no resource

    def __str__(self) -> str:
        """Return it as ``AUDIT_DROP`` has it, defaults and all."""
        rules = [f"{resource}={','.join(parts) or _NONE}" for resource, parts in self._rules.items()]
        return " ".join(rules) or _NONE

    @classmethod
    def parse(cls, text: str) -> Redaction:
        """Return what ``AUDIT_DROP`` says; ``ValueError`` names every mistake in it, a line each.

        Rules such as ``secrets=requestObject,responseObject`` with spaces between, each in place of the default for
        its resource; ``none`` as the parts cuts nothing there, and as a word of its own leaves out the defaults.
        """
        words = text.split()
        given: dict[str, tuple[str, ...]] = {}
        mistakes: list[str] = []
        for word in words:
            if word == _NONE:
                continue
            resource, _, parts = word.partition("=")
            mistakes += _mistakes(word, given)
            given[resource] = tuple(part for part in PARTS if part in parts.split(","))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return cls({**({} if _NONE in words else DEFAULT), **given})

    @classmethod
    def from_option(cls, text: str, _: WhichUser, /) -> Redaction:
        """Return what the option ``drop`` of a sink's URL says: its rules alone, without the defaults."""
        return cls.parse(f"none {text}") if text else NOTHING

    def __bool__(self) -> bool:
        """Return whether anything is redacted."""
        return bool(self._suspects)

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events in their order, new ones in place of those that something is cut from."""
        if not self._suspects:
            return events
        if _EVERY in self._suspects:
            suspects = list(range(len(events)))
        else:
            watched = self._suspects
            suspects = [
                index
                for index, event in enumerate(events)
                if (reference := event.head.objectRef) is None or (reference.resource or "") in watched
            ]
        if not suspects:
            return events
        found = list(events)
        for index in suspects:
            found[index] = _redacted(found[index], self._parts(found[index].head.objectRef))
        return found

    def _parts(self, reference: ObjectReference | None) -> tuple[str, ...]:
        """Return what is cut of such an event; where no resource is named, whatever is cut anywhere.

        The group doesn't count: what calls itself ``secrets`` in another API is as secret.
        """
        if reference is None or not reference.resource:
            return self._of_unknown
        for name in (f"{reference.resource}/{reference.subresource}", reference.resource, _EVERY):
            if name in self._rules:
                return self._rules[name]
        return ()


def _mistakes(rule: str, given: Mapping[str, object]) -> Iterator[str]:
    resource, equals, parts = rule.partition("=")
    if not equals:
        yield f"{rule[:60]!r} is no rule; write <resource>={rule[:60]}, or *={rule[:60]} for every resource"
    elif not _RESOURCE.fullmatch(resource):
        yield (
            f"{resource[:60]!r} is no resource; write it as in an audit policy, lower-case and without its group: "
            "secrets, serviceaccounts/token, or * for every one"
        )
    elif resource in given:
        yield f"{resource} has two rules; write its parts into one, with commas between"
    elif parts != _NONE:
        for part in parts.split(","):
            if part not in PARTS:
                yield f"{resource}: {part[:60]!r} is none of {', '.join(PARTS)}, {_NONE}"


def _redacted(event: Event, parts: tuple[str, ...]) -> Event:
    if not parts:
        return event
    cut = without(bytes(event.raw), parts)
    return event if cut is None else Event(event.head, memoryview(cut))


NOTHING = Redaction({})
"""Redacts nothing."""
