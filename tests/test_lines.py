"""Lines: those of the log backend, and those of the Logstash recipe."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import BAD, HOSTILE, NAMED, PROPERTY, event, eventlist, items, line
from support.recording import DATA

from auditsplit.decode.eventlist import decode
from auditsplit.event import Event
from auditsplit.sinks import lines


def events(*some: bytes) -> list[Event]:
    """Return the items as events, decoded from a list."""
    return decode(eventlist(some)).events


def test_recorded_events_are_the_lines_of_the_audit_log(recorded: list[bytes]) -> None:
    """In the format ``log``, the recorded lists are the audit log that the same server wrote, in any order of lines."""
    log = (DATA / "audit.log").read_bytes()

    text = b"".join(lines.render(decode(body).events, "log") for body in recorded)

    assert Counter(text.splitlines(keepends=True)) == Counter(log.splitlines(keepends=True))
    assert len(text) == len(log)


def test_log_lines_begin_with_kind_and_version() -> None:
    """The item's own bytes follow unchanged."""
    text = lines.render(events(event("a"), event("b")), "log")

    assert text == line("a") + b"\n" + line("b") + b"\n"


@pytest.mark.parametrize(
    ("own", "first"),
    [
        ({}, b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'),
        ({"kind": "Event"}, b'{"apiVersion":"audit.k8s.io/v1",'),
        ({"apiVersion": "audit.k8s.io/v1"}, b'{"kind":"Event",'),
        (NAMED, b"{"),
    ],
    ids=["neither", "kind", "version", "both"],
)
def test_kind_and_version_are_added_where_they_are_missing(own: dict[str, str], first: bytes) -> None:
    """An item with a kind or a version gets only the field that it lacks."""
    item = event(**own)

    text = lines.render(events(item), "log")

    assert text == first + item[1:] + b"\n"
    names = [name for name, _ in json.loads(text, object_pairs_hook=list)]
    assert sorted(name for name in names if name in NAMED) == sorted(NAMED)
    assert json.loads(text).items() >= NAMED.items()


def test_logstash_lines_wrap_the_item() -> None:
    """A line of the format ``logstash`` has the item as its field ``event``, as in the documented recipe."""
    text = lines.render(events(event("a"), event("b", **NAMED)), "logstash")

    assert text == b'{"event":' + event("a") + b'}\n{"event":' + event("b", **NAMED) + b"}\n"


@given(st.lists(items | st.sampled_from(sorted(BAD.values())), max_size=6), st.sampled_from(sorted(lines.FORMATS)))
@PROPERTY
def test_each_event_is_one_line(some: list[bytes], line_format: lines.Format) -> None:
    """There is a line feed at the end of each event, and none inside. A line contains the item's own bytes."""
    decoded = events(*some)

    text = lines.render(decoded, line_format)

    split = text.split(b"\n")
    assert split.pop() == b""
    assert len(split) == len(decoded)
    assert all(bytes(one.raw)[1:] in its_line for one, its_line in zip(decoded, split, strict=True))
    assert b"\r" not in text


@pytest.mark.parametrize("line_format", lines.FORMATS)
def test_a_pretty_printed_list_becomes_lines_of_json(line_format: lines.Format) -> None:
    """Every line of a pretty-printed list is a JSON document."""
    pretty = json.dumps(json.loads(eventlist([event("a"), event("b", **NAMED)])), indent=2).replace("\n", "\r\n")

    text = lines.render(decode(pretty.encode()).events, line_format)

    documents = [json.loads(each) for each in text.splitlines()]
    assert [document.get("event", document)["user"]["username"] for document in documents] == ["a", "b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_item_is_one_line(name: str) -> None:
    """A line with any hostile body is that of the log backend, byte for byte."""
    text = lines.render(events(event(), HOSTILE[name], event()), "log")

    assert text.split(b"\n")[1] == b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + HOSTILE[name][1:]
    assert text.count(b"\n") == 3


def test_no_events_are_no_lines() -> None:
    """Rendering no events returns no bytes."""
    assert lines.render([], "log") == b""
