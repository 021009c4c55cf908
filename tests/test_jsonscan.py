"""The structural scan: it sees what a JSON parser sees, in texts that no parser takes too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.eventlists import PROPERTY, json_texts, json_values

from auditsplit.decode import jsonscan
from auditsplit.decode.jsonscan import Scan, Span, compact
from auditsplit.errors import Undecodable

layouts = st.fixed_dictionaries(
    {
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\r\n"), ("\n,  ", "\t: ")]),
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "ensure_ascii": st.booleans(),
    }
)
plain = st.recursive(
    st.integers() | st.text("ab ,:", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab ,:", max_size=3), inner, max_size=3),
    max_leaves=8,
)
"""Documents without a bracket or an escape in a string."""


def scanned(text: bytes, span: Span | None = None) -> list[Any]:
    """Return what the scan finds in the object or array ``text``, to its end."""
    scan = Scan(text)
    span = span or scan.whole
    found: Iterator[Any] = scan.members(span) if text[span.start : span.start + 1] == b"{" else scan.elements(span)
    return list(found)


def members(text: bytes) -> Iterator[tuple[bytes, Span]]:
    """Return the members of the object that ``text`` is."""
    scan = Scan(text)
    return scan.members(scan.whole)


def elements(text: bytes) -> Iterator[Span]:
    """Return the elements of the array that ``text`` is."""
    scan = Scan(text)
    return scan.elements(scan.whole)


def parts(text: bytes, span: Span) -> Any:
    """Return what Python's parser makes of the text at ``span``."""
    return json.loads(text[span.start : span.end])


@given(st.dictionaries(st.text(max_size=6), json_values), layouts)
@PROPERTY
def test_members_are_those_of_json(document: dict[str, Any], layout: dict[str, Any]) -> None:
    """Every member's name and value are found where `json` finds them, however the text is laid out."""
    text = json.dumps(document, **layout).encode()

    found = [(json.loads(name), parts(text, span)) for name, span in members(text)]

    assert found == list(document.items())


@given(st.lists(json_values), layouts)
@PROPERTY
def test_elements_are_those_of_json(document: list[Any], layout: dict[str, Any]) -> None:
    """Objects and arrays come one by one, scalars as runs, together just the elements that `json` finds."""
    text = json.dumps(document, **layout).encode()
    runs = [json.loads(b"[" + text[start:end] + b"]") for start, end in elements(text)]

    assert [element for run in runs for element in run] == document
    assert all(len(run) == 1 or not any(isinstance(element, dict | list) for element in run) for run in runs)


@given(json_texts, st.integers(1, 40), st.integers(1, 40))
@PROPERTY
def test_blocks_are_no_concern(text: str, block: int, blanked: int) -> None:
    """Wherever the blocks end by which a text is read, the same is found."""
    document = f'{{"a":{text},"b":[{text},{text}]}}'.encode()
    expected = scanned(document)
    array = expected[1][1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonscan, "_BLOCK_BYTES", block)
        patch.setattr(jsonscan, "_BLANKING_WINDOW_BYTES", blanked)

        found = scanned(document)
        elements_found = scanned(document, array)

    assert found == expected
    assert elements_found == scanned(document, array)


@given(st.lists(json_texts, max_size=5), json_texts, json_texts)
@PROPERTY
def test_a_span_is_taken_out_of_a_larger_text(texts: list[str], before: str, behind: str) -> None:
    """What lies around the span is not looked at, and found spans count from the text's beginning."""
    array = f"[{','.join(f'[{text}]' for text in texts)}]"
    text = f"{before},{array},{behind}".encode()
    start = len(before.encode()) + 1

    found = Scan(text).elements(Span(start, start + len(array.encode())))

    assert [text[start:end].decode() for start, end in found] == [f"[{text}]" for text in texts]


