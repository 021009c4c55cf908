"""Decoding: every item comes out with the bytes that came in, and no body hides the events beside it."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import pytest
from conftest import DATA
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

from auditsplit.decode import eventlist as decoding
from auditsplit.decode.eventlist import Decoded, decode, decode_lines
from auditsplit.errors import Undecodable

FLAG = "--audit-webhook-version=audit.k8s.io/v1"


@contextlib.contextmanager
def only_the_scan() -> Iterator[None]:
    """Make the fast parsers refuse whatever they get."""

    def refuse(_: object) -> NoReturn:
        raise msgspec.DecodeError("told to")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_decode_document", refuse)
        patch.setattr(decoding, "_decode_head", refuse)
        yield


def raws(decoded: Decoded) -> list[bytes]:
    """Return the events' bytes."""
    return [bytes(found.raw) for found in decoded.events]


def outcome(body: bytes) -> Decoded | Undecodable:
    """Return what `decode` does; any error but `Undecodable` is the test's failure."""
    try:
        return decode(body)
    except Undecodable as error:
        return error


def test_the_recording_has_the_events_that_it_says(manifest: dict[str, Any], recorded: list[bytes]) -> None:
    """Every recorded list has the manifest's number of events of each user, and nothing else."""
    decoded = [decode(body) for body in recorded]

    users = [Counter(str(found.head.user and found.head.user.username) for found in each.events) for each in decoded]
    assert users == [entry["users"] for entry in manifest["lists"]]
    assert [len(each.events) for each in decoded] == [entry["events"] for entry in manifest["lists"]]
    assert not any(each.bad for each in decoded)


def test_recorded_items_are_the_lines_of_the_audit_log(recorded: list[bytes]) -> None:
    """With kind and version put first, every item is byte for byte a line of the server's own log, and all are."""
    log = (DATA / "audit.log").read_bytes().splitlines()
    found = [raw for body in recorded for raw in raws(decode(body))]

    named = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + raw[1:] for raw in found]

    assert Counter(named) == Counter(log)


def test_both_ways_decode_the_recording_alike(recorded: list[bytes]) -> None:
    """The fast parser and the scan find the same heads and the same bytes."""
    fast = [decode(body) for body in recorded]
    with only_the_scan():
        scanned = [decode(body) for body in recorded]

    assert scanned == fast
    assert sum(len(each.events) for each in fast) == 407


@given(st.lists(items, max_size=6))
@PROPERTY
def test_nothing_is_lost_reordered_or_changed(some: list[bytes]) -> None:
    """Whatever the items hold (big numbers, a name twice, 1e400), they come out in order and byte for byte."""
    decoded = decode(eventlist(some))

    assert raws(decoded) == some
    assert decoded.bad == []


@given(st.lists(items, max_size=6), st.sampled_from([b"", b" ", b"\t \n", b"\r\n"]))
@PROPERTY
def test_both_ways_decode_alike(some: list[bytes], gap: bytes) -> None:
    """The scan finds the same heads and bytes as the parser, also where there is white space between the items."""
    body = ENVELOPE + gap + (gap + b"," + gap).join(some) + gap + b"]" + gap + b"}"
    fast = decode(body)
    with only_the_scan():
        scanned = decode(body)

    assert scanned == fast
    assert raws(fast) == some


@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1), st.sampled_from([None, 0, 3, "\t"]))
@PROPERTY
def test_a_pretty_item_becomes_one_line(item: dict[str, Any], indent: int | str | None) -> None:
    """However a list is laid out, its item is compacted to one line that says the same."""
    fine = {f"x-{name}": value for name, value in item.items()}
    document = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [fine]}
    decoded = decode(json.dumps(document, indent=indent).encode())

    [raw] = raws(decoded)
    assert json.loads(raw) == fine
    assert indent is None or raw == json.dumps(fine, separators=(",", ":")).encode()


@given(st.lists(items | st.sampled_from([item for item in BAD.values() if item[:1] in b"{["]), min_size=1, max_size=8))
@PROPERTY
def test_every_item_is_an_event_or_is_bad(some: list[bytes]) -> None:
    """Good items come out as events and bad ones as bad, each once, with their bytes; a body is never refused whole."""
    decoded = decode(eventlist([event(), *some, event()]))

    bad = {item.index: item.raw for item in decoded.bad}
    good = iter(raws(decoded))
    in_order = [bad[index] if index in bad else next(good) for index in range(len(some) + 2)]
    assert in_order == [event(), *some, event()]
    assert next(good, None) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_item_hides_nothing(name: str) -> None:
    """Beside 399 good events a hostile one is stored too, byte for byte, and its user's name is known."""
    good = numbered(399)
    all_items = [*good[:200], HOSTILE[name], *good[200:]]

    decoded = decode(eventlist(all_items))

    assert raws(decoded) == all_items
    assert decoded.bad == []
    users = [found.head.user.username for found in decoded.events if found.head.user]
    assert users == ["alice"] * 200 + ["mallory"] + ["alice"] * 199


