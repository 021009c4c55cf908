"""The webhook sink: what a downstream gets, and what becomes of a batch by its answers."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import receiver
from support.eventlists import event, eventlist
from support.pki import Pki
from support.receiver import Posted, Receiver, Reply
from support.requests import BODY, memory_sinks
from support.server import Server

from auditsplit import bootstrap, replay, sinks
from auditsplit.cli import main
from auditsplit.deadline import Deadline
from auditsplit.errors import SettingsError, SinkError, Undecodable
from auditsplit.ingest import Destination, Ingest
from auditsplit.receipts import Receipt
from auditsplit.settings import Settings
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.webhook.breaker import Breaker
from auditsplit.sinks.webhook.options import enforced
from auditsplit.sinks.webhook.throttle import Throttle
from auditsplit.telemetry.figures import Figures

KEY = "idempotency-key"


def forward(url: str, body: bytes = BODY, **options: Any) -> Receipt:
    """Return the receipt of a batch that goes to one downstream."""
    return forwarding(url, **options).receive(body, "prod", Deadline.after(20), Figures())


def forwarding(url: str, **options: Any) -> Ingest:
    """Return the use case with one downstream."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    settings = Settings.read({"AUDIT_SINKS": f"webhook+{url}?{query}", "AUDIT_DROP": "none"})
    return bootstrap.ingest(settings, {})


def statuses(*answers: Reply | None) -> Callable[[Posted], Reply | None]:
    """Give the answers in their order, and 200 after them."""
    left = iter(answers)
    return lambda _: next(left, Reply())


# What is posted.


def test_the_body_has_the_bytes_that_arrived(downstream: Receiver) -> None:
    """The envelope is kube-apiserver's, and there is one request for a batch."""
    items = [event("alice", requestObject={"a": "é\u2028"}), event("bob")]

    receipt = forward(f"{downstream.url}/in", eventlist(items))

    [posted] = downstream.posts
    envelope = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
    assert posted.body == envelope + b",".join(items) + b"]}\n"
    assert (posted.target, posted.headers["content-type"]) == ("/in?timeout=30s", "application/json")
    assert (receipt.events, receipt.alreadyStored) == (2, False)
    assert posted.headers[KEY].startswith(f'"{receipt.batch}-')


def test_a_batch_is_the_same_request_each_time(downstream: Receiver) -> None:
    """By two processes, of which neither knows the other."""
    for _ in range(2):
        forward(downstream.url)

    first, second = downstream.posts
    assert (first.body, first.headers[KEY]) == (second.body, second.headers[KEY])


def test_a_delivered_batch_is_not_posted_again_by_this_process(downstream: Receiver) -> None:
    """Also when another sink was not ready yet."""
    [late] = memory_sinks(1)
    late.failure = SinkError("not yet")
    webhook = sinks.from_url(f"webhook+{downstream.url}")
    here = Ingest([Destination(webhook), Destination(late)])

    with pytest.raises(SinkError):
        here.receive(BODY, "prod", Deadline.after(20), Figures())
    late.failure = None
    receipt = here.receive(BODY, "prod", Deadline.after(20), Figures())

    assert len(downstream.posts) == 1
    assert receipt.events == 3


def test_requests_use_one_connection(downstream: Receiver) -> None:
    """It is kept between two batches, and opened again after the downstream has closed it."""
    here = forwarding(downstream.url)
    accepted: list[object] = []
    accept = downstream.get_request

    def counted() -> tuple[socket.socket, Any]:
        accepted.append(1)
        return accept()

    downstream.get_request = counted  # type: ignore[method-assign]
    for number in range(3):
        here.receive(eventlist([event(auditID=str(number))]), "prod", Deadline.after(20), Figures())
    kept = len(accepted)
    downstream.answering = statuses(None)
    here.receive(eventlist([event(auditID="closed")]), "prod", Deadline.after(20), Figures())

    assert (kept, len(accepted)) == (1, 2)
    assert len(downstream.posts) == 5


