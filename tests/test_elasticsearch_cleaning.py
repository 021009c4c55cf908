"""Cleaning: the parts of a member that Elasticsearch refuses are left out, and everything beside them stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from support.eventlists import PROPERTY, json_texts, json_values

from auditsplit.sinks.elasticsearch.cleaning import MAX_DEPTH, beginning, clean


def nested(levels: int, inside: bytes = b"1") -> bytes:
    """Return objects in each other."""
    return b'{"a":' * levels + inside + b"}" * levels


@pytest.mark.parametrize(
    ("text", "value", "left_out"),
    [
        (rb'{"\u0000":1,"b":{"c\u0000d":2,"e":3}}', {"b": {"e": 3}}, ["r.\0", "r.b.c\0d"]),
        (rb'{"a":1,"b":{"c":1,"c":{"d":2}},"a":3}', {"a": 3, "b": {"c": {"d": 2}}}, ["r.a", "r.b.c"]),
        (rb'{"a":"x\ud800y","b":"\ud83d\ude00"}', {"a": "x\ufffdy", "b": "\U0001f600"}, ["r.a"]),
        (rb'{"\ud800":1,"b":2}', {"b": 2, "\ufffd": 1}, ["r.\\ud800"]),
        (b'{"a":"\xff","b":2}', {"a": "\ufffd", "b": 2}, ["r.a"]),
        (b'{"a":[NaN,1,-Infinity],"b":1e400,"c":2}', {"a": [1], "c": 2}, ["r.b", "r.a"]),
        (b'{"a":' + b"9" * 5000 + b',"b":' + b"9" * 1000 + b"}", {"b": int("9" * 1000)}, ["r.a"]),
        (b'{"a":"\x01"}', {"a": "\x01"}, []),
        (b'{"":{"":[{}]}}', {"": {"": [{}]}}, []),
        (b'{"' + b"k" * 33_000 + b'":1,"b":2}', {"b": 2}, ["r." + "k" * 198]),
        (b'{"' + b"k" * 20_000 + b'":{"' + b"l" * 9_000 + b'":1,"b":2}}', {"k" * 20_000: {"b": 2}}, ["r." + "k" * 198]),
        (nested(MAX_DEPTH, b'{"x":1}')[:-1] + b',"b":2}', None, ["r" + ".a" * 99 + "."]),
        (nested(9000, b'"]}"')[:-1] + b',"b":2}', None, ["r" + ".a" * 99 + "."]),
        (b"[" * 9000 + b"]" * 9000, None, ["r"]),
        (b"NaN", None, ["r"]),
        (b'"x"', "x", []),
    ],
)
def test_only_the_part_that_is_refused_is_left_out(text: bytes, value: Any, left_out: list[str]) -> None:
    """Its path is named. Paths are cut to 200 characters."""
    cleaned = clean(text, "r")

    assert cleaned.left_out == left_out
    if value is not None or text == b"NaN":
        assert cleaned.value == value
    elif text.startswith(b"{"):
        assert cleaned.value["b"] == 2


@pytest.mark.parametrize("text", [b"{", b"[1,]", b'"\\x"', b"{} {}", b"", b"[" * 9000])
def test_a_text_that_is_not_json_is_an_error(text: bytes) -> None:
    """The caller leaves the whole member out."""
    with pytest.raises(json.JSONDecodeError):
        clean(text, "r")


def test_long_strings_are_cut_where_the_caller_says_so() -> None:
    """A character beyond U+FFFF counts twice in Elasticsearch."""
    cleaned = clean(json.dumps({"a": "x" * 8192, "b": "\U0001f600" * 8191, "c": "x" * 8191}).encode(), "r", 8191)

    assert cleaned.value == {"a": "x" * 8191, "b": "\U0001f600" * 4095, "c": "x" * 8191}
    assert cleaned.left_out == ["r.a", "r.b"]
    assert beginning("") == ""


def test_the_names_of_what_is_left_out_are_bounded() -> None:
    """The line has the rest."""
    cleaned = clean(b"{" + b",".join(b'"\\u0000%d":1' % number for number in range(1000)) + b"}", "r")

    assert cleaned.value == {}
    assert len(cleaned.left_out) == 50


@PROPERTY
@given(value=json_values)
def test_a_value_that_nothing_refuses_is_unchanged(value: Any) -> None:
    """Whatever its shape, unless a name has a NUL."""
    text = json.dumps(value)
    if "\\u0000" not in text:
        assert clean(text.encode(), "r") == (value, [])


@PROPERTY
@given(text=json_texts)
def test_a_cleaned_value_is_strict_json(text: str) -> None:
    """Whatever was in the text: lone surrogates, NaN, a name twice, numbers of any size."""
    cleaned = clean(text.encode(), "r")

    written = json.dumps(cleaned.value, ensure_ascii=False, allow_nan=False).encode()
    assert clean(written, "r") == (cleaned.value, [])
