"""The policy engine against kube-apiserver's own reader, validation, evaluator and URLs (``tests/policy/judge``)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import policies
from support.policies import judged, task

from auditsplit.event import NamedHead, NamedReference
from auditsplit.policy import attributes, load
from auditsplit.policy.profiles import PROFILES, profile
from auditsplit.policy.rules import Request, evaluate

JUDGE = "policy-judge"
PUBLISHED = Path(__file__).parents[1] / "data" / "policies"


def disagreement(text: bytes, requests: Sequence[Request], answer: Any) -> str:
    """Return where the engine and the answer of kube-apiserver's code differ. Empty where they agree."""
    loaded = load.load(text)
    if (loaded.policy is None) != bool(answer["refused"]):
        return f"refused: {answer['refused']!r}, {loaded.problems}"
    if loaded.policy is None:
        ours, theirs = {problem.path for problem in loaded.refused}, set(answer["paths"] or ())
        return f"paths: {theirs}, {ours}" if theirs and theirs != ours else ""
    if bool(loaded.warned) != bool(answer["warnings"]):
        return f"warnings: {answer['warnings']}, {loaded.warned}"
    for request, decision in zip(requests, answer["decisions"] or (), strict=True):
        decided = evaluate(loaded.policy, request)
        if (decided.level, sorted(decided.omit_stages), decided.omit_managed_fields) != tuple(decision.values()):
            return f"{request}: {decision}, {decided}"
    return ""


def agree(texts: Sequence[bytes], draw: random.Random, requests: int) -> list[Any]:
    """Compare the engine with kube-apiserver's code for each text and as many requests. Return the answers."""
    cases = [(text, [policies.request(draw) for _ in range(requests)]) for text in texts]
    answers = judged(JUDGE, [task(*case) for case in cases])
    differ = [
        f"{where}\n{text.decode(errors='replace')}"
        for (text, asked), answer in zip(cases, answers, strict=True)
        if (where := disagreement(text, asked, answer))
    ]
    assert not differ, "\n\n".join(differ[:3])
    return answers


def test_five_thousand_policies_decide_as_kube_apiserver_does() -> None:
    """Each policy for 20 requests: level, omitted stages and managed fields. Both written as JSON and as YAML."""
    draw = random.Random(16)  # noqa: S311 - the same policies each time
    answers = agree([policies.text(draw, policies.policy(draw)) for _ in range(5000)], draw, 20)

    decisions = [decision for answer in answers for decision in answer["decisions"]]
    assert len(decisions) == 100_000
    for level in ("None", "Metadata", "Request", "RequestResponse"):
        assert sum(decision["level"] == level for decision in decisions) > 5_000


def test_ten_thousand_changed_policies_are_refused_or_accepted_as_by_kube_apiserver() -> None:
    """Values of other types, names in another case, fields that are missing or too many; the paths are the same too."""
    draw = random.Random(17)  # noqa: S311
    documents = [policies.changed(draw, policies.policy(draw)) for _ in range(10_000)]
    answers = agree([policies.text(draw, document) for document in documents], draw, 2)

    refused = [answer for answer in answers if answer["refused"]]
    assert 2_000 < len(refused) < 9_000
    assert sum(bool(answer["paths"]) for answer in refused) > 500
    assert sum(bool(answer["warnings"]) for answer in answers) > 1_000


STRICTER = "found unexpected ':'"
"""The one kind of YAML that the engine refuses and kube-apiserver reads: ``[a:]``. See `auditsplit.policy.load`."""


def test_ten_thousand_damaged_files_are_read_as_by_kube_apiserver() -> None:
    """Characters that mean something in YAML, anywhere in the file."""
    draw = random.Random(18)  # noqa: S311
    damaged = [policies.damaged(draw, policies.text(draw, policies.policy(draw))) for _ in range(10_000)]
    texts = [text for text in damaged if not any(STRICTER in each.message for each in load.load(text).problems)]
    answers = agree(texts, draw, 1)

    assert len(texts) > 9_990
    assert sum(not answer["refused"] for answer in answers) > 1_000


