"""Routing: two users never share a place, and no key leaves its template."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.eventlists import PROPERTY, event, eventlist, names

from auditsplit.decode.eventlist import decode
from auditsplit.event import NO_TIME, Event, Head, ObjectReference, Origin, User, event_time, repeatable_time
from auditsplit.routing.fields import FIELDS
from auditsplit.routing.names import NO_USER
from auditsplit.routing.template import MAX_SEGMENT_BYTES, RESERVED, KeyTemplate

ARRIVED = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
ORIGIN = Origin("prod", ARRIVED)
OURS = ("_rejected", ".auditsplit")

TEMPLATES = [
    "kube-audit-{user}/audit",
    "{user}",
    "{user}/{namespace}",
    "{namespace}/{user}.log",
    "{cluster}/{user}/{date}/{hour}",
    "audit/user={user}/dt={date}/hour={hour}/{verb}-{date}.log.gz",
    "{date}{user}{hour}",
    "{user}.{year}{month}{day}",
    "{level}/{stage}/{resource}/{user}..",
]

heads = st.builds(
    Head,
    level=st.none() | st.sampled_from(["Metadata", "metadata", "", ".."]) | names,
    stage=st.none() | st.sampled_from(["Panic", "../x"]) | names,
    verb=st.none() | st.just("") | names,
    user=st.none() | st.builds(User, st.none() | st.just("") | names),
    impersonatedUser=st.none() | st.builds(User, st.none() | st.just("") | names),
    objectRef=st.none() | st.builds(ObjectReference, st.none() | st.just("") | names, st.none() | st.just("") | names),
    requestReceivedTimestamp=st.none() | st.datetimes().map(lambda at: at.isoformat() + "Z") | names,
    stageTimestamp=st.none() | st.datetimes().map(lambda at: at.isoformat() + "Z") | names,
)
events = st.builds(Event, heads, st.just(memoryview(b"{}")))
origins = st.builds(Origin, st.sampled_from(["prod", "a.b", "x"]), st.just(ARRIVED))


def routed(username: str | None = "alice", **fields: str) -> Event:
    """Return an event by ``username``, or an event without a user. Only its head has the fields."""
    return Event(Head(user=User(username), **fields), memoryview(b"{}"))  # type: ignore[arg-type]


def decoded(*some: bytes) -> list[Event]:
    """Return the items as events, decoded from a list."""
    return decode(eventlist(some)).events


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_the_value_of_the_event(field: str) -> None:
    """A field is spelt as in Kubernetes where the value is a safe name."""
    values = {
        "user": "system:serviceaccount:ns:x",
        "uid": "uid-x",
        "namespace": "team-a",
        "cluster": "prod",
        "verb": "list",
        "resource": "configmaps",
        "level": "RequestResponse",
        "stage": "ResponseComplete",
        "date": "2026-11-23",
        "year": "2026",
        "month": "11",
        "day": "23",
        "hour": "09",
    }
    assert field in values, f"add an example of {{{field}}} here"
    user = {"username": values["user"], "uid": values["uid"]}
    [only] = decoded(event(user=user, level=values["level"], stageTimestamp="2026-11-23T09:59:59.999999Z"))

    assert values.keys() == FIELDS.keys(), "a new field needs its value above"
    assert KeyTemplate(f"a-{{{field}}}/b").key(only, ORIGIN) == f"a-{values[field]}/b"


@pytest.mark.parametrize("field", [*FIELDS, "extra:sessionName"])
@pytest.mark.parametrize(
    "item",
    [
        b'{"x":1}',
        b'{"verb":null,"level":null,"stage":null,"user":null,"objectRef":null,"stageTimestamp":null}',
        b'{"verb":"","level":"","stage":"","user":{},"objectRef":{},"stageTimestamp":""}',
        b'{"user":{"username":null},"objectRef":{"namespace":null,"resource":null}}',
        b'{"user":{"username":""},"objectRef":{"namespace":"","resource":""}}',
    ],
    ids=["absent", "null", "empty", "null inside", "empty inside"],
)
def test_absent_values_have_names(item: bytes, field: str) -> None:
    """Absent, null and empty values are ``none``. An absent user is ``_no-user``. An absent time is the arrival's."""
    others = {"user": NO_USER, "cluster": ORIGIN.cluster, "date": "2030-01-02"}
    others |= {"year": "2030", "month": "01", "day": "02", "hour": "03"}
    [only] = decoded(item)

    assert KeyTemplate(f"{{{field}}}/x").key(only, ORIGIN) == f"{others.get(field, 'none')}/x"


