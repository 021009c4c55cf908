"""A policy that is applied to events: what stays of them, byte for byte, and what every part of the product tells."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import policies
from support.eventlists import HOSTILE, PROPERTY, event, eventlist, items

from auditsplit.decode import eventlines
from auditsplit.decode.eventlist import decode
from auditsplit.event import Event, Head, PolicyHead
from auditsplit.policy import Transform, attributes
from auditsplit.policy.applied import NO_POLICY, AppliedPolicy
from auditsplit.policy.redaction import Redaction
from auditsplit.policy.rules import LEVELS, GroupResources, Policy, Rule, evaluate

ORDER: dict[str, int] = {level: order for order, level in enumerate(LEVELS)}
BODY = {"kind": "Pod", "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {"a": 1}}
PATCH = "patch.webhook.admission.k8s.io/round_0_index_0"
MUTATION = "mutation.webhook.admission.k8s.io/round_0_index_0"
DECISION = "authorization.k8s.io/decision"


def every(level: Any, **more: Any) -> AppliedPolicy:
    """Return a policy with one rule, for all requests."""
    return AppliedPolicy(Policy((Rule(level=level, **more),)))


def recorded(level: str = "RequestResponse", **fields: Any) -> bytes:
    """Return an event with the bodies that this level has, laid out as Go does."""
    bodies = {"requestObject": BODY, "responseObject": BODY}
    has = {"Request": ("requestObject",), "RequestResponse": ("requestObject", "responseObject")}.get(level, ())
    document = json.loads(event("alice", level=level))
    times = {name: document.pop(name) for name in ("requestReceivedTimestamp", "stageTimestamp")}
    annotations = fields.pop("annotations", {DECISION: "allow"})
    more = {"annotations": annotations} if annotations else {}
    document |= fields | {name: bodies[name] for name in has} | times | more
    return json.dumps(document, separators=(",", ":")).encode()


def read(*some: bytes, heads: Any = PolicyHead) -> list[Event]:
    """Return the events of a list."""
    return decode(eventlist(some), heads=heads).events


def left(item: bytes, policy: AppliedPolicy) -> bytes | None:
    """Return what is left of an item. It is the same whether decoding knew of the policy or not."""
    results = [policy.apply(read(item, heads=heads)) for heads in (PolicyHead, Head)]
    known, unknown = ([bytes(each.raw) for each in events] for events in results)
    assert known == unknown
    return known[0] if known else None


@pytest.mark.parametrize("was", LEVELS[1:])
@pytest.mark.parametrize("level", LEVELS)
def test_an_event_is_as_if_recorded_at_the_lower_of_both_levels(was: str, level: str) -> None:
    """Byte for byte. A policy never raises a level, and None drops the event."""
    lower = min(was, level, key=lambda each: ORDER[each])

    assert left(recorded(was), every(level)) == (None if lower == "None" else recorded(lower))


@pytest.mark.parametrize("spaced", [b'{"level": "RequestResponse"', b'{"level":"RequestResponse" '])
def test_another_layout_is_lowered_too(spaced: bytes) -> None:
    """All other bytes stay, white space among them."""
    item = recorded().replace(b'{"level":"RequestResponse"', spaced)

    expected = recorded("Metadata").replace(b'{"level":"Metadata"', spaced.replace(b"RequestResponse", b"Metadata"))
    assert left(item, every("Metadata")) == expected


@pytest.mark.parametrize("body", ["requestObject", "responseObject"])
@pytest.mark.parametrize("spelled", ['"{}" :', ' "{}":', '"\\u0072e{}":'])
def test_a_body_with_white_space_around_its_name_or_an_escape_in_it_is_removed(body: str, spelled: str) -> None:
    """In a single place of an event that is otherwise laid out as Go does."""
    name = spelled.format(body.removeprefix("re") if "u0072" in spelled else body)
    item = recorded().replace(f'"{body}":'.encode(), name.encode())

    assert left(item, every("Metadata")) == recorded("Metadata")


def test_the_level_may_be_anywhere() -> None:
    """Also behind the bodies, and spelled with an escape."""
    item = b'{"responseObject":{"a":1},"auditID":"x","l\\u0065vel":"RequestResponse","requestObject":{}}'

    assert left(item, every("Metadata")) == b'{"auditID":"x","l\\u0065vel":"Metadata"}'
    assert left(item, every("Request")) == b'{"auditID":"x","l\\u0065vel":"Request","requestObject":{}}'


def test_an_event_without_a_known_level_loses_its_bodies() -> None:
    """It may have bodies that the policy does not allow."""
    bare, unknown = b'{"auditID":"x","requestObject":{}}', b'{"level":"All","requestObject":{}}'

    assert left(bare, every("Metadata")) == b'{"auditID":"x","level":"Metadata"}'
    assert left(b'{"responseObject":{}}', every("Metadata")) == b'{"level":"Metadata"}'
    assert left(unknown, every("Metadata")) == b'{"level":"Metadata"}'
    assert [left(each, every("RequestResponse")) for each in (bare, unknown)] == [bare, unknown]


def test_a_body_that_is_there_twice_is_removed_twice() -> None:
    """Parsers differ in which of the two counts."""
    item = recorded().replace(b',"requestObject":', b',"requestObject":"secret","requestObject":')

    assert left(item, every("Metadata")) == recorded("Metadata")


@pytest.mark.parametrize("member", ['"requestObject" :"secret"', '"responseObject":"secret"', '"requestObject":1'])
@pytest.mark.parametrize("place", [b',"requestObject":', b',"requestReceivedTimestamp":', b',"stageTimestamp":'])
def test_a_second_body_is_removed_wherever_it_is(member: str, place: bytes) -> None:
    """Before the bodies, behind them and between the timestamps, with white space or without."""
    item = recorded().replace(place, b"," + member.encode() + place)

    assert left(item, every("Metadata")) == recorded("Metadata")


@pytest.mark.parametrize("body", ['"requestObject":{}', '"responseObject":1'])
def test_a_body_in_the_place_of_a_timestamp_is_removed(body: str) -> None:
    """The members at the end together are as long as kube-apiserver's timestamps."""
    time = "2026-11-23T11:29:49.380360Z"
    short = time[: len(time) - len(body) - len(',"":')]
    item = recorded().replace(
        f'Timestamp":"{time}","stage'.encode(), f'Timestamp":"{short}",{body},"":"","stage'.encode()
    )
    assert b"Object" in item.rpartition(b"requestReceived")[2]

    after = left(item, every("Metadata"))

    assert after
    assert b"Object" not in after