RULES = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
ALIASES = "".join(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
CORNERS = [
    *(
        "",
        " \n",
        "{",
        "[]",
        "null",
        "1",
        "{}",
        "- a",
        "\ufeff{}",
        "a: b: c",
        "a: [",
        "\t",
        "k8s\x00",
        "%YAML 1.1\n---\n{}",
    ),
    f"{RULES}- &a {{level: None}}\n- *a\n- <<: *a\n  verbs: [get]\n- <<: [*a, {{level: Request, users: [alice]}}]\n",
    f"{RULES}- level: Metadata\n  <<: {{level: Request, verbs: [get]}}\n",
    f"{RULES}- <<: [1]\n",
    f"{RULES}- <<: a\n",
    f"{RULES}- '<<': {{level: None}}\n",
    f"{RULES}- &a [*a]\n",
    f"{RULES}- *a\n- &a {{level: None}}\n",
    f"{RULES}- level: None\nx: &a0 [1,1,1,1,1,1,1,1,1]\n{ALIASES}",
    f"{RULES}- level: None\n---\nkind: Other\n",
    f"---\n{RULES}- level: None\n...\n---\n[",
    f"---\n---\n{RULES}- level: None\n",
    f"{RULES}- level: None\n  level: Metadata\n  users: [a]\n  users: [b]\n",
    f"{RULES}- level: Metadata\n  verbs: [y, no, on, ~, 1, 1.0, 2001-01-01]\n",
    f"{RULES}- level: Metadata\n  verbs: [!!str y, !!str 1, ! 1, !x 1, !!binary Z2V0, 2001-01-01]\n",
    f"{RULES}- level: Metadata\n  verbs: [!!binary '%']\n",
    f"{RULES}- level: Metadata\n  verbs: [!!int get]\n",
    f"{RULES}- level: Metadata\n  users: [!!timestamp 2001-01-01]\n",
    f"{RULES}- level: Metadata\n  omitManagedFields: yes\n",
    f"{RULES}- level: Metadata\n  omitManagedFields: 'yes'\n",
    f"{RULES}- level: Metadata\n  omitManagedFields: !!bool 'yes'\n",
    f"{RULES}- level: Metadata\n  omitManagedFields: ~\n",
    f"{RULES}- level: Metadata\n  x: .inf\n",
    f"{RULES}- level: Metadata\n  x: .nan\n",
    f"{RULES}- level: Metadata\n  ~: 1\n",
    f"{RULES}- level: Metadata\n  [1]: 1\n",
    f"{RULES}- level: Metadata\n  1: 1\n  1.5: 1\n  yes: 1\n",
    f"{RULES}- level: Metadata\n  resources: [{{group: apps/v1}}, {{group: Apps}}, {{resourceNames: [a]}}]\n",
    f"{RULES}- level: Metadata\n  resources: [{{}}]\n  nonResourceURLs: [a, '', '/*/', '**', '*/']\n",
    f"{RULES}- level: Metadata\n  namespaces: ['']\n  nonResourceURLs: ['/']\n",
    f"{RULES}- level: Metadata\n  resources: [{{group: {'a.' * 126}aa}}, {{group: {'a.' * 126}a}}]\n",
    f"{RULES}- level: ''\n- level:\n- {{}}\n- \n- level: none\n",
    f"{RULES}- 1\n",
    f"{RULES}- [level, None]\n",
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {}\n",
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n",
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\nomitStages: [Panic, panic, '']\n",
    f"{RULES}- level: None\nmetadata: {{name: a, labels: {{a: b}}, creationTimestamp: 2026-11-23T10:00:00Z}}\n",
    f"{RULES}- level: None\nmetadata: {{name: a, labels: {{a: 1}}}}\n",
    f"{RULES}- level: None\nmetadata: {{creationTimestamp: null, generation: 1.0, finalizers: [a], x: 1}}\n",
    f"{RULES}- level: None\nmetadata: {{creationTimestamp: yesterday}}\n",
    f"{RULES}- level: None\nmetadata: {{generation: 9223372036854775808}}\n",
    f"{RULES}- level: None\nmetadata: {{ownerReferences: [{{controller: 1}}]}}\n",
    f"{RULES}- level: None\nmetadata: {{managedFields: [{{fieldsV1: [1, .5], time: '2026-11-23T10:00:00Z'}}]}}\n",
    *(
        f"apiVersion: {version}\nkind: {kind}\nrules:\n- level: None\n"
        for version in ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", "v1", "audit.k8s.io/", "a/b/c", "1", "''", "~")
        for kind in ("Policy", "PolicyList", "Event", "policy", "''", "~", "1")
    ),
    "kind: Policy\nrules:\n- level: None\n",
    "apiVersion: audit.k8s.io/v1\nrules:\n- level: None\n",
    "APIVERSION: audit.k8s.io/v1\nKIND: Policy\nrules:\n- level: None\n",
    "apiVersion: audit.k8s.io/v1\nAPIVERSION: v1\nKind: Event\nkind: Policy\nrules:\n- level: None\n",
    "apiVersion: audit.k8s.io/v1\napiversion: v1\nrules:\n- level: None\n",
    "apiVer\u017fion: audit.k8s.io/v1\n\u212aind: Policy\nrules:\n- level: None\n",
    '{"apiversion":"v1","apiVersion":"audit.k8s.io/v1","rules":[{"level":"None"}]}',
    '{"apiVersion":"audit.k8s.io/v1","apiversion":"v1","rules":[{"level":"None"}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","users":["a"]}],"rules":[{"verbs":["get"]}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","users":["a","b"],"users":["c"],"level":null}]}',
    '{"apiVersion":"audit.k8s.io/v1","omitManagedFields":true,"omitManagedFields":null,"rules":[{"level":"None"}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","users":["\\ud800","\\u00e9"]}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None"}]} ',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None"}]}{}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None"},]}',
    "{'apiVersion':'audit.k8s.io/v1','rules':[{'level':'None'}]}",
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","x":NaN}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","x":01}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None","x":1e999}]}',
    '{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"No\tne"}]}',
    '{"apiVersion":"audit.k8s.io/v1","metadata":{"labels":{"a":"b","a":null}},"rules":[{"level":"None"}]}',
    '\u00a0\n{"apiVersion":"audit.k8s.io/v1","rules":[{"level":"None"}]}',
]
"""What generated files do not have, or not often."""


