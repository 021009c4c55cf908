"""Apply an audit policy to recorded events, as if kube-apiserver had had it.

A policy can only lower what kube-apiserver recorded. Level None and the stages that the policy omits drop the event.
Metadata and Request remove bodies. A level above the recorded level changes nothing.

A batch has few kinds of requests, so what the policy decides is kept by what it can see of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from auditsplit.event import Event, PolicyHead
from auditsplit.policy import attributes
from auditsplit.policy.lowering import lowered
from auditsplit.policy.rules import LEVELS, Decision, Policy, evaluate
from auditsplit.routing.fields import WhichUser

_MAX_KEPT = 10_000
_ORDER: dict[str | None, int] = {level: order for order, level in enumerate(LEVELS)}
_UNKNOWN = _ORDER["RequestResponse"]  # an event without a known level may have bodies
_NONE, _REQUEST = _ORDER["None"], _ORDER["Request"]


class AppliedPolicy:
    """A `Transform` that drops and lowers events by an audit policy."""

    OPTION_WORDS: ClassVar[str] = "the path of an audit policy"

    def __init__(self, policy: Policy, source: str = "", warnings: tuple[str, ...] = ()) -> None:
        """Keep the policy.

        Args:
            policy: The policy.
            source: What messages call it: the path of its file.
            warnings: What kube-apiserver would warn about when it reads the policy, in sentences.
        """
        self.policy, self.source, self.warnings = policy, source, warnings
        self._named = any(group.resource_names for rule in policy.rules for group in rule.resources)
        self._kept: dict[tuple[object, ...], Decision] = {}

    def __str__(self) -> str:
        """Return the name of the policy's source."""
        return self.source

    def __bool__(self) -> bool:
        """Return whether there is a policy, which `NO_POLICY` is not."""
        return bool(self.policy.rules)

    @classmethod
    def parse(cls, text: str) -> AppliedPolicy:
        """Return the policy that ``AUDIT_POLICY`` names. `NO_POLICY` if the setting is empty.

        Args:
            text: The path of a file, or the policy itself if it begins with ``{`` or has several lines.

        Raises:
            ValueError: The policy cannot be read, or kube-apiserver would refuse it. Each problem has a line.
        """
        if not text:
            return NO_POLICY
        from auditsplit.policy.load import load  # noqa: PLC0415 - YAML slows a cold start, and most have no policy

        inline = text.startswith("{") or "\n" in text
        source = "the policy" if inline else text
        try:
            loaded = load(text.encode() if inline else Path(text).read_bytes())
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or error
            raise ValueError(
                f"{text}: {reason}. Write the path of an audit policy, or the policy itself over several lines"
            ) from None
        if loaded.policy is None:
            raise ValueError("\n".join(problem.text(source) for problem in loaded.refused))
        return cls(loaded.policy, source, tuple(problem.text(source) for problem in loaded.warned))

    @classmethod
    def from_option(cls, text: str, user: WhichUser) -> AppliedPolicy:  # noqa: ARG003 - the signature of all option types
        """Return the policy that an option in a sink's URL names; see `parse`."""
        return cls.parse(text)

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events that stay, in their order, with new events in place of those that are lowered."""
        decide, lower = self._decided, self._lowered
        kept = []
        for event in events:
            head = event.head if isinstance(event.head, PolicyHead) else attributes.head_of(event)
            level, omit_stages, omit_managed_fields, _ = decide(head)
            most = _ORDER[level]
            if most == _NONE or head.stage in omit_stages:
                continue
            recorded = _ORDER.get(head.level, _UNKNOWN)
            if recorded > most or (omit_managed_fields and recorded >= _REQUEST):
                kept.append(lower(event, head, min(recorded, most), omit_managed_fields=omit_managed_fields))
            else:
                kept.append(event)
        return kept

    def _decided(self, head: PolicyHead) -> Decision:
        """Return what the policy decides for the request of an event."""
        user, reference, verb = head.user, head.objectRef, head.verb
        if reference is None or not reference.resource or verb in attributes.FILLED:
            where: object = (head.requestURI, reference and reference.name)
        else:
            where = reference.name if self._named else None
        seen = (
            verb,
            where,
            *(
                (reference.resource, reference.subresource, reference.namespace, reference.apiGroup)
                if reference
                else ()
            ),
            *((user.username, user.groups) if user else ()),
        )
        decision = self._kept.get(seen)
        if decision is None:
            decision = evaluate(self.policy, attributes.of(head))
            if len(self._kept) >= _MAX_KEPT:  # a user can send any number of different requests
                self._kept.clear()
            self._kept[seen] = decision
        return decision

    def _lowered(self, event: Event, head: PolicyHead, order: int, *, omit_managed_fields: bool) -> Event:
        level = LEVELS[order]
        raw = memoryview(lowered(event, head, level, omit_managed_fields=omit_managed_fields))
        return Event(head if level == "RequestResponse" else lowered_head(head, level), raw)


def lowered_head(head: PolicyHead, level: str) -> PolicyHead:
    """Return the head with another level, and without the bodies."""
    return PolicyHead(
        kind=head.kind,
        apiVersion=head.apiVersion,
        level=level,
        stage=head.stage,
        verb=head.verb,
        user=head.user,
        impersonatedUser=head.impersonatedUser,
        objectRef=head.objectRef,
        requestReceivedTimestamp=head.requestReceivedTimestamp,
        stageTimestamp=head.stageTimestamp,
        annotations=head.annotations,
        requestURI=head.requestURI,
    )


NO_POLICY = AppliedPolicy(Policy(()))
"""No policy: nothing is dropped or lowered."""
