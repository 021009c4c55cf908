"""The Elasticsearch store apart from any server: retries, halves, what is left out, and time."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.eventlists import event, eventlist, numbered

from auditsplit import deadline, sinks
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.elasticsearch import store
from auditsplit.sinks.elasticsearch.bulk import Done, Refused
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError, Failure
from auditsplit.sinks.elasticsearch.store import ElasticsearchSink

URL = "elasticsearch+http://127.0.0.1:9"
REFUSED = Refused(Failure.DOCUMENT, "document_parsing_exception", "failed to parse")


def sink_of(url: str) -> ElasticsearchSink:
    """Return the store of a URL."""
    sink = sinks.from_url(url, {}, "authenticated")
    assert isinstance(sink, ElasticsearchSink)
    return sink


def batch_of(*items: bytes) -> Batch:
    """Return the batch of ``items``."""
    return batches.read(eventlist(items), "default")


class Script:
    """What a server does with requests, as a function says; ``sent`` are the items of each body."""

    def __init__(self, sink: ElasticsearchSink, answer: Callable[[list[str], bytes], list[Done | Refused]]) -> None:
        """Take the place of ``sink``'s server."""
        self.sent: list[list[str]] = []
        self._answer = answer
        sink._send = self.send  # type: ignore[method-assign]

    def send(self, body: bytes, count: int, ends: float) -> list[Done | Refused]:
        """Answer a body."""
        assert time.monotonic() < ends
        ids = [json.loads(text)["create"]["_id"] for text in body.splitlines()[::2]]
        assert len(ids) == count
        self.sent.append(ids)
        return self._answer(ids, body)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pauses short."""
    monkeypatch.setattr(store, "_PAUSES_S", (0.01, 0.01, 0.01))


def test_only_what_failed_for_a_passing_reason_is_sent_again() -> None:
    """And the batch is new if any of it was."""
    sink = sink_of(URL)
    busy = Refused(Failure.NO_SHARD, "unavailable_shards_exception", "")
    answers: Iterator[list[Done | Refused]] = iter([[Done.EXISTED, busy, Done.EXISTED], [Done.CREATED]])
    script = Script(sink, lambda *_: next(answers))

    assert sink.write(batch_of(*numbered(3)))

    assert script.sent[1] == [script.sent[0][1]]


def test_a_batch_that_was_all_there_is_no_news() -> None:
    """As `Sink.write` says."""
    sink = sink_of(URL)
    Script(sink, lambda ids, _: [Done.EXISTED] * len(ids))

    assert not sink.write(batch_of(*numbered(3)))


def test_a_batch_found_after_a_try_without_an_answer_is_new() -> None:
    """It was that try which stored it, as far as anybody can tell."""
    sink = sink_of(URL)
    tries = iter([False, True])

    def answer(ids: list[str], _: bytes) -> list[Done | Refused]:
        if next(tries):
            return [Done.EXISTED] * len(ids)
        raise ElasticsearchError(Failure.SLOW, "no answer")

    Script(sink, answer)

    assert sink.write(batch_of(*numbered(3)))


def test_the_same_bytes_twice_are_sent_once() -> None:
    """The second could only be a conflict."""
    sink = sink_of(URL)
    script = Script(sink, lambda ids, _: [Done.CREATED] * len(ids))

    sink.write(batch_of(event(), event(), event("bob")))

    assert [len(ids) for ids in script.sent] == [2]


@pytest.mark.parametrize(("failure", "requests"), [(Failure.SLOW, 4), (Failure.NOT_ALLOWED, 1)])
def test_tries_end(failure: Failure, requests: int) -> None:
    """After some for what may pass, and at once for what a deployer must mend."""
    sink = sink_of(URL)

    def fail(*_: object) -> list[Done | Refused]:
        raise ElasticsearchError(failure, "x")

    script = Script(sink, fail)

    with pytest.raises(ElasticsearchError) as caught:
        sink.write(batch_of(event()))

    assert caught.value.failure is failure
    assert len(script.sent) == requests


def test_a_deployers_mistake_counts_more_than_what_may_pass() -> None:
    """Whoever reads the log should see it."""
    sink = sink_of(URL)
    found: list[Done | Refused] = [
        Refused(Failure.THROTTLED, "x", ""),
        Refused(Failure.BLOCKED, "y", ""),
        Refused(Failure.SLOW, "z", ""),
    ]
    Script(sink, lambda *_: found)

    with pytest.raises(ElasticsearchError, match="read-only: y at kube-audit-alice"):
        sink.write(batch_of(*numbered(3)))


def test_a_body_too_large_is_halved_until_it_goes() -> None:
    """A limit that is known to the server alone; each document arrives once."""
    sink = sink_of(URL)
    stored: list[str] = []

    def answer(ids: list[str], _: bytes) -> list[Done | Refused]:
        if len(ids) > 2:
            raise ElasticsearchError(Failure.TOO_LARGE, "413")
        stored.extend(ids)
        return [Done.CREATED] * len(ids)

    Script(sink, answer)

    assert sink.write(batch_of(*numbered(11)))
    assert len(stored) == len(set(stored)) == 11


def test_a_throttled_body_comes_again_in_smaller_ones() -> None:
    """A node's memory for one request may be the reason."""
    sink = sink_of(URL)

    def answer(ids: list[str], _: bytes) -> list[Done | Refused]:
        if len(ids) > 4:
            raise ElasticsearchError(Failure.THROTTLED, "429")
        return [Done.CREATED] * len(ids)

    script = Script(sink, answer)

    assert sink.write(batch_of(*numbered(8)))
    assert len(script.sent[0]) == 8
    assert max(len(ids) for ids in script.sent[-2:]) <= 4


