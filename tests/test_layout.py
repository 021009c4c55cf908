"""Layout: what becomes of a line depends on the line, and a document of several lines stays together."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, event, json_values, line

from auditsplit.decode import layout
from auditsplit.decode.wrappers import Line
from auditsplit.errors import BodyTooLarge

LOG = [line("alice", auditID=f"id-{number}") for number in range(4)]
LIST = json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [json.loads(LOG[0])] * 2}, indent=1)
PRETTY = json.dumps(json.loads(LOG[0]), indent=2).encode()


def blocks(text: bytes, max_bytes: int = 10_000_000) -> list[bytes]:
    """Return the blocks of a file."""
    lines = (Line(number, each) for number, each in enumerate(text.splitlines(keepends=True), 1))
    found = list(layout.blocks(lines, max_bytes))
    assert all(block.document == (len(block.lines) > 1) for block in found)
    numbers = [each.number for block in found for each in block.lines]
    assert all(earlier < later for earlier, later in pairwise(numbers))
    return [b"".join(each.text for each in block.lines).rstrip(b"\n") for block in found]


@pytest.mark.parametrize("end", range(1, len(LOG[0])))
def test_a_line_torn_anywhere_hides_no_line_behind_it(end: int) -> None:
    """Wherever it ends: inside a string, behind a comma or a colon, or where a list would begin."""
    assert blocks(b"\n".join([LOG[0][:end], *LOG[1:]])) == [LOG[0][:end], *LOG[1:]]


@pytest.mark.parametrize(
    "torn", [b'{"items":[', b'{"a":', b'{"a":[{"b":[', b"{", b'{"a":1,', b'{"a":1', b'{"a":"', b"{]"]
)
@pytest.mark.parametrize("behind", [[LOG[1]], LOG[1:], [event()], [b"x", LOG[1]], [b"", *LOG[1:]]])
def test_a_torn_line_before_any_lines_is_apart(torn: bytes, behind: list[bytes]) -> None:
    """Also where a single line follows, and where it could go on."""
    assert blocks(b"\n".join([torn, *behind])) == [each for each in [torn, *behind] if each]


@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1), st.sampled_from([0, 1, "\t"]))
@PROPERTY
def test_a_document_of_several_lines_stays_together(document: dict[str, Any], indent: int | str) -> None:
    """Between lines, torn lines and other documents."""
    text = json.dumps(document, indent=indent).encode()

    assert blocks(b"\n".join([text, LOG[0], text, text, b'{"a":', text, LOG[1]])) == [
        *(text, LOG[0], text, text),
        *(b'{"a":', text, LOG[1]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        LIST.encode(),
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[\n' + b",\n".join(LOG) + b"\n]}",
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[\n' + b"\n,".join(LOG) + b"\n]}",
        b'{"kind":"EventList","items":[' + b"\n,".join(LOG) + b"]}",
        b'{"items":[],"metadata":{}\n,"kind":"EventList"}',
        b'{"a"\n:\n1\n,\n"b"\n:\n[\n]\n}',
        b'{\n"a":"]}\\"{[",\n"b":NaN}',
    ],
)
def test_other_layouts_of_a_document_are_read(text: bytes) -> None:
    """Breaks may be before and behind commas and colons."""
    assert blocks(LOG[0] + b"\n" + text + b"\n" + LOG[1]) == [LOG[0], text, LOG[1]]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_stands_alone(name: str) -> None:
    """With its kind or without, although a parser refuses it."""
    some = [HOSTILE[name], b'{"kind":"Event",' + HOSTILE[name][1:]]

    assert blocks(b"\n".join([*some, b'{"a":[', *some])) == [*some, b'{"a":[', *some]


def test_text_of_a_body_is_no_line_where_its_document_breaks_off() -> None:
    """A user may write an event into a request body. Further right than the margin, it never stands for itself."""
    forged = json.loads(event("bob"))
    pretty = json.dumps({"kind": "Event", "requestObject": {"a": [forged, forged]}}, indent=1).encode()

    assert blocks(pretty[:-2]) == [pretty[:-2]]
    assert blocks(pretty[:-2] + b"\n" + LOG[0]) == [pretty[:-2], LOG[0]]


def test_a_document_over_the_bound_is_refused() -> None:
    """It must fit into memory."""
    assert blocks(PRETTY, len(PRETTY)) == [PRETTY]
    with pytest.raises(BodyTooLarge, match="AUDIT_MAX_BODY_BYTES"):
        blocks(PRETTY, len(PRETTY) - 1)


def test_many_torn_lines_are_read_once() -> None:
    """Each could begin a document that goes on to the end of the file. Reading again from each would take minutes."""
    text = b'{"a":\n' * 100_000

    assert blocks(text) == [text.rstrip()]
