"""Decoding: every item keeps the bytes that arrived, and no hostile body hides the events beside it."""

from __future__ import annotations

import contextlib
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import (
    BAD,
    ENVELOPE,
    HOSTILE,
    NAMED,
    PROPERTY,
    carrying,
    event,
    eventlist,
    items,
    json_values,
    line,
    numbered,
)
from support.recording import DATA, manifest

from auditsplit.decode import eventlist as decoding
from auditsplit.decode import fallback, jsonscan
from auditsplit.decode.eventlines import decode as decode_lines
from auditsplit.decode.eventlist import Decoded, decode
from auditsplit.decode.jsonscan import Scan
from auditsplit.decode.outline import harmless
from auditsplit.errors import Undecodable
from auditsplit.event import Event, Head, User
from auditsplit.policy.redaction import Redaction

FLAG = "--audit-webhook-version=audit.k8s.io/v1"


@contextlib.contextmanager
def only_the_scan() -> Iterator[None]:
    """Make the fast parsers refuse everything."""

    def refuse(_: object) -> NoReturn:
        raise msgspec.DecodeError("refused by the test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "parse_envelope", lambda _: None)
        patch.setitem(decoding.decoders, Head, refuse)
        patch.setattr(fallback, "decode_object", refuse)
        yield


def bare(decoded: Decoded) -> Decoded:
    """Return the result without what decoding leaves for redaction, which differs between the ways of decoding."""
    return Decoded([Event(each.head, each.raw) for each in decoded.events], decoded.bad, decoded.more_bad)


def found_items(body: bytes) -> list[bytes]:
    """Return the items that the parser finds in ``body``, or the scan where the parser refuses it."""
    _, found = decoding._read_envelope(body)
    return [bytes(raw) for raw in found.raws or ()] or [body[start:end] for start, end in found.spans]


def raws(decoded: Decoded) -> list[bytes]:
    """Return the events' bytes."""
    return [bytes(each.raw) for each in decoded.events]


def outcome(body: bytes) -> Decoded | Undecodable:
    """Return what `decode` returns or its `Undecodable`. Any other error fails the test."""
    try:
        return decode(body)
    except Undecodable as error:
        return error


def test_recorded_lists_have_the_events_of_the_manifest(recorded: list[bytes]) -> None:
    """Every recorded list has the manifest's number of events for each user, and no malformed item."""
    decoded = [decode(body) for body in recorded]

    users = [Counter(str(each.head.user and each.head.user.username) for each in of_list.events) for of_list in decoded]
    assert users == [entry["users"] for entry in manifest()["lists"]]
    assert [len(of_list.events) for of_list in decoded] == [entry["events"] for entry in manifest()["lists"]]
    assert not any(of_list.bad for of_list in decoded)


def test_recorded_items_are_the_lines_of_the_audit_log(recorded: list[bytes]) -> None:
    """With kind and version in front, the recorded items are byte for byte the lines of the server's own log."""
    log = (DATA / "audit.log").read_bytes().splitlines()
    posted = [raw for body in recorded for raw in raws(decode(body))]

    named = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + raw[1:] for raw in posted]

    assert Counter(named) == Counter(log)


def test_the_fallback_decodes_the_recording_like_the_parser(recorded: list[bytes]) -> None:
    """The fast parser and the scan return the same heads and the same bytes."""
    fast = [decode(body) for body in recorded]
    with only_the_scan():
        scanned = [decode(body) for body in recorded]

    assert list(map(bare, scanned)) == list(map(bare, fast))
    assert sum(len(each.events) for each in fast) == 407


@given(st.lists(items, max_size=6))
@PROPERTY
def test_events_keep_their_bytes_and_their_order(some: list[bytes]) -> None:
    """Items with any contents (big numbers, a name twice, 1e400) are returned in order and byte for byte."""
    decoded = decode(eventlist(some))

    assert raws(decoded) == some
    assert decoded.bad == []


@given(st.lists(items, max_size=6), st.sampled_from([b"", b" ", b"\t \n", b"\r\n"]))
@PROPERTY
def test_the_fallback_decodes_like_the_parser(some: list[bytes], gap: bytes) -> None:
    """The scan returns the same heads and bytes as the parser, also with white space between the items."""
    body = ENVELOPE + gap + (gap + b"," + gap).join(some) + gap + b"]" + gap + b"}"
    fast = decode(body)
    with only_the_scan():
        scanned = decode(body)

    assert bare(scanned) == bare(fast)
    assert raws(fast) == some


