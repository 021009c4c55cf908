"""What is probably a mistake in a policy that kube-apiserver accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from auditsplit.policy import builtin, coverage
from auditsplit.policy.names import names_problems
from auditsplit.policy.problems import Problem
from auditsplit.policy.reader.nodes import Position
from auditsplit.policy.rules import LEVELS, GroupResources, Level, Policy, Rule

_SENDING = frozenset(("create", "update", "patch"))
_WRITES = ("create", "update", "patch", "delete", "deletecollection")


class _Found(NamedTuple):
    path: str
    message: str


class Sensitive(NamedTuple):
    """A resource whose bodies hold credentials or settings."""

    group: str
    resource: str
    why: str

    @property
    def target(self) -> Rule:
        """A rule that matches the requests for the resource."""
        return Rule(level="None", resources=(GroupResources(self.group, (self.resource,)),))


SENSITIVE = (
    Sensitive("", "secrets", "their bodies are credentials"),
    Sensitive("", "configmaps", "their bodies often hold credentials"),
    Sensitive("", "serviceaccounts/token", "the response is a token"),
    Sensitive("authentication.k8s.io", "tokenreviews", "the request is a token"),
)
"""What CIS Kubernetes Benchmark 3.2.2 names, and what Kubernetes' own reference profile keeps at Metadata."""


def lint(policy: Policy, positions: Mapping[str, Position]) -> list[Problem]:
    """Return what is probably a mistake in ``policy``, in the order of the file. ``positions`` has places by path."""
    checks: tuple[Callable[[Policy], Iterator[_Found]], ...] = (
        _shadowed,
        _sensitive,
        _catch_all,
        _groups,
        _subresources,
        _names,
    )
    problems = [_problem(found, positions) for check in checks for found in check(policy)]
    return sorted(problems, key=lambda problem: (problem.line or 10**9, problem.column))


def cis(policy: Policy, positions: Mapping[str, Position]) -> list[Problem]:
    """Return where ``policy`` falls short of CIS Kubernetes Benchmark 3.2.2."""
    return [_problem(found, positions) for found in _cis(policy)]


def _problem(found: _Found, positions: Mapping[str, Position]) -> Problem:
    path = found.path
    while path and path not in positions:
        path = path.rpartition("." if path.rfind(".") > path.rfind("[") else "[")[0]
    return Problem.at(positions.get(path, Position()), found.path, found.message, "suspect")


def _shadowed(policy: Policy) -> Iterator[_Found]:
    for index, rule in enumerate(policy.rules):
        for before, earlier in enumerate(policy.rules[:index]):
            if coverage.covers(earlier, rule):
                yield _Found(
                    f"rules[{index}]",
                    f"never decides, because rules[{before}] matches all of its requests before. Move it before "
                    f"rules[{before}], or remove it",
                )
                break


def _sensitive(policy: Policy) -> Iterator[_Found]:
    for each in SENSITIVE:
        for index, rule in coverage.reached(policy, each.target):
            if rule is not None and _records_bodies(rule):
                yield _Found(
                    f"rules[{index}].level",
                    f"records {each.resource} at {rule.level}, but {each.why}. Write a rule with level: Metadata for "
                    f"{_written(each.group, each.resource)} before it",
                )


def _records_bodies(rule: Rule) -> bool:
    """Return whether an object can be recorded. At Request, only a request that sends an object has one."""
    if rule.level == "Request":
        return not rule.verbs or not _SENDING.isdisjoint(rule.verbs)
    return rule.level == "RequestResponse"


def _catch_all(policy: Policy) -> Iterator[_Found]:
    if not any(coverage.is_for_all(rule) for rule in policy.rules):
        yield _Found(
            f"rules[{len(policy.rules) - 1}]",
            "no rule matches all that is left, so those requests are not recorded. Write '- level: Metadata' as the "
            "last rule, or '- level: None' if that is meant",
        )