def test_each_of_two_levels_is_lowered() -> None:
    """Parsers differ in which of the two counts."""
    item = recorded().replace(b',"auditID":', b',"level":"RequestResponse","auditID":')

    after = left(item, every("Metadata"))

    assert after == recorded("Metadata").replace(b',"auditID":', b',"level":"Metadata","auditID":')


@pytest.mark.parametrize("level", LEVELS[1:])
def test_lines_of_the_log_backend_are_lowered_as_items_of_a_list(level: str) -> None:
    """Kind and version stay in front."""
    lines = [_as_logged(recorded(was)) for was in LEVELS[1:]]
    events = eventlines.decode(b"".join(line + b"\n" for line in lines), "log", PolicyHead, recorded=True).events
    policy = every(level, omit_managed_fields=True)

    after = [bytes(each.raw) for each in policy.apply(events)]

    assert after == [_as_logged(left(recorded(was), policy) or b"") for was in LEVELS[1:]]


def _as_logged(item: bytes) -> bytes:
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item[1:]


@pytest.mark.parametrize("level", ["Metadata", "Request"])
def test_a_member_of_the_same_name_elsewhere_stays(level: str) -> None:
    """A user may choose names and values that look like the end of an event."""
    user = {"username": "alice", "extra": {"requestObject": ["x"], "responseObject": BODY}}
    end = ',"requestReceivedTimestamp":"2026-11-23T11:29:49.380360Z","stageTimestamp":"2026-11-23T11:29:49.380360Z"}'

    assert left(recorded(user=user, userAgent=end), every(level)) == recorded(level, user=user, userAgent=end)


def test_a_mutating_webhooks_patch_belongs_to_the_requests_object() -> None:
    """kube-apiserver records it from Request on."""
    both = {DECISION: "allow", MUTATION: "{}", PATCH: "{}"}

    assert left(recorded(annotations=both), every("Request")) == recorded("Request", annotations=both)
    assert left(recorded(annotations=both), every("Metadata")) == recorded(
        "Metadata", annotations={DECISION: "allow", MUTATION: "{}"}
    )
    assert left(recorded(annotations={PATCH: "{}"}), every("Metadata")) == recorded("Metadata", annotations={})


