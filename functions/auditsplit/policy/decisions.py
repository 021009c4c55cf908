"""What a policy does to events, kept by what it can see of them.

A batch has few kinds of requests: a user, a verb, a kind of object. So nearly all events are decided by looking up what
their head has. Only where a rule that may match asks for a name, a namespace of a create or an update, or a path, the
URL and the name are looked at too.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TypeVar, cast

import msgspec

from auditsplit.event import Event, PolicyHead
from auditsplit.policy import attributes, urls
from auditsplit.policy.rules import LEVELS, Decision, GroupResources, Level, Policy, Request, Rule, evaluate, matches

V = TypeVar("V")
_MAX_KEPT = 10_000  # a user can send any number of different requests
_MAX_KEPT_CHARACTERS = 1000  # of what a user can choose in each
_ORDER: dict[str | None, int] = {level: order for order, level in enumerate(LEVELS)}
_UNKNOWN = _ORDER["RequestResponse"]  # an event without a known level may have bodies
_REQUEST = _ORDER["Request"]
_SEEN = attrgetter("level", "stage", "verb", "user", "objectRef")


class Action(msgspec.Struct, frozen=True, eq=False):
    """What is done to an event: lower it to ``level``, and remove managed fields. `KEEP` and `DROP` are the others."""

    level: Level
    omit_managed_fields: bool = False


KEEP = Action("RequestResponse")
"""The event stays as it is."""
DROP = Action("None")
"""The event is dropped."""


class Decisions:
    """The actions of one policy. Any number of threads may use it at once."""

    def __init__(self, policy: Policy) -> None:
        """Keep the policy, and its rules without what the head of an event does not show."""
        self._policy = policy
        self._shown = {filled: [_shown(rule, filled=filled) for rule in policy.rules] for filled in (False, True)}
        self._actions: dict[object, Action] = {}
        self._undecided: dict[object, object] = {}
        self._closer: dict[object, Decision] = {}

    def actions(self, events: list[Event]) -> list[Action]:
        """Return what is done to each event, of which each has a `PolicyHead`.

        Raises `Undecodable` for an event whose fields are malformed.
        """
        seen = list(map(_SEEN, [event.head for event in events]))
        found = list(map(self._actions.get, seen))
        if all(found):
            return cast("list[Action]", found)
        return [action or self._action(event, key) for event, key, action in zip(events, seen, found, strict=True)]

    def _action(self, event: Event, seen: object) -> Action:
        """Return the action for an event whose head alone is not known to decide."""
        head = cast("PolicyHead", event.head)
        if not _is_short(head):
            return _action_of(evaluate(self._policy, attributes.request_of(event)), head)
        if seen not in self._undecided:
            decision = self._by_head(head)
            if decision is not None:
                action = _action_of(decision, head)
                _keep(self._actions, seen, action)
                return action
            _keep(self._undecided, seen, seen)
        return _action_of(self._by_request(event, head), head)

    def _by_head(self, head: PolicyHead) -> Decision | None:
        """Return the decision if the head alone makes it."""
        reference = head.objectRef
        if reference is None or not reference.resource:
            return None
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
        for rule, shown in zip(self._policy.rules, self._shown[filled], strict=True):
            if matches(shown, request):
                return evaluate(self._policy, request) if rule is shown else None
        return evaluate(self._policy, request)

    def _by_request(self, event: Event, head: PolicyHead) -> Decision:
        """Return the decision about the whole request. It is kept if a key has all that the decision needs."""
        reference, uri = head.objectRef, head.requestURI
        filled = head.verb in attributes.FILLED
        referred = reference is not None and bool(reference.resource)
        name = attributes.name_of(event) if referred and not filled else None
        key = (head.verb, head.user, reference, name, uri if name is None else None)
        decision = self._closer.get(key)
        if decision is None:
            decision = evaluate(self._policy, attributes.request_of(event))
            complete = reference is None or not (referred and filled)
            if reference is not None and not complete:
                complete = attributes.agree(reference, urls.parse(uri or ""))
            if complete and len(name or "") <= _MAX_KEPT_CHARACTERS:
                _keep(self._closer, key, decision)
        return decision


def _is_short(head: PolicyHead) -> bool:
    """Return whether what a user can choose in the fields of ``head`` is short enough to be kept."""
    user, reference = head.user, head.objectRef
    chosen = [head.requestURI, user and user.username]
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


def _action_of(decision: Decision, head: PolicyHead) -> Action:
    """Return what a decision means for an event that was recorded at its own level."""
    level, omit_stages, omit_managed_fields, _ = decision
    if level == "None" or head.stage in omit_stages:
        return DROP
    recorded = _ORDER.get(head.level, _UNKNOWN)
    omits = omit_managed_fields and recorded >= _REQUEST
    if recorded <= _ORDER[level] and not omits:
        return KEEP
    return Action(LEVELS[min(recorded, _ORDER[level])], omits)