def test_a_document_refused_at_every_degree_is_put_into_rejected() -> None:
    """Whole, without the bodies, without all; then the reason and the bytes, in the place for it."""
    sink = sink_of(URL)
    bodies: list[bytes] = []

    def answer(_: list[str], body: bytes) -> list[Done | Refused]:
        bodies.append(body)
        return [Done.CREATED if b'"_index":"kube-audit-_rejected"' in body else REFUSED]

    Script(sink, answer)

    assert sink.write(batch_of(event(requestObject={"a": 1})))
    left_out = [json.loads(body.splitlines()[1]).get("auditsplit", {}).get("left_out") for body in bodies]
    assert left_out == [None, ["requestObject"], ["kubernetes.audit"], None]


def test_a_document_too_large_at_every_degree_is_told() -> None:
    """It is in no place: a smaller one would not be it."""
    sink = sink_of(URL)
    Script(sink, lambda *_: [Refused(Failure.TOO_LARGE, "x", "")])

    with pytest.raises(ElasticsearchError) as caught:
        sink.write(batch_of(event()))

    assert caught.value.deployers


def test_a_rejected_place_that_refuses_is_told() -> None:
    """Nothing is acknowledged that is kept nowhere."""
    sink = sink_of(URL)
    Script(sink, lambda *_: [REFUSED])

    with pytest.raises(ElasticsearchError, match="document_parsing_exception at kube-audit-_rejected") as caught:
        sink.reject("default", "0" * 64, b"x")

    assert caught.value.failure is Failure.REFUSED


@pytest.mark.parametrize(
    ("found", "failure"),
    [(REFUSED, None), (Done.CREATED, None), (Refused(Failure.NO_STREAM, "x", ""), Failure.NO_STREAM)],
)
def test_a_check_expects_its_document_to_be_refused(found: Done | Refused, failure: Failure | None) -> None:
    """A server that takes it takes events too."""
    sink = sink_of(URL)
    Script(sink, lambda *_: [found])

    if failure:
        with pytest.raises(ElasticsearchError, match="run auditsplit elasticsearch setup"):
            sink.check()
    else:
        sink.check()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("elasticsearch+https://h?target={user}", "target: .* must begin with"),
        ("elasticsearch+https://h?timeout=26", "timeout: 26 s is over 25 s"),
        ("elasticsearch+https://h?bulk_bytes=0", "bulk_bytes: .* whole number"),
        ("elasticsearch+https://h?compress=yes", "compress: .* neither 1"),
        ("elasticsearch+https://h?key=x", "no such option"),
    ],
)
def test_mistakes_in_a_url_are_told(url: str, words: str) -> None:
    """With the option they are in."""
    with pytest.raises(ValueError, match=words):
        sink_of(url)