def test_an_event_at_metadata_is_not_truncated() -> None:
    """kube-apiserver truncates bodies only, and an event at Metadata has none."""
    cut = {"audit.k8s.io/truncated": "true", DECISION: "allow"}

    assert left(recorded(annotations=cut), every("Metadata")) == recorded("Metadata")
    assert left(recorded(annotations=cut), every("Request")) == recorded("Request", annotations=cut)


def test_managed_fields_are_omitted_but_for_a_patch() -> None:
    """kube-apiserver keeps the body of a patch as the user sent it."""
    bare = {**BODY, "metadata": {"name": "a"}}
    policy = every("RequestResponse", omit_managed_fields=True)

    updated, patched = (left(recorded(verb=verb), policy) or b"" for verb in ("update", "patch"))

    assert [json.loads(updated)[body] for body in ("requestObject", "responseObject")] == [bare, bare]
    assert [json.loads(patched)[body] for body in ("requestObject", "responseObject")] == [BODY, bare]
    assert left(recorded("Metadata", userAgent="managedFields"), policy) == recorded(
        "Metadata", userAgent="managedFields"
    )


MANAGED = '"managedFields":[{"manager":"x","fieldsV1":{"f:metadata":{}}}]'
BODIES = [
    "{}",
    "null",
    '["managedFields"]',
    '{"metadata":null}',
    '{"metadata":"managedFields"}',
    '{"metadata":{"name":"managedFields"}}',
    f'{{"metadata":{{{MANAGED}}}}}',
    f'{{"metadata":{{{MANAGED},"name":"a"}}}}',
    f'{{"kind":"Pod","metadata":{{"name":"ä",{MANAGED}}},"spec":{{"a":1}}}}',
    f'{{"kind":"Pod","metadata":{{"name":"a",{MANAGED},"uid":"b"}},"spec":{{{MANAGED}}}}}',
    f'{{"metadata":{{{MANAGED},{MANAGED}}}}}',
    f'{{"metadata":{{"labels":{{{MANAGED}}}}}}}',
    f'{{"metadata":{{}},"items":[{{"metadata":{{{MANAGED}}}}},{{"metadata":{{"name":"a",{MANAGED}}}}}]}}',
    f'{{"rows":[{{"object":{{"metadata":{{{MANAGED}}}}}}}]}}',
    f'{{"ä":1,"metadata":{{{MANAGED}}}}}',
    '{"metadata":{"managedFields":[],"name":"\\u003ca\\u003e"}}',
    '{"metadata":{"managed\\u0046ields":[],"name":"a"}}',
    f'{{"metadata": {{{MANAGED}}}}}',
    f'{{"metadata":{{{MANAGED}}},"data":"{"x" * 100_000}"}}',
]


@pytest.mark.parametrize("omits", [False, True])
@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("verb", ["update", "patch"])
def test_gos_layout_is_lowered_as_any_other(omits: bool, level: str, verb: str) -> None:  # noqa: FBT001
    """All bytes are the same where a single space keeps an event from being laid out as Go does."""
    policy = every(level, omit_managed_fields=omits)
    whole = recorded(verb=verb)
    body = json.dumps(BODY, separators=(",", ":"))
    for request, response in zip(BODIES, reversed(BODIES), strict=True):
        item = whole.replace(f'"requestObject":{body}'.encode(), f'"requestObject":{request}'.encode())
        item = item.replace(f'"responseObject":{body}'.encode(), f'"responseObject":{response}'.encode())

        after = left(b"{ " + item[1:], policy)

        assert after
        assert left(item, policy) == b"{" + after[2:]


def test_omitted_stages_are_dropped() -> None:
    """Those of the policy and those of the rule."""
    rule = Rule(level="Metadata", omit_stages=("Panic",))
    policy = AppliedPolicy(Policy((rule,), omit_stages=("RequestReceived",)))

    stages = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]

    assert [bool(left(recorded(stage=stage), policy)) for stage in stages] == [False, True, True, False]