@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1), st.sampled_from([None, 0, 3, "\t"]))
@PROPERTY
def test_a_pretty_printed_item_becomes_one_line(item: dict[str, Any], indent: int | str | None) -> None:
    """An item of a list with any layout is compacted to one line with the same contents."""
    fine = {f"x-{name}": value for name, value in item.items()}
    document = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [fine]}
    decoded = decode(json.dumps(document, indent=indent).encode())

    [raw] = raws(decoded)
    assert json.loads(raw) == fine
    assert indent is None or raw == json.dumps(fine, separators=(",", ":")).encode()


@given(st.lists(items | st.sampled_from([item for item in BAD.values() if item[:1] in b"{["]), min_size=1, max_size=8))
@PROPERTY
def test_every_item_is_an_event_or_malformed(some: list[bytes]) -> None:
    """Each item is returned once with its bytes, as an event or as malformed. No such list is refused as a whole."""
    decoded = decode(eventlist([event(), *some, event()]))

    bad = {item.index: item.raw for item in decoded.bad}
    good = iter(raws(decoded))
    in_order = [bad[index] if index in bad else next(good) for index in range(len(some) + 2)]
    assert in_order == [event(), *some, event()]
    assert next(good, None) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_item_hides_no_event(name: str) -> None:
    """A hostile event between 399 others is returned byte for byte, with the name of its user."""
    good = numbered(399)
    all_items = [*good[:200], HOSTILE[name], *good[200:]]

    decoded = decode(eventlist(all_items))

    assert raws(decoded) == all_items
    assert decoded.bad == []
    users = [each.head.user.username for each in decoded.events if each.head.user]
    assert users == ["alice"] * 200 + ["mallory"] + ["alice"] * 199


def test_a_list_of_hostile_items_is_decoded() -> None:
    """A list with every hostile item twice returns all of them."""
    all_items = [*HOSTILE.values(), event(), *HOSTILE.values()]

    decoded = decode(eventlist(all_items))

    assert raws(decoded) == all_items


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_hides_no_event(name: str) -> None:
    """A hostile line between lines of events is returned byte for byte."""
    named = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + HOSTILE[name][1:]

    decoded = decode_lines(b"\n".join([line(), named, line("bob"), b""]))

    assert raws(decoded) == [line(), named, line("bob")]
    assert decoded.bad == []


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_item_hides_no_event(name: str) -> None:
    """A malformed item is returned with its index, its bytes and a reason. The events beside it are kept."""
    decoded = decode(eventlist([event("alice"), BAD[name], event("bob")]))

    assert raws(decoded) == [event("alice"), event("bob")]
    assert [(item.index, item.raw) for item in decoded.bad] == [(1, BAD[name])]
    assert decoded.bad[0].reason


@pytest.mark.parametrize("name", BAD)
def test_an_item_is_malformed_beside_a_hostile_item(name: str) -> None:
    """The same items are malformed where the whole list must be scanned."""
    decoded = decode(eventlist([HOSTILE["lone surrogate"], BAD[name], HOSTILE["NaN"]]))
    with only_the_scan():
        scanned = decode(eventlist([event(), BAD[name], event()]))

    assert raws(decoded) == [HOSTILE["lone surrogate"], HOSTILE["NaN"]]
    assert [item.raw for item in decoded.bad] == [item.raw for item in scanned.bad] == [BAD[name]]


def test_adjacent_scalars_are_one_malformed_item_for_the_scan() -> None:
    """The scan can't separate scalars. It returns all of their bytes as one malformed item."""
    decoded = decode(eventlist([HOSTILE["NaN"], b"1", b"NaN", b'"x"', event()]))

    assert raws(decoded) == [HOSTILE["NaN"], event()]
    assert [item.raw for item in decoded.bad] == [b'1,NaN,"x"']


def test_malformed_items_after_the_first_hundred_are_counted() -> None:
    """The number of returned malformed items is bounded. The events beside them are all kept."""
    many = [b"null"] * (decoding.MAX_BAD + 7)

    decoded = decode(eventlist([event("alice"), *many, event("bob")]))

    assert raws(decoded) == [event("alice"), event("bob")]
    assert [item.index for item in decoded.bad] == list(range(1, decoding.MAX_BAD + 1))
    assert decoded.more_bad == 7


