"""The policy engine without Go: what holds for every policy and request, and where its problems are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import policies
from support.eventlists import PROPERTY

from auditsplit.event import NamedHead, NamedReference, PolicyUser, User
from auditsplit.policy import attributes, load, urls
from auditsplit.policy.profiles import PROFILES, profile
from auditsplit.policy.rules import Policy, Request, Rule, evaluate, matches

SEEDS = st.integers(0, 2**32)


def drawn(seed: int) -> tuple[Policy, Request]:
    """Return a policy and a request."""
    draw = random.Random(seed)  # noqa: S311 - the same for each seed
    loaded = load.load(policies.text(draw, policies.policy(draw)))
    assert loaded.policy is not None
    return loaded.policy, policies.request(draw)


@PROPERTY
@given(SEEDS)
def test_the_first_rule_that_matches_decides(seed: int) -> None:
    """No rule before it matches, and its level and stages are the decision's."""
    policy, request = drawn(seed)

    decision = evaluate(policy, request)

    matching = [index for index, rule in enumerate(policy.rules) if matches(rule, request)]
    assert decision.rule == (matching[0] if matching else None)
    assert decision.level == (policy.rules[matching[0]].level if matching else "None")
    assert decision.omit_stages >= set(policy.omit_stages)


@PROPERTY
@given(SEEDS)
def test_rules_after_a_rule_for_everything_change_nothing(seed: int) -> None:
    """A rule without conditions matches each request."""
    policy, request = drawn(seed)
    every = Rule(level="Metadata")

    assert evaluate(Policy((every, *policy.rules)), request).rule == 0
    assert evaluate(Policy((*policy.rules, every)), request).rule is not None


@PROPERTY
@given(SEEDS)
def test_a_rule_with_more_conditions_matches_less(seed: int) -> None:
    """Without its verbs, users and groups, a rule matches all that it matched before."""
    policy, request = drawn(seed)

    for rule in policy.rules:
        wider = Rule(
            level=rule.level,
            resources=rule.resources,
            namespaces=rule.namespaces,
            non_resource_urls=rule.non_resource_urls,
        )
        assert matches(wider, request) or not matches(rule, request)


@PROPERTY
@given(SEEDS)
def test_json_and_yaml_of_a_document_are_the_same_policy(seed: int) -> None:
    """Also with the document's fields in another order."""
    document = policies.policy(random.Random(seed))  # noqa: S311

    texts = [policies.text(random.Random(number), document) for number in range(8)]  # noqa: S311

    assert len({load.load(text).policy for text in texts}) == 1


@PROPERTY
@given(SEEDS, st.binary(max_size=20))
def test_any_bytes_give_a_policy_or_a_reason(seed: int, noise: bytes) -> None:
    """No file ends the program, and what is refused has a sentence."""
    draw = random.Random(seed)  # noqa: S311
    text = policies.damaged(draw, policies.text(draw, policies.changed(draw, policies.policy(draw))))
    cut = draw.randrange(len(text))

    loaded = load.load(text[:cut] + noise + text[cut:])

    assert (loaded.policy is None) == bool(loaded.refused)
    assert all(problem.message for problem in loaded.problems)


@pytest.mark.parametrize("name", PROFILES)
def test_our_profiles_have_no_problems(name: str) -> None:
    """Neither refusals nor warnings."""
    assert load.load(profile(name).encode()).problems == ()


POLICY = b"""\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, Received]
rules:
- level: metadata
  verb: [get]
- resources:
  - group: apps/v1
  nonResourceURLs: ["/a*b",
    healthz]
"""


def test_each_problem_has_its_path_its_line_and_its_column() -> None:
    """Paths are those of kube-apiserver's messages. A field that is missing is where its rule begins."""
    problems = load.load(POLICY).problems

    assert [(each.severity, each.path, each.line, each.column) for each in problems] == [
        ("warned", "rules[0].verb", 6, 3),
        ("refused", "omitStages[1]", 3, 31),
        ("refused", "rules[0].level", 5, 10),
        ("refused", "rules[1].level", 7, 3),
        ("refused", "rules[1].nonResourceURLs[0]", 9, 21),
        ("refused", "rules[1].nonResourceURLs[1]", 10, 5),
        ("refused", "rules[1].resources.group", 8, 12),
        ("refused", "rules[1].nonResourceURLs", 9, 20),
    ]
    assert problems[2].text("p.yaml") == (
        "p.yaml:5:10: rules[0].level: must be None, Metadata, Request or RequestResponse, not 'metadata'"
    )


