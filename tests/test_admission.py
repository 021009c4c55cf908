"""Admission: large bodies take turns, usual ones do not wait."""

from __future__ import annotations

import io
import json

import pytest
from support.eventlists import carrying, eventlist
from support.requests import ask, receiver

from auditsplit.deadline import Deadline
from auditsplit.errors import Busy
from auditsplit.serve import admission
from auditsplit.serve.admission import LARGE_BYTES, MAX_LARGE, Turns
from auditsplit.serve.messages import Request


def test_large_bodies_take_turns() -> None:
    """The turns are bounded. One that ended is free for another body."""
    turns = Turns(1)
    with turns.turn(Deadline.after(9)) as first, turns.turn(Deadline.after(0)) as second:
        first.expect(LARGE_BYTES + 1)
        first.expect(LARGE_BYTES + 2)
        second.expect(LARGE_BYTES)
        with pytest.raises(Busy, match="Send it again"):
            second.expect(LARGE_BYTES + 1)

    with turns.turn(Deadline.after(0)) as third:
        third.expect(LARGE_BYTES + 1)


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_without_a_turn_is_refused(monkeypatch: pytest.MonkeyPatch, announced: bool) -> None:  # noqa: FBT001 - a row's case
    """It gets 503 with Retry-After. With its length announced, it is not read. A usual body is answered beside it."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", 0.01)
    here = receiver(max_body_bytes=8_000_000)
    large = eventlist([carrying(b'"%b"' % (b"x" * LARGE_BYTES))])
    stream = io.BytesIO(large)
    headers = {"content-type": "application/json"} | ({"content-length": str(len(large))} if announced else {})
    busy = [here._turns.turn(Deadline.after(9)) for _ in range(MAX_LARGE)]
    for turn in busy:
        turn.expect(LARGE_BYTES + 1)

    refused = here.handle(Request("POST", "/", headers, stream, "127.0.0.1"))
    usual = ask(here, eventlist([carrying(b"1")]))
    for turn in busy:
        turn.__exit__(None, None, None)

    assert refused.status == 503
    assert refused.headers["Retry-After"] == "5"
    assert json.loads(refused.body)["code"] == "busy"
    assert (stream.tell() == 0) is announced
    assert usual.status == 200
    assert here.handle(Request("POST", "/", headers, io.BytesIO(large), "127.0.0.1")).status == 200
