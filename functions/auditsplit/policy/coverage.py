"""Which requests a rule can match: whether a rule matches all that another one does, or anything of it.

A rule stands for the set of requests that it matches. The answers hold for all requests, not for examples: `covers` is
true only if every request of the other rule matches, and `overlaps` is false only if no request matches both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditsplit.policy.rules import GroupResources, Policy, Rule

_EVERY = "*"


def covers(rule: Rule, other: Rule) -> bool:
    """Return whether ``rule`` matches every request that ``other`` matches."""
    return (
        _all_of(rule.users, other.users)
        and _all_of(rule.user_groups, other.user_groups)
        and _all_of(rule.verbs, other.verbs)
        and _covers_target(rule, other)
    )


def overlaps(rule: Rule, other: Rule) -> bool:
    """Return whether a request can match both rules."""
    return (
        _any_of(rule.users, other.users)
        and _any_of(rule.verbs, other.verbs)
        and _any_of(rule.namespaces, other.namespaces)
        and _overlap_targets(rule, other)
    )


def reached(policy: Policy, target: Rule) -> Iterator[tuple[int | None, Rule | None]]:
    """Yield each rule that decides a request of ``target``, with its index.

    Yields None at the end where a request of ``target`` can match no rule. ``target`` is a rule of no level's own.
    """
    for index, rule in enumerate(policy.rules):
        if not overlaps(rule, target):
            continue
        if not any(covers(earlier, _both(rule, target)) for earlier in policy.rules[:index]):
            yield index, rule
        if covers(rule, target):
            return
    yield None, None


def is_for_all(rule: Rule) -> bool:
    """Return whether ``rule`` matches every request."""
    return covers(rule, Rule(level=rule.level))


def group_covers(group: GroupResources, other: GroupResources) -> bool:
    """Return whether ``group`` has all resources of ``other``."""
    if group.group not in (_EVERY, other.group):
        return False
    if not group.resources:
        return True
    if not _all_of(group.resource_names, other.resource_names):
        return False
    return bool(other.resources) and all(
        any(pattern_covers(pattern, each) for pattern in group.resources) for each in other.resources
    )


def pattern_covers(pattern: str, other: str) -> bool:
    """Return whether the resources of ``pattern`` are those of ``other``, or more."""
    if pattern in (_EVERY, other):
        return True
    resource, _, subresource = other.partition("/")
    if pattern.startswith("*/"):
        return subresource == pattern.removeprefix("*/")
    return pattern == f"{resource}/*"


def _both(rule: Rule, target: Rule) -> Rule:
    """Return a rule that matches what both match, or more."""
    return Rule(
        level=rule.level,
        users=_shared(rule.users, target.users),
        user_groups=rule.user_groups or target.user_groups,
        verbs=_shared(rule.verbs, target.verbs),
        resources=target.resources or rule.resources,
        namespaces=_shared(rule.namespaces, target.namespaces),
        non_resource_urls=target.non_resource_urls or rule.non_resource_urls,
    )


def _shared(some: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    if not some or not others:
        return tuple(some or others)
    return tuple(value for value in some if value in others)


def _all_of(some: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether a field with ``some`` accepts all values that a field with ``others`` does. Empty is any value."""
    return not some or (bool(others) and set(others) <= set(some))


def _any_of(some: Sequence[str], others: Sequence[str]) -> bool:
    return not some or not others or not set(some).isdisjoint(others)


def _covers_target(rule: Rule, other: Rule) -> bool:
    """Return whether the resources or URLs of ``rule`` are all those of ``other``."""
    if rule.non_resource_urls:
        return bool(other.non_resource_urls) and all(
            any(_url_covers(url, each) for url in rule.non_resource_urls) for each in other.non_resource_urls
        )
    if not rule.resources and not rule.namespaces:
        return True
    if not other.resources and not other.namespaces:
        return False
    if not _all_of(rule.namespaces, other.namespaces):
        return False
    return not rule.resources or (
        bool(other.resources)
        and all(any(group_covers(group, each) for group in rule.resources) for each in other.resources)
    )


def _overlap_targets(rule: Rule, other: Rule) -> bool:
    for one, two in ((rule, other), (other, rule)):
        if one.non_resource_urls and (two.resources or two.namespaces):
            return False
    if rule.non_resource_urls and other.non_resource_urls:
        return any(
            _url_covers(url, each) or _url_covers(each, url)
            for url in rule.non_resource_urls
            for each in other.non_resource_urls
        )
    if rule.resources and other.resources:
        return any(_groups_overlap(group, each) for group in rule.resources for each in other.resources)
    return True


def _groups_overlap(group: GroupResources, other: GroupResources) -> bool:
    if _EVERY not in (group.group, other.group) and group.group != other.group:
        return False
    if not _any_of(group.resource_names, other.resource_names):
        return False
    if not group.resources or not other.resources:
        return True
    return any(_patterns_overlap(pattern, each) for pattern in group.resources for each in other.resources)


def _patterns_overlap(pattern: str, other: str) -> bool:
    if pattern_covers(pattern, other) or pattern_covers(other, pattern):
        return True
    subresource = {text.partition("/")[2] for text in (pattern, other) if text.startswith("*/")}
    return bool(subresource) and any(text.endswith("/*") for text in (pattern, other))


def _url_covers(url: str, other: str) -> bool:
    if url in (_EVERY, other):
        return True
    return url.endswith(_EVERY) and other.startswith(url.rstrip(_EVERY)) and other != _EVERY