def test_malformed_lines_after_the_first_hundred_are_counted() -> None:
    """Malformed lines, and malformed items of lists on lines, share the bound."""
    lists = eventlist([event("alice"), *[b"null"] * decoding.MAX_BAD, b"42"])

    decoded = decode_lines(lists + b"x\n" * 5 + lists)

    assert raws(decoded) == [event("alice"), event("alice")]
    assert len(decoded.bad) == decoding.MAX_BAD
    assert decoded.more_bad == 1 + 5 + decoding.MAX_BAD + 1


@pytest.mark.parametrize("second", [b"null", b"[]", eventlist([event()])[len(ENVELOPE) - 1 : -2]])
def test_a_list_with_items_twice_is_refused(second: bytes) -> None:
    """A parser reads only the second ``items``, so the events of the first would be acknowledged and lost."""
    body = eventlist([event(), event()]).rstrip()[:-1]

    with pytest.raises(Undecodable, match="the body has items twice"):
        decode(body + b',"items":' + second + b"}")


@pytest.mark.parametrize("name", ["kind", "apiVersion", "items"])
@pytest.mark.parametrize("gap", [b"", b" "])
@pytest.mark.parametrize("item", [b'{"level":"Metadata"}', *(HOSTILE[name] for name in ("lone surrogate", "NaN"))])
def test_each_way_of_decoding_refuses_a_name_twice(name: str, gap: bytes, item: bytes) -> None:
    """JSON's readers differ on which of two equal names counts, and the sender's other tools may read the other one."""
    values = {"kind": b'"Event"', "apiVersion": b'"audit.k8s.io/v1"', "items": b"[]"}
    body = eventlist([item]).rstrip()[:-1] + b',%b"%b":%b}' % (gap, name.encode(), values[name])

    with pytest.raises(Undecodable, match=f"the body has {name} twice"):
        decode(body)
    with only_the_scan(), pytest.raises(Undecodable, match=f"the body has {name} twice"):
        decode(body)