def test_corners_of_json_and_yaml_are_read_as_by_kube_apiserver() -> None:
    """Aliases and merges, tags, several documents, duplicates, other kinds and versions, names in another case."""
    answers = agree([corner.encode() for corner in CORNERS], random.Random(19), 3)  # noqa: S311

    assert sum(not answer["refused"] for answer in answers) > 20


def test_aliases_up_to_the_limit_are_accepted_and_more_are_refused() -> None:
    """Go's limit is a share of the values, so that a small file never becomes a large document."""
    texts = [
        f"{RULES}- level: None\nx: &a [{', '.join('1' * size)}]\ny: &b [{', '.join(['*a'] * size)}]\n"
        f"z: [{', '.join(['*b'] * times)}]\n".encode()
        for size in (1, 9, 30, 40, 60)
        for times in (1, 5, 9, 10, 11, 12, 13, 20, 30, 60, 600)
    ]

    answers = agree(texts, random.Random(20), 0)  # noqa: S311

    assert {bool(answer["refused"]) for answer in answers} == {True, False}


@pytest.mark.parametrize("name", PROFILES)
def test_our_profiles_decide_as_in_kube_apiserver(name: str) -> None:
    """Each for 500 requests."""
    agree([profile(name).encode()], random.Random(21), 500)  # noqa: S311


