"""The Elasticsearch sink without a server: retries, halves, what is left out, time, and the bytes that it counts."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.eventlists import HOSTILE, event, eventlist, numbered

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.elasticsearch import delivery, document
from auditsplit.sinks.elasticsearch.bulk import BulkAnswer, ItemFailure, Outcome, Stored
from auditsplit.sinks.elasticsearch.fields import AuditFields
from auditsplit.sinks.elasticsearch.salvage import salvage
from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink
from auditsplit.sinks.failures import Failure, SinkFailure

URL = "elasticsearch+http://127.0.0.1:9"
REFUSED = ItemFailure(Failure.DOCUMENT, "document_parsing_exception", "failed to parse")


def sink_of(url: str = URL, pauses_s: Sequence[float] = (0.01, 0.01, 0.01)) -> ElasticsearchSink:
    """Return the sink of a URL, with short pauses between attempts."""
    sink = sinks.from_url(url, environ={})
    assert isinstance(sink, ElasticsearchSink)
    sink._pauses_s = pauses_s
    return sink


def soon() -> Deadline:
    """Return a deadline that no test reaches."""
    return Deadline.after(20)


def batch_of(*items: bytes) -> Batch:
    """Return the batch of ``items``."""
    return batches.read(eventlist(items), "default")


class Script:
    """Takes the place of a sink's server and answers as a function says; ``sent`` are the items of each body."""

    def __init__(self, sink: ElasticsearchSink, answer: Callable[[list[str], bytes], list[Outcome]]) -> None:
        """Take the place of ``sink``'s server."""
        self.sent: list[list[str]] = []
        self.size_bytes = 0
        self._answer = answer
        sink._send = self.send  # type: ignore[method-assign]

    def send(self, body: bytes, count: int, deadline: Deadline) -> BulkAnswer:
        """Answer a body."""
        assert deadline.left_s() > 0
        ids = [json.loads(text)["create"]["_id"] for text in body.splitlines()[::2]]
        assert len(ids) == count
        self.sent.append(ids)
        self.size_bytes += len(body)
        try:
            return BulkAnswer(self._answer(ids, body), len(body))
        except SinkFailure as error:
            error.size_bytes = len(body)
            raise


def test_only_items_that_may_pass_are_retried() -> None:
    """The batch is new if any of its items was new."""
    sink = sink_of()
    busy = ItemFailure(Failure.NO_SHARD, "unavailable_shards_exception", "")
    answers: Iterator[list[Outcome]] = iter([[Stored.DUPLICATE, busy, Stored.DUPLICATE], [Stored.CREATED]])
    script = Script(sink, lambda *_: next(answers))

    assert sink.write(batch_of(*numbered(3)), soon()).new

    assert script.sent[1] == [script.sent[0][1]]


def test_a_batch_of_duplicates_is_not_new() -> None:
    """As `Sink.write` says."""
    sink = sink_of()
    Script(sink, lambda ids, _: [Stored.DUPLICATE] * len(ids))

    assert not sink.write(batch_of(*numbered(3)), soon()).new


def test_duplicates_after_an_attempt_without_an_answer_are_new() -> None:
    """That attempt may have stored them."""
    sink = sink_of()
    tries = iter([False, True])

    def answer(ids: list[str], _: bytes) -> list[Outcome]:
        if next(tries):
            return [Stored.DUPLICATE] * len(ids)
        raise SinkFailure(Failure.SLOW, "no answer")

    Script(sink, answer)

    assert sink.write(batch_of(*numbered(3)), soon()).new


def test_the_same_bytes_twice_are_sent_once() -> None:
    """The second could only be a duplicate."""
    sink = sink_of()
    script = Script(sink, lambda ids, _: [Stored.CREATED] * len(ids))

    sink.write(batch_of(event(), event(), event("bob")), soon())

    assert [len(ids) for ids in script.sent] == [2]