def test_other_events_are_the_same_objects_and_new_heads_have_the_new_level() -> None:
    """Keys may have ``{level}``."""
    events = read(recorded(), recorded("Metadata"))

    after = every("Metadata").apply(events)

    assert after[1] is events[1]
    assert [each.head.level for each in after] == ["Metadata", "Metadata"]
    assert after[0].head.user == events[0].head.user


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_removed(name: str) -> None:
    """What parsers refuse in a body hides nothing from a policy, and its event is lowered as any other."""
    [before] = decode(eventlist([HOSTILE[name]]), heads=PolicyHead).events

    [after] = every("Metadata").apply([before])

    document = json.loads(bytes(after.raw))
    assert document["level"] == "Metadata"
    assert "requestObject" not in document
    assert attributes.request_of(before).groups == ("system:authenticated",)


@pytest.mark.parametrize("groups", ['"dev"', "[1]", "[[" * 600, '{"a":"b"}'])
def test_groups_of_another_type_are_malformed(groups: str) -> None:
    """A policy may ask for them, so the event is rejected. Without a policy it is stored as it is."""
    item = recorded().replace(b'["system:authenticated"]', groups.encode() + b"]]" * 600 * ("[[" in groups))

    assert len(decode(eventlist([item]), heads=PolicyHead).bad) == 1
    assert not decode(eventlist([item])).bad


@PROPERTY
@given(st.integers(0, 2**32), st.lists(items, min_size=1))
def test_any_event_is_what_the_policy_decides(seed: int, some: list[bytes]) -> None:
    """Dropped or kept as `evaluate` says, never raised, and applying the policy again changes nothing."""
    draw = random.Random(seed)  # noqa: S311
    chosen = AppliedPolicy.parse(json.dumps(policies.policy(draw)))
    events = decode(eventlist(some), heads=PolicyHead).events

    after = chosen.apply(events)

    decisions = [evaluate(chosen.policy, attributes.request_of(each)) for each in events]
    kept = [
        decision.level != "None" and each.head.stage not in decision.omit_stages
        for each, decision in zip(events, decisions, strict=True)
    ]
    assert len(after) == sum(kept)
    again = decode(eventlist([bytes(each.raw) for each in after]), heads=PolicyHead)
    assert not again.bad
    assert [bytes(each.raw) for each in chosen.apply(again.events)] == [bytes(each.raw) for each in after]
    assert [each.head.level for each in again.events] == [each.head.level for each in after]


def test_more_different_requests_than_are_kept_are_decided_right() -> None:
    """What was decided is kept for a number of different requests, and any user can send more."""
    group = GroupResources("", ("configmaps",), ("n7",))
    policy = AppliedPolicy(Policy((Rule(level="None", resources=(group,)), Rule(level="Metadata"))))
    names = [f"n{number}" for number in range(25_000)]
    references = ({"resource": "configmaps", "name": name} for name in names)
    events = [each for reference in references for each in read(recorded("Metadata", objectRef=reference))]

    assert len(policy.apply(events)) == len(policy.apply(events)) == len(names) - 1


def test_more_different_annotations_than_are_kept_stay_as_they_are() -> None:
    """Whether annotations have to be edited is kept for a number of them."""
    item, other = recorded(), recorded("Metadata")
    numbers = [f'"number {number}"'.encode() for number in range(11_000)]

    after = every("Metadata").apply(read(*(item.replace(b'"allow"', number) for number in numbers)))

    assert [bytes(each.raw) for each in after] == [other.replace(b'"allow"', number) for number in numbers]


@pytest.mark.parametrize("field", ["requestURI", "namespace", "name"])
def test_long_requests_are_decided_and_not_kept(field: str) -> None:
    """A user can send a megabyte in each request, so what is kept must not grow with it."""
    group = GroupResources("", ("pods",), ("a",))
    policy = AppliedPolicy(Policy((Rule(level="None", resources=(group,)), Rule(level="Metadata"))))
    reference = {"resource": "pods", "namespace": "x", "name": "a"}
    long = "x" * 100_000
    fields = {"requestURI": f"/{long}"} if field == "requestURI" else {"objectRef": {**reference, field: long}}

    events = read(recorded("Metadata", **{"objectRef": reference, **fields}), recorded("Metadata", objectRef=reference))

    assert len(policy.apply(events)) == (1 if field == "name" else 0)
    kept = [policy._decisions._by_name, policy._decisions._by_groups, policy._decisions._by_url]
    assert long not in str(kept)