def test_only_the_refused_items_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The items beside them, and those with lone surrogates, are parsed. Redaction scans nothing again."""
    scanned = []
    blanked = jsonscan._blanked

    def watch(text: bytes) -> bytearray:
        scanned.append(text)
        return blanked(text)

    monkeypatch.setattr(jsonscan, "_blanked", watch)
    escaped = event("bob", requestURI="/\\", requestObject={"path": "C:\\"})
    some = [event("alice"), HOSTILE["lone surrogate"], HOSTILE["9,000 nested arrays"], escaped]

    decoded = decode(eventlist(some))
    parsed = [each for each in decoded.events if each.members is None]
    redacted = Redaction.parse("*=requestObject").apply(decoded.events)

    assert raws(decoded) == some
    assert [bytes(each.raw) for each in parsed] == [some[0], escaped]
    assert not any(b'"requestObject":' in bytes(each.raw) for each in redacted)
    assert scanned == [HOSTILE["9,000 nested arrays"]]


@pytest.mark.parametrize("length", [5, 6, 7, 8])
@pytest.mark.parametrize("text", [rb'"\ud800"', rb'"\\ud800"', rb'"\\\uDBFF\udc00"', rb'"\ud83d\ude00\\\\ud800\"\ud8"'])
def test_harmless_text_keeps_all_places(text: bytes, length: int) -> None:
    """Brackets, quotes, colons and commas stay where they are. Only escapes within a string change."""
    whole = b"[" * length + text + b"]" * length

    structure = re.compile(rb'[][{}",:]')
    places = [[match.start() for match in structure.finditer(Scan(each).marks)] for each in (whole, harmless(whole))]
    assert places[0] == places[1]
    assert len(harmless(whole)) == len(whole)


@pytest.mark.slow
@pytest.mark.parametrize("item", [b"{}", b"1", b'{"level":1}'])
def test_millions_of_malformed_items_take_little_memory(item: bytes) -> None:
    """They take less than four times the body's size, not thirty times."""
    body = eventlist([b",".join([item] * (10_000_000 // len(item)))])
    tracemalloc.start()
    try:
        with contextlib.suppress(Undecodable):
            decode(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(body)


def test_a_body_of_too_many_lines_is_refused() -> None:
    """A body of a million lines is refused before they are decoded. The error names a remedy."""
    with pytest.raises(Undecodable, match=r"more than 100000 lines\. Send them in several bodies"):
        decode_lines(b"1\n" * 1_000_000)


@pytest.mark.parametrize("item", [b"{}", b"1", b'{"x":1}', b'{"level":""}'])
def test_a_list_of_too_many_items_is_refused(item: bytes) -> None:
    """A list of `MAX_ITEMS`, valid or malformed, is decoded. One item more is refused, with what to do."""
    some = [item] * decoding.MAX_ITEMS
    decoded = decode(eventlist(some))

    assert len(decoded.events) + len(decoded.bad) + decoded.more_bad == decoding.MAX_ITEMS
    with pytest.raises(Undecodable, match="--audit-webhook-batch-max-size"):
        decode(eventlist([*some, item]))


def test_a_list_as_kube_apiserver_writes_it_takes_the_fast_path(recorded: list[bytes]) -> None:
    """It is split where its events begin, also with events of few fields. A parser would find the same items."""
    for body in recorded:
        split = decoding._split_at_starts(body)
        envelope, _ = decoding._read_envelope(body)

        assert split
        assert envelope.kind == "EventList"
        assert [bytes(each.raw) for each in split] == found_items(body)
    assert decoding._split_at_starts(eventlist([b'{"level":"Metadata"}'] * 3))


@pytest.mark.parametrize(
    "text",
    [
        b'[{"a":1},{"level":"Request","auditID":"x"}]',
        b'{"items":[{"level":"x"},{"level":"x"}]}',
        b'[{},{"level":"x"},2]',
        b'[{"a":[{}]},{"level":"x"}]',
        b'["{",{},{"level":"x"},"}"]',
    ],
)
def test_an_object_inside_an_event_is_not_an_event(text: bytes) -> None:
    """A user can put text that begins like an event into a body. No event is split at it."""
    some = [carrying(text), event("alice"), carrying(text)]

    assert decoding._split_at_starts(eventlist(some)) is None
    assert raws(decode(eventlist(some))) == some


def test_an_object_inside_an_event_does_not_stand_for_another_event() -> None:
    """The number of beginnings is right here, but one of them is inside an event."""
    other = b'{"verb":"get","level":"Metadata","user":{"username":"bob"}}'
    some = [event("alice"), carrying(b'[{},{"level":"x"}]'), other]

    assert decoding._split_at_starts(eventlist(some)) is None
    assert raws(decode(eventlist(some))) == some


SHREDS = [b'{"level":"x"}', b'},{"level":"', b"{}", b'{"a":', b"}", b"[", b"]", b",", b'"', b"\\", b" ", b"1"]


@given(st.lists(st.lists(st.sampled_from(SHREDS), max_size=8).map(b"".join), min_size=1, max_size=3))
@PROPERTY
def test_the_fast_path_finds_the_items_of_a_parser(shreds: list[bytes]) -> None:
    """Any text inside events that begin as kube-apiserver's do gives the parser's items, or the fast path gives up."""
    body = eventlist([b'{"level":"x","requestObject":%s}' % shred for shred in shreds])

    split = decoding._split_at_starts(body)

    if split is not None:
        assert [bytes(each.raw) for each in split] == found_items(body)


@pytest.mark.parametrize("gap", [b" ,", b", ", b"\t,", b",,"])
def test_white_space_between_events_is_not_part_of_them(gap: bytes) -> None:
    """kube-apiserver writes none, so a list with white space does not take the fast path."""
    body = eventlist([event("alice") + gap + event("bob")])

    assert decoding._split_at_starts(body) is None
    assert decoding._split_at_starts(eventlist([event() + b" "])) is None
    assert b",," in gap or raws(decode(body)) == [event("alice"), event("bob")]


@pytest.mark.parametrize("end", [b"", b" ", b"]", b"]}}", b"]}\n\n", b',{"level":"x"}]', b']},"items":[]}', b"]}x"])
def test_a_list_with_another_end_leaves_the_fast_path(end: bytes) -> None:
    """A parser reads everything that follows the last event."""
    assert decoding._split_at_starts(eventlist([event()])[: -len(b"]}\n")] + end) is None


def test_events_across_the_edges_of_search_windows_are_found() -> None:
    """An event that begins before, at or behind the edge of a window is found."""
    pad = decoding._SEARCH_WINDOW_BYTES - len(eventlist([carrying(b'""'), b""])) + len(b"]}\n")
    for shift in range(-len(decoding._NEXT_ITEM) - 1, 3):
        some = [carrying(b'"%s"' % (b"x" * (pad + shift))), event("alice"), event("bob")]
        split = decoding._split_at_starts(eventlist(some))

        assert split is not None
        assert [bytes(each.raw) for each in split] == some


def test_a_line_break_inside_a_string_is_malformed() -> None:
    """A raw line break would divide the stored line, and valid JSON has none."""
    torn = [event("bob")[:-1] + b',"requestObject":"x' + end + b'y"}' for end in (b"\n", b"\r", b"\r\n")]

    decoded = decode(eventlist([event(), *torn, event()]))

    assert raws(decoded) == [event(), event()]
    assert [(item.index, item.raw) for item in decoded.bad] == [(1, torn[0]), (2, torn[1]), (3, torn[2])]
    assert "line break inside a string" in decoded.bad[0].reason


def test_a_reason_contains_little_of_the_item() -> None:
    """Answers and logs contain reasons, so a reason is short, printable ASCII on one line."""
    decoded = decode(eventlist([json.dumps({"kind": "\n\u2028\x1b" + "K" * 5000}, ensure_ascii=False).encode()]))

    [bad] = decoded.bad
    assert len(bad.reason) < 400
    assert bad.reason.isascii()
    assert bad.reason.isprintable()


def test_the_last_of_two_equal_names_counts() -> None:
    """Readers of the stored line use the last value of a name too, so it decides the place."""
    item = b'{"user":{"username":"a","username":"b"},"verb":"get","user":{"username":"c"},"verb":"list"}'
    fast = decode(eventlist([item]))
    with only_the_scan():
        scanned = decode(eventlist([item]))

    head = fast.events[0].head
    assert (head.user and head.user.username, head.verb) == ("c", "list")
    assert bare(scanned) == bare(fast)


def test_every_routing_field_is_decoded() -> None:
    """The head has the fields of the event itself, by the parser and by the scan."""
    item = event(
        "alice",
        kind="Event",
        apiVersion="audit.k8s.io/v1",
        impersonatedUser={"username": "bob", "groups": []},
        objectRef={"resource": "pods", "namespace": "team-a", "name": "web", "subresource": "log"},
        requestReceivedTimestamp="2026-11-23T11:29:48Z",
        annotations={"audit.k8s.io/truncated": "true", "a.b/c": "d"},
    )
    fast = decode(eventlist([item]))
    with only_the_scan():
        scanned = decode(eventlist([item]))

    assert bare(scanned) == bare(fast)
    assert msgspec.to_builtins(fast.events[0].head) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Request",
        "stage": "ResponseComplete",
        "verb": "list",
        "user": {"username": "alice"},
        "impersonatedUser": {"username": "bob"},
        "objectRef": {"namespace": "team-a", "resource": "pods", "subresource": "log"},
        "requestReceivedTimestamp": "2026-11-23T11:29:48Z",
        "stageTimestamp": "2026-11-23T11:29:49.380360Z",
        "annotations": {"audit.k8s.io/truncated": "true"},
    }


@pytest.mark.parametrize(
    ("token", "username"),
    [
        (b'"alice"', "alice"),
        (rb'"\u0061lice"', "alice"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud800"', "\ud800"),
        (rb'"a\/\"\\\n"', 'a/"\\\n'),
        (b'"a\x01"', "a\x01"),
        (b'""', ""),
        (b"null", None),
    ],
)
def test_escapes_in_a_user_name_are_decoded(token: bytes, username: str | None) -> None:
    """The parser or the scan decodes a user name with escapes, control characters or a lone surrogate."""
    body = eventlist([b'{"user":{"username":' + token + b"}}"])
    with only_the_scan():
        scanned = decode(body)

    assert bare(decode(body)) == bare(scanned)
    assert scanned.events[0].head.user
    assert scanned.events[0].head.user.username == username


def test_a_user_name_that_is_not_utf_8_is_malformed() -> None:
    """An escaped surrogate is a name. A raw byte that is not UTF-8 must not get the same place."""
    body = eventlist([b'{"user":{"username":"\xff"}}', rb'{"user":{"username":"\udcff"}}'])

    decoded = decode(body)

    assert [each.head.user and each.head.user.username for each in decoded.events] == ["\udcff"]
    assert [item.reason for item in decoded.bad] == ["a routing field is not UTF-8, which kube-apiserver never sends"]


def test_a_name_that_is_not_utf_8_hides_no_event_that_parsers_refuse() -> None:
    """A parser skips such a name. The scan must skip it too, outside the items and inside."""
    item = b'{"verb\xff":"get","user":{"\xff":0,"username":"alice"},"requestObject":"\\ud800"}'
    body = b'{"\xff":0,"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[%b]}' % item

    decoded = decode(body)

    assert [(bytes(found.raw), found.head.user) for found in decoded.events] == [(item, User("alice"))]
    assert not decoded.bad


@pytest.mark.parametrize("around", [b"", b"\n", b" ", b"\r\n\t"])
def test_a_single_event_is_decoded(around: bytes) -> None:
    """A body may be one Event with its kind. White space around it is removed."""
    decoded = decode(around + line("bob") + around)

    assert raws(decoded) == [line("bob")]
    assert decoded.events[0].head.user
    assert decoded.events[0].head.user.username == "bob"


@pytest.mark.parametrize("dropped", [(), ("kind",), ("apiVersion",), ("kind", "apiVersion")])
def test_a_single_event_may_lack_its_kind_and_version(dropped: tuple[str, ...]) -> None:
    """As an item of a list may. The parser and the scan agree."""
    document = json.dumps({name: value for name, value in json.loads(line()).items() if name not in dropped}).encode()
    fast = decode(document)
    with only_the_scan():
        scanned = decode(document)

    assert raws(fast) == raws(scanned) == [document]
    assert [event.head for event in scanned.events] == [event.head for event in fast.events]


@given(items, st.sampled_from([b"", b" ", b"\t", b"\n"]))
@PROPERTY
def test_a_logstash_line_is_read_back(item: bytes, gap: bytes) -> None:
    """The event of ``{"event":…}`` has its own bytes, whatever they are."""
    inner = item.strip()
    decoded = decode(b"{" + gap + b'"event"' + gap + b":" + gap + inner + gap + b"}" + gap)

    assert raws(decoded) == [inner]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_logstash_line_is_read_back(name: str) -> None:
    """Also where a parser refuses the event."""
    assert raws(decode(b'{"event":' + HOSTILE[name] + b"}\n")) == [HOSTILE[name]]


@pytest.mark.parametrize("second", [line("bob"), event("bob"), eventlist([event()])])
def test_several_documents_are_refused_with_the_content_type(second: bytes) -> None:
    """The error names the type for a document on each line, and where the second document begins."""
    with pytest.raises(Undecodable, match=r"Content-Type application/x-ndjson") as caught:
        decode(line() + b"\r\n" + second + b"\n")

    assert caught.value.position == len(line())


def test_a_recorded_event_of_another_version_is_refused_with_the_flag_of_the_log() -> None:
    """A log file is the log backend's. A list is the webhook's, also in a file."""
    old = line().replace(b"audit.k8s.io/v1", b"audit.k8s.io/v1beta1")
    lists = eventlist([event()]).replace(b"audit.k8s.io/v1", b"audit.k8s.io/v1beta1")

    decoded = decode_lines(old + b"\n" + lists, "log", recorded=True)

    assert [item.index for item in decoded.bad] == [0, 1]
    assert "--audit-log-version=audit.k8s.io/v1" in decoded.bad[0].reason
    assert FLAG in decoded.bad[1].reason


def test_a_single_pretty_printed_event_becomes_one_line() -> None:
    """The white space between its tokens is removed."""
    pretty = json.dumps(json.loads(line()), indent=2).encode()

    assert raws(decode(pretty)) == [line()]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_single_hostile_event_is_decoded(name: str) -> None:
    """A hostile Event that is the whole body is returned byte for byte."""
    named = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + HOSTILE[name][1:]

    assert raws(decode(named)) == [named]


@pytest.mark.parametrize("version", ["audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1", "audit.k8s.io/v2"])
@pytest.mark.parametrize("kind", ["EventList", "Event"])
def test_another_version_is_refused_with_the_flag(kind: str, version: str) -> None:
    """The error names the flag that makes kube-apiserver send the accepted version."""
    body = json.dumps({"kind": kind, "apiVersion": version, "items": [{"user": {}}]}).encode()

    with pytest.raises(Undecodable, match=FLAG) as caught:
        decode(body)

    assert version in caught.value.detail


def test_another_version_is_refused_with_the_flag_by_the_scan() -> None:
    """The error for a hostile body names the same flag."""
    body = eventlist([HOSTILE["NaN"]]).replace(b"audit.k8s.io/v1", b"audit.k8s.io/v1beta1")

    with pytest.raises(Undecodable, match=FLAG):
        decode(body)


@pytest.mark.parametrize(
    ("body", "reason", "position"),
    [
        (b"", "empty", 0),
        (b" \r\n", "empty", 0),
        (b"42", "expected '{'", 0),
        (b"  null", "expected '{'", 2),
        (b'[{"kind":"Event","apiVersion":"audit.k8s.io/v1"}]', "expected '{'", 0),
        (b"\xef\xbb\xbf" + eventlist([event()]), "expected '{'", 0),
        (b"\x1f\x8b\x08\x00", "expected '{'", 0),
        (b"<xml/>", "expected '{'", 0),
        (ENVELOPE, "2 brackets are not closed", len(ENVELOPE)),
        (ENVELOPE + event()[:-1], "brackets are not closed", len(ENVELOPE + event()) - 1),
        (ENVELOPE + b'{"level":"Met', "a string is not closed", len(ENVELOPE) + 9),
        (ENVELOPE + b"}]", "does not match", len(ENVELOPE)),
        (eventlist([event()]).rstrip() + b"{}", "text after the end", len(eventlist([event()])) - 1),
        (ENVELOPE[:-1] + b"{}}", r"expected '\['", len(ENVELOPE) - 1),
        (ENVELOPE[:-1] + b"42}", r"expected '\['", len(ENVELOPE) - 1),
        (ENVELOPE[:-1] + b'"[]"}', r"expected '\['", len(ENVELOPE) - 1),
        (b'{"kind":42,"items":[]}', "kind: expected a string", 8),
        (b'{"kind":"EventList","apiVersion":{},"items":[]}', "apiVersion: expected a string", 33),
    ],
)
def test_a_body_that_is_not_an_event_list_is_refused_with_a_position(body: bytes, reason: str, position: int) -> None:
    """The reason names what was expected. The position is that of the first byte that differs."""
    with pytest.raises(Undecodable, match=reason) as caught:
        decode(body)

    assert caught.value.position == position


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "got kind none and apiVersion none"),
        (b'{"kind":"PodList","apiVersion":"v1","items":[]}', "got kind 'PodList' and apiVersion 'v1'"),
        (b'{"kind":"EventList","apiVersion":"v1","items":[]}', "apiVersion audit.k8s.io/v1, got .* 'v1'"),
        (b'{"kind":"EventList","items":[]}', "apiVersion none"),
        (b'{"apiVersion":"audit.k8s.io/v1","items":[]}', "got kind none"),
        (b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1"}', "has no items"),
        (rb'{"kind":"\ud800","items":[]}', "got kind"),
        (b'{"level":"Metadata"}', "got kind none"),
        (b'{"msg":"started","verb":"get","v":2}', "got kind none"),
        (b'{"auditID":"1","items":[]}', "got kind none"),
        (b'{"kind":"Event","apiVersion":"v1","auditID":"1"}', "got kind 'Event' and apiVersion 'v1'"),
        (b'{"kind":"Pod","apiVersion":"audit.k8s.io/v1","auditID":"1"}', "got kind 'Pod'"),
        (b'{"event":42}', "got kind none"),
        (b'{"event":{"auditID":"1"},"event":{"auditID":"2"}}', "text after the end"),
        (b'{"event":{"auditID":"1"},"host":{"name":"x"}}', "text after the end"),
        (b'{"event":{"kind":"Pod","auditID":"1"}}', "got 'Pod'"),
        (b'{"event":{"auditID":"1"}', "brackets are not closed"),
        (b'{"event":{}}', "the item has no fields"),
        (b'{"event":{"auditID":"1"}} x', "the object is not closed"),
    ],
)
def test_another_document_is_refused(body: bytes, reason: str) -> None:
    """The reason names the kind and the version of the document."""
    with pytest.raises(Undecodable, match=reason):
        decode(body)


def test_a_truncated_body_is_refused_wherever_it_ends() -> None:
    """No event is returned of a list that ends too early, at any length."""
    body = eventlist([event(), HOSTILE["lone surrogate"]]).rstrip()

    outcomes = [outcome(body[:length]) for length in range(len(body))]

    assert all(isinstance(each, Undecodable) for each in outcomes)


@pytest.mark.parametrize("text", [b"[]", b"null", b"[ ]"])
def test_a_list_may_be_empty(text: bytes) -> None:
    """An empty array and null (Go's empty list) are lists without events, also for the scan."""
    body = ENVELOPE[:-1] + text + b"}"
    with only_the_scan():
        scanned = decode(body)

    assert decode(body) == scanned == Decoded([], [])


@given(st.binary(max_size=60), st.data())
@PROPERTY
def test_any_bytes_are_decoded_or_refused(noise: bytes, data: st.DataObject) -> None:
    """Noise, alone or inside a list, gives events and malformed items, or `Undecodable`. No other error is raised."""
    body = eventlist([event(), HOSTILE["NaN"], event("bob")])
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body))] * 2)))

    for each in (outcome(noise), outcome(body[:start] + noise + body[end:])):
        assert isinstance(each, Decoded) or each.detail