@pytest.mark.parametrize(("failure", "requests"), [(Failure.SLOW, 4), (Failure.NOT_ALLOWED, 1)])
def test_attempts_end(failure: Failure, requests: int) -> None:
    """After four where a failure may pass, and at once where a deployer must act."""
    sink = sink_of()

    def fail(*_: object) -> list[Outcome]:
        raise SinkFailure(failure, "x")

    script = Script(sink, fail)

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch_of(event()), soon())

    assert caught.value.failure is failure
    assert len(script.sent) == requests


def test_a_deployers_mistake_counts_more_than_what_may_pass() -> None:
    """The log must show it."""
    sink = sink_of()
    outcomes: list[Outcome] = [
        ItemFailure(Failure.THROTTLED, "x", ""),
        ItemFailure(Failure.BLOCKED, "y", ""),
        ItemFailure(Failure.SLOW, "z", ""),
    ]
    Script(sink, lambda *_: outcomes)

    with pytest.raises(SinkFailure, match=r"closed or read-only\. Open it \(y at kube-audit-alice\)"):
        sink.write(batch_of(*numbered(3)), soon())


def test_a_body_too_large_is_halved_until_it_goes() -> None:
    """Only the server knows its limit. Each document arrives once."""
    sink = sink_of()
    stored: list[str] = []

    def answer(ids: list[str], _: bytes) -> list[Outcome]:
        if len(ids) > 2:
            raise SinkFailure(Failure.TOO_LARGE, "413")
        stored.extend(ids)
        return [Stored.CREATED] * len(ids)

    Script(sink, answer)

    assert sink.write(batch_of(*numbered(11)), soon()).new
    assert len(stored) == len(set(stored)) == 11


def test_a_throttled_body_is_retried_in_smaller_bodies() -> None:
    """A node's memory for one request may be the reason."""
    sink = sink_of()

    def answer(ids: list[str], _: bytes) -> list[Outcome]:
        if len(ids) > 4:
            raise SinkFailure(Failure.THROTTLED, "429")
        return [Stored.CREATED] * len(ids)

    script = Script(sink, answer)

    assert sink.write(batch_of(*numbered(8)), soon()).new
    assert len(script.sent[0]) == 8
    assert max(len(ids) for ids in script.sent[-2:]) <= 4


def test_a_document_that_is_refused_in_every_form_is_rejected() -> None:
    """In each form, with less in it each time. Then the reason and the bytes go to ``_rejected``."""
    sink = sink_of()
    bodies: list[bytes] = []

    def answer(_: list[str], body: bytes) -> list[Outcome]:
        bodies.append(body)
        return [Stored.CREATED if b'"_index":"kube-audit-_rejected"' in body else REFUSED]

    Script(sink, answer)

    assert sink.write(batch_of(event(requestObject={"a": 1})), soon()).new
    left_out = [json.loads(body.splitlines()[1]).get("auditsplit", {}).get("left_out") for body in bodies]
    everything = ["kubernetes.audit"]
    assert left_out == [None, None, ["requestObject"], everything, everything, None]


def test_only_so_much_of_a_batch_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest events come first. A refused body of another is left out whole, so that the batch is in time."""
    sink = sink_of()
    found: dict[str, Any] = {}

    def answer(_: list[str], body: bytes) -> list[Outcome]:
        documents = [json.loads(text) for text in body.splitlines()[1::2]]
        found.update({one["event"]["id"]: one for one in documents})
        return [Stored.CREATED if "auditsplit" in one else REFUSED for one in documents]

    Script(sink, answer)
    hostile = {"x" * length: {"\0": 1, "a": "x" * length} for length in (10_000, 20_000, 1000)}
    items = [event(auditID=f"{len(name)}", requestObject=body) for name, body in hostile.items()]
    monkeypatch.setattr(delivery, "MAX_CLEANED_BYTES", 15_000)

    assert sink.write(batch_of(*items), soon()).new
    assert {name: one["auditsplit"]["left_out"] for name, one in found.items()} == {
        "1000": ["requestObject.\0"],
        "10000": ["requestObject.\0"],
        "20000": ["requestObject"],
    }


def test_an_event_that_no_parser_reads_is_read_member_by_member_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it costs more than keeping the document until the next attempt."""
    sink = sink_of()
    reads: list[bytes] = []
    outcomes = iter([ItemFailure(Failure.THROTTLED, "x", ""), Stored.CREATED])
    Script(sink, lambda *_: [next(outcomes)])

    def counting(text: bytes, without: frozenset[str], **more: bool) -> AuditFields:
        reads.append(text)
        return salvage(text, without, **more)

    monkeypatch.setattr(document, "salvage", counting)

    assert sink.write(batch_of(HOSTILE["lone surrogate"]), soon()).new
    assert len(reads) == 1


