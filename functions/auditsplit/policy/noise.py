"""What a recording has most of, and rules that leave it out.

A rule is proposed only for what the cluster's own components do, which no inquiry asks for: leases, Events, the status
that nodes report, and reads. Nothing is proposed for people, for anonymous requests, for secrets, or for rights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from auditsplit.policy import coverage
from auditsplit.policy.explanation import Explained
from auditsplit.policy.lint import SENSITIVE
from auditsplit.policy.rules import GroupResources, Request, Rule

_NODES = "system:nodes"
_NODE = "system:node:"
_SYSTEM_ACCOUNTS = "system:serviceaccounts:kube-system"
_SYSTEM_ACCOUNT = "system:serviceaccount:kube-system:"
_COMPONENTS = (
    "system:kube-controller-manager",
    "system:cloud-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "system:apiserver",
)
_READS = ("get", "list", "watch")
_HEARTBEATS = {("coordination.k8s.io", "leases", ""), ("", "events", ""), ("events.k8s.io", "events", "")}
_STATUS = {("", "nodes", "status"), ("", "pods", "status")}
_WAYS_IN = ("attach", "exec", "log", "portforward", "proxy")
"""Subresources that a GET of a WebSocket uses too. They are ways into pods and nodes, not reads of objects."""

_NEVER = ("rbac.authorization.k8s.io", "certificates.k8s.io", "admissionregistration.k8s.io")


class Proposal(NamedTuple):
    """A rule of level None, and what it leaves out of the recording."""

    rule: Rule
    events: int
    bytes: int


def proposals(every: Iterable[Explained], least_share: float = 0.01) -> list[Proposal]:
    """Return rules for what is noisiest among the recorded events, the most bytes first.

    Args:
        every: The events of a recording.
        least_share: The share of all bytes that a rule must leave out.
    """
    events: Counter[Rule] = Counter()
    sizes: Counter[Rule] = Counter()
    total = 0
    for each in every:
        total += len(each.event.raw) + 1
        rule = _rule(each.request)
        if rule is not None:
            events[rule] += 1
            sizes[rule] += len(each.event.raw) + 1
    found = [Proposal(rule, events[rule], size) for rule, size in sizes.most_common() if size >= least_share * total]
    return [each for each in found if not _touches_sensitive(each.rule)]


def _rule(request: Request) -> Rule | None:
    """Return the rule that leaves out such requests. None if they are worth recording."""
    who = _who(request)
    target = (request.api_group, request.resource, request.subresource)
    is_way_in = request.subresource.partition("/")[0] in _WAYS_IN
    if who is None or not request.is_resource or is_way_in or request.api_group in _NEVER:
        return None
    users, groups = who
    resources = (GroupResources(request.api_group, ("/".join(filter(None, target[1:])),)),)
    if target in _HEARTBEATS and request.verb != "delete":
        verbs: tuple[str, ...] = ("create", "get", "patch", "update")
    elif target in _STATUS and groups == (_NODES,):
        verbs = ("patch", "update")
    elif request.verb in _READS:
        verbs = _READS
    else:
        return None
    if request.verb not in verbs:
        return None
    return Rule(level="None", users=users, user_groups=groups, verbs=verbs, resources=resources)


def _who(request: Request) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the users and the groups of a component of the cluster. None for anybody else."""
    user = request.user or ""
    if user.startswith(_NODE) and _NODES in request.groups:
        return (), (_NODES,)
    if user in _COMPONENTS:
        return (user,), ()
    if user.startswith(_SYSTEM_ACCOUNT) and _SYSTEM_ACCOUNTS in request.groups:
        return (user,), ()
    return None


def _touches_sensitive(rule: Rule) -> bool:
    return any(coverage.overlaps(rule, each.target) for each in SENSITIVE)
