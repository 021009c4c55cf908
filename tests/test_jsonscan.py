"""The scan: it finds the values that a JSON parser finds, also in texts that parsers refuse."""

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
    """Return all members or elements of the object or array ``text``."""
    scan = Scan(text)
    span = span or scan.whole
    if text[span.start : span.start + 1] == b"{":
        return list(scan.members(span))
    return list(scan.elements(span))


def members(text: bytes) -> Iterator[tuple[bytes, Span]]:
    """Return the members of the object ``text``."""
    scan = Scan(text)
    return scan.members(scan.whole)


def elements(text: bytes) -> Iterator[Span]:
    """Return the elements of the array ``text``."""
    scan = Scan(text)
    return scan.elements(scan.whole)


def parsed(text: bytes, span: Span) -> Any:
    """Return the text at ``span`` as Python's parser reads it."""
    return json.loads(text[span.start : span.end])


@given(st.dictionaries(st.text(max_size=6), json_values), layouts)
@PROPERTY
def test_members_are_those_of_json(document: dict[str, Any], layout: dict[str, Any]) -> None:
    """Every member's name and value are found where `json` finds them, in any layout."""
    text = json.dumps(document, **layout).encode()

    pairs = [(json.loads(name), parsed(text, span)) for name, span in members(text)]

    assert pairs == list(document.items())


@given(st.lists(json_values), layouts)
@PROPERTY
def test_elements_are_those_of_json(document: list[Any], layout: dict[str, Any]) -> None:
    """Objects and arrays are found one by one, scalars as runs. Together they are the elements that `json` finds."""
    text = json.dumps(document, **layout).encode()
    runs = [json.loads(b"[" + text[start:end] + b"]") for start, end in elements(text)]

    assert [element for run in runs for element in run] == document
    assert all(len(run) == 1 or not any(isinstance(element, dict | list) for element in run) for run in runs)


@given(json_texts, st.integers(1, 40), st.integers(1, 40))
@PROPERTY
def test_the_sizes_of_blocks_and_windows_do_not_matter(text: str, block: int, blanked: int) -> None:
    """The same spans are found wherever blocks and windows end."""
    document = f'{{"a":{text},"b":[{text},{text}]}}'.encode()
    expected = scanned(document)
    array = expected[1][1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonscan, "_BLOCK_BYTES", block)
        patch.setattr(jsonscan, "_BLANKING_WINDOW_BYTES", blanked)

        in_blocks = scanned(document)
        elements_in_blocks = scanned(document, array)

    assert in_blocks == expected
    assert elements_in_blocks == scanned(document, array)


@given(st.lists(json_texts, max_size=5), json_texts, json_texts)
@PROPERTY
def test_a_span_may_be_inside_a_larger_text(texts: list[str], before: str, behind: str) -> None:
    """The text around the span is ignored, and spans count from the beginning of the text."""
    array = f"[{','.join(f'[{text}]' for text in texts)}]"
    text = f"{before},{array},{behind}".encode()
    start = len(before.encode()) + 1

    spans = Scan(text).elements(Span(start, start + len(array.encode())))

    assert [text[start:end].decode() for start, end in spans] == [f"[{text}]" for text in texts]


@given(json_values, layouts)
@PROPERTY
def test_compact_is_json_without_white_space(document: Any, layout: dict[str, Any]) -> None:
    """Only the white space between tokens is removed. Strings and numbers keep their spelling."""
    text = json.dumps(document, **layout).encode()
    expected = json.dumps(document, separators=(",", ":"), ensure_ascii=layout["ensure_ascii"]).encode()

    assert compact(text) == expected


@given(st.lists(plain, max_size=3) | st.dictionaries(st.text("ab", max_size=2), plain, max_size=3), st.data())
@PROPERTY
def test_a_missing_bracket_is_noticed(document: Any, data: st.DataObject) -> None:
    """A bracket that is missing, reversed, or near the outside of another kind, is refused with its position."""
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
    """A text without one of its quotes is refused with a position inside the text."""
    text = json.dumps(document).encode()
    at = data.draw(st.sampled_from([at for at, mark in enumerate(text) if mark == ord('"')]))
    broken = text[:at] + text[at + 1 :]

    with pytest.raises(Undecodable) as caught:
        scanned(broken)

    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(broken)


def outcome(text: bytes) -> list[Any] | Undecodable:
    """Return what the scan returns or its `Undecodable`. Any other error fails the test."""
    try:
        return scanned(text)
    except Undecodable as error:
        return error