def test_large_batches_go_in_several_requests(downstream: Receiver) -> None:
    """By their events, and by their bytes. Each has a key of its own."""
    items = [event(auditID=str(number)) for number in range(5)]
    size = len(items[0]) + len('"kind":"Event","apiVersion":"audit.k8s.io/v1",') + 1

    forward(downstream.url, eventlist(items), batch_max_size=2)
    forward(downstream.url, eventlist(items), truncate_max_batch_size=3 * size)

    assert [len(posted.events) for posted in downstream.posts] == [2, 2, 1, 3, 2]
    assert len({posted.headers[KEY] for posted in downstream.posts}) == 5


def test_a_downstream_has_its_level_and_stages(downstream: Receiver) -> None:
    """Other stages are dropped, and bodies removed. The receipt counts what was dropped."""
    items = [event(requestObject={}), event(stage="RequestReceived")]

    receipt = forward(downstream.url, eventlist(items), level="Metadata", stages="ResponseComplete,Panic")

    [got] = downstream.posts[0].events
    assert (got["level"], got["stage"], "requestObject" in got) == ("Metadata", "ResponseComplete", False)
    assert receipt.omittedBySink == {f"webhook:{downstream.url}": 1}


def test_no_stage_is_no_event() -> None:
    """As an AuditSink without stages. The policy of all levels and stages is none at all."""
    assert not enforced("RequestResponse", ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"))
    assert len(enforced("Metadata", ()).policy.omit_stages) == 4


# Who posts.


def test_credentials_are_those_of_the_options(tmp_path: Path) -> None:
    """A token that is read from a file, a client certificate, an authority, and a name."""
    pki = Pki(tmp_path / "pki")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with receiver.receiving(tls=pki.serving(pki.named)) as started:
        forward(
            started.url,
            token_file=token,
            ca_file=pki.ca,
            client_certificate=pki.client.certificate,
            client_key=pki.client.key,
            tls_server_name="audit.example.test",
        )

    [posted] = started.posts
    assert (posted.headers["authorization"], posted.peer) == ("Bearer s3cret", "client")


def test_a_kubeconfig_is_one_that_kube_apiserver_would_read(downstream: Receiver, tmp_path: Path) -> None:
    """So a guide for any audit webhook applies."""
    file = tmp_path / "webhook.yaml"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, users: [], "
        f"clusters: [{{name: a, cluster: {{server: '{downstream.url}/k8s-audit'}}}}], "
        "contexts: [{name: c, context: {cluster: a, user: ''}}]}"
    )
    sink = sinks.from_url(f"webhook:?kubeconfig={file}")

    Ingest([Destination(sink)]).receive(BODY, "prod", Deadline.after(20), Figures())

    assert downstream.posts[0].target == "/k8s-audit?timeout=30s"
    assert sink.name == f"webhook:{downstream.url}/k8s-audit"