def test_json_has_lines_and_columns_too() -> None:
    """Also where a tab indents it, and where JSON itself is malformed."""
    text = b'{"apiVersion":"audit.k8s.io/v1",\n\t"rules":[{"level":"None"},\n\t\t{"level":"all"}]}'

    [problem] = load.load(text).problems
    [malformed] = load.load(text[:-2]).problems

    assert (problem.path, problem.line, problem.column) == ("rules[1].level", 3, 12)
    assert (malformed.line, malformed.column) == (3, 18)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "apiVersion: not set. Write apiVersion: audit.k8s.io/v1"),
        (b"kind: Policy", "apiVersion: not set. Write apiVersion: audit.k8s.io/v1"),
        (b"apiVersion: audit.k8s.io/v1beta1", "apiVersion: must be audit.k8s.io/v1, not 'audit.k8s.io/v1beta1'"),
        (b"apiVersion: audit.k8s.io/v1\nkind: Event", "kind: must be Policy, not 'Event'"),
        (b"apiVersion: audit.k8s.io/v1\nrules: []", "rules: the policy has no rules. Write at least one"),
        (b"apiVersion: audit.k8s.io/v1\nrules: 1", "rules: must be a list, not the number 1"),
        (b"apiVersion: audit.k8s.io/v1\nrules:\n- level: None\n  verbs: [y]", "which is a boolean. Write it in quotes"),
        (b"a: &a [*a]", "the value of anchor &a contains itself"),
        (b"a: *b", "no anchor &b is before the alias *b"),
        (b"a: [b?c]", "between brackets, text with a question mark must be in quotes"),
        (b"a: b\n\xef\xbb\xbfc: d", "a byte order mark is not at the beginning of the file. Remove it"),
        (b"[" * 300, "more than 200 levels"),
        (b'{"a":' * 300, "more than 200 levels"),
        (b"a: .inf", ".inf is not a number that JSON has. Write it in quotes"),
        (b"- a", "must be a mapping with apiVersion: audit.k8s.io/v1"),
        (b"a: \xff", "not valid YAML"),
    ],
)
def test_a_refusal_tells_what_to_write_instead(text: bytes, reason: str) -> None:
    """The reason is a part of the line that is printed."""
    assert any(reason in problem.text("policy.yaml") for problem in load.load(text).refused)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))


def test_an_alias_bomb_is_refused() -> None:
    """It stands for 9 to the power of 19 values."""
    [problem] = load.load(BOMB.encode()).problems

    assert problem.message == "aliases make up nearly all of the document. Write the values out"


def head(**fields: object) -> NamedHead:
    """Return the head of an event of alice's."""
    user = PolicyUser(username="alice", groups=("dev",))
    return NamedHead(**{"user": user, **fields})  # type: ignore[arg-type]


def test_the_name_of_a_create_is_not_the_policys() -> None:
    """kube-apiserver fills objectRef.name, and objectRef.namespace, from the body after the policy was asked."""
    reference = NamedReference(resource="namespaces", name="a", namespace="b")
    created = head(verb="create", requestURI="/api/v1/namespaces", objectRef=reference)

    request = attributes.of(created)

    assert (request.resource, request.name, request.namespace) == ("namespaces", "", "")
    assert [difference.partition(" ")[0] for difference in attributes.differences(created)] == [
        "objectRef.name",
        "objectRef.namespace",
    ]


def test_the_name_of_a_subresources_create_is_the_policys() -> None:
    """It is in the URL. Without a URL it is that of objectRef."""
    reference = NamedReference(resource="pods", subresource="exec", name="a", namespace="b")

    for uri in ("/api/v1/namespaces/b/pods/a/exec?command=ls", None):
        request = attributes.of(head(verb="create", requestURI=uri, objectRef=reference))
        assert (request.subresource, request.name, request.namespace) == ("exec", "a", "b")


def test_an_event_without_objectref_is_for_the_resource_of_its_url() -> None:
    """And the event differs from what the policy saw."""
    listed = head(verb="list", requestURI="/apis/apps/v1/namespaces/a/deployments?limit=1")

    request = attributes.of(listed)

    assert (request.is_resource, request.api_group, request.resource) == (True, "apps", "deployments")
    assert list(attributes.differences(listed)) == ["objectRef is absent. The resource is that of requestURI"]


def test_where_url_and_objectref_differ_objectref_counts() -> None:
    """The sender then has other paths than kube-apiserver. The name of a create is still from the body."""
    reference = NamedReference(resource="projects", apiGroup="x.io", name="a")
    created = head(verb="create", requestURI="/oapi/v1/projects", objectRef=reference)

    request = attributes.of(created)

    assert (request.is_resource, request.api_group, request.resource, request.name) == (True, "x.io", "projects", "")
    assert "objectRef and requestURI name different resources. objectRef counts" in attributes.differences(created)


def test_the_policy_saw_the_authenticated_user_and_the_decoded_path() -> None:
    """Impersonation comes after the policy, and the event has the path escaped."""
    logs = head(verb="get", requestURI="/logs/a%20b?x", impersonatedUser=User(username="bob"))

    request = attributes.of(logs)

    assert (request.user, request.groups, request.path) == ("alice", ("dev",), "/logs/a b")
    assert len(list(attributes.differences(logs))) == 2


@pytest.mark.parametrize("user", [None, PolicyUser(), PolicyUser(username="")])
def test_where_authentication_failed_no_user_matches(user: PolicyUser | None) -> None:
    """Not even the empty name, as in kube-apiserver."""
    request = attributes.of(head(user=user, verb="get", requestURI="/"))

    assert request.user is None
    assert not matches(Rule(level="None", users=("",)), request)
    assert not matches(Rule(level="None", user_groups=("",)), request)


@PROPERTY
@given(st.text(st.sampled_from("/%2aF?é\udcff"), max_size=60))
def test_any_url_is_parsed(uri: str) -> None:
    """A resource request has a version and a resource in its path."""
    url = urls.parse(uri)

    assert not url.is_resource or url.path.strip("/").count("/") >= 2


@pytest.mark.parametrize("unit", ["/", "%", "%2F", "/a", "%ff", "?", "/api/v1/"])
def test_a_url_of_four_megabytes_is_parsed(unit: str) -> None:
    """Any user can send one as long as kube-apiserver accepts. Work that grows with its square would take hours."""
    url = urls.parse("/api/v1/namespaces/" + unit * (4_000_000 // len(unit)))

    assert url.is_resource