def test_all_hostile_items_at_once() -> None:
    """All of them in one list, twice, are all stored."""
    all_items = [*HOSTILE.values(), event(), *HOSTILE.values()]

    decoded = decode(eventlist(all_items))

    assert raws(decoded) == all_items


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_hides_nothing(name: str) -> None:
    """Among lines of events, a hostile one is stored too, byte for byte."""
    named = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + HOSTILE[name][1:]

    decoded = decode_lines(b"\n".join([line(), named, line("bob"), b""]))

    assert raws(decoded) == [line(), named, line("bob")]
    assert decoded.bad == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_costs_no_other(name: str) -> None:
    """What is no event is told apart with its index, its bytes and a reason; the others are kept."""
    decoded = decode(eventlist([event("alice"), BAD[name], event("bob")]))

    assert raws(decoded) == [event("alice"), event("bob")]
    assert [(item.index, item.raw) for item in decoded.bad] == [(1, BAD[name])]
    assert decoded.bad[0].reason


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_is_bad_beside_a_hostile_one(name: str) -> None:
    """Where the whole list must be scanned, the same items are bad."""
    decoded = decode(eventlist([HOSTILE["lone surrogate"], BAD[name], HOSTILE["NaN"]]))
    with only_the_scan():
        scanned = decode(eventlist([event(), BAD[name], event()]))

    assert raws(decoded) == [HOSTILE["lone surrogate"], HOSTILE["NaN"]]
    assert [item.raw for item in decoded.bad] == [item.raw for item in scanned.bad] == [BAD[name]]


def test_scalars_side_by_side_are_kept_by_the_scan() -> None:
    """The scan can't tell scalars apart; it keeps all of their bytes as one bad item."""
    decoded = decode(eventlist([HOSTILE["NaN"], b"1", b"NaN", b'"x"', event()]))

    assert raws(decoded) == [HOSTILE["NaN"], event()]
    assert [item.raw for item in decoded.bad] == [b'1,NaN,"x"']


def test_bad_items_beyond_the_first_hundred_are_counted() -> None:
    """Bad items can't grow without bound; those beyond the first are only counted, the events beside them kept."""
    many = [b"null"] * (decoding.MAX_BAD + 7)

    decoded = decode(eventlist([event("alice"), *many, event("bob")]))

    assert raws(decoded) == [event("alice"), event("bob")]
    assert [item.index for item in decoded.bad] == list(range(1, decoding.MAX_BAD + 1))
    assert decoded.more_bad == 7


def test_bad_lines_beyond_the_first_hundred_are_counted() -> None:
    """So it is with lines, whether the lines are bad or the items of lists on them."""
    lists = eventlist([event("alice"), *[b"null"] * decoding.MAX_BAD, b"42"])

    decoded = decode_lines(lists + b"x\n" * 5 + lists)

    assert raws(decoded) == [event("alice"), event("alice")]
    assert len(decoded.bad) == decoding.MAX_BAD
    assert decoded.more_bad == 1 + 5 + decoding.MAX_BAD + 1


@pytest.mark.parametrize("second", [b"null", b"[]", eventlist([event()])[len(ENVELOPE) - 1 : -2]])
def test_a_list_with_items_twice_is_refused(second: bytes) -> None:
    """A parser takes the last of two, and the events of the first would be acknowledged and lost."""
    body = eventlist([event(), event()]).rstrip()[:-1]

    with pytest.raises(Undecodable, match="the EventList has items twice"):
        decode(body + b',"items":' + second + b"}")