def test_a_reject_says_where_it_lies() -> None:
    """Below the place that all stores have for it; the document's id is the digest."""
    sink = sink_of(URL)
    script = Script(sink, lambda *_: [Done.CREATED])

    place = sink.reject("default", "0" * 64, b"x")

    assert place == f"_rejected/default/{'0' * 64}"
    assert script.sent == [["0" * 64]]


def test_a_name_tells_stores_of_one_cluster_apart() -> None:
    """So that two targets may be set at once."""
    assert (
        sink_of("elasticsearch+https://h:9200/es/?target=all-audit").name == "elasticsearch+https://h:9200/es/all-audit"
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"elasticsearch+http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_silent_server_costs_no_more_than_the_request_has_left(silent: str) -> None:
    """Whatever the store's own timeout is."""
    began = time.monotonic()

    with deadline.within(0.6), pytest.raises(ElasticsearchError) as caught:
        sink_of(silent).write(batch_of(event()))

    assert caught.value.failure is Failure.SLOW
    assert time.monotonic() - began < 3


def test_a_request_without_time_is_not_sent() -> None:
    """The sender has gone."""
    with deadline.within(0), pytest.raises(ElasticsearchError, match="over 12 s"):
        sink_of(URL).check()


OURS = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
OLD = {"error": {"type": "media_type_header_exception", "reason": "Invalid media-type value"}, "status": 400}


@pytest.mark.parametrize(
    ("status", "headers", "document", "failure"),
    [
        (200, {"Content-Type": "application/json"}, {"items": []}, Failure.PRODUCT),  # OpenSearch, say
        (200, {"Content-Type": "text/html"}, "<html>", Failure.PRODUCT),
        (400, OURS, OLD, Failure.PRODUCT),  # Elasticsearch 8
        (200, OURS, {"items": []}, Failure.BROKEN),
        (200, OURS, {}, Failure.BROKEN),
    ],
)
def test_another_product_or_version_is_told(
    status: int, headers: dict[str, str], document: Any, failure: Failure
) -> None:
    """By the client's own rules, in words for the deployer."""
    with answering(status, headers, document) as url, pytest.raises(ElasticsearchError) as caught:
        sink_of(url).check()

    assert caught.value.failure is failure


def test_a_busy_node_costs_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many could take half of the batch's time before its 503; the sender would have gone."""
    monkeypatch.setattr(store, "_PAUSES_S", (0.01,))
    busy = {"error": {"type": "cluster_block_exception", "reason": "no master"}, "status": 503}
    nodes = [answering(503, OURS, busy) for _ in range(5)]
    with contextlib.ExitStack() as stack:
        hosts = [urlsplit(stack.enter_context(node)).netloc for node in nodes]
        sink = sink_of(f"elasticsearch+http://{','.join(hosts)}")
        with pytest.raises(ElasticsearchError, match="fewer requests"):
            sink.write(batch_of(event()))

    assert [node.asked for node in nodes].count(1) == sum(node.asked for node in nodes) == 2


def test_a_node_that_is_gone_costs_no_try() -> None:
    """Another one is asked at once."""
    with (
        answering(200, OURS, {"items": [{"create": {"status": 201}}]}) as url,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        gone = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        sink = sink_of(f"elasticsearch+http://{gone},{urlsplit(url).netloc}")

        assert [sink.write(batch_of(event())) for _ in range(2)] == [True, True]


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