def test_a_document_that_is_too_large_in_every_form_fails_the_batch() -> None:
    """It is stored nowhere, so the batch is not acknowledged."""
    sink = sink_of()
    Script(sink, lambda *_: [ItemFailure(Failure.TOO_LARGE, "x", "")])

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch_of(event()), soon())

    assert caught.value.needs_deployer


def test_a_rejected_body_that_is_refused_fails() -> None:
    """A body that is stored nowhere is not acknowledged."""
    sink = sink_of()
    Script(sink, lambda *_: [REFUSED])

    with pytest.raises(SinkFailure, match="document_parsing_exception at kube-audit-_rejected") as caught:
        sink.reject("default", "0" * 64, b"x", soon())

    assert caught.value.failure is Failure.REFUSED


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [(REFUSED, None), (Stored.CREATED, None), (ItemFailure(Failure.NO_STREAM, "x", ""), Failure.NO_STREAM)],
)
def test_a_check_expects_its_document_to_be_refused(outcome: Outcome, failure: Failure | None) -> None:
    """A server that accepts it accepts events too."""
    sink = sink_of()
    Script(sink, lambda *_: [outcome])

    if failure:
        with pytest.raises(SinkFailure, match="Run 'auditsplit elasticsearch setup'"):
            sink.check(soon())
    else:
        sink.check(soon())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("elasticsearch+https://h?target={user}", "target: .* must begin with"),
        ("elasticsearch+https://h?timeout=26", "timeout: .* from 1 to 25, not '26'; kube-apiserver waits 30 s"),
        ("elasticsearch+https://h?bulk_bytes=0", "bulk_bytes: .* whole number"),
        ("elasticsearch+https://h?compress=yes", "compress: must be 1 .yes. or 0"),
        ("elasticsearch+https://h?key=x", "no such option"),
    ],
)
def test_mistakes_in_a_url_are_reported(url: str, words: str) -> None:
    """With the name of the option."""
    with pytest.raises(ValueError, match=words):
        sink_of(url)


def test_a_reject_returns_its_location() -> None:
    """All sinks have the same location; the document's id is the digest."""
    sink = sink_of()
    script = Script(sink, lambda *_: [Stored.CREATED])

    place = sink.reject("default", "0" * 64, b"x", soon())

    assert place == f"_rejected/default/{'0' * 64}"
    assert script.sent == [["0" * 64]]


def test_sinks_of_one_cluster_have_different_names() -> None:
    """Two targets may be set at once."""
    assert (
        sink_of("elasticsearch+https://h:9200/es/?target=all-audit").name == "elasticsearch+https://h:9200/es/all-audit"
    )


