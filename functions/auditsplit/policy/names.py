"""Users, groups, verbs and namespaces in a rule that no request has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditsplit.policy.rules import Rule

_VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("connect", "head", "options", "post", "proxy", "put"),
)
_GROUPS = frozenset(
    (
        "system:authenticated",
        "system:unauthenticated",
        "system:masters",
        "system:nodes",
        "system:serviceaccounts",
        "system:bootstrappers",
        "system:monitoring",
    )
)
_USERS = frozenset(("system:anonymous", "system:kube-scheduler", "system:kube-controller-manager", "system:kube-proxy"))
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+")
_SERVICE_ACCOUNTS = "system:serviceaccounts:"
_GONE = "system:unsecured"


def names_problems(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the field of ``rule``, such as ``users[0]``, and what is wrong, for each name that no request has."""
    for index, user in enumerate(rule.users):
        if message := _user(user):
            yield f"users[{index}]", message
    for index, group in enumerate(rule.user_groups):
        if message := _group(group):
            yield f"userGroups[{index}]", message
    for index, verb in enumerate(rule.verbs):
        if verb not in _VERBS:
            yield f"verbs[{index}]", _verb(verb)
    for index, namespace in enumerate(rule.namespaces):
        if "*" in namespace:
            yield f"namespaces[{index}]", "namespaces have no wildcards. Remove the field to match every namespace"


def _user(user: str) -> str:
    if "*" in user:
        return "users have no wildcards. For service accounts of a namespace write userGroups with their group"
    if user in _GROUPS or user.startswith(_SERVICE_ACCOUNTS):
        return f"{user} is a group. Write it in userGroups"
    if user.startswith("system:serviceaccount:") and not _SERVICE_ACCOUNT.fullmatch(user):
        return "is not a valid service account. Write system:serviceaccount:<namespace>:<name>"
    if user == _GONE:
        return "no kube-apiserver since 1.24 has this user. Remove the rule"
    return ""


def _group(group: str) -> str:
    if "*" in group:
        return "groups have no wildcards"
    if group in _USERS or group.startswith("system:serviceaccount:"):
        return f"{group} is a user. Write it in users"
    return ""


def _verb(verb: str) -> str:
    if verb == "*":
        return "verbs have no wildcard. Remove the field to match every verb"
    lower = verb.lower()
    return f"{verb} is not a verb. Write {lower if lower in _VERBS else 'one of ' + ', '.join(_VERBS)}"
