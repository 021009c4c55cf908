"""What a policy does to events, kept by what it can see of them.

A batch has few kinds of requests: a user name, a verb, a kind of object. So nearly all events are decided by looking up
these three. Where a rule that may match asks for groups, the groups are looked up too. Where a rule that may match asks
for a name, a namespace of a create or an update, or a path, the URL and the name are looked at too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import TypeAlias, TypeVar, cast

import msgspec

from auditsplit.event import Event, Head, PolicyHead
from auditsplit.policy import attributes, urls
from auditsplit.policy.rules import LEVELS, Decision, GroupResources, Level, Policy, Request, Rule, evaluate, matches

V = TypeVar("V")
_MAX_KEPT = 10_000  # a user can send any number of different requests
_MAX_KEPT_CHARACTERS = 1000  # of what a user can choose in each
_ORDER: dict[str | None, int] = {level: order for order, level in enumerate(LEVELS)}
_UNKNOWN = _ORDER["RequestResponse"]  # an event without a known level may have bodies
_REQUEST = _ORDER["Request"]


class Action(msgspec.Struct, frozen=True, eq=False):
    """What is done to an event: lower it to ``level``, and remove managed fields. `KEEP` and `DROP` are the others."""

    level: Level
    omit_managed_fields: bool = False


KEEP = Action("RequestResponse")
"""The event stays as it is."""
DROP = Action("None")
"""The event is dropped."""


class _Outcome(msgspec.Struct, frozen=True, eq=False):
    """The actions that a decision means, by what the event shows."""

    omit_stages: frozenset[str]
    actions: dict[str | None, Action]
    """The actions by the level at which an event was recorded. That of an unknown level is under None."""

    def action(self, head: Head) -> Action:
        """Return the action for an event with this ``head``."""
        if self.omit_stages and head.stage in self.omit_stages:
            return DROP
        return self.actions.get(head.level) or self.actions[None]


class _Asks(Enum):
    """What a decision also depends on: the user's groups, the URL, or the object's name. The latter two need groups."""

    GROUPS = auto()
    URL = auto()
    NAME = auto()


_Known: TypeAlias = _Outcome | _Asks
_KEEPS = _Outcome(frozenset(), {None: KEEP})
"""The outcome of a decision that keeps every event as it is."""


class Decisions:
    """The actions of one policy. Any number of threads may use it at once."""

    def __init__(self, policy: Policy) -> None:
        """Keep the policy, and its rules without what the head of an event does not show."""
        self._policy = policy
        self._shown = {filled: [_shown(rule, filled=filled) for rule in policy.rules] for filled in (False, True)}
        self._of_any_group = {filled: list(map(_without_groups, rules)) for filled, rules in self._shown.items()}
        self._outcomes: dict[Decision, _Outcome] = {}
        self._by_name: dict[object, _Known] = {}
        self._by_groups: dict[object, _Known] = {}
        self._by_url: dict[object, _Outcome] = {}
        self._by_object: dict[object, _Outcome] = {}

    def actions(self, events: list[Event], heads: list[PolicyHead]) -> list[Action] | None:
        """Return what is done to each of ``events``, which have these ``heads``. None if all stay as they are.

        Raises `Undecodable` for an event whose fields are malformed.
        """
        seen = [(head.verb, head.user and head.user.username, head.objectRef) for head in heads]
        known = list(map(self._by_name.get, seen))
        for index in [index for index, found in enumerate(known) if type(found) is not _Outcome]:
            known[index] = self._outcome(events[index], heads[index], seen[index], known[index])
        if known.count(_KEEPS) == len(known):
            return None
        outcomes = cast("list[_Outcome]", known)
        return [
            KEEP if outcome is _KEEPS else outcome.action(head) for head, outcome in zip(heads, outcomes, strict=True)
        ]

    def _outcome(self, event: Event, head: PolicyHead, seen: object, known: _Known | None) -> _Outcome:
        """Return the outcome for an event whose verb, user name and kind of object are not known to decide."""
        if known is None:
            if not _is_short(head):
                return self._meant(evaluate(self._policy, attributes.request_of(event)))
            known = self._of_head(head, self._of_any_group) if head.user and head.user.username else _Asks.GROUPS
            _keep(self._by_name, seen, known)
        if known is _Asks.GROUPS:
            key = (head.verb, head.user, head.objectRef)
            known = self._by_groups.get(key)
            if known is None:
                known = self._of_head(head, self._shown)
                _keep(self._by_groups, key, known)
        if isinstance(known, _Outcome):
            return known
        return self._of_object(event, head) if known is _Asks.NAME else self._of_url(event, head)

    def _of_head(self, head: PolicyHead, shown: Mapping[bool, Sequence[Rule]]) -> _Known:
        """Return the outcome if the head alone makes it. Otherwise, what it depends on.

        Args:
            head: The head of an event.
            shown: The rules without some conditions. A rule that is the policy's own has all its conditions.
        """
        reference = head.objectRef
        if reference is None or not reference.resource:
            return _Asks.URL
        user, groups = (head.user.username, head.user.groups or ()) if head.user else (None, ())
        filled = head.verb in attributes.FILLED
        request = Request(
            user=user or ("" if groups else None),
            groups=groups,
            verb=head.verb or "",
            is_resource=True,
            api_group=reference.apiGroup or "",
            resource=reference.resource,
            subresource=reference.subresource or "",
            namespace="" if filled else reference.namespace or "",
        )
        for rule, seen in zip(self._policy.rules, shown[filled], strict=True):
            if matches(seen, request):
                if rule is not seen:
                    asks_groups = rule.user_groups and shown is self._of_any_group
                    return _Asks.GROUPS if asks_groups else _Asks.URL if filled else _Asks.NAME
                break
        return self._meant(evaluate(self._policy, request))

    def _of_url(self, event: Event, head: PolicyHead) -> _Outcome:
        """Return the outcome for a request of which the URL decides. It is kept if ``objectRef`` does not differ."""
        key = (head.verb, head.user, head.objectRef, head.requestURI)
        outcome = self._by_url.get(key)
        if outcome is None:
            outcome = self._meant(evaluate(self._policy, attributes.request_of(event)))
            reference, uri = head.objectRef, head.requestURI or ""
            agrees = reference is None or not reference.resource or attributes.agree(reference, urls.parse(uri))
            if agrees and len(uri) <= _MAX_KEPT_CHARACTERS:
                _keep(self._by_url, key, outcome)
        return outcome

    def _of_object(self, event: Event, head: PolicyHead) -> _Outcome:
        """Return the outcome for a request of which the object's name decides."""
        name = attributes.name_of(event)
        key = (head.verb, head.user, head.objectRef, name)
        outcome = self._by_object.get(key)
        if outcome is None:
            outcome = self._meant(evaluate(self._policy, attributes.request_of(event)))
            if len(name) <= _MAX_KEPT_CHARACTERS:
                _keep(self._by_object, key, outcome)
        return outcome

    def _meant(self, decision: Decision) -> _Outcome:
        """Return what a decision means. Equal decisions have the same outcome, of which a policy has few."""
        outcome = self._outcomes.get(decision)
        if outcome is None:
            outcome = self._outcomes[decision] = _outcome_of(decision)
        return outcome