@pytest.mark.parametrize("item", [b"{}", b"1", b'{"level":1}'])
def test_what_is_no_item_takes_little_memory(item: bytes) -> None:
    """Millions of them take a few times the body's size, not thirty times."""
    body = eventlist([b",".join([item] * (30_000_000 // len(item)))])
    tracemalloc.start()
    try:
        with contextlib.suppress(Undecodable):
            decode(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(body)


def test_no_more_lines_than_memory_allows() -> None:
    """A body of a million lines is refused with what to do, whatever they are."""
    with pytest.raises(Undecodable, match=r"more than 100000 lines\. Send them in several bodies"):
        decode_lines(b"1\n" * 1_000_000)


@pytest.mark.parametrize("item", [b"{}", b"1", b'{"x":1}', b'{"level":""}'])
def test_no_more_items_than_memory_allows(item: bytes) -> None:
    """One item more than the bound, good or bad, and the body is refused with what to do; the bound itself is taken."""
    some = [item] * decoding.MAX_ITEMS
    decoded = decode(eventlist(some))

    assert len(decoded.events) + len(decoded.bad) + decoded.more_bad == decoding.MAX_ITEMS
    with pytest.raises(Undecodable, match="--audit-webhook-batch-max-size"):
        decode(eventlist([*some, item]))


def test_a_list_as_the_server_writes_it_is_read_once(recorded: list[bytes]) -> None:
    """It is cut where its events begin, and no parser looks for them; so is one with an event that has less in it."""
    for body in recorded:
        cut = decoding._split_at_starts(body)
        document, looked_for = decoding._read_document(body)

        assert cut
        assert document.kind == "EventList"
        assert [found.raw for found in cut] == list(looked_for)
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
def test_what_begins_like_an_event_inside_one_is_none(text: bytes) -> None:
    """A user can put it there, as often as there are events; nothing is cut in two."""
    some = [carrying(text), event("alice"), carrying(text)]

    assert decoding._split_at_starts(eventlist(some)) is None
    assert raws(decode(eventlist(some))) == some


def test_an_event_inside_one_is_no_substitute_for_one() -> None:
    """The number of events that seem to begin is right, but one does not begin like kube-apiserver's."""
    other = b'{"verb":"get","level":"Metadata","user":{"username":"bob"}}'
    some = [event("alice"), carrying(b'[{},{"level":"x"}]'), other]

    assert decoding._split_at_starts(eventlist(some)) is None
    assert raws(decode(eventlist(some))) == some


SHREDS = [b'{"level":"x"}', b'},{"level":"', b"{}", b'{"a":', b"}", b"[", b"]", b",", b'"', b"\\", b" ", b"1"]


@given(st.lists(st.lists(st.sampled_from(SHREDS), max_size=8).map(b"".join), min_size=1, max_size=3))
@PROPERTY
def test_what_is_cut_is_what_a_parser_finds(shreds: list[bytes]) -> None:
    """Whatever stands in events that begin as kube-apiserver's do, JSON or not: their items, or nothing is cut."""
    body = eventlist([b'{"level":"x","requestObject":%s}' % shred for shred in shreds])

    cut = decoding._split_at_starts(body)

    if cut is not None:
        _, looked_for = decoding._read_document(body)
        assert [found.raw for found in cut] == list(looked_for)


@pytest.mark.parametrize("gap", [b" ,", b", ", b"\t,", b",,"])
def test_white_space_between_events_is_no_part_of_them(gap: bytes) -> None:
    """A list with it is another than kube-apiserver's, though its events begin alike."""
    body = eventlist([event("alice") + gap + event("bob")])

    assert decoding._split_at_starts(body) is None
    assert decoding._split_at_starts(eventlist([event() + b" "])) is None
    assert b",," in gap or raws(decode(body)) == [event("alice"), event("bob")]


@pytest.mark.parametrize("end", [b"", b" ", b"]", b"]}}", b"]}\n\n", b',{"level":"x"}]', b']},"items":[]}', b"]}x"])
def test_another_end_is_not_cut(end: bytes) -> None:
    """Whatever else stands behind the last event is looked at by a parser."""
    assert decoding._split_at_starts(eventlist([event()])[: -len(b"]}\n")] + end) is None


def test_events_across_the_edges_of_what_is_searched_at_a_time() -> None:
    """Wherever in the body an event begins, it is found."""
    pad = decoding._SEARCH_WINDOW_BYTES - len(eventlist([carrying(b'""'), b""])) + len(b"]}\n")
    for shift in range(-len(decoding._NEXT_ITEM) - 1, 3):
        some = [carrying(b'"%s"' % (b"x" * (pad + shift))), event("alice"), event("bob")]
        cut = decoding._split_at_starts(eventlist(some))

        assert cut is not None
        assert [bytes(found.raw) for found in cut] == some


def test_a_line_break_inside_a_string_is_bad() -> None:
    """A raw line break would tear the line, and no valid JSON has one; the item is kept apart."""
    torn = [event("bob")[:-1] + b',"requestObject":"x' + end + b'y"}' for end in (b"\n", b"\r", b"\r\n")]

    decoded = decode(eventlist([event(), *torn, event()]))

    assert raws(decoded) == [event(), event()]
    assert [(item.index, item.raw) for item in decoded.bad] == [(1, torn[0]), (2, torn[1]), (3, torn[2])]
    assert "line break inside a string" in decoded.bad[0].reason


def test_a_reason_holds_no_more_than_a_little_of_the_item() -> None:
    """A reason goes into answers and logs, so it can't be long or hold line breaks and raw characters."""
    decoded = decode(eventlist([json.dumps({"kind": "\n\u2028\x1b" + "K" * 5000}, ensure_ascii=False).encode()]))

    [bad] = decoded.bad
    assert len(bad.reason) < 400
    assert bad.reason.isascii()
    assert bad.reason.isprintable()


def test_the_last_of_two_equal_names_counts() -> None:
    """A name twice is routed by its last value, as every reader of the stored line will have it."""
    item = b'{"user":{"username":"a","username":"b"},"verb":"get","user":{"username":"c"},"verb":"list"}'
    fast = decode(eventlist([item]))
    with only_the_scan():
        scanned = decode(eventlist([item]))

    head = fast.events[0].head
    assert (head.user and head.user.username, head.verb) == ("c", "list")
    assert scanned == fast


def test_every_routing_field_is_found() -> None:
    """The head has the event's own fields, by name, on both ways."""
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

    assert scanned == fast
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
def test_a_user_name_is_read_as_json_means_it(token: bytes, username: str | None) -> None:
    """Escapes and what no parser takes in a user's name are read, on the scan alone too."""
    body = eventlist([b'{"user":{"username":' + token + b"}}"])
    with only_the_scan():
        scanned = decode(body)

    assert decode(body) == scanned
    assert scanned.events[0].head.user
    assert scanned.events[0].head.user.username == username


def test_a_broken_byte_is_another_name_than_its_escape() -> None:
    """An escaped surrogate is a name; a raw byte that is no UTF-8 is none, and must not share that one's place."""
    body = eventlist([b'{"user":{"username":"\xff"}}', rb'{"user":{"username":"\udcff"}}'])

    decoded = decode(body)

    assert [found.head.user and found.head.user.username for found in decoded.events] == ["\udcff"]
    assert [item.reason for item in decoded.bad] == [
        "a name or routing field is not UTF-8, which kube-apiserver never sends"
    ]


@pytest.mark.parametrize("around", [b"", b"\n", b" ", b"\r\n\t"])
def test_a_single_event(around: bytes) -> None:
    """An Event with its kind is a body too; white space around it is none of its bytes."""
    decoded = decode(around + line("bob") + around)

    assert raws(decoded) == [line("bob")]
    assert decoded.events[0].head.user
    assert decoded.events[0].head.user.username == "bob"


def test_a_single_event_in_pretty_print() -> None:
    """A pretty-printed Event becomes one line."""
    pretty = json.dumps(json.loads(line()), indent=2).encode()

    assert raws(decode(pretty)) == [line()]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_single_hostile_event(name: str) -> None:
    """A hostile Event alone is stored byte for byte."""
    named = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + HOSTILE[name][1:]

    assert raws(decode(named)) == [named]


@pytest.mark.parametrize("version", ["audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1", "audit.k8s.io/v2"])
@pytest.mark.parametrize("kind", ["EventList", "Event"])
def test_another_version_is_refused_with_the_flag(kind: str, version: str) -> None:
    """Another version of the API is refused with the flag that makes kube-apiserver send this one."""
    body = json.dumps({"kind": kind, "apiVersion": version, "items": [{"user": {}}]}).encode()

    with pytest.raises(Undecodable, match=FLAG) as caught:
        decode(body)

    assert version in caught.value.detail


def test_another_version_is_refused_with_the_flag_by_the_scan() -> None:
    """A hostile body changes nothing about that."""
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
        (eventlist([event()]) + b"{}", "text after the end", len(eventlist([event()])) - 1),
        (ENVELOPE[:-1] + b"{}}", r"expected '\['", len(ENVELOPE) - 1),
        (ENVELOPE[:-1] + b"42}", r"expected '\['", len(ENVELOPE) - 1),
        (ENVELOPE[:-1] + b'"[]"}', r"expected '\['", len(ENVELOPE) - 1),
        (b'{"kind":42,"items":[]}', "kind: expected a string", 8),
        (b'{"kind":"EventList","apiVersion":{},"items":[]}', "apiVersion: expected a string", 33),
    ],
)
def test_what_is_no_event_list_is_refused_with_a_position(body: bytes, reason: str, position: int) -> None:
    """The reason names what was expected, and the first byte that shows otherwise."""
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
        (event(), "got kind none"),
    ],
)
def test_another_document_is_refused(body: bytes, reason: str) -> None:
    """The reason names the kind and the version that came."""
    with pytest.raises(Undecodable, match=reason):
        decode(body)


def test_a_truncated_body_is_refused_wherever_it_ends() -> None:
    """Whatever is left of a list, no event of it is taken for the whole."""
    body = eventlist([event(), HOSTILE["lone surrogate"]]).rstrip()

    found = [outcome(body[:length]) for length in range(len(body))]

    assert all(isinstance(each, Undecodable) for each in found)


@pytest.mark.parametrize("text", [b"[]", b"null", b"[ ]"])
def test_a_list_may_be_empty(text: bytes) -> None:
    """No items and null items (Go's empty list) are lists of no events, also for the scan."""
    body = ENVELOPE[:-1] + text + b"}"
    with only_the_scan():
        scanned = decode(body)

    assert decode(body) == scanned == Decoded([], [])


@given(st.binary(max_size=60), st.data())
@PROPERTY
def test_any_bytes_are_decoded_or_refused(noise: bytes, data: st.DataObject) -> None:
    """Noise, alone or over a part of a list, gives events and bad items, or `Undecodable`; never anything else."""
    body = eventlist([event(), HOSTILE["NaN"], event("bob")])
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body))] * 2)))

    for each in (outcome(noise), outcome(body[:start] + noise + body[end:])):
        assert isinstance(each, Decoded) or each.detail


