"""Names: one-to-one, safe and bounded, for any user name."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY, names

from auditsplit.routing import names as naming
from auditsplit.routing.names import ABSENT, MAX_BYTES, NO_USER, encode

SAFE = re.compile(r"(?:[a-z0-9@:-]|%[0-9A-F]{2})(?:[a-z0-9_.@:-]|%[0-9A-F]{2})*(?:~[0-9a-f]{64})?")


def folded(name: str) -> str:
    """Return a name as a disk that ignores case and normalises Unicode sees it."""
    return unicodedata.normalize("NFKC", name).casefold()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("alice", "alice"),
        ("Alice", "%41lice"),
        ("alice@example.com", "alice@example.com"),
        ("system:serviceaccount:ns:x", "system:serviceaccount:ns:x"),
        ("system:node:ip-10-0-0-1.eu_1", "system:node:ip-10-0-0-1.eu_1"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "%2E.%2E"),
        (".hidden", "%2Ehidden"),
        ("ends.", "ends%2E"),
        ("_no-user", "%5Fno-user"),
        ("_rejected", "%5Frejected"),
        ("a_b", "a_b"),
        ("none", "none"),
        ("Carol Test User", "%43arol%20%54est%20%55ser"),
        ("%41lice", "%2541lice"),
        ("a~b", "a%7Eb"),
        ("k=v,w+x", "k%3Dv%2Cw%2Bx"),
        ("\0", "%00"),
        ("a\nb", "a%0Ab"),
        ("\U0001f600", "%F0%9F%98%80"),
        ("\u00fcn\u00ef", "%C3%BCn%C3%AF"),
        ("\ud800", "%ED%A0%80"),
        ("\u212a", "%E2%84%AA"),
    ],
)
def test_known_names(value: str, name: str) -> None:
    """Safe characters stay, and every other byte becomes %XX."""
    assert encode(value) == name


@given(names)
@PROPERTY
def test_a_name_is_safe_and_bounded(value: str) -> None:
    """A name has 1 to 200 safe ASCII characters. It begins with neither _ nor a dot and doesn't end with a dot."""
    name = encode(value)

    assert SAFE.fullmatch(name)
    assert 1 <= len(name.encode("ascii")) <= MAX_BYTES == 200
    assert not name.startswith(("_", "."))
    assert not name.endswith(".")


@given(names)
@PROPERTY
def test_a_name_can_be_decoded(value: str) -> None:
    """Any URL decoder decodes a whole name, and the beginning of a shortened name."""
    kept, mark, digest = encode(value).partition("~")
    raw = value.encode("utf-8", "surrogatepass")

    assert raw.startswith(unquote_to_bytes(kept))
    assert digest == hashlib.sha256(raw).hexdigest() if mark else unquote_to_bytes(kept) == raw


@given(st.lists(names, unique=True, max_size=20))
@PROPERTY
def test_different_values_have_different_names(values: list[str]) -> None:
    """Two values never share a name, even on a disk that ignores case or normalises Unicode."""
    encoded = {folded(encode(value)) for value in values}

    assert len(encoded) == len(values)


@given(names)
@PROPERTY
def test_similar_values_have_different_names(value: str) -> None:
    """A value's own name, another case and another form of Unicode are values with names of their own."""
    name = encode(value)
    variants = {
        name,
        name.lower(),
        value.upper(),
        value.lower(),
        value.casefold(),
        unicodedata.normalize("NFC", value),
        unicodedata.normalize("NFD", value),
        unicodedata.normalize("NFKC", value),
        value + ".",
        value + "\0",
        "_" + value,
        value[:-1] or "x",
        value + value[-1],
    } - {value}

    assert folded(name) not in {folded(encode(variant)) for variant in variants}


@given(st.text(st.characters(), min_size=200, max_size=260), st.text(min_size=1, max_size=3))
@PROPERTY
def test_long_values_that_end_differently_have_different_names(value: str, end: str) -> None:
    """Shortened names differ even where the parts that were kept are equal."""
    one, other = encode(value), encode(value + end)

    assert folded(one) != folded(other)


@given(names)
@PROPERTY
def test_no_value_gets_a_reserved_name(value: str) -> None:
    """No user's name is the name for an event without a user, or a name of the sinks' own folders."""
    name = folded(encode(value))

    assert name not in (NO_USER, "_rejected", ".auditsplit")


def test_300_characters_are_shortened() -> None:
    """A value of 300 characters keeps its first 135, then ~ and the SHA-256 of the whole value."""
    value = "a" * 300

    assert encode(value) == "a" * 135 + "~" + hashlib.sha256(value.encode()).hexdigest()


def test_only_names_over_the_bound_are_shortened() -> None:
    """A name of 200 characters stays whole. A name of 201 characters is shortened."""
    whole, shortened = encode("a" * 200), encode("a" * 201)

    assert whole == "a" * 200
    assert (len(shortened), shortened[135]) == (200, "~")


@pytest.mark.parametrize("before", [0, 1, 2])
def test_shortening_removes_whole_escapes(before: int) -> None:
    """Where the bound falls inside %XX, the whole escape is removed."""
    name = encode("a" * before + "/" * 100)

    kept = name.partition("~")[0]
    assert re.fullmatch(r"a*(?:%2F)+", kept)
    assert 133 <= len(kept) <= 135


def test_an_empty_value_has_no_name() -> None:
    """The caller must choose the name of an absent value. A segment is never empty."""
    with pytest.raises(ValueError, match="empty"):
        encode("")


def test_the_names_of_absent_values_are_safe() -> None:
    """They are file names too. Only the name of an absent user is a name that no value gets."""
    assert NO_USER.startswith("_")
    assert encode(ABSENT) == ABSENT


def test_long_values_are_not_cached() -> None:
    """A user can choose a new name of a megabyte each time, and memory must not grow by them."""
    before = naming._cached.cache_info().currsize
    encoded = [encode("x" * 100_000 + str(number)) for number in range(20)]

    assert naming._cached.cache_info().currsize == before
    assert len(set(encoded)) == 20