@given(st.lists(items, min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \r\n\t\n"]))
@PROPERTY
def test_lines_of_events_are_decoded(some: list[bytes], end: bytes) -> None:
    """Each line's event is returned byte for byte. Empty lines and carriage returns are skipped."""
    named = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item.lstrip()[1:] for item in some]

    decoded = decode_lines(end.join([b"", *named, b""]))

    assert raws(decoded) == named
    assert decoded.bad == []


def test_malformed_lines_hide_no_event() -> None:
    """A malformed line is returned with its number, which counts from 0 and includes empty lines."""
    body = b"\n".join([line(), b"", b"klog: something", b'{"v":2,"msg":"klog"}', line("bob"), line()[:-20]])

    decoded = decode_lines(body)

    assert raws(decoded) == [line(), line("bob")]
    assert [(item.index, item.raw) for item in decoded.bad] == [
        (2, b"klog: something"),
        (3, b'{"v":2,"msg":"klog"}'),
        (5, line()[:-20]),
    ]
    assert all(item.reason for item in decoded.bad)


def test_a_line_may_be_an_event_list() -> None:
    """Its malformed items have the number of the line."""
    body = eventlist([event("a"), b"42"]) + line("b") + b"\n" + eventlist([event("c"), event("d")])

    decoded = decode_lines(body)

    assert raws(decoded) == [event("a"), line("b"), event("c"), event("d")]
    assert [(item.index, item.raw) for item in decoded.bad] == [(0, b"42")]


@pytest.mark.parametrize("body", [b"x", b"x\ny\n", b"\n\n[]\n", b"{}\r\n42", b"", b"\n \n"])
def test_lines_without_an_event_are_refused(body: bytes) -> None:
    """A body without an event on any line is not a body of events."""
    with pytest.raises(Undecodable):
        decode_lines(body)


def test_lines_without_an_event_are_refused_with_the_first_reason() -> None:
    """The error gives the reason for the first malformed line, such as the flag for the version."""
    old = json.dumps({**NAMED, "apiVersion": "audit.k8s.io/v1beta1"}).encode()

    with pytest.raises(Undecodable, match=rf"Line 1: .*{FLAG}"):
        decode_lines(b"\n" + old + b"\n" + old)


def test_the_commas_of_an_array_are_not_part_of_events() -> None:
    """An array with an element on each line has commas at the ends of lines. No event contains them."""
    decoded = decode_lines(b"[\n" + line("alice") + b",\n" + line("bob") + b"\n]\n")

    assert [json.loads(raw)["kind"] for raw in raws(decoded)] == ["Event"] * len(decoded.events)
    assert len(decoded.events) + len(decoded.bad) == 4


def test_commas_around_an_event_are_not_part_of_it() -> None:
    """A single Event with commas around it is refused, or returned without them."""
    result = outcome(b"," + line() + b",")

    assert isinstance(result, Undecodable) or raws(result) == [line()]