def test_levels_and_stages_keep_kubernetes_spelling() -> None:
    """Known words keep their capital letters. All other values are encoded."""
    template = KeyTemplate("{level}/{stage}")

    assert template.key(routed(level="Metadata", stage="RequestReceived"), ORIGIN) == "Metadata/RequestReceived"
    assert template.key(routed(level="METADATA", stage="../x"), ORIGIN) == "%4D%45%54%41%44%41%54%41/%2E.%2Fx"


@pytest.mark.parametrize(
    ("stage", "received", "expected"),
    [
        ("2026-11-23T11:29:49.380360Z", "2026-11-22T00:00:00Z", "2026-11-23T11:29:49.380360"),
        ("2026-11-23T11:29:49Z", None, "2026-11-23T11:29:49"),
        ("2026-11-23T11:29:49.123456789Z", None, "2026-11-23T11:29:49.123456"),
        ("2026-11-23T01:30:00+02:00", None, "2026-11-22T23:30:00"),
        ("2026-12-31T23:30:00-01:00", None, "2027-01-01T00:30:00"),
        (None, "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("yesterday", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("2026-11-23T11:29:49", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("2026-11-23", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("2026-02-30T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("2016-12-31T23:59:60Z", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("0001-01-01T00:00:00+02:00", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("9999-12-31T23:59:59-02:00", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"),
        ("0001-01-01T00:00:00Z", None, "0001-01-01T00:00:00"),
        ("x" * 100_000, "\ud800", "2030-01-02T03:04:05"),
        (None, None, "2030-01-02T03:04:05"),
        ("../..", "2026", "2030-01-02T03:04:05"),
    ],
    ids=range(18),
)
def test_the_time_of_an_event_is_in_utc(stage: str | None, received: str | None, expected: str) -> None:
    """It is the stage's time, else the time of the request, else the given time. Invalid timestamps don't count."""
    time = event_time(Head(stageTimestamp=stage, requestReceivedTimestamp=received), ARRIVED)

    assert time == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert time.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], NO_TIME),
        ([None, "yesterday"], NO_TIME),
        ([None, "2026-11-23T11:29:49Z", "2026-11-22T00:00:00Z"], datetime(2026, 11, 23, 11, 29, 49, tzinfo=UTC)),
    ],
    ids=["no events", "no times", "several times"],
)
def test_the_time_of_events_without_a_time_is_repeatable(times: list[str | None], expected: datetime) -> None:
    """It is the time of the batch's first event that has a time, so that a retry gives the same place."""
    events = decoded(*(event(stageTimestamp=time, requestReceivedTimestamp=None) for time in times))

    assert repeatable_time(events) == expected


@pytest.mark.parametrize("field", FIELDS)
def test_has_time_is_true_for_fields_that_depend_on_the_time(field: str) -> None:
    """A field is a time if and only if the key depends on when the event happened."""
    template = KeyTemplate(f"{{{field}}}/{{verb}}")
    times = ("2026-11-23T11:29:49Z", "2027-12-24T12:30:50Z")

    keys = {template.key(routed(stageTimestamp=time), ORIGIN) for time in times}

    assert template.has_time == (len(keys) == 2)