URIS = [
    *(
        "/",
        "//",
        "/api",
        "/api/",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/healthz?verbose",
        "/a%20b%2Fc",
        "/%",
    ),
    *("/api/v1/pods", "/api/v1//pods", "/api/v1/pods/", "//api/v1/pods", "/API/v1/pods", "/api/v1/pods?watch=true"),
    *("/api/v1/namespaces", "/api/v1/namespaces/a", "/api/v1/namespaces/a/status", "/api/v1/namespaces/a/finalize"),
    *(
        "/api/v1/namespaces/a/pods",
        "/api/v1/namespaces/a/pods/b/exec?command=a",
        "/api/v1/namespaces/a/pods/b/proxy/c/d",
    ),
    *(
        "/api/v1/watch/pods",
        "/api/v1/watch/namespaces/a/pods/b",
        "/api/v1/proxy/pods/b/c",
        "/api/v1/watch",
        "/api/v1/proxy",
    ),
    *(
        "/apis/apps/v1/deployments/a%2Fb",
        "/apis/apps/v1/namespaces/%61/deployments",
        "/apis/a/b/c/d/e/f/g",
        "/%61pi/v1/pods",
    ),
    *(
        "/api/v1/pods?fieldSelector=metadata.name%3Da",
        "/api/v1/pods?fieldSelector=metadata.name=a,x=y",
        "/api/v1/pods?watch=0",
    ),
    *(
        "/api/v1/pods?limit=x&watch=1",
        "/a/\xff",
        "/a%ff",
        "/api/v1/namespaces//pods",
        "/api/v1/pods//log",
        "/apis//v1/pods",
    ),
]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
PARTS = (
    "api",
    "apis",
    "v1",
    "apps",
    "namespaces",
    "a",
    "pods",
    "status",
    "watch",
    "proxy",
    "exec",
    "",
    "%2F",
    "%20",
    "é",
)


FOUND = tuple(name for name in Request.__struct_fields__ if name not in ("user", "groups"))
"""What kube-apiserver finds in a URL."""


def printable(request: Request) -> dict[str, Any]:
    """Return the fields, with the replacement character for bytes that are not UTF-8, as the judge prints them."""
    fields = {name: getattr(request, name) for name in FOUND}
    return {
        name: value.encode(errors="surrogateescape").decode(errors="replace") if isinstance(value, str) else value
        for name, value in fields.items()
    }


def test_urls_are_parsed_as_by_kube_apiserver() -> None:
    """The URL of an event gives the request that the policy saw, for each method, with and without ``objectRef``."""
    draw = random.Random(22)  # noqa: S311
    uris = URIS + ["/" + "/".join(draw.choices(PARTS, k=draw.randint(1, 9))) for _ in range(3000)]
    asked = [{"method": method, "uri": uri} for uri in uris for method in METHODS]

    [answer] = judged(JUDGE, [{"urls": asked}])

    compared = 0
    for info in answer["infos"]:
        if info["failed"]:
            continue
        reference = NamedReference(
            namespace=info["namespace"],
            resource=info["resource"],
            subresource=info["subresource"],
            name=info["name"],
            apiGroup=info["api_group"],
        )
        head = NamedHead(
            verb=info["verb"], requestURI=info["uri"], objectRef=reference if info["is_resource"] else None
        )
        assert printable(attributes.of(head)) == {name: info[name] for name in FOUND}
        head.objectRef = None
        assert "?" in info["uri"] or printable(attributes.of(head)) == {name: info[name] for name in FOUND}
        compared += 1
    assert compared > 20_000


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.yaml")), ids=lambda path: path.stem)
def test_published_policies_decide_as_in_kube_apiserver(path: Path) -> None:
    """Policies as the installers describe them: for each rule, requests that it matches."""
    text = path.read_bytes()
    rules = yaml.safe_load(text)["rules"]
    asked = [request for each in rules for request in policies.requests_for(random.Random(23), each)]  # noqa: S311

    [answer] = judged(JUDGE, [task(text, asked)])

    assert not disagreement(text, asked, answer)
    assert len({decision["level"] for decision in answer["decisions"]}) > 1
