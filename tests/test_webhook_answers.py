"""What becomes of a batch, by the answer to it: every status, as measured with a real kube-apiserver."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsplit.apiserver import probe
from auditsplit.webhook.answers import Answer, Verdict
from auditsplit.webhook.rules import ERROR, WARNING, Finding

RECEIPT = json.dumps({"cluster": "prod", "batch": "0", "events": 0}).encode()
LOST = [207, 226, 300, 304, 400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 502, 503, 504, 599]


def finding_for(answer: Answer) -> Finding:
    """Return the answer's only finding."""
    [finding] = probe.findings(answer)
    return finding


@pytest.mark.parametrize("status", range(200, 207))
def test_a_receipt_with_a_delivered_status_has_no_problem(status: int) -> None:
    """kube-apiserver counts these statuses as delivered."""
    answer = Answer(status, "", RECEIPT)

    assert answer.verdict() == Verdict(delivered=True)
    assert probe.findings(answer) == []
    assert answer.cluster == "prod"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"<html>", b'{"cluster":1,"batch":""}', b'{"cluster":"a"}', b"\xff"]
)
def test_an_answer_without_a_receipt_is_a_warning(body: bytes) -> None:
    """The batch counts as delivered, but another server than the function answered."""
    answer = Answer(200, "", body)

    assert answer.verdict().delivered
    assert [finding.level for finding in probe.findings(answer)] == [WARNING]
    assert answer.cluster is None


@pytest.mark.parametrize("status", LOST)
def test_other_statuses_lose_the_batch(status: int) -> None:
    """After 5 tries, even with a receipt in the body."""
    finding = finding_for(Answer(status, "", RECEIPT))

    assert finding.level == ERROR
    assert finding.reason.startswith(str(status))
    assert finding.reason.endswith("After 5 tries kube-apiserver drops the batch")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_location_loses_the_batch(status: int) -> None:
    """kube-apiserver treats it like a refusal and tries 5 times."""
    finding = finding_for(Answer(status, "", b""))

    assert finding.level == ERROR
    assert "After 5 tries" in finding.reason


@pytest.mark.parametrize(
    ("status", "same_host", "level"),
    [(302, True, ERROR), (302, False, ERROR), (307, True, WARNING), (308, False, ERROR)],
)
def test_only_a_redirected_post_to_the_same_host_is_a_warning(status: int, same_host: bool, level: str) -> None:  # noqa: FBT001
    """It costs time, since each batch is posted twice. All other redirects lose the batch or its credentials."""
    finding = finding_for(Answer(status, "https://b.example/x", b"", same_host))

    assert finding.level == level
    assert "https://b.example/x" in finding.reason


@given(st.text(), st.sampled_from([401, 302]))
def test_a_servers_text_is_safe_for_a_terminal(text: str, status: int) -> None:
    """Control characters are replaced in the detail and in the location."""
    finding = finding_for(Answer(status, f"https://a/{text}", json.dumps({"detail": text}).encode()))

    assert finding.reason.isprintable()
    assert len(finding.reason) < 700


def test_the_webhook_client_does_not_import_apiserver() -> None:
    """Imports go one way, so that a sink can use the client too."""
    script = "import sys, auditsplit.webhook.client; print([name for name in sys.modules if 'apiserver' in name])"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ran.stdout == b"[]\n"
