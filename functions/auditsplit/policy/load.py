"""Read an audit policy from a file, as kube-apiserver 1.37 does when it starts.

A policy that kube-apiserver would refuse has problems of the severity ``refused``, and is not returned. What it accepts
with a warning in its log is a problem of the severity ``warned``. The judge of this module is
``k8s.io/apiserver/pkg/audit/policy``'s reader, which the tests run.

The differences are that these are refused here, with the place and what to write instead: nesting of more than 200
levels (Go: 10,000), a byte order mark at the beginning of a later line, text that ends in a colon between brackets
(``[a:]``), and Kubernetes' protobuf format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from auditsplit.policy.problems import Problem
from auditsplit.policy.reader import json_nodes, yaml_nodes
from auditsplit.policy.reader.nodes import Member, Node, Position, Refusal
from auditsplit.policy.reader.schema import POLICY, Decoder
from auditsplit.policy.rules import GroupResources, Policy, Rule
from auditsplit.policy.validation import validate

API_VERSION, KIND = "audit.k8s.io/v1", "Policy"

_TO_ASCII = str.maketrans({"\u017f": "s", "\u212a": "k"})  # the letters that Go's JSON folds to these


class Loaded(NamedTuple):
    """What a file holds."""

    policy: Policy | None
    """None if kube-apiserver would not start with the file."""
    problems: tuple[Problem, ...]
    positions: Mapping[str, Position]
    """Where each field is, by its path such as ``rules[0].resources[1].group``. Empty for the document."""

    @property
    def refused(self) -> tuple[Problem, ...]:
        """The problems that keep kube-apiserver from starting."""
        return tuple(problem for problem in self.problems if problem.severity == "refused")

    @property
    def warned(self) -> tuple[Problem, ...]:
        """The problems that kube-apiserver only warns about."""
        return tuple(problem for problem in self.problems if problem.severity == "warned")


def load(text: bytes) -> Loaded:
    """Return the policy in ``text``, which is JSON if it begins with ``{``, and YAML otherwise."""
    is_json = text.decode(errors="replace").lstrip().startswith("{")
    try:
        node = (json_nodes if is_json else yaml_nodes).parse(text)
    except Refusal as refusal:
        return Loaded(None, (Problem.at(refusal.position, "", refusal.reason),), {})
    if problems := list(_type_problems(node, in_order=is_json)):
        return Loaded(None, tuple(problems), {})
    decoder = Decoder(merges=is_json)
    document = decoder.decode(POLICY, node)
    problems = decoder.problems
    if any(problem.severity == "refused" for problem in problems):
        return Loaded(None, tuple(problems), decoder.positions)
    policy = _policy(document)
    refused = list(validate(policy, decoder.positions))
    if not refused and not policy.rules:
        position = decoder.positions.get("rules", node.position)
        refused.append(Problem.at(position, "rules", "the policy has no rules. Write at least one"))
    return Loaded(None if refused else policy, (*problems, *refused), decoder.positions)


def _type_problems(node: Node, *, in_order: bool) -> Iterator[Problem]:
    """Yield what is wrong with the type and the version of the document.

    kube-apiserver finds ``kind`` and ``apiVersion`` in any case here, and the last member counts: of JSON the last in
    the file, of YAML the last in the order of their names. A document without ``kind`` is a Policy.
    """
    found: dict[str, Member] = {}
    if isinstance(node.value, tuple):
        members = {member.name: member for member in node.value}.values()
        for member in node.value if in_order else sorted(members, key=lambda each: each.name.encode()):
            name = member.name.translate(_TO_ASCII).lower()
            if name in ("kind", "apiversion") and member.value.value is not None:
                found[name] = member
                if not isinstance(member.value.value, str):
                    yield _problem(member, f"must be {KIND if name == 'kind' else API_VERSION}")
                    return
    elif node.value is not None:
        yield Problem.at(node.position, "", f"must be a mapping with apiVersion: {API_VERSION}")
        return
    version, kind = found.get("apiversion"), found.get("kind")
    if version is None or version.value.value != API_VERSION:
        yield _wrong("apiVersion", version, API_VERSION, node)
    if kind is not None and kind.value.value not in ("", KIND):
        yield _wrong("kind", kind, KIND, node)


def _wrong(name: str, member: Member | None, expected: str, node: Node) -> Problem:
    if member is None:
        return Problem.at(node.position, name, f"not set. Write {name}: {expected}")
    return _problem(member, f"must be {expected}, not {str(member.value.value)[:60]!r}")


def _problem(member: Member, message: str) -> Problem:
    return Problem.at(member.value.position, member.name, message)


def _policy(document: Mapping[str, Any]) -> Policy:
    return Policy(tuple(map(_rule, document["rules"])), tuple(document["omitStages"]), document["omitManagedFields"])


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(
        level=rule["level"],
        users=tuple(rule["users"]),
        user_groups=tuple(rule["userGroups"]),
        verbs=tuple(rule["verbs"]),
        resources=tuple(
            GroupResources(group["group"], tuple(group["resources"]), tuple(group["resourceNames"]))
            for group in rule["resources"]
        ),
        namespaces=tuple(rule["namespaces"]),
        non_resource_urls=tuple(rule["nonResourceURLs"]),
        omit_stages=tuple(rule["omitStages"]),
        omit_managed_fields=rule["omitManagedFields"],
    )