def _is_short(head: PolicyHead) -> bool:
    """Return whether what a user can choose in the user name and in ``objectRef`` is short enough to be kept."""
    user, reference = head.user, head.objectRef
    chosen = [user and user.username]
    if reference is not None:
        chosen += [reference.namespace, reference.resource, reference.subresource, reference.apiGroup]
    return sum(len(text) for text in chosen if text) <= _MAX_KEPT_CHARACTERS


def _keep(kept: dict[object, V], key: object, value: V) -> None:
    if len(kept) >= _MAX_KEPT:
        kept.clear()
    kept[key] = value


def _shown(rule: Rule, *, filled: bool) -> Rule:
    """Return the rule without its conditions on names, and where ``filled`` on namespaces. The rule itself if none."""
    groups = tuple(GroupResources(group.group, group.resources) for group in rule.resources)
    namespaces = () if filled else rule.namespaces
    if groups == rule.resources and namespaces == rule.namespaces:
        return rule
    return Rule(
        level=rule.level,
        users=rule.users,
        user_groups=rule.user_groups,
        verbs=rule.verbs,
        resources=groups,
        namespaces=namespaces,
    )


def _without_groups(rule: Rule) -> Rule:
    """Return the rule without its condition on groups. The rule itself if it has none."""
    return msgspec.structs.replace(rule, user_groups=()) if rule.user_groups else rule


def _outcome_of(decision: Decision) -> _Outcome:
    """Return the actions for events that were recorded at any level."""
    if decision.level == "None":
        return _Outcome(frozenset(), {None: DROP})
    actions: dict[str | None, Action] = {level: _action_of(decision, order) for level, order in _ORDER.items()}
    actions[None] = _action_of(decision, _UNKNOWN)
    keeps = not decision.omit_stages and set(actions.values()) == {KEEP}
    return _KEEPS if keeps else _Outcome(decision.omit_stages, actions)


def _action_of(decision: Decision, recorded: int) -> Action:
    """Return the action for an event that was recorded at the level of this order."""
    level = _ORDER[decision.level]
    omits = decision.omit_managed_fields and recorded >= _REQUEST
    if recorded <= level and not omits:
        return KEEP
    return Action(LEVELS[min(recorded, level)], omits)