@given(json_values, layouts)
@PROPERTY
def test_compact_is_json_without_white_space(document: Any, layout: dict[str, Any]) -> None:
    """Only the white space between tokens goes; what strings and numbers look like stays."""
    text = json.dumps(document, **layout).encode()
    expected = json.dumps(document, separators=(",", ":"), ensure_ascii=layout["ensure_ascii"]).encode()

    assert compact(text) == expected


@given(st.lists(plain, max_size=3) | st.dictionaries(st.text("ab", max_size=2), plain, max_size=3), st.data())
@PROPERTY
def test_a_missing_bracket_is_noticed(document: Any, data: st.DataObject) -> None:
    """One bracket taken out or turned round, or near the outside into another, is refused with its position."""
    text = json.dumps(document).encode()
    depths = list(accumulate({"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, 0) for mark in text.decode()))
    at = data.draw(st.sampled_from([at for at, mark in enumerate(text) if mark in b"[]{}"]))
    other = data.draw(st.sampled_from([b"", b"[", b"]", b"{", b"}"]))
    shallow = max(depths[at], depths[at - 1] if at else 0) <= 2
    assume(other != text[at : at + 1] and (shallow or {other, text[at : at + 1]} not in ({b"[", b"{"}, {b"]", b"}"})))
    broken = text[:at] + other + text[at + 1 :]

    with pytest.raises(Undecodable) as caught:
        scanned(broken)

    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(broken)


@given(st.dictionaries(st.text("ab", max_size=2), plain, min_size=1, max_size=3), st.data())
@PROPERTY
def test_a_missing_quote_is_noticed(document: dict[str, Any], data: st.DataObject) -> None:
    """One quote taken out is refused with a position inside the text."""
    text = json.dumps(document).encode()
    at = data.draw(st.sampled_from([at for at, mark in enumerate(text) if mark == ord('"')]))
    broken = text[:at] + text[at + 1 :]

    with pytest.raises(Undecodable) as caught:
        scanned(broken)

    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(broken)


def outcome(text: bytes) -> list[Any] | Undecodable:
    """Return what the scan finds, or its refusal; any other error is the test's failure."""
    try:
        return scanned(text)
    except Undecodable as error:
        return error


@given(st.binary() | st.text('{}[]",:\\ a1\n').map(str.encode))
@PROPERTY
def test_any_bytes_are_scanned_or_refused(text: bytes) -> None:
    """Every span lies inside the brackets, or the refusal's position inside the text; nothing else happens."""
    found = outcome(text)

    if isinstance(found, Undecodable):
        assert found.position in range(len(text) + 1)
    else:
        spans = [value[1] if text.lstrip().startswith(b"{") else value for value in found]
        assert all(0 < start <= end < len(text) for start, end in spans)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        (b'{"a":1', 6, "1 brackets are not closed"),
        (b'{"a":[{"b":1}', 13, "2 brackets are not closed"),
        (b'{"a":[1}', 7, "'}' does not match"),
        (b'{"a":{1]}', 7, "']' does not match"),
        (b'{"a":"x}', 5, "a string is not closed"),
        (rb'{"a":"\"}', 5, "a string is not closed"),
        (b'{"a', 1, "a string is not closed"),
        (b"{} x", 2, "text after the end"),
        (b'{"a":1}{"b":2}', 7, "text after the end"),
        (b'{"a":1}]', 7, "text after the end"),
        (b'[{"a":1}', 8, "1 brackets are not closed"),
        (b"[[]}", 3, "'}' does not match"),
        (b'["]', 1, "a string is not closed"),
        (b"[] 1", 2, "text after the end"),
    ],
)
def test_a_broken_text_is_refused_where_it_breaks(text: bytes, position: int, reason: str) -> None:
    """The error names what is wrong and the byte at which that showed."""
    with pytest.raises(Undecodable, match=reason) as caught:
        scanned(text)

    assert caught.value.position == position


@pytest.mark.parametrize("text", [b"", b"  ", b"42", b'"{}"', b"null", b"[1]", b"}", b"\xef\xbb\xbf{}", b"\x0b{}"])
def test_members_wants_an_object(text: bytes) -> None:
    """What is no object is refused at its first byte."""
    span = Scan(text).whole

    with pytest.raises(Undecodable, match=r"expected '\{'") as caught:
        list(Scan(text).members(span))

    assert caught.value.position == span.start


@pytest.mark.parametrize("text", [b"", b"42", b'"[]"', b"{}", b"]"])
def test_elements_wants_an_array(text: bytes) -> None:
    """What is no array is refused at its first byte."""
    with pytest.raises(Undecodable, match=r"expected '\['") as caught:
        list(elements(text))

    assert caught.value.position == 0


@pytest.mark.parametrize("depth", [9_000, 200_000])
def test_nesting_has_no_limit(depth: int) -> None:
    """Depth costs neither recursion nor an error; the value comes as one."""
    deep = b"[" * depth + b"]" * depth
    text = b'{"a":' + deep + b',"b":2}'

    found = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert found == [(b'"a"', deep), (b'"b"', b"2")]
    assert scanned(deep) == [Span(1, 2 * depth - 1)]
    assert compact(text.replace(b"[]", b"[ \n ]")) == text


def test_white_space_may_be_long() -> None:
    """A megabyte of white space anywhere belongs to no value."""
    gap = b" \t\r\n" * 262_144
    text = gap.join([b"", b"{", b'"a"', b":", b"1", b",", b'"b"', b":", b"[", b"2", b"]", b"}", b""])

    found = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert found == [(b'"a"', b"1"), (b'"b"', gap.join([b"[", b"2", b"]"]))]
    assert compact(text) == b'{"a":1,"b":[2]}'


def test_padding_in_an_array_belongs_to_no_element() -> None:
    """A megabyte of white space around elements is in none of their spans."""
    gap = b" " * 1_048_576
    text = b"[" + gap + b"1" + gap + b",2" + gap + b"," + gap + b"{}" + gap + b"]"

    found = [compact(text[start:end]) for start, end in elements(text)]

    assert found == [b"1,2", b"{}"]


def test_escapes_end_no_string() -> None:
    """Escaped quotes and backslashes, brackets and colons in strings are text."""
    text = rb'{"a\"]":"\\","b\\":"}\\\"{","c:":["\\\\","]"],"\u0022":"x"}'

    found = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert found == [
        (rb'"a\"]"', rb'"\\"'),
        (rb'"b\\"', rb'"}\\\"{"'),
        (b'"c:"', rb'["\\\\","]"]'),
        (rb'"\u0022"', b'"x"'),
    ]


def test_a_megabyte_of_escapes_is_one_string() -> None:
    """Long strings of escapes, closed or not, are scanned once."""
    text = b'{"a":"' + rb"\"" * 524_288 + b'"}'

    assert scanned(text) == [(b'"a"', Span(5, len(text) - 1))]
    with pytest.raises(Undecodable, match="a string is not closed"):
        scanned(text[:-2])


def test_a_name_twice_comes_twice() -> None:
    """Duplicates come in order; which counts is the caller's choice."""
    text = b'{"a":1,"a":[],"a":{"a":2}}'

    assert [parts(text, span) for _, span in members(text)] == [1, [], {"a": 2}]


def test_compact_leaves_strings_alone() -> None:
    """White space inside a string, escaped or not, stays."""
    text = b'{ "a b" :\n "c  d\\n\\" e" ,\r\n\t"\t" : [ 1 , 2 ] }'

    assert compact(text) == b'{"a b":"c  d\\n\\" e","\t":[1,2]}'


def test_whole_leaves_out_white_space_around() -> None:
    """The value's own bytes are inside, JSON's white space around it outside."""
    assert Scan(b' \r\n\t{"a": 1}\n ').whole == Span(4, 12)
