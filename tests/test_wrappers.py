"""Wrappers: the lines of an audit log come out of a container's log with their own bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, line

from auditsplit.decode.wrappers import Line, unwrap

TIME = b"2025-10-07T16:19:19.647880072Z"
LOG = [line("alice", auditID=f"id-{number}") for number in range(3)]


def cri(text: bytes, stream: bytes = b"stdout", tag: bytes = b"F") -> bytes:
    """Return a line of containerd's or CRI-O's log."""
    return b"%s %s %s %s\n" % (TIME, stream, tag, text)


def docker(text: str, stream: str = "stdout") -> bytes:
    """Return a line of Docker's log, with the escapes of Go."""
    wrapper = json.dumps({"log": text, "stream": stream, "time": TIME.decode()}, separators=(",", ":"))
    return wrapper.replace("<", r"\u003c").encode() + b"\n"


def parts(text: bytes, size: int, stream: bytes = b"stdout") -> list[bytes]:
    """Return the lines of a CRI log in which ``text`` is divided."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [cri(piece, stream, b"P") for piece in pieces[:-1]] + [cri(pieces[-1], stream)]


def unwrapped(lines: list[bytes]) -> list[bytes]:
    """Return the texts of the lines."""
    return [each.text.rstrip(b"\n") for each in unwrap(Line(number, text) for number, text in enumerate(lines, 1))]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [100, 16_384, 10_000_000])
def test_a_cri_line_comes_out_with_its_own_bytes(name: str, size: int) -> None:
    """Whole, or in parts of any size."""
    assert unwrapped([*parts(HOSTILE[name], size), cri(LOG[0])]) == [HOSTILE[name], LOG[0]]


@given(st.text(max_size=30), st.integers(1, 40))
@PROPERTY
def test_a_docker_line_is_unescaped_once(text: str, size: int) -> None:
    """An escape in the event stays an escape. Docker divides a line without a mark but the line feed."""
    inner = json.dumps({"auditID": text, "x": "<"})
    pieces = [inner[at : at + size] for at in range(0, len(inner), size)]
    lines = [docker(piece) for piece in pieces[:-1]] + [docker(pieces[-1] + "\n")]

    assert unwrapped(lines) == [inner.encode()]


def test_streams_are_apart() -> None:
    """The parts of two streams may alternate."""
    out, err = parts(LOG[0], 200), parts(LOG[1], 300, b"stderr")

    assert unwrapped([out[0], err[0], *out[1:], *err[1:]]) == [LOG[0], *(part.rstrip() for part in err)]


@pytest.mark.parametrize("text", [cri(LOG[0], b"stderr"), docker(LOG[0].decode() + "\n", "stderr")])
def test_a_line_of_standard_error_is_never_an_event(text: bytes) -> None:
    """A message of kube-apiserver's own may repeat what a user sent, after a line feed. That would forge an event."""
    assert unwrapped([text]) == [text.rstrip(b"\n")]


def test_a_line_in_parts_has_the_number_of_its_first_part() -> None:
    """Complaints name it."""
    lines = [cri(LOG[0]), *parts(LOG[1], 200), cri(LOG[2])]

    found = list(unwrap(Line(number, text) for number, text in enumerate(lines, 1)))

    assert [each.number for each in found] == [1, 2, len(lines)]


@pytest.mark.parametrize("size", [50, 200])
def test_parts_without_an_end_hide_no_line_behind_them(size: int) -> None:
    """They stay as they are, where the last part is missing, or the file ends."""
    torn = parts(LOG[0], size)[:-1]

    assert unwrapped([*torn, cri(LOG[1]), *parts(LOG[2], size)]) == [*(each.rstrip() for each in torn), *LOG[1:]]
    assert unwrapped([*torn, *parts(LOG[1], size)]) == [*(each.rstrip() for each in torn), LOG[1]]


@pytest.mark.parametrize(
    "text",
    [
        cri(b"I1007 16:19:20 quota admission added evaluator", b"stderr"),
        cri(b""),
        docker("I1007 16:19:20 quota\n"),
        docker("\n"),
        b'{"log":"x","stream":7}\n',
        b'{"log":"\\ud800","stream":"stdout","time":""}\n',
        b'{"log":"{\n',
        b"2025-10-07T16:19:19Z something else\n",
        b"2025-10-07 16:19:19 {}\n",
        LOG[0] + b"\n",
    ],
)
def test_any_other_line_stays_as_it_is(text: bytes) -> None:
    """So it is rejected whole."""
    assert unwrapped([text, cri(LOG[0])]) == [text.rstrip(b"\n"), LOG[0]]