@given(st.binary() | st.text('{}[]",:\\ a1\n').map(str.encode))
@PROPERTY
def test_any_bytes_are_scanned_or_refused(text: bytes) -> None:
    """Every span is inside the brackets, or the error's position is inside the text. No other error is raised."""
    result = outcome(text)

    if isinstance(result, Undecodable):
        assert result.position in range(len(text) + 1)
    else:
        spans = [value[1] if text.lstrip().startswith(b"{") else value for value in result]
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
    """The error names the mistake and the byte that shows it."""
    with pytest.raises(Undecodable, match=reason) as caught:
        scanned(text)

    assert caught.value.position == position


@pytest.mark.parametrize("text", [b"", b"  ", b"42", b'"{}"', b"null", b"[1]", b"}", b"\xef\xbb\xbf{}", b"\x0b{}"])
def test_members_requires_an_object(text: bytes) -> None:
    """Any other value is refused at its first byte."""
    span = Scan(text).whole

    with pytest.raises(Undecodable, match=r"expected '\{'") as caught:
        list(Scan(text).members(span))

    assert caught.value.position == span.start


@pytest.mark.parametrize("text", [b"", b"42", b'"[]"', b"{}", b"]"])
def test_elements_requires_an_array(text: bytes) -> None:
    """Any other value is refused at its first byte."""
    with pytest.raises(Undecodable, match=r"expected '\['") as caught:
        list(elements(text))

    assert caught.value.position == 0


@pytest.mark.parametrize("depth", [9_000, 200_000])
def test_nesting_has_no_limit(depth: int) -> None:
    """A deep value has one span. It needs no recursion and raises no error."""
    deep = b"[" * depth + b"]" * depth
    text = b'{"a":' + deep + b',"b":2}'

    pairs = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert pairs == [(b'"a"', deep), (b'"b"', b"2")]
    assert scanned(deep) == [Span(1, 2 * depth - 1)]
    assert compact(text.replace(b"[]", b"[ \n ]")) == text


def test_white_space_may_be_long() -> None:
    """A megabyte of white space anywhere is part of no value."""
    gap = b" \t\r\n" * 262_144
    text = gap.join([b"", b"{", b'"a"', b":", b"1", b",", b'"b"', b":", b"[", b"2", b"]", b"}", b""])

    pairs = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert pairs == [(b'"a"', b"1"), (b'"b"', gap.join([b"[", b"2", b"]"]))]
    assert compact(text) == b'{"a":1,"b":[2]}'


def test_padding_in_an_array_is_part_of_no_element() -> None:
    """The spans of elements exclude a megabyte of white space around them."""
    gap = b" " * 1_048_576
    text = b"[" + gap + b"1" + gap + b",2" + gap + b"," + gap + b"{}" + gap + b"]"

    runs = [compact(text[start:end]) for start, end in elements(text)]

    assert runs == [b"1,2", b"{}"]


def test_escapes_do_not_end_a_string() -> None:
    """Escaped quotes and backslashes, and brackets and colons in strings, are text."""
    text = rb'{"a\"]":"\\","b\\":"}\\\"{","c:":["\\\\","]"],"\u0022":"x"}'

    pairs = [(name, text[start:end]) for name, (start, end) in members(text)]

    assert pairs == [
        (rb'"a\"]"', rb'"\\"'),
        (rb'"b\\"', rb'"}\\\"{"'),
        (b'"c:"', rb'["\\\\","]"]'),
        (rb'"\u0022"', b'"x"'),
    ]


def test_a_megabyte_of_escapes_is_one_string() -> None:
    """A long string of escapes is one value. It is refused where it is not closed."""
    text = b'{"a":"' + rb"\"" * 524_288 + b'"}'

    assert scanned(text) == [(b'"a"', Span(5, len(text) - 1))]
    with pytest.raises(Undecodable, match="a string is not closed"):
        scanned(text[:-2])


def test_a_name_that_is_there_twice_is_yielded_twice() -> None:
    """Members with equal names are yielded in order. The caller chooses which of them counts."""
    text = b'{"a":1,"a":[],"a":{"a":2}}'

    assert [parsed(text, span) for _, span in members(text)] == [1, [], {"a": 2}]


def test_compact_keeps_white_space_in_strings() -> None:
    """White space inside a string stays, also behind an escaped quote."""
    text = b'{ "a b" :\n "c  d\\n\\" e" ,\r\n\t"\t" : [ 1 , 2 ] }'

    assert compact(text) == b'{"a b":"c  d\\n\\" e","\t":[1,2]}'


def test_whole_excludes_white_space_around_the_value() -> None:
    """The span begins and ends with the value's own brackets."""
    assert Scan(b' \r\n\t{"a": 1}\n ').whole == Span(4, 12)