def test_a_rotated_token_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once after 401, and when it is old."""
    pki = Pki(tmp_path / "pki")
    token = tmp_path / "token"
    token.write_text("old")
    with receiver.receiving(tls=pki.serving(pki.receiver)) as started:
        started.answering = lambda posted: Reply(401 if posted.headers["authorization"] == "Bearer old" else 200)
        here = forwarding(started.url, token_file=token, ca_file=pki.ca)
        with pytest.raises(SinkFailure) as caught:
            here.receive(BODY, "prod", Deadline.after(20), Figures())
        token.write_text("new")
        here.receive(BODY, "prod", Deadline.after(20), Figures())
        monkeypatch.setattr("auditsplit.webhook.sender.RENEWED_S", 0.0)
        token.write_text("newer")
        here.sinks[0]._sender._renew_at = 0.0  # type: ignore[attr-defined]
        here.receive(eventlist([event("carol")]), "prod", Deadline.after(20), Figures())

    assert caught.value.failure is Failure.CREDENTIALS
    assert [posted.headers["authorization"] for posted in started.posts] == ["Bearer old", "Bearer new", "Bearer newer"]


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("webhook:", "write webhook:?kubeconfig=/path, or webhook+https://host/path without a kubeconfig"),
        ("webhook+https://h?kubeconfig=/a", "kubeconfig: the URL has a server already"),
        ("webhook:?kubeconfig=/nowhere", "kubeconfig: /nowhere: No such file or directory"),
        ("webhook+https://h?client_key=/a", "client_certificate and client_key: write both"),
        ("webhook+https://h?stages=Done", "stages: must be some of RequestReceived, ResponseStarted"),
        ("webhook+https://h?level=All", "level: must be None, Metadata, Request or RequestResponse, not 'All'"),
        ("webhook+https://h?timeout=60", "timeout: must be a whole number from 1 to 25"),
        ("webhook+https://h?token_file=/nowhere", "absent-file: /nowhere"),
        ("webhook+http://h?token_file=/nowhere", "credentials-over-http: "),
    ],
)
def test_mistakes_in_the_url_are_named(url: str, mistake: str) -> None:
    """The function does not start."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({"AUDIT_SINKS": url})

    assert mistake in "\n".join(caught.value.mistakes)


# What becomes of a batch.


@pytest.mark.parametrize("status", [200, 201, 204, 206])
def test_an_accepted_batch_is_delivered(downstream: Receiver, status: int) -> None:
    """Whatever the body of the answer is."""
    downstream.answering = lambda _: Reply(status, body=b"" if status == 204 else b"ok")

    assert forward(downstream.url).events == 3


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (207, Failure.REFUSED),
        (301, Failure.REFUSED),
        (307, Failure.REFUSED),
        (400, Failure.REFUSED),
        (401, Failure.CREDENTIALS),
        (403, Failure.NOT_ALLOWED),
        (404, Failure.REFUSED),
        (413, Failure.TOO_LARGE),
    ],
)
def test_a_refused_batch_fails_at_once(downstream: Receiver, status: int, failure: Failure) -> None:
    """No redirect is followed, and a deployer must act."""
    downstream.answering = lambda _: Reply(status, {"Location": f"{downstream.url}/other"})

    with pytest.raises(SinkFailure) as caught:
        forward(downstream.url)

    assert caught.value.failure is failure
    assert caught.value.needs_deployer
    assert len(downstream.got) == 1


@pytest.mark.parametrize(
    "answer", [Reply(500), Reply(429, {"Retry-After": "0"}), Reply(503, {"Retry-After": "1"}), None]
)
def test_a_failure_that_may_pass_is_tried_again(downstream: Receiver, answer: Reply | None) -> None:
    """After the pause that the downstream asks for."""
    downstream.answering = statuses(answer, answer)

    assert forward(downstream.url).events == 3
    first, *_, last = downstream.posts
    assert len(downstream.posts) == 3
    assert last.at - first.at >= (2.0 if answer and answer.status == 503 else 0.0)


def test_retry_after_is_heeded_within_the_deadline_alone(downstream: Receiver) -> None:
    """A pause that ends too late is none: the sender retries."""
    downstream.answering = lambda _: Reply(503, {"Retry-After": "60"})

    with pytest.raises(SinkFailure) as caught:
        forward(downstream.url, timeout=2)

    assert caught.value.failure is Failure.BROKEN
    assert len(downstream.posts) == 1