def test_a_silent_server_costs_no_more_than_the_request_has_left() -> None:
    """Whatever the sink's own timeout is. The bytes were sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sink = sink_of(f"elasticsearch+http://127.0.0.1:{listening.getsockname()[1]}")
        began = time.monotonic()

        with pytest.raises(SinkFailure) as caught:
            sink.write(batch_of(event()), Deadline.after(0.6))

    assert caught.value.failure is Failure.SLOW
    assert caught.value.size_bytes > 0
    assert time.monotonic() - began < 3


def test_a_request_without_time_is_not_sent() -> None:
    """The sender has gone."""
    with pytest.raises(SinkFailure, match="over 12 s") as caught:
        sink_of().check(Deadline.after(0))

    assert caught.value.size_bytes == 0


def test_the_bytes_of_all_requests_are_counted() -> None:
    """Those of halves and retries too."""
    sink = sink_of()
    left = iter([Failure.SLOW, Failure.TOO_LARGE])

    def answer(ids: list[str], _: bytes) -> list[Outcome]:
        if failure := next(left, None):
            raise SinkFailure(failure, "x")
        return [Stored.CREATED] * len(ids)

    script = Script(sink, answer)

    written = sink.write(batch_of(*numbered(4)), soon())

    assert [len(ids) for ids in script.sent] == [4, 4, 2, 2]
    assert written.size_bytes == script.size_bytes > 0


def test_a_failed_write_says_what_was_sent() -> None:
    """All attempts together."""
    sink = sink_of()

    def answer(*_: object) -> list[Outcome]:
        raise SinkFailure(Failure.SLOW, "x")

    script = Script(sink, answer)

    with pytest.raises(SinkFailure) as caught:
        sink.write(batch_of(*numbered(4)), soon())

    assert len(script.sent) == 4
    assert caught.value.size_bytes == script.size_bytes > 0


def test_the_bytes_are_those_of_the_compressed_body() -> None:
    """As they are sent."""
    sizes = []
    for compress in (0, 1):
        with answering(200, OURS, {"items": [{"create": {"status": 201}}]}) as url:
            sink = sink_of(f"{url}&compress={compress}")
            sizes.append(sink.write(batch_of(event(x="x" * 5000)), soon()).size_bytes)

    assert sizes[0] > 5000 > sizes[1] > 0


OURS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
OLD = {"error": {"type": "media_type_header_exception", "reason": "Invalid media-type value"}, "status": 400}


@pytest.mark.parametrize(
    ("status", "headers", "document", "failure"),
    [
        (200, {"Content-Type": "application/json"}, {"items": []}, Failure.WRONG_SERVER),  # OpenSearch, say
        (200, {"Content-Type": "text/html"}, "<html>", Failure.WRONG_SERVER),
        (400, OURS, OLD, Failure.WRONG_SERVER),  # Elasticsearch 8
        (200, OURS, {"items": []}, Failure.BROKEN),
        (200, OURS, {}, Failure.BROKEN),
    ],
)
def test_another_product_or_version_is_reported(
    status: int, headers: dict[str, str], document: Any, failure: Failure
) -> None:
    """By the client's own rules, in words for the deployer."""
    with answering(status, headers, document) as url, pytest.raises(SinkFailure) as caught:
        sink_of(url).check(soon())

    assert caught.value.failure is failure


def test_a_busy_node_costs_one_attempt() -> None:
    """Each of many nodes could take half of the batch's time before its 503. The sender would have gone."""
    busy = {"error": {"type": "cluster_block_exception", "reason": "no master"}, "status": 503}
    nodes = [answering(503, OURS, busy) for _ in range(5)]
    with contextlib.ExitStack() as stack:
        hosts = [urlsplit(stack.enter_context(node)).netloc for node in nodes]
        sink = sink_of(f"elasticsearch+http://{','.join(hosts)}", pauses_s=(0.01,))
        with pytest.raises(SinkFailure, match="fewer requests"):
            sink.write(batch_of(event()), soon())

    assert [node.asked for node in nodes].count(1) == sum(node.asked for node in nodes) == 2


def test_a_node_that_is_gone_costs_no_attempt() -> None:
    """Another node is asked at once."""
    with (
        answering(200, OURS, {"items": [{"create": {"status": 201}}]}) as url,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        gone = f"127.0.0.1:{listening.getsockname()[1]}"
        listening.close()
        sink = sink_of(f"elasticsearch+http://{gone},{urlsplit(url).netloc}")

        assert [sink.write(batch_of(event()), soon()).new for _ in range(2)] == [True, True]


class answering:  # noqa: N801 - used as a function
    """A server with one answer; yields its URL, and counts how often it was ``asked``."""

    def __init__(self, status: int, headers: dict[str, str], document: Any) -> None:
        """Listen on a free port."""
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.asked = 0
        counts = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                counts.asked += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> str:
        """Begin."""
        self._thread.start()
        return f"elasticsearch+http://127.0.0.1:{self._server.server_address[1]}?timeout=2"

    def __exit__(self, *_: object) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