def test_groups_count_where_a_rule_asks_for_them() -> None:
    """What was decided for a user name is not what is decided for the same name in another group, or without a name."""
    rule = Rule(level="None", user_groups=("dev",), verbs=("get",))
    policy = AppliedPolicy(Policy((rule, Rule(level="None", users=("",)), Rule(level="Metadata"))))
    users: list[dict[str, Any]] = [
        {"username": "alice", "groups": ["ops"]},
        {"username": "alice", "groups": ["ops", "dev"]},
        {"username": "alice"},
        {"groups": ["dev"]},
        {"groups": ["ops"]},
        {},
    ]
    events = read(*(recorded("Metadata", user=user, verb="get") for user in users))

    for _ in range(2):
        kept = [index for index, each in enumerate(events) if policy.apply([each])]
        assert kept == [0, 2, 5]
    assert policy.apply(events) == [events[index] for index in kept]


def test_redaction_still_applies() -> None:
    """Of what the policy keeps, and with its mark."""
    secret = recorded(objectRef={"resource": "secrets"})
    transforms: list[Transform] = [every("Request"), Redaction()]
    events = read(secret)

    for transform in transforms:
        events = transform.apply(events)

    assert json.loads(bytes(events[0].raw))["annotations"] == {DECISION: "allow", "auditsplit/dropped": "requestObject"}


@pytest.mark.parametrize("inline", [False, True])
def test_a_policy_is_a_file_or_inline(tmp_path: Path, inline: bool) -> None:  # noqa: FBT001
    """A text of several lines, or that begins with a brace, is the policy itself."""
    text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  verb: get\n"
    (tmp_path / "policy.yaml").write_text(text)
    source = "the policy" if inline else str(tmp_path / "policy.yaml")

    policy = AppliedPolicy.parse(text if inline else source)

    assert policy.policy.rules[0].level == "None"
    assert policy.warnings == (f"{source}:5:3: rules[0].verb: there is no such field, so it has no effect. Remove it",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("missing.yaml", "missing.yaml: No such file or directory. Write the path of an audit policy"),
        ("a\0b", "embedded null byte. Write the path of an audit policy"),
        ("{}", "the policy:1:1: apiVersion: not set. Write apiVersion: audit.k8s.io/v1"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(text: str, expected: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        AppliedPolicy.parse(text)

    assert expected in str(caught.value)


def test_no_policy_is_none() -> None:
    """An empty setting or option is no policy."""
    assert AppliedPolicy.parse("") is NO_POLICY
    assert AppliedPolicy.from_option("", "authenticated") is NO_POLICY
    assert (bool(NO_POLICY), str(NO_POLICY)) == (False, "")


REFERENCES = [
    None,
    {"resource": ""},
    {"resource": "pods", "name": "a"},
    {"resource": "pods", "name": "b", "namespace": "x"},
    {"resource": "pods", "subresource": "exec", "name": "a", "namespace": "x"},
    {"resource": "namespaces", "name": "x", "namespace": "x"},
    {"resource": "deployments", "apiGroup": "apps", "name": "a"},
]
URIS = ["/", "/healthz", "/api/v1/pods", "/api/v1/pods/a", "/api/v1/namespaces/x/pods/b", "/apis/apps/v1/deployments"]


@PROPERTY
@given(st.integers(0, 2**32))
def test_what_is_kept_of_decisions_never_mixes_requests(seed: int) -> None:
    """Each event of many similar events, also of senders whose URL and ``objectRef`` differ, is decided for itself."""
    draw = random.Random(seed)  # noqa: S311
    applied = AppliedPolicy.parse(json.dumps(policies.policy(draw)))
    events = read(
        *(
            recorded(
                "Metadata",
                verb=draw.choice(("get", "list", "create", "update")),
                requestURI=draw.choice(URIS),
                objectRef=draw.choice(REFERENCES),
                user={"username": draw.choice(policies.USERS), "groups": policies.some(draw, policies.GROUPS)},
                stage=draw.choice(("RequestReceived", "ResponseComplete")),
            )
            for _ in range(200)
        )
    )

    together = [bytes(each.raw) for each in applied.apply(events)]

    alone = [bytes(kept.raw) for each in events for kept in AppliedPolicy(applied.policy).apply([each])]
    decided = [evaluate(applied.policy, attributes.request_of(each)) for each in events]
    expected = [
        bytes(each.raw)
        for each, decision in zip(events, decided, strict=True)
        if decision.level != "None" and each.head.stage not in decision.omit_stages
    ]
    assert together == alone == expected
