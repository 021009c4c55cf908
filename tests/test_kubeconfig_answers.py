"""What becomes of a batch by the answer: every status, as it was measured with a real kube-apiserver."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsplit.apiserver.rules import ERROR, WARNING
from auditsplit.webhook.answers import Answer

RECEIPT = json.dumps({"cluster": "prod", "batch": "0", "events": 0}).encode()
LOST = [207, 226, 300, 304, 400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 502, 503, 504, 599]


@pytest.mark.parametrize("status", range(200, 207))
def test_delivered(status: int) -> None:
    """Any of these is, when the function gives its receipt."""
    answer = Answer(status, "", RECEIPT)

    assert answer.findings() == []
    assert answer.cluster == "prod"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"<html>", b'{"cluster":1,"batch":""}', b'{"cluster":"a"}', b"\xff"]
)
def test_delivered_to_a_stranger(body: bytes) -> None:
    """Without a receipt it is no function of ours, which a batch wouldn't show."""
    answer = Answer(200, "", body)

    assert [finding.level for finding in answer.findings()] == [WARNING]
    assert answer.cluster is None


@pytest.mark.parametrize("status", LOST)
def test_lost(status: int) -> None:
    """After 5 tries; a receipt in the body doesn't help."""
    [finding] = Answer(status, "", RECEIPT).findings()

    assert finding.level == ERROR
    assert finding.reason.startswith(str(status))
    assert finding.reason.endswith("after 5 tries kube-apiserver drops the batch")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_place(status: int) -> None:
    """It is a refusal like others."""
    [finding] = Answer(status, "", b"").findings()

    assert finding.level == ERROR
    assert "after 5 tries" in finding.reason


@pytest.mark.parametrize(
    ("status", "same_host", "level"),
    [(302, True, ERROR), (302, False, ERROR), (307, True, WARNING), (308, False, ERROR)],
)
def test_a_redirect(status: int, same_host: bool, level: str) -> None:  # noqa: FBT001
    """One that keeps the POST and the host only costs time."""
    [finding] = Answer(status, "https://b.example/x", b"", same_host).findings()

    assert finding.level == level
    assert "https://b.example/x" in finding.reason


@given(st.text(), st.sampled_from([401, 302]))
def test_what_the_server_says_cant_harm_a_terminal(said: str, status: int) -> None:
    """Control characters are taken out of the detail and the place."""
    [finding] = Answer(status, f"https://a/{said}", json.dumps({"detail": said}).encode()).findings()

    assert finding.reason.isprintable()
    assert len(finding.reason) < 700