def test_an_option_is_a_template() -> None:
    """Its text can be an option again, and ``{user}`` is the user that the sinks are configured for."""
    template = KeyTemplate.from_option("{user}/x", "impersonated")

    assert str(template) == "{user}/x"
    assert template.user == "impersonated"
    with pytest.raises(ValueError, match=r"\A.*is not a field.*\n.*between two slashes"):
        KeyTemplate.from_option("/{users}", "authenticated")


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001 - the zone comes later
@PROPERTY
def test_dates_and_hours_are_in_utc(at: datetime, offset: int) -> None:
    """Timestamps of any zone give UTC's date and hour, of a fixed length."""
    local = at.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))

    key = KeyTemplate("{date}/{hour}/{year}{month}{day}").key(routed(stageTimestamp=local.isoformat()), ORIGIN)

    assert key == f"{at.date().isoformat()}/{at.hour:02}/{at.date().isoformat().replace('-', '')}"


@given(events, events, origins, origins, st.sampled_from(TEMPLATES))
@PROPERTY
def test_two_users_never_share_a_place(one: Event, other: Event, here: Origin, there: Origin, text: str) -> None:
    """Two users' keys differ for any other values of their events, also on a disk that ignores case."""
    users = [(each.head.user and each.head.user.username) or None for each in (one, other)]
    assume(users[0] != users[1])
    template = KeyTemplate(text)

    assert template.key(one, here).casefold() != template.key(other, there).casefold()


@given(names, names, st.sampled_from(TEMPLATES))
@PROPERTY
def test_events_that_differ_only_in_the_user_have_different_places(one: str, other: str, text: str) -> None:
    """Two users and an absent user have three keys."""
    assume(one != other)
    template = KeyTemplate(text)

    keys = {template.key(routed(username), ORIGIN).casefold() for username in (one, other, None)}

    assert len(keys) == 3


@given(events, origins, st.sampled_from(TEMPLATES))
@PROPERTY
def test_a_key_has_the_shape_of_its_template(of_event: Event, origin: Origin, text: str) -> None:
    """A key has the template's literal prefix and number of segments. Each segment is a file name of bounded length."""
    key = KeyTemplate(text).key(of_event, origin)

    segments = key.split("/")
    assert key.startswith(text.partition("{")[0])
    assert len(segments) == text.count("/") + 1
    assert not {"", ".", ".."} & set(segments)
    assert max(map(len, segments)) <= MAX_SEGMENT_BYTES
    assert segments[0].lower() not in OURS
    assert key.isascii()
    assert key.isprintable()
    assert "\\" not in key


@given(st.lists(events, max_size=12), st.sampled_from(TEMPLATES))
@PROPERTY
def test_grouping_keeps_every_event_in_order(events: list[Event], text: str) -> None:
    """Each event is in the group of its own key only. Events and groups are in the order of the batch."""
    template = KeyTemplate(text)

    groups = template.group(events, ORIGIN)

    keys = [template.key(each, ORIGIN) for each in events]
    assert list(groups) == list(dict.fromkeys(keys))
    for key, group in groups.items():
        its_own = [each for each, its_key in zip(events, keys, strict=True) if its_key == key]
        assert list(map(id, group)) == list(map(id, its_own))


def test_events_without_a_user_have_a_place_of_their_own() -> None:
    """An event of a failed authentication has ``"user":{}``. No user name gets the same place."""
    template = KeyTemplate("kube-audit-{user}/audit")
    [failed, named, encoded] = decoded(event(None), event(NO_USER), event("%5Fno-user"))

    assert template.key(failed, ORIGIN) == "kube-audit-_no-user/audit"
    assert template.key(named, ORIGIN) == "kube-audit-%5Fno-user/audit"
    assert template.key(encoded, ORIGIN) == "kube-audit-%255%46no-user/audit"