@given(st.lists(items, min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \r\n\t\n"]))
@PROPERTY
def test_lines_of_events(some: list[bytes], end: bytes) -> None:
    """Every line's event comes out byte for byte; empty lines and carriage returns don't count."""
    named = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item.lstrip()[1:] for item in some]

    decoded = decode_lines(end.join([b"", *named, b""]))

    assert raws(decoded) == named
    assert decoded.bad == []


def test_bad_lines_cost_no_others() -> None:
    """A line that is no event is told apart with its number, counted from 0 with the empty ones."""
    body = b"\n".join([line(), b"", b"klog: something", event("no-kind"), line("bob"), line()[:-20]])

    decoded = decode_lines(body)

    assert raws(decoded) == [line(), line("bob")]
    assert [(item.index, item.raw) for item in decoded.bad] == [
        (2, b"klog: something"),
        (3, event("no-kind")),
        (5, line()[:-20]),
    ]
    assert all(item.reason for item in decoded.bad)


def test_lines_of_event_lists() -> None:
    """A line may hold a whole EventList; its bad items carry the number of the line."""
    body = eventlist([event("a"), b"42"]) + line("b") + b"\n" + eventlist([event("c"), event("d")])

    decoded = decode_lines(body)

    assert raws(decoded) == [event("a"), line("b"), event("c"), event("d")]
    assert [(item.index, item.raw) for item in decoded.bad] == [(0, b"42")]


@pytest.mark.parametrize("body", [b"x", b"x\ny\n", b"\n\n[]\n", b"{}\r\n42", b"", b"\n \n"])
def test_lines_without_an_event_are_refused(body: bytes) -> None:
    """Where no line is an event, the body is none of events."""
    with pytest.raises(Undecodable):
        decode_lines(body)


def test_lines_without_an_event_are_refused_with_the_first_reason() -> None:
    """The reason names the first bad line, and the flag where the version is the trouble."""
    old = json.dumps({**NAMED, "apiVersion": "audit.k8s.io/v1beta1"}).encode()

    with pytest.raises(Undecodable, match=rf"Line 1: .*{FLAG}"):
        decode_lines(b"\n" + old + b"\n" + old)


def test_an_events_bytes_are_one_document() -> None:
    """An array laid out on lines has commas at their ends; none of them becomes part of an event."""
    decoded = decode_lines(b"[\n" + line("alice") + b",\n" + line("bob") + b"\n]\n")

    assert [json.loads(raw)["kind"] for raw in raws(decoded)] == ["Event"] * len(decoded.events)
    assert len(decoded.events) + len(decoded.bad) == 4


def test_commas_around_an_event_are_not_its_bytes() -> None:
    """A single Event with commas around it is refused, or stored without them."""
    found = outcome(b"," + line() + b",")

    assert isinstance(found, Undecodable) or raws(found) == [line()]