def test_a_downstream_that_is_away_is_unreachable() -> None:
    """Nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(SinkFailure) as caught:
            forward(f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=1)

    assert caught.value.failure is Failure.UNREACHABLE
    assert "Connection refused" in str(caught.value)


def test_an_untrusted_downstream_gets_nothing(tmp_path: Path) -> None:
    """Its certificate is not of the authority."""
    pki = Pki(tmp_path / "pki")
    with receiver.receiving(tls=pki.serving(pki.receiver)) as started, pytest.raises(SinkFailure) as caught:
        forward(started.url, ca_file=pki.other_ca)

    assert caught.value.failure is Failure.CERTIFICATE
    assert started.got == []


@pytest.mark.parametrize("endless", ["head", "body", "handshake"])
def test_an_endless_answer_ends_at_the_deadline(endless: str) -> None:
    """A byte now and then keeps no thread."""
    stop = threading.Event()
    begin = {
        "head": b"HTTP/1.1 200 OK\r\nX: ",
        "body": b"HTTP/1.1 200 OK\r\n\r\n",
        "handshake": b"\x16\x03\x03\x40\x00",
    }

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(begin[endless])
            while not stop.wait(0.1):
                try:
                    connection.sendall(b"x" if endless != "handshake" else b"\x02")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        scheme = "https" if endless == "handshake" else "http"
        try:
            with pytest.raises(SinkFailure) as caught:
                forward(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", timeout=1)
        finally:
            stop.set()
            thread.join()

    assert caught.value.failure in (Failure.SLOW, Failure.CERTIFICATE)


def test_a_huge_answer_is_read_in_part(downstream: Receiver) -> None:
    """Its beginning tells all."""
    downstream.answering = lambda _: Reply(200, body=b"x" * 5_000_000)

    assert forward(downstream.url).events == 3


# A downstream that is not required.


def test_a_downstream_that_is_not_required_fails_nothing(
    downstream: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The other sinks hold the batch. What is lost is counted, and logged with the batch's id."""
    downstream.answering = lambda _: Reply(400)
    [memory] = memory_sinks(1)
    webhook = sinks.from_url(f"webhook+{downstream.url}?required=0")
    figures = Figures()

    receipt = Ingest([Destination(memory), Destination(webhook)]).receive(BODY, "prod", Deadline.after(20), figures)

    assert (receipt.events, receipt.undelivered) == (3, {webhook.name: 3})
    assert figures.fields()["undelivered"] == {webhook.name: 3}
    assert f"{webhook.name}: batch {receipt.batch} with 3 events was not delivered: " in caplog.text
    assert memory.objects