def _groups(policy: Policy) -> Iterator[_Found]:
    for path, group in _group_resources(policy):
        for number, pattern in enumerate(group.resources):
            resource = pattern.partition("/")[0]
            groups = builtin.groups_of(resource)
            if groups and group.group not in ("*", *groups) and group.group in builtin.RESOURCES:
                named = "the core group" if not group.group else group.group
                yield _Found(
                    f"{path}.resources[{number}]",
                    f"{named} has no {resource}, so this matches nothing. Write group: {_choice(groups)}",
                )


def _subresources(policy: Policy) -> Iterator[_Found]:
    """Yield rules on a resource alone, where nothing in the policy names one of its subresources.

    A rule of level None is left alone: to match the subresources too would hide more.
    """
    silent = tuple(f"rules[{index}]." for index, rule in enumerate(policy.rules) if rule.level == "None")
    named = [pattern for _, group in _group_resources(policy) for pattern in group.resources]
    for path, group in _group_resources(policy):
        for number, pattern in enumerate(group.resources):
            subresources = builtin.RESOURCES.get(group.group, {}).get(pattern, ())
            loud = [each for each in subresources if each not in ("status", "binding", "finalize")]
            if path.startswith(silent):
                continue
            if loud and not any(_names_subresource(each, pattern, subresources) for each in named):
                examples = " or ".join(f"{pattern}/{each}" for each in loud[:3])
                yield _Found(
                    f"{path}.resources[{number}]",
                    f"does not match {examples}, which no other rule names. Write {pattern}/* to match them too, or a "
                    "rule of their own",
                )


def _names_subresource(pattern: str, resource: str, subresources: tuple[str, ...]) -> bool:
    owner, _, subresource = pattern.partition("/")
    return pattern == "*" or (owner in ("*", resource) and (subresource == "*" or subresource in subresources))


def _names(policy: Policy) -> Iterator[_Found]:
    for index, rule in enumerate(policy.rules):
        for field, message in names_problems(rule):
            yield _Found(f"rules[{index}].{field}", message)


def _cis(policy: Policy) -> Iterator[_Found]:
    for each in SENSITIVE:
        yield from _levels(policy, each.target, "Metadata", "Metadata", each.resource)
    for group, resource in (("", "pods"), ("apps", "deployments")):
        changes = Rule(level="None", verbs=_WRITES, resources=(GroupResources(group, (resource,)),))
        yield from _levels(policy, changes, "Metadata", "RequestResponse", f"changes of {resource}")
    for resource in ("pods/exec", "pods/portforward", "pods/proxy", "services/proxy"):
        use = Rule(level="None", resources=(GroupResources("", (resource,)),))
        yield from _levels(policy, use, "Metadata", "RequestResponse", resource)


def _levels(policy: Policy, target: Rule, least: Level, most: Level, what: str) -> Iterator[_Found]:
    """Yield the rules that decide requests of ``target`` below the level ``least`` or above ``most``."""
    for index, rule in coverage.reached(policy, target):
        level: Level = rule.level if rule else "None"
        if LEVELS.index(level) < LEVELS.index(least) or LEVELS.index(level) > LEVELS.index(most):
            expected = least if least == most else f"{least} or above"
            path = "rules" if index is None else f"rules[{index}].level"
            by = "no rule matches" if index is None else f"this rule records at {level}"
            yield _Found(path, f"CIS 3.2.2: {what}: {by} some of these requests. Expected {expected}")


def _group_resources(policy: Policy) -> Iterator[tuple[str, GroupResources]]:
    for index, rule in enumerate(policy.rules):
        for number, group in enumerate(rule.resources):
            yield f"rules[{index}].resources[{number}]", group


def _written(group: str, resource: str) -> str:
    return f"{resource} of the group {group!r}"


def _choice(groups: list[str]) -> str:
    return " or ".join(group or '""' for group in groups)