@pytest.mark.parametrize(
    ("fields", "authenticated", "impersonated"),
    [
        ({}, "alice", "alice"),
        ({"impersonatedUser": {"username": "bob"}}, "alice", "bob"),
        ({"impersonatedUser": None}, "alice", "alice"),
        ({"impersonatedUser": {}}, "alice", "alice"),
        ({"impersonatedUser": {"username": ""}}, "alice", "alice"),
        ({"impersonatedUser": {"username": "../../etc/passwd"}}, "alice", "%2E.%2F..%2Fetc%2Fpasswd"),
        ({"user": {}, "impersonatedUser": {"username": "bob"}}, NO_USER, "bob"),
        ({"user": {}}, NO_USER, NO_USER),
    ],
    ids=range(8),
)
def test_the_user_field_is_the_configured_user(
    fields: dict[str, object], authenticated: str, impersonated: str
) -> None:
    """With ``user="impersonated"``, ``{user}`` is the impersonated user where there is one."""
    [only] = decoded(event("alice", **fields))

    assert KeyTemplate("{user}").key(only, ORIGIN) == authenticated
    assert KeyTemplate("{user}", user="impersonated").key(only, ORIGIN) == impersonated


SESSION = "{user}/{uid}/{extra:sessionName}"
EXTRA = {"sessionName": ["Alice", "second"], "example.com/a b": ["x"], "empty": [], "blank": [""]}


@pytest.mark.parametrize("hostile", [b"", rb',"requestObject":"\ud800"', b',"requestObject":1e400'])
@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("sessionName", "%41lice"),
        ("example.com/a b", "x"),
        ("empty", "none"),
        ("blank", "none"),
        ("sessionname", "none"),
    ],
)
def test_an_extra_field_is_the_first_value_of_its_key(key: str, name: str, hostile: bytes) -> None:
    """Keys are compared exactly, and may have a slash. A body that parsers refuse makes no difference."""
    [only] = decoded(event(user={"username": "admin", "uid": "u/1", "extra": EXTRA})[:-1] + hostile + b"}")

    assert KeyTemplate(f"{{uid}}/{{extra:{key}}}/x").key(only, ORIGIN) == f"u%2F1/{name}/x"


def test_persons_with_one_user_name_have_places_of_their_own() -> None:
    """With a shared role, only ``extra`` tells who it was. Grouping uses it as `KeyTemplate.key` does."""
    users = [{"username": "admin", "uid": "u", "extra": {"sessionName": [name]}} for name in ("bob", "al", "bob")]
    some = decoded(*(event(user=user) for user in users))

    groups = KeyTemplate(SESSION).group(some, ORIGIN)

    assert list(groups) == ["admin/u/bob", "admin/u/al"]
    assert [list(map(id, group)) for group in groups.values()] == [[id(some[0]), id(some[2])], [id(some[1])]]


