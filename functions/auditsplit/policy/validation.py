"""The API's validation of a policy, equal to ``k8s.io/apiserver/pkg/apis/audit/validation``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from auditsplit.policy.problems import Problem
from auditsplit.policy.reader.nodes import Position
from auditsplit.policy.rules import LEVELS, STAGES, GroupResources, Policy, Rule

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_MAX_SUBDOMAIN_BYTES = 253
_MAX_SHOWN_CHARACTERS = 60


class _Mistake(NamedTuple):
    path: str
    message: str
    place: str = ""
    """The path of the place in the file, where ``path`` is not exact."""


def validate(policy: Policy, positions: Mapping[str, Position]) -> Iterator[Problem]:
    """Yield the problems of ``policy`` in the order of kube-apiserver. ``positions`` has the places by path."""
    for mistake in _mistakes(policy):
        place = mistake.place or mistake.path
        while place not in positions and place:
            place = re.sub(r"(?:\.?[^.\[\]]*|\[\d+\])\Z", "", place)
        yield Problem.at(positions.get(place, Position()), mistake.path, mistake.message)


def _mistakes(policy: Policy) -> Iterator[_Mistake]:
    yield from _stages(policy.omit_stages, "omitStages")
    for index, rule in enumerate(policy.rules):
        yield from _rule(rule, f"rules[{index}]")


def _rule(rule: Rule, path: str) -> Iterator[_Mistake]:
    if rule.level not in LEVELS:
        came = f", not {_shown(rule.level)}" if rule.level else ". The rule has none"
        yield _Mistake(f"{path}.level", f"must be {_choice(LEVELS)}{came}")
    yield from _urls(rule.non_resource_urls, f"{path}.nonResourceURLs")
    for index, group in enumerate(rule.resources):
        yield from _group(group, f"{path}.resources", f"{path}.resources[{index}]")
    yield from _stages(rule.omit_stages, f"{path}.omitStages")
    if rule.non_resource_urls and (rule.resources or rule.namespaces):
        other = "resources" if rule.resources else "namespaces"
        yield _Mistake(
            f"{path}.nonResourceURLs",
            f"a rule cannot have both nonResourceURLs and {other}. Write a rule for each",
        )


def _urls(urls: Sequence[str], path: str) -> Iterator[_Mistake]:
    for index, url in enumerate(urls):
        at = f"{path}[{index}]"
        if url != "*" and not url.startswith("/"):
            yield _Mistake(at, f"must begin with /, or be * alone, not {_shown(url)}")
        if "*" in url[:-1]:
            yield _Mistake(at, f"* must be the last character, not as in {_shown(url)}")


def _group(group: GroupResources, path: str, place: str) -> Iterator[_Mistake]:
    """Yield the mistakes. kube-apiserver's ``path`` of them lacks the index in the list of resources."""
    name = group.group
    if name not in ("", "*"):
        if not _SUBDOMAIN.fullmatch(name):
            hint = f". Write {name.partition('/')[0]}, without the version" if "/" in name else ""
            message = f"must be the name of an API group in lower case, such as apps, not {_shown(name)}{hint}"
            yield _Mistake(f"{path}.group", message, f"{place}.group")
        elif len(name) > _MAX_SUBDOMAIN_BYTES:
            message = f"must have at most {_MAX_SUBDOMAIN_BYTES} characters, not {len(name)}"
            yield _Mistake(f"{path}.group", message, f"{place}.group")
    if group.resource_names and not group.resources:
        message = "resourceNames require at least one of resources"
        yield _Mistake(f"{path}.resourceNames", message, f"{place}.resourceNames")


def _stages(stages: Sequence[str], path: str) -> Iterator[_Mistake]:
    for index, stage in enumerate(stages):
        if stage not in STAGES:
            yield _Mistake(f"{path}[{index}]", f"must be {_choice(STAGES)}, not {_shown(stage)}")


def _choice(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(text: str) -> str:
    return repr(text[:_MAX_SHOWN_CHARACTERS])
