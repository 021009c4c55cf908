"""What the check of a policy finds: probable mistakes, each at its place, and nothing in a sound policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.policy import builtin, coverage, lint
from auditsplit.policy.load import load
from auditsplit.policy.profiles import PROFILES, profile
from auditsplit.policy.rules import GroupResources, Policy, Request, Rule, evaluate, matches

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
CATCH_ALL = "- level: Metadata\n"
SAFE = """\
- level: Metadata
  resources:
  - {group: "", resources: [secrets, configmaps, serviceaccounts/token]}
  - {group: authentication.k8s.io, resources: [tokenreviews]}
"""


def findings(rules: str) -> list[tuple[str, str]]:
    """Return path and message of each finding about a policy with these ``rules``."""
    loaded = load((HEAD + rules).encode())
    assert loaded.policy is not None, loaded.problems
    return [(problem.path, problem.message) for problem in lint.lint(loaded.policy, loaded.positions)]


@pytest.mark.parametrize(
    ("rules", "path", "words"),
    [
        (CATCH_ALL + "- {level: None, users: [alice]}\n", "rules[1]", "rules[0] matches all of its requests before"),
        (
            '- {level: None, resources: [{group: "", resources: ["pods/*"]}]}\n'
            '- {level: Metadata, users: [a], resources: [{group: "", resources: [pods, pods/log]}]}\n' + CATCH_ALL,
            "rules[1]",
            "never decides",
        ),
        ("- level: Request\n", "rules[0].level", "secrets at Request"),
        (SAFE.replace("secrets, ", "") + "- level: RequestResponse\n", "rules[1].level", "credentials"),
        ("- {level: Metadata, users: [alice]}\n", "rules[0]", "no rule matches all that is left"),
        (
            '- {level: Metadata, resources: [{group: "", resources: [pods/*, deployments]}]}\n' + CATCH_ALL,
            "rules[0].resources[0].resources[1]",
            "the core group has no deployments, so this matches nothing. Write group: apps",
        ),
        (
            '- {level: Metadata, resources: [{group: apps, resources: ["secrets"]}]}\n' + CATCH_ALL,
            "rules[0].resources[0].resources[0]",
            'Write group: ""',
        ),
        (
            '- {level: Request, resources: [{group: "", resources: [pods]}]}\n' + CATCH_ALL,
            "rules[0].resources[0].resources[0]",
            "does not match pods/attach or pods/ephemeralcontainers or pods/eviction",
        ),
        ("- {level: None, users: ['system:serviceaccount:x:*']}\n" + CATCH_ALL, "rules[0].users[0]", "no wildcards"),
        ("- {level: None, users: ['system:nodes']}\n" + CATCH_ALL, "rules[0].users[0]", "is a group"),
        ("- {level: None, users: ['system:serviceaccount:x']}\n" + CATCH_ALL, "rules[0].users[0]", "service account"),
        ("- {level: None, users: ['system:unsecured']}\n" + CATCH_ALL, "rules[0].users[0]", "since 1.24"),
        ("- {level: None, userGroups: ['system:anonymous']}\n" + CATCH_ALL, "rules[0].userGroups[0]", "is a user"),
        ("- {level: None, userGroups: ['a*']}\n" + CATCH_ALL, "rules[0].userGroups[0]", "no wildcards"),
        ("- {level: None, verbs: [GET]}\n" + CATCH_ALL, "rules[0].verbs[0]", "Write get"),
        ("- {level: None, verbs: ['*']}\n" + CATCH_ALL, "rules[0].verbs[0]", "no wildcard"),
        ("- {level: None, verbs: [read]}\n" + CATCH_ALL, "rules[0].verbs[0]", "Write one of get"),
        ("- {level: None, namespaces: ['kube-*']}\n" + CATCH_ALL, "rules[0].namespaces[0]", "no wildcards"),
    ],
)
def test_a_mistake_is_found_where_it_is(rules: str, path: str, words: str) -> None:
    """With what to write instead."""
    assert any(found == path and words in message for found, message in findings(rules)), findings(rules)


def test_a_rule_of_level_none_need_not_match_subresources() -> None:
    """Else the advice would be to record less, such as nodes/proxy. Policies of clouds have many such rules."""
    rules = '- {level: None, userGroups: ["system:nodes"], resources: [{group: "", resources: [nodes]}]}\n'

    assert findings(rules + CATCH_ALL) == []


@pytest.mark.parametrize(
    "rules",
    [
        CATCH_ALL,
        SAFE + "- level: RequestResponse\n",
        "- {level: Request, verbs: [get, list, watch]}\n" + CATCH_ALL,  # a read has no object in its request
        '- {level: None, resources: [{group: "", resources: [pods]}]}\n'
        '- {level: Request, resources: [{group: "", resources: [pods/exec]}]}\n' + CATCH_ALL,
        "- {level: None, resources: [{group: example.com, resources: [deployments]}]}\n" + CATCH_ALL,
        '- {level: None, users: ["system:serviceaccount:kube-system:x"], verbs: [connect, post]}\n' + CATCH_ALL,
        "- {level: None, nonResourceURLs: [/healthz*]}\n- {level: Metadata, nonResourceURLs: [/a]}\n- level: None\n",
    ],
)
def test_a_sound_policy_has_no_finding(rules: str) -> None:
    """Nor one that only looks odd."""
    assert findings(rules) == []


def test_the_recommended_profile_has_no_finding_and_fulfils_cis() -> None:
    """It is what we would start with."""
    loaded = load(profile("recommended").encode())
    assert loaded.policy is not None

    assert [*lint.lint(loaded.policy, loaded.positions), *lint.cis(loaded.policy, loaded.positions)] == []


def test_cis_is_not_fulfilled_by_a_policy_that_leaves_secrets_out() -> None:
    """Each missing part is named with the rule that decides it."""
    loaded = load((HEAD + '- {level: None, resources: [{group: "", resources: [secrets, pods/exec]}]}\n').encode())
    assert loaded.policy is not None

    found = {(each.path, each.message.split(": ")[1]) for each in lint.cis(loaded.policy, loaded.positions)}

    assert ("rules[0].level", "secrets") in found
    assert ("rules[0].level", "pods/exec") in found
    assert ("rules", "changes of deployments") in found


@pytest.mark.parametrize("resource", ["pods/exec", "pods/attach", "pods/portforward"])
def test_the_recommended_profile_records_ways_into_pods_at_request(resource: str) -> None:
    """And whatever comes without credentials. Detection rules ask for that level."""
    policy = load(profile("recommended").encode()).policy
    assert policy is not None
    name, _, subresource = resource.partition("/")
    into = Request(user="a", verb="create", is_resource=True, resource=name, subresource=subresource)
    anonymous = Request(user="system:anonymous", groups=("system:unauthenticated",), verb="get", path="/apis")

    assert evaluate(policy, into).level == evaluate(policy, anonymous).level == "Request"


def test_the_projects_profiles_are_read_to_their_places() -> None:
    """A finding has the line of the file."""
    for name in PROFILES:
        loaded = load(profile(name).encode())
        assert loaded.policy is not None
        assert all(problem.line for problem in lint.lint(loaded.policy, loaded.positions))


# Properties.

NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2).map(tuple)
PATTERNS = st.sampled_from(["*", "pods", "pods/log", "pods/*", "*/log", "*/scale", "nodes", "nodes/scale"])
GROUPS = st.builds(
    GroupResources,
    st.sampled_from(["", "apps", "*"]),
    st.lists(PATTERNS, min_size=1, max_size=2).map(tuple),
    NAMES,
) | st.builds(GroupResources, st.sampled_from(["", "apps", "*"]))
ON_RESOURCES = st.builds(
    Rule,
    level=st.just("Metadata"),
    users=NAMES,
    user_groups=NAMES,
    verbs=NAMES,
    resources=st.lists(GROUPS, max_size=2).map(tuple),
    namespaces=st.lists(st.sampled_from(["", "a", "b"]), max_size=2).map(tuple),
)
ON_URLS = st.builds(
    Rule,
    level=st.just("Metadata"),
    users=NAMES,
    verbs=NAMES,
    non_resource_urls=st.lists(st.sampled_from(["*", "/a", "/a*", "/ab", "/b*"]), min_size=1, max_size=2).map(tuple),
)
RULES = ON_RESOURCES | ON_URLS
REQUESTS = st.builds(
    Request,
    user=st.sampled_from(["a", "b", "c", "d", None]),
    groups=NAMES,
    verb=st.sampled_from(["a", "b", "d"]),
    is_resource=st.sampled_from([True]),
    api_group=st.sampled_from(["", "apps", "x"]),
    resource=st.sampled_from(["pods", "nodes", "x"]),
    subresource=st.sampled_from(["", "log", "scale"]),
    namespace=st.sampled_from(["", "a", "b", "d"]),
    name=st.sampled_from(["", "a", "b"]),
) | st.builds(
    Request,
    user=st.sampled_from(["a", "b", None]),
    groups=NAMES,
    verb=st.sampled_from(["a", "b", "d"]),
    path=st.sampled_from(["/a", "/ab", "/b", "/c"]),
)


@PROPERTY
@given(RULES, RULES, st.lists(REQUESTS, min_size=20, max_size=40))
def test_a_rule_that_covers_another_matches_all_of_it(rule: Rule, other: Rule, requests: list[Request]) -> None:
    """And rules that do not overlap share no request."""
    for request in requests:
        if coverage.covers(rule, other) and matches(other, request):
            assert matches(rule, request)
        if not coverage.overlaps(rule, other):
            assert not (matches(rule, request) and matches(other, request))


@PROPERTY
@given(st.lists(RULES, min_size=1, max_size=4), RULES, st.lists(REQUESTS, min_size=20, max_size=40))
def test_whatever_decides_is_among_the_rules_that_are_reached(
    rules: list[Rule], target: Rule, requests: list[Request]
) -> None:
    """For every request of the target."""
    policy = Policy(tuple(rules))
    reached = {index for index, _ in coverage.reached(policy, target)}

    for request in requests:
        if matches(target, request):
            assert evaluate(policy, request).rule in reached


def test_the_table_of_resources_has_each_group_once() -> None:
    """Events are in two groups, all else in one."""
    names = [resource for resources in builtin.RESOURCES.values() for resource in resources]

    assert {name for name in names if names.count(name) > 1} == {"events"}


def test_every_documented_policy_can_be_checked() -> None:
    """Those of the documentation, GCE, kOps, kubespray and OpenShift."""
    for path in (Path(__file__).parent / "data" / "policies").glob("*.yaml"):
        loaded = load(path.read_bytes())
        assert loaded.policy is not None
        assert all(problem.message for problem in lint.lint(loaded.policy, loaded.positions))