@pytest.mark.parametrize(
    ("impersonated", "key"),
    [
        (None, "admin/u/alice"),
        ({}, "admin/u/alice"),
        ({"uid": "other"}, "admin/u/alice"),
        ({"username": "bob"}, "bob/none/none"),
        ({"username": "bob", "uid": "v", "extra": {"sessionName": ["b"]}}, "bob/v/b"),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("hostile", [b"", rb',"requestObject":"\ud800"'])
def test_uid_and_extra_are_of_the_same_user_as_the_name(
    impersonated: dict[str, object] | None, key: str, hostile: bytes
) -> None:
    """They are never mixed from two users."""
    user = {"username": "admin", "uid": "u", "extra": {"sessionName": ["alice"]}}
    [only] = decoded(event(user=user, impersonatedUser=impersonated)[:-1] + hostile + b"}")

    assert KeyTemplate(SESSION, user="impersonated").key(only, ORIGIN) == key
    assert KeyTemplate(SESSION).key(only, ORIGIN) == "admin/u/alice"


@pytest.mark.parametrize(
    "user",
    [
        b'{"username":"a","uid":1,"extra":{"sessionName":["s"]}}',
        b'{"username":"a","extra":{"sessionName":["s"],"other":1}}',
        rb'{"username":"a","extra":{"x":{},"sessionName":["s",1],"\ud800":["\ud800"]}}',
    ],
)
def test_a_value_of_another_type_leaves_out_that_value_alone(user: bytes) -> None:
    """The others are still read, by the quotes and brackets of the item."""
    [only] = decoded(b'{"user":' + user + b"}")

    assert KeyTemplate(SESSION).key(only, ORIGIN) == "a/none/s"


@pytest.mark.parametrize(
    "user",
    [
        b'{"username":"a","uid":[],"extra":7}',
        b'{"username":"a","extra":{"sessionName":"s"}}',
        b'{"username":"a","extra":{"sessionName":[1]}}',
        b'{"username":"a","extra":{"sessionName":[["s"]]}}',
        b'{"username":"a","extra":{"sessionName":[{x}]}}',
        b'{"username":"a","extra":{"sessionName":["\xff"]}}',
        b'{"username":"a","extra":{"sessionName":[%s]}}' % (b"[" * 9000 + b"]" * 9000),
    ],
)
def test_a_malformed_extra_is_absent(user: bytes) -> None:
    """No value is guessed, and no event is refused for it."""
    events = decoded(b'{"user":' + user + b"}")

    assert [KeyTemplate(SESSION).key(each, ORIGIN) for each in events] in ([], ["a/none/none"])


def test_recorded_users_have_the_documented_places(recorded: list[bytes]) -> None:
    """The names of recorded users are those in the documents."""
    template = KeyTemplate("kube-audit-{user}/audit")

    keys = {key for body in recorded for key in template.group(decode(body).events, ORIGIN)}

    assert keys == {
        "kube-audit-%43arol%20%54est%20%55ser/audit",
        "kube-audit-%E3%83%A6%E3%83%BC%E3%82%B6%E3%83%BC-%C3%BCn%C3%AF/audit",
        "kube-audit-_no-user/audit",
        "kube-audit-a%2Fb/audit",
        "kube-audit-admin/audit",
        "kube-audit-alice@example.com/audit",
        "kube-audit-bob/audit",
        "kube-audit-cert-admin/audit",
        "kube-audit-system:anonymous/audit",
        "kube-audit-system:apiserver/audit",
        "kube-audit-system:serviceaccount:ns:x/audit",
        "kube-audit-system:serviceaccount:team-a:deployer/audit",
    }


@pytest.mark.parametrize(
    "text",
    [
        *TEMPLATES,
        "{user}+{date}/{namespace}",
        "audit-{namespace}.{year}{month}{day}{hour}.log.gz",
        "audit",
        "A-Z/a_b.c@d:e=f+g,h-i/{verb}",
        "x/_rejected/{user}",
        "kube_{user}",
        "a" * MAX_SEGMENT_BYTES,
    ],
)
def test_templates_without_a_conflict_are_accepted(text: str) -> None:
    """Two different users can't get the same key from these templates."""
    key = KeyTemplate(text).key(routed("Alice"), ORIGIN)

    assert ("%41lice" in key) == ("{user}" in text)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{user}{namespace}", "could get the same key"),
        ("{user}-{namespace}", "could get the same key"),
        ("{user}.{namespace}", "could get the same key"),
        ("{user}{date}{namespace}", "could get the same key"),
        ("{user}@x:y_{verb}/z", "could get the same key"),
        ("", "not a valid name between two slashes"),
        ("/", "not a valid name between two slashes"),
        ("/var/log/{user}", "not a valid name between two slashes"),
        ("{user}/", "not a valid name between two slashes"),
        ("a//{user}", "not a valid name between two slashes"),
        ("./{user}", "not a valid name between two slashes"),
        ("a/./{user}", "not a valid name between two slashes"),
        ("../{user}", "not a valid name between two slashes"),
        ("{user}/..", "not a valid name between two slashes"),
        ("{user}-{uid}", "could get the same key"),
        ("{uid}{extra:a}", r"Put / between \{uid\} and \{extra:a\}"),
        ("{user}/{extra:a/b}.{extra:a/c}", r"Put / between \{extra:a/b\} and \{extra:a/c\}"),
        ("{extra}", r"is not a field. .*\{extra:KEY\}"),
        ("{extra:}", "is not a field"),
        ("{uid:x}", "is not a field"),
        ("{users}", r"\{users\} is not a field. Fields are \{user\}"),
        ("{User}", "is not a field"),
        ("{}", "is not a field"),
        ("{0}", "is not a field"),
        ("{user.__class__}", "is not a field"),
        ("{user[0]}", "is not a field"),
        ("{user!r}", "is not a field"),
        ("{user:>5}", "is not a field"),
        ("{date:%Y}", "is not a field"),
        ("{user:{date}}", "is not a field"),
        ("~{user}", "character other than"),
        ("~/{user}", "character other than"),
        ("{user} x", "character other than"),
        ("{user}\n", "character other than"),
        ("{user}\0", "character other than"),
        ("a\\{user}", "character other than"),
        ("\u00e9/{user}", "character other than"),
        ("\u212a/{user}", "character other than"),
        ("%41/{user}", "character other than"),
        ("{{user}}", "character other than"),
        ("$HOME/{user}", "character other than"),
        ("_rejected", "own"),
        ("_rejected/{user}", "own"),
        ("_REJECTED/{user}", "own"),
        (".auditsplit/{user}", "own"),
        (".AuditSplit/lock", "own"),
        ("{user", "Write fields as"),
        ("user}", "Write fields as"),
        ("{user}/{", "Write fields as"),
        ("a" * (MAX_SEGMENT_BYTES + 1), "can grow to 226 bytes"),
        ("{user}" + "a" * 26, "can grow to 226 bytes"),
        ("{namespace}/{date}{user}-{year}{month}{day}{hour}" + "a" * 8, "can grow to 229 bytes"),
    ],
)
def test_templates_with_a_mistake_are_refused(text: str, mistake: str) -> None:
    """A key could leave its place, or two users could share a key. The error shows what to write instead."""
    with pytest.raises(ValueError, match=mistake):
        KeyTemplate(text)


