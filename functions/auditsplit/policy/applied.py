"""Apply an audit policy to recorded events, as if kube-apiserver had had it.

A policy can only lower what kube-apiserver recorded. Level None and the stages that the policy omits drop the event.
Metadata and Request remove bodies. A level above the recorded level changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

from auditsplit.event import Event, PolicyHead
from auditsplit.policy import attributes
from auditsplit.policy.decisions import DROP, KEEP, Decisions
from auditsplit.policy.lowering import lowered
from auditsplit.policy.rules import Policy
from auditsplit.routing.fields import WhichUser


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
        self._decisions = Decisions(policy)

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
        heads = [event.head for event in events]
        if set(map(type, heads)) - {PolicyHead}:
            events = [attributes.decoded(event, PolicyHead) for event in events]
            heads = [event.head for event in events]
        actions = self._decisions.actions(events, cast("list[PolicyHead]", heads))
        if actions is None:
            return events
        kept = []
        for event, action in zip(events, actions, strict=True):
            if action is KEEP:
                kept.append(event)
            elif action is not DROP:
                kept.append(lowered(event, action))
        return kept


NO_POLICY = AppliedPolicy(Policy(()))
"""No policy: nothing is dropped or lowered."""
