"""How the shipper judges the answers of a function, and what it reports of itself."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.processes import free_port
from support.receiver import Posted, Reply, receiving

from auditsplit.apiserver.kubeconfig import schema
from auditsplit.apiserver.kubeconfig.schema import Cluster
from auditsplit.ship import metrics
from auditsplit.ship.batch import batch_of
from auditsplit.ship.checkpoint import Sending
from auditsplit.ship.delivery import NotDelivered, Outcome, ToFunction, TooLarge
from auditsplit.ship.files import LogFile
from auditsplit.ship.follower import Lag

RECEIPT = {"cluster": "prod", "batch": "0", "events": 3, "rejected": [], "alreadyStored": False}
BODY = b'{"kind":"Event"}\n'


def deliver(status: int, document: object = None, headers: dict[str, str] | None = None) -> tuple[Outcome, Posted]:
    """Return what becomes of a batch that a function answers so, and what it got."""
    body = json.dumps(document).encode()
    with receiving(lambda _: Reply(status, headers or {}, body)) as function:
        document_of = schema.build(Cluster(server=f"{function.url}/clusters/prod"), None)
        outcome = ToFunction(document_of, Path()).deliver(BODY)
        return outcome, function.posts[0]


def test_a_batch_is_posted_as_lines() -> None:
    """The function reads them as it reads an audit log."""
    outcome, posted = deliver(200, RECEIPT)

    assert outcome == Outcome(3)
    assert posted.body == BODY


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"alreadyStored": True}, Outcome(3, 0, 3)),
        ({"rejected": [{"index": 0}, {"index": None, "items": 5}]}, Outcome(3, 6)),
    ],
)
def test_a_receipt_says_what_was_stored(more: dict[str, Any], outcome: Outcome) -> None:
    """Before, or as malformed."""
    assert deliver(200, {**RECEIPT, **more})[0] == outcome


def test_a_body_without_events_is_delivered() -> None:
    """The function has it in ``_rejected/``, and will never accept it."""
    assert deliver(400, {"code": "undecodable", "detail": "none of the lines is an Event"})[0] == Outcome(0, 1)


@pytest.mark.parametrize("status", [200, 204, 301, 307, 400, 401, 403, 404, 405, 415, 429, 500, 502, 503])
def test_any_other_answer_is_retried(status: int) -> None:
    """Also a 200 without a receipt: another server answers there. No redirect is followed."""
    with pytest.raises(NotDelivered):
        deliver(status, {"detail": "no"}, {"Location": "/elsewhere"} if status in (301, 307) else None)


def test_what_the_function_asks_for_is_heeded() -> None:
    """In seconds."""
    with pytest.raises(NotDelivered) as told:
        deliver(503, {"detail": "busy"}, {"Retry-After": "7"})

    assert told.value.retry_after_s == 7


def test_a_body_that_is_too_large_is_told_apart() -> None:
    """Fewer lines may fit."""
    with pytest.raises(TooLarge):
        deliver(413, {"detail": "too large"})


def test_a_server_that_is_away_is_tried_again() -> None:
    """As often as it takes."""
    document = schema.build(Cluster(server=f"http://127.0.0.1:{free_port()}"), None)

    with pytest.raises(NotDelivered):
        ToFunction(document, Path()).deliver(BODY)


def test_metrics_health_and_readiness_are_served() -> None:
    """Ready once there is a file."""
    counted, port = metrics.Metrics(), free_port()
    end = metrics.serve(counted, "127.0.0.1", port)
    try:
        before = ask(port, "/readyz")
        counted.looked([Lag(LogFile(Path("/a.log"), "id", 10, 0.0, 7, active=True), 4, 1.5)])
        counted.delivered(batch_of(Sending("id", 0, 10), Path("/a.log"), BODY), Outcome(1))
        counted.lost(5)
        counted.retried()
        counted.set_aside()
        answers = {path: ask(port, path) for path in ("/readyz", "/healthz", "/metrics", "/other")}
    finally:
        end()

    text = answers["/metrics"][1]
    assert before[0] == 503
    assert {path: status for path, (status, _) in answers.items()} == {
        "/readyz": 200,
        "/healthz": 200,
        "/metrics": 200,
        "/other": 404,
    }
    assert 'auditsplit_ship_lag_bytes{file="/a.log"} 4.0' in text
    assert 'auditsplit_ship_file_inode{file="/a.log"} 7.0' in text
    for name in ("events", "batches", "retries", "lines_set_aside"):
        assert f"auditsplit_ship_{name}_total 1.0" in text
    assert "auditsplit_ship_lost_bytes_total 5.0" in text


def ask(port: int, path: str) -> tuple[int, str]:
    """Return status and text of the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