def test_every_mistake_of_a_template_is_reported() -> None:
    """The error has all mistakes, each on a line of its own."""
    with pytest.raises(ValueError, match="is not a field") as caught:
        KeyTemplate("/{users}/~/{user}{namespace}")

    lines = str(caught.value).splitlines()
    for mistake in ("{users} is not a field", "'/~/'", "between two slashes", "could get the same key"):
        assert sum(mistake in each for each in lines) == 1, mistake


@pytest.mark.parametrize("text", [".{user}/journal", "_{user}/x", "_re{user}/x", ".audit{user}", "_{date}{user}"])
def test_no_user_name_leads_to_a_reserved_place(text: str) -> None:
    """A template that a user name could complete to a sink's own place is refused."""
    completions = ["auditsplit", "split", "rejected", "jected"]

    keys = []
    try:
        template = KeyTemplate(text)
        keys = [template.key(routed(username), ORIGIN) for username in completions]
    except ValueError:
        pass

    assert not [key for key in keys if key.lower().split("/")[0] in RESERVED]


def test_the_user_can_be_decoded_from_a_key() -> None:
    """A URL decoder turns the segment behind ``user=`` into the user's name."""
    [only] = decoded(event("a b/\u00e9"))

    assert KeyTemplate("user={user}/x").key(only, ORIGIN) == "user=a%20b%2F%C3%A9/x"
    assert json.loads(bytes(only.raw))["user"]["username"] == "a b/\u00e9"
