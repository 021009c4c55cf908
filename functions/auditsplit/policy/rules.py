"""Audit policies, and what a policy decides about a request.

`evaluate` decides as kube-apiserver 1.37 does (``k8s.io/apiserver/pkg/audit/policy``): the first rule that matches
counts. `auditsplit.policy.load` reads a policy from a file. `auditsplit.policy.attributes` finds the request in an
audit event.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

Level: TypeAlias = Literal["None", "Metadata", "Request", "RequestResponse"]

LEVELS: tuple[Level, ...] = ("None", "Metadata", "Request", "RequestResponse")
"""The levels, from the least that is recorded to the most."""

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
"""The stages of a request that a policy can omit, which are all stages."""

_EVERY = "*"


class GroupResources(msgspec.Struct, frozen=True):
    """Resources of an API group. The empty group is the core group, and ``*`` is every group."""

    group: str = ""
    resources: tuple[str, ...] = ()
    """Resources such as ``pods``, ``pods/log``, ``pods/*``, ``*/scale`` or ``*``. None means all of the group."""
    resource_names: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. A request matches if it matches every field that is not empty."""

    level: Level
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    """The empty namespace matches resources without a namespace."""
    non_resource_urls: tuple[str, ...] = ()
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool | None = None
    """None leaves it to the policy."""


class Policy(msgspec.Struct, frozen=True):
    """An audit policy, as ``audit.k8s.io/v1`` has it."""

    rules: tuple[Rule, ...]
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of a request that a policy can ask for."""

    user: str | None = None
    """The authenticated user. None where authentication failed, which no rule with users or groups matches."""
    groups: tuple[str, ...] = ()
    verb: str = ""
    is_resource: bool = False
    """Whether it is a request for an API resource. The five fields below are empty if it is not."""
    api_group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """The decoded path of the URL, without its query."""


class Decision(NamedTuple):
    """What is recorded of a request."""

    level: Level
    omit_stages: frozenset[str]
    """The stages of which no event is recorded: those of the policy and those of the rule."""
    omit_managed_fields: bool
    rule: int | None
    """The index of the rule that matched. None if no rule did, which means level None."""


def evaluate(policy: Policy, request: Request) -> Decision:
    """Return what ``policy`` records of ``request``. The first rule that matches counts."""
    for index, rule in enumerate(policy.rules):
        if matches(rule, request):
            managed = rule.omit_managed_fields
            return Decision(
                rule.level,
                frozenset(policy.omit_stages).union(rule.omit_stages),
                policy.omit_managed_fields if managed is None else managed,
                index,
            )
    return Decision("None", frozenset(policy.omit_stages), policy.omit_managed_fields, None)


def matches(rule: Rule, request: Request) -> bool:
    """Return whether ``request`` matches ``rule``."""
    if not _matches_user(rule, request) or (rule.verbs and request.verb not in rule.verbs):
        return False
    if rule.namespaces or rule.resources:
        return request.is_resource and _matches_resource(rule, request)
    if rule.non_resource_urls:
        return not request.is_resource and any(path_matches(request.path, url) for url in rule.non_resource_urls)
    return True


def _matches_user(rule: Rule, request: Request) -> bool:
    if (rule.users or rule.user_groups) and request.user is None:
        return False
    if rule.users and request.user not in rule.users:
        return False
    return not rule.user_groups or any(group in rule.user_groups for group in request.groups)


def path_matches(path: str, pattern: str) -> bool:
    """Return whether ``pattern``, one of a rule's ``nonResourceURLs``, matches ``path``."""
    return pattern in (_EVERY, path) or (pattern.endswith(_EVERY) and path.startswith(pattern.rstrip(_EVERY)))


def _matches_resource(rule: Rule, request: Request) -> bool:
    if rule.namespaces and request.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(group_matches(each, request) for each in rule.resources)


def group_matches(group: GroupResources, request: Request) -> bool:
    """Return whether ``request``, which is for a resource, is for one of ``group``."""
    if group.group not in (request.api_group, _EVERY):
        return False
    if not group.resources:
        return True
    if group.resource_names and request.name not in group.resource_names:
        return False
    return any(resource_matches(pattern, request.resource, request.subresource) for pattern in group.resources)


def resource_matches(pattern: str, resource: str, subresource: str) -> bool:
    """Return whether ``pattern``, such as ``pods``, ``pods/*``, ``*/scale`` or ``*``, matches a resource."""
    if pattern in (_EVERY, f"{resource}/{subresource}" if subresource else resource):
        return True
    if subresource and pattern == f"*/{subresource}":
        return True
    return pattern == f"{resource}/*"
