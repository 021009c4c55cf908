"""How the shipper judges the answers of a function, and what it reports of itself."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.processes import free_port
from support.receiver import Posted, Reply, receiving

from auditsplit.ship import metrics
from auditsplit.ship.batch import batch_of
from auditsplit.ship.checkpoint import Sending
from auditsplit.ship.delivery import NotDelivered, Outcome, ToFunction, TooLarge
from auditsplit.ship.files import LogFile
from auditsplit.ship.follower import Lag
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Cluster

RECEIPT = {"cluster": "prod", "batch": "0", "events": 3, "rejected": [], "alreadyStored": False}
BODY = b'{"kind":"Event"}\n'


def deliver(
    status: int, document: object = None, headers: dict[str, str] | None = None, *, body: bytes = BODY
) -> tuple[Outcome, Posted]:
    """Return what becomes of a batch that a function answers so, and what it got."""
    answer = json.dumps(document).encode()
    with receiving(lambda _: Reply(status, headers or {}, answer)) as function:
        document_of = schema.build(Cluster(server=f"{function.url}/clusters/prod"), None)
        outcome = ToFunction(document_of, Path()).deliver(body)
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
    """Fewer lines may fit. A server that refuses even a small body is set up wrongly, and is tried again."""
    with pytest.raises(TooLarge):
        deliver(413, {"detail": "too large"}, body=BODY * 2000)
    with pytest.raises(NotDelivered, match="Raise the limit"):
        deliver(413, {"detail": "too large"})


def test_a_success_without_a_receipt_says_that_another_server_answers() -> None:
    """Such as a proxy's login page."""
    with pytest.raises(NotDelivered, match="Another server answers"):
        deliver(200, {"hello": "world"})


def test_a_receiver_cannot_stop_the_shipper_for_hours() -> None:
    """By a long Retry-After."""
    with pytest.raises(NotDelivered) as told:
        deliver(503, {"detail": "busy"}, {"Retry-After": "99999"})

    assert told.value.retry_after_s == 300


def test_a_receipt_with_a_hundred_rejected_items_is_read_whole() -> None:
    """Each names its places in several sinks."""
    rejected = [{"index": index, "reason": "x" * 500, "location": "s3://" + "y" * 500} for index in range(100)]

    assert deliver(200, {**RECEIPT, "rejected": rejected})[0] == Outcome(3, 100)


def test_a_server_that_is_away_is_tried_again() -> None:
    """As often as it takes."""
    document = schema.build(Cluster(server=f"http://127.0.0.1:{free_port()}"), None)

    with pytest.raises(NotDelivered):
        ToFunction(document, Path()).deliver(BODY)


def test_a_slow_client_does_not_delay_the_probes() -> None:
    """Else anybody who reaches the port could have the kubelet kill the shipper."""
    counted, port = metrics.Metrics(), free_port()
    end = metrics.serve(counted, "127.0.0.1", port)
    try:
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET /metrics HT")
            assert ask(port, "/healthz")[0] == 200
    finally:
        end()


def test_the_lag_of_rotated_files_is_that_of_the_oldest() -> None:
    """They share a label."""
    counted = metrics.Metrics()
    files = [LogFile(Path(f"/a-{number}.log"), str(number), 10, 0.0, number, active=False) for number in range(2)]
    counted.looked([Lag(files[0], 4, 70.0), Lag(files[1], 5, 1.0)])

    assert counted.registry.get_sample_value("auditsplit_ship_lag_seconds", {"file": "rotated"}) == 70
    assert counted.registry.get_sample_value("auditsplit_ship_lag_bytes", {"file": "rotated"}) == 9


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_health_and_readiness_are_served(host: str) -> None:
    """Ready once there is a file."""
    counted, port = metrics.Metrics(), free_port()
    end = metrics.serve(counted, host, port)
    try:
        before = ask(port, "/readyz", host)
        counted.looked([Lag(LogFile(Path("/a.log"), "id", 10, 0.0, 7, active=True), 4, 1.5)])
        counted.delivered(batch_of(Sending("id", 0, 10), Path("/a.log"), BODY), Outcome(1))
        counted.lost(5)
        counted.retried()
        counted.set_aside()
        answers = {path: ask(port, path, host) for path in ("/readyz", "/healthz", "/metrics", "/other")}
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


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Return status and text of the answer."""
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