def test_a_downstream_that_is_down_delays_few_batches(
    downstream: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure nothing is posted for a time. Then one batch tries, and all are delivered after it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    caplog.set_level(logging.WARNING)
    downstream.answering = statuses(Reply(400), Reply(400))
    here = forwarding(downstream.url, required=0)

    lost = []
    for number, seconds in enumerate([0, 0.5, 1, 0.5, 3, 0]):
        now[0] += seconds
        body = eventlist([event(auditID=str(number))])
        lost.append(bool(here.receive(body, "prod", Deadline(10**9), Figures()).undelivered))

    assert lost == [True, True, True, True, False, False]
    assert len(downstream.posts) == 4
    assert "it failed before, and is tried again in " in caplog.text


def test_one_batch_tries_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses grow. Others do not wait for the trial."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = Breaker()
    pauses = []
    for _ in range(7):
        assert one.pause_s() == 0
        one.failed()
        pauses.append(one.pause_s())
        now[0] += pauses[-1]

    assert pauses == [1, 2, 5, 10, 30, 30, 30]
    assert (one.pause_s(), one.pause_s()) == (0, 30)
    one.succeeded()
    assert (one.pause_s(), one.pause_s()) == (0, 0)


def test_metrics_and_readiness_know_which_sinks_are_required(
    serve: Callable[..., Server], downstream: Receiver
) -> None:
    """A downstream that refuses is counted. The function is ready without it."""
    downstream.answering = lambda _: Reply(400)
    server = serve(AUDIT_SINKS=f"webhook+{downstream.url}?required=0 file:var/log")

    answer = server.post(BODY)
    ready = server.request("GET", "/readyz")
    text = server.request("GET", "/metrics").body.decode()

    assert (answer.status, ready.status) == (200, 200)
    labels = f'cluster="default",sink="webhook:{downstream.url}"'
    assert f"auditsplit_events_undelivered_total{{{labels}}} 3.0" in text


# Throttling.


def test_requests_are_throttled_by_rate_and_burst() -> None:
    """After the burst, each waits for its turn. One that would wait too long is refused at once."""
    throttle = Throttle(qps=20, burst=2)

    accepted = [throttle.accept(Deadline.after(0)) for _ in range(4)]
    waited = throttle.accept(Deadline.after(5))

    assert accepted[:2] == [True, True]
    assert False in accepted[2:]
    assert waited
    assert Throttle(0, 1).accept(Deadline.after(0))


def test_a_throttled_batch_is_retried_by_the_sender(downstream: Receiver) -> None:
    """The rate leaves no request before the deadline."""
    here = forwarding(downstream.url, qps=1, burst=1, timeout=1)
    here.receive(BODY, "prod", Deadline.after(20), Figures())

    with pytest.raises(SinkFailure) as caught:
        here.receive(eventlist([event("x"), event("y")]), "prod", Deadline.after(0.3), Figures())

    assert caught.value.failure is Failure.THROTTLED


# Malformed items.


def test_a_webhook_keeps_no_malformed_items(downstream: Receiver) -> None:
    """It gets the events. The receipt says that no sink keeps the others."""
    receipt = forward(downstream.url, eventlist([event(), b"7"]))

    assert [(rejected.index, rejected.kept) for rejected in receipt.rejected] == [(1, [])]
    with pytest.raises(Undecodable, match="No sink stores it"):
        forward(downstream.url, b"[]")


def test_split_tells_that_no_sink_stores_a_malformed_line(downstream: Receiver) -> None:
    """A message that ends with nowhere would leave the reader looking for the place."""
    lines = io.BufferedReader(io.BytesIO(event() + b"\n" + event()[:-9] + b"\n"))

    complaints = [
        text
        for piece in replay.split(lines, "prod", forwarding(downstream.url), 1_000_000)
        for text in piece.complaints
    ]

    assert [text.rpartition(". ")[2] for text in complaints] == ["No sink stores it"]


def test_two_receivers_in_a_row_store_each_event_once(serve: Callable[..., Server]) -> None:
    """The second recognises the bytes, also from a process that forgot what it sent."""
    second = serve()
    url = f"http://127.0.0.1:{second.port}/clusters/prod"

    receipts = [forward(url) for _ in range(2)]

    assert [receipt.alreadyStored for receipt in receipts] == [False, True]
    lines = [line for path in second.folder.glob("var/log/*/audit") for line in path.read_text().splitlines()]
    assert len(lines) == 3
    assert {json.loads(line)["user"]["username"] for line in lines} == {"alice", "bob"}


@pytest.mark.usefixtures("workspace")
def test_split_reports_what_was_not_delivered(downstream: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words and in JSON. The other sink has the events."""
    downstream.answering = lambda _: Reply(400)
    Path("list.json").write_bytes(BODY)
    monkeypatch.setenv("AUDIT_SINKS", f"file:var webhook+{downstream.url}?required=0")

    words = CliRunner().invoke(main, ["split", "list.json"])
    counts = CliRunner().invoke(main, ["split", "list.json", "--output", "json"])

    assert "3 events stored" in words.output
    assert "3 not delivered to sinks that are not required" in words.output
    assert json.loads(counts.stdout)["undelivered"] == 3


def test_check_probes_the_downstream(downstream: Receiver) -> None:
    """With an empty list."""
    sink = sinks.from_url(f"webhook+{downstream.url}")

    sink.check(Deadline.after(5))
    downstream.answering = lambda _: Reply(404)
    with pytest.raises(SinkFailure, match="404"):
        sink.check(Deadline.after(5))

    assert [posted.events for posted in downstream.posts] == [[], []]
