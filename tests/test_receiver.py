"""The routes of ingest: each answer is part of the contract with kube-apiserver's webhook client."""

from __future__ import annotations

import gzip
import io
import json
import logging
from types import SimpleNamespace

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import BAD, HOSTILE, PROPERTY, event, eventlist, items, line, numbered
from support.requests import (
    BODY,
    JSON,
    LINES,
    TOKEN,
    ask,
    document,
    problem,
    receiver,
    sink_of,
)

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode import eventlines
from auditsplit.decode import eventlist as decoding
from auditsplit.errors import BrokenOff, SinkError
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.serve.messages import Request
from auditsplit.sinks import Written
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.memory import MemorySink

NDJSON = "application/x-ndjson"


class Reset:
    """A connection that breaks at the first read."""

    def __init__(self, error: Exception) -> None:
        """Break with ``error``."""
        self._error = error

    def read(self, _: int, /) -> bytes:
        """Break."""
        raise self._error


# 200.


@pytest.mark.parametrize(
    ("path", "cluster"),
    [
        ("/", "default"),
        ("/clusters/prod", "prod"),
        ("/clusters/a.b-1/", "a.b-1"),
    ],
)
def test_a_list_is_stored_and_acknowledged(path: str, cluster: str) -> None:
    """200 comes with a receipt once every user's events are in their places."""
    here = receiver()

    answer = ask(here, BODY, path=path)

    assert answer.status == 200
    assert document(answer) == {
        "cluster": cluster,
        "batch": blake3(cluster.encode() + b"\0" + BODY).hexdigest(),
        "events": 3,
        "rejected": [],
        "alreadyStored": False,
    }
    assert sink_of(here).objects == LINES
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_retry_is_acknowledged_and_not_stored_twice() -> None:
    """A sender whose answer got lost retries with the same bytes."""
    here = receiver()
    ask(here, BODY)

    answer = ask(here, BODY)

    assert answer.status == 200
    assert document(answer)["alreadyStored"] is True
    assert sink_of(here).objects == LINES


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "",
        "application/json; charset=utf-8",
        "Application/JSON;x=y",
        " application/json ",
    ],
)
def test_json_by_its_types(content_type: str) -> None:
    """JSON is taken with parameters, in any case, and where nothing is said."""
    here = receiver()

    assert ask(here, BODY, headers={"content-type": content_type}).status == 200
    assert sink_of(here).objects == LINES


@pytest.mark.parametrize("content_type", [NDJSON, "application/ndjson; charset=utf-8", "application/jsonl"])
def test_lines_by_their_types(content_type: str) -> None:
    """Log shippers send an Event on each line."""
    here = receiver()
    lines = line("alice") + b"\n" + line("bob") + b"\r\n\r\n" + line("alice")

    answer = ask(here, lines, headers={"content-type": content_type})

    assert document(answer)["events"] == 3
    assert sink_of(here).objects == LINES


def test_a_single_event_is_stored() -> None:
    """An Event with its kind is taken alone too."""
    here = receiver()

    assert document(ask(here, line("bob")))["events"] == 1
    assert sink_of(here).objects == {"bob": line("bob") + b"\n"}


def test_gzip_is_taken() -> None:
    """The batch of a compressed body is that of its content."""
    here = receiver()

    answer = ask(here, gzip.compress(BODY), headers={"content-encoding": "gzip"})

    assert document(answer)["batch"] == blake3(b"default\0" + BODY).hexdigest()
    assert sink_of(here).objects == LINES


def test_no_events_are_acknowledged() -> None:
    """An empty list is nothing to store."""
    assert document(ask(receiver(), eventlist([])))["events"] == 0


def test_one_bad_item_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """200 with a receipt that names the bad item and where it is kept; the others are stored; the log says so."""
    here = receiver()

    bad = b'{"user":"x-y-z"}'

    answer = ask(here, eventlist([event("alice"), bad, event("bob"), event("alice")]))

    [rejected] = document(answer)["rejected"]
    place = f"_rejected/default/{batches.digest(bad, 'default')}"
    assert answer.status == 200
    assert sink_of(here).objects == LINES
    assert sink_of(here).rejected == {place: bad}
    assert (rejected["index"], rejected["kept"]) == (1, [f"memory:/{place}"])
    assert rejected["reason"]
    assert place in caplog.text
    assert "x-y-z" not in caplog.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_item_is_stored(name: str) -> None:
    """Beside 399 good events, all 400 are stored and acknowledged."""
    here = receiver(max_body_bytes=3_000_000)
    good = numbered(399)

    answer = ask(here, eventlist([*good[:7], HOSTILE[name], *good[7:]]))

    assert document(answer)["events"] == 400
    assert document(answer)["rejected"] == []
    assert len(sink_of(here).objects["alice"].split(b"\n")) == 400
    assert sink_of(here).objects["mallory"].endswith(HOSTILE[name][1:] + b"\n")


# 400.


@pytest.mark.parametrize(
    ("body", "position", "reason"),
    [
        (b"", 0, "empty"),
        (b"{]", 1, "does not match"),
        (BODY[:-5], None, "not closed"),
        (b"null", 0, "expected"),
        (BODY.replace(b"audit.k8s.io/v1", b"audit.k8s.io/v1beta1"), None, "--audit-webhook-version=audit.k8s.io/v1"),
        (b'{"kind":"PodList","apiVersion":"v1","items":[]}', None, "PodList"),
    ],
    ids=["empty", "brackets", "truncated", "null", "version", "kind"],
)
def test_an_undecodable_body_is_kept(body: bytes, position: int | None, reason: str) -> None:
    """400 names the reason, the position and where the body is kept, below its hash."""
    here = receiver()

    answer = ask(here, body, path="/clusters/prod")

    detail = problem(answer, 400)
    place = f"_rejected/prod/{blake3(b'prod' + bytes(1) + body).hexdigest()}"
    assert sink_of(here).rejected == {place: body}
    assert reason in detail
    assert f"memory:/{place}" in detail
    assert position is None or document(answer)["position"] == position
    assert sink_of(here).objects == {}
    assert "Retry-After" not in answer.headers


def test_lines_without_an_event_are_kept() -> None:
    """A body of lines of which none is an event is undecodable as a whole."""
    here = receiver()

    detail = problem(ask(here, b"x\ny\n", headers={"content-type": NDJSON}), 400)

    assert "none of the lines" in detail
    assert list(sink_of(here).rejected.values()) == [b"x\ny\n"]


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip at all, though announced as such",
        gzip.compress(BODY)[:-3],
        gzip.compress(BODY) + b"x",
    ],
)
def test_broken_gzip_is_kept_as_it_came(body: bytes) -> None:
    """What can't be decompressed is kept compressed."""
    here = receiver()

    detail = problem(ask(here, body, headers={"content-encoding": "gzip"}), 400)

    assert "gzip" in detail
    assert list(sink_of(here).rejected.values()) == [body]


def test_a_body_cut_short_is_not_taken() -> None:
    """Fewer bytes than announced are half a body, also where the half ends with a line."""
    here = receiver()
    half = line("alice") + b"\n"

    answer = ask(here, half, headers={"content-type": NDJSON, "content-length": str(2 * len(half))})

    problem(answer, 400)
    assert sink_of(here).objects == {}


def test_a_broken_connection_is_not_our_fault() -> None:
    """What breaks off within the body is the sender's trouble, whether it is being read or dropped."""
    here = receiver(tokens=True)
    broken = Reset(BrokenOff("the body broke off"))

    assert ask(here, broken, headers={"authorization": f"Bearer {TOKEN}"}).status == 400
    assert ask(here, broken).status == 401


def test_a_reset_while_dropping_a_body_changes_no_answer() -> None:
    """A sender that hangs up after a refused request is refused, and `handle` does not raise."""
    answer = ask(receiver(tokens=True), Reset(ConnectionResetError("gone")))

    problem(answer, 401)


# 401, 403.


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        pytest.param(f"Basic {TOKEN}", id="basic"),
        pytest.param(TOKEN, id="bare"),
        "Bearer \ud800",
    ],
)
@pytest.mark.parametrize("path", ["/", "/clusters/prod", "/clusters/other"])
def test_an_unknown_sender_is_refused(header: str | None, path: str) -> None:
    """401 with how to authenticate; nothing of the body is read for a store."""
    here = receiver(tokens=True)

    answer = ask(here, BODY, path=path, headers={} if header is None else {"authorization": header})

    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert sink_of(here).objects == sink_of(here).rejected == {}


def test_an_unknown_senders_body_is_not_waited_for() -> None:
    """Not a byte of it is read: who trickles it would hold a thread."""
    here = receiver(tokens=True)
    body = io.BytesIO(b"x" * 900)

    assert ask(here, body).status == 401
    assert body.tell() == 0


@pytest.mark.parametrize("path", ["/", "/clusters/prod"])
def test_a_known_token_is_taken_from_anywhere(path: str) -> None:
    """With tokens, the address and proxies mean nothing."""
    here = receiver(tokens=True)
    headers = {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": "203.0.113.7"}

    answer = ask(here, BODY, path=path, headers=headers, peer="203.0.113.7")

    assert document(answer)["cluster"] == "prod"


def test_a_token_of_another_cluster_is_refused() -> None:
    """403: a token of cluster a can't write as cluster b."""
    here = receiver(tokens=True)

    answer = ask(here, BODY, path="/clusters/other", headers={"authorization": f"Bearer {TOKEN}"})

    assert "/clusters/prod" in problem(answer, 403)
    assert sink_of(here).objects == {}


def test_without_tokens_others_are_refused_with_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is 403 for senders on other machines, and the log tells what to set."""
    here = receiver()

    answer = ask(here, BODY, peer="203.0.113.7")

    assert "AUDIT_TOKENS" in problem(answer, 403)
    assert "AUDIT_TOKENS" in caplog.text
    assert sink_of(here).objects == {}


@pytest.mark.parametrize("sent", [pytest.param(TOKEN, id="known"), "wrong-but-secret"])
@pytest.mark.parametrize("path", ["/", "/clusters/other", "/nowhere"])
def test_no_token_in_answers_or_logs(sent: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever becomes of a request, its token is nowhere to be read."""
    caplog.set_level(logging.DEBUG)
    here = receiver(tokens=True)

    answer = ask(here, b"{]", path=path, headers={"authorization": f"Bearer {sent}"})

    assert answer.status >= 400
    assert sent not in answer.body.decode() + str(answer.headers) + caplog.text


# 404, 405.


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/Healthz",
        "//clusters/prod",
        "/\ud800",
        "/clusters",
        "/clusters/",
        "/clusters/" + "a" * 64,
        "/clusters/-a",
        "/clusters/..",
        "/clusters/Prod",
        "/clusters/a b",
        "/clusters/a/b",
        "/clusters/a\n",
        "/clusters/prod//",
        "/healthz/",
        "/index.html",
        "x",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    """404 for whatever is no place to post to."""
    here = receiver()

    problem(ask(here, BODY, path=path), 404)

    assert sink_of(here).objects == sink_of(here).rejected == {}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "", "\ud800"])
@pytest.mark.parametrize("path", ["/", "/clusters/prod", "/clusters/prod/"])
@pytest.mark.parametrize("tokens", [False, True])
def test_only_post_brings_events(method: str, path: str, tokens: bool) -> None:  # noqa: FBT001
    """405 for every other method: after a redirect the apiserver would take a 2xx to its GET for a delivery."""
    here = receiver(tokens=tokens)

    answer = ask(here, BODY, method=method, path=path)

    problem(answer, 405)
    assert answer.headers["Allow"] == "POST"
    assert sink_of(here).objects == {}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_health_is_only_asked_for(path: str, method: str) -> None:
    """Nothing is delivered to a health check: a kubeconfig that names it gets a 405, not a 2xx."""
    answer = ask(receiver(), BODY, method=method, path=path)

    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"


# 413, 415.


def test_a_body_too_large_is_refused() -> None:
    """The bound itself is taken; 413 one byte beyond it, with the flags that help, and the connection ends."""
    fits, over = receiver(max_body_bytes=len(BODY)), receiver(max_body_bytes=len(BODY) - 1)

    answer = ask(over, BODY)

    assert ask(fits, BODY).status == 200
    assert "AUDIT_MAX_BODY_BYTES" in problem(answer, 413)
    assert answer.headers["Connection"] == "close"
    assert sink_of(over).objects == sink_of(over).rejected == {}


@pytest.mark.parametrize("length", ["100001", "9" * 20, "9" * 5000])
def test_a_body_announced_too_large_is_refused(length: str) -> None:
    """Whatever number is announced, 413 answers it."""
    assert "AUDIT_MAX_BODY_BYTES" in problem(ask(receiver(), BODY, headers={"content-length": length}), 413)


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "\u0663", " 7 ", "7, 7"])
def test_an_announcement_that_is_no_number_is_none(length: str) -> None:
    """The body is bounded all the same."""
    assert ask(receiver(), BODY, headers={"content-length": length}).status == 200
    assert ask(receiver(max_body_bytes=10), BODY, headers={"content-length": length}).status == 413


def test_a_bomb_is_refused() -> None:
    """413 too for what grows over the bound when it is decompressed."""
    here = receiver(max_body_bytes=10_000)

    answer = ask(here, gzip.compress(bytes(1_000_000)), headers={"content-encoding": "gzip"})

    assert "decompressed" in problem(answer, 413)
    assert sink_of(here).rejected == {}


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/yaml",
        "multipart/form-data; boundary=x",
        "*/*",
        "json",
    ],
)
def test_other_types_are_refused(content_type: str) -> None:
    """415 says which types are taken."""
    answer = ask(receiver(), BODY, headers={"content-type": content_type})

    assert "application/json" in problem(answer, 415)
    assert answer.headers["Accept-Post"] == "application/json, application/x-ndjson"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "\ud800"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """415 says which encoding is taken."""
    answer = ask(receiver(), BODY, headers={"content-encoding": encoding})

    assert "gzip" in problem(answer, 415)
    assert answer.headers["Accept-Encoding"] == "gzip"


# 503, 500.


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (eventlist([event(), b"42"]), {}),
        (b"{]", {}),
        (b"no gzip at all, honestly", {"content-encoding": "gzip"}),
    ],
    ids=["good", "bad item", "undecodable", "broken gzip"],
)
def test_a_store_in_trouble_is_tried_again_soon(body: bytes, headers: dict[str, str]) -> None:
    """503 and ``Retry-After: 1``, whole seconds: with a fraction or a date the apiserver would wait ten and more."""
    here = receiver()
    sink_of(here).failure = SinkError("the disk is full")

    answer = ask(here, body, headers=headers)

    problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert sink_of(here).objects == sink_of(here).rejected == {}


def test_after_the_trouble_the_same_batch_is_stored() -> None:
    """A 503 leaves nothing that the next attempt could stumble over."""
    here = receiver()
    sink_of(here).failure = SinkError("the disk is full")
    ask(here, BODY)
    sink_of(here).failure = None

    answer = ask(here, BODY)

    assert document(answer)["alreadyStored"] is False
    assert sink_of(here).objects == LINES


def test_all_sinks_must_hold() -> None:
    """If one of two sinks fails, the answer is 503. The retry stores the batch once in each."""
    one, other = MemorySink(KeyTemplate("{user}")), MemorySink(KeyTemplate("{user}"))
    here = receiver(one, other)
    other.failure = SinkError("down")

    assert ask(here, BODY).status == 503
    other.failure = None
    assert ask(here, BODY).status == 200
    assert one.objects == other.objects == LINES


class Faulty(MemorySink):
    """A store with a fault in it."""

    def write(self, batch: Batch, _: Deadline) -> Written:
        """Fail in an unforeseen way."""
        raise ZeroDivisionError(f"the inner workings of {len(batch.events)}")

    def check(self, _: Deadline) -> None:
        """Fail in an unforeseen way."""
        raise ZeroDivisionError("the inner workings")


def test_a_fault_is_described_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """500 tells the sender nothing of our insides; the log has the whole stack."""
    answer = ask(receiver(Faulty(KeyTemplate("{user}"))), BODY)

    problem(answer, 500)
    text = answer.body.decode()
    assert "Traceback" not in text
    assert "ZeroDivision" not in text
    assert "inner workings" not in text
    assert "ZeroDivisionError: the inner workings of 3" in caplog.text


# Health.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "status"), [("/healthz", "ok"), ("/readyz", "ready")])
def test_health_needs_no_token(method: str, path: str, status: str) -> None:
    """Probes ask without a token and from anywhere."""
    answer = ask(receiver(tokens=True), method=method, path=path, peer="10.0.0.1")

    assert document(answer) == {"status": status}


def test_ready_is_who_can_store() -> None:
    """``/readyz`` asks every store, and says no more than which; ``/healthz`` is about the process alone."""
    good, bad = MemorySink(KeyTemplate("{user}")), MemorySink(KeyTemplate("{user}"))
    bad.failure = SinkError("secret-place is full")
    here = receiver(good, bad)

    answer = ask(here, method="GET", path="/readyz")

    assert "memory:" in problem(answer, 503)
    assert b"secret-place" not in answer.body
    assert ask(here, method="GET", path="/healthz").status == 200


def test_a_fault_in_a_check_is_not_ready() -> None:
    """A check that fails in an unforeseen way is no 2xx."""
    problem(ask(receiver(Faulty(KeyTemplate("{user}"))), method="GET", path="/readyz"), 500)


def test_readiness_is_checked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks all the time can't make the sinks work. A second later the sinks are checked again."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("auditsplit.serve.receiver.time", SimpleNamespace(monotonic=lambda: clock.now))
    here = receiver()
    statuses = [ask(here, method="GET", path="/readyz").status]
    sink_of(here).failure = SinkError("down")
    for now in (100.9, 101.1, 101.9):
        clock.now = now
        statuses.append(ask(here, method="GET", path="/readyz").status)
    sink_of(here).failure = None
    clock.now = 103.0
    statuses.append(ask(here, method="GET", path="/readyz").status)

    assert statuses == [200, 200, 503, 503, 200]


def test_a_receiver_starts_beside_a_store_in_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """A store that can't recover at the start is logged, and does not keep the others from serving."""

    class Stuck(MemorySink):
        """A store that was left unfinished, on a disk that is gone."""

        def recover(self) -> None:
            """Fail."""
            raise SinkError("the journal can't be read")

    receiver(Stuck(KeyTemplate("{user}")), MemorySink(KeyTemplate("{user}"))).recover()

    assert "the journal can't be read" in caplog.text


# Whatever comes.

TYPES = st.sampled_from([JSON, NDJSON, "", "text/plain", "application/json; charset=latin-1", "\ud800"])
ENCODINGS = st.sampled_from(["", "", "identity", "gzip", "gzip", "br", "\x00"])
BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(items | st.sampled_from(sorted(BAD.values())), max_size=4).map(eventlist),
    st.builds(
        lambda body, noise, at: body[: at % len(body)] + noise + body[at % len(body) + len(noise) :],
        st.lists(items, max_size=3).map(eventlist),
        st.binary(min_size=1, max_size=4),
        st.integers(0, 10_000),
    ),
    st.lists(st.sampled_from([line(), eventlist([event()]), b"x", b"", b"\r", b"[", b"{}"]), max_size=5).map(
        b"\n".join
    ),
)


@given(BODIES, TYPES, ENCODINGS, st.booleans())
@PROPERTY
def test_any_body_is_stored_or_refused(
    body: bytes,
    content_type: str,
    encoding: str,
    packed: bool,  # noqa: FBT001
) -> None:
    """Never a 500 or a redirect; 200 only for a body that can be decoded, and then every part of it is somewhere."""
    here = receiver()
    sent = gzip.compress(body) if packed else body

    answer = ask(here, sent, headers={"content-type": content_type, "content-encoding": encoding})

    assert answer.status in (200, 400, 413, 415)
    if answer.status == 200:
        text = gzip.decompress(sent) if encoding == "gzip" else sent
        decoded = eventlines.decode(text) if content_type == NDJSON else decoding.decode(text)
        receipt = document(answer)
        stored = b"".join(sink_of(here).objects.values()).splitlines()
        assert receipt["events"] == len(decoded.events) == len(stored)
        assert sorted(sink_of(here).rejected.values()) == sorted({item.raw for item in decoded.bad})
    else:
        problem(answer, answer.status)
        kept = list(sink_of(here).rejected.values())
        assert sink_of(here).objects == {}
        assert kept in ([[sent], [body]] if answer.status == 400 else [[]])


@given(
    st.sampled_from(["POST", "GET", "HEAD", "PUT", "post"]) | st.text(st.characters(), max_size=5),
    st.sampled_from(["/", "/clusters/prod", "/healthz", "/readyz"]) | st.text(st.characters(), max_size=9),
    st.dictionaries(
        st.sampled_from(["authorization", "content-type", "content-length", "content-encoding", "x-forwarded-for"]),
        st.text(st.characters(), max_size=9) | st.sampled_from(["Bearer \udfff", "gzip", "5", NDJSON]),
    ),
    st.text(st.characters(), max_size=9) | st.just("127.0.0.1"),
    st.booleans(),
)
@PROPERTY
def test_any_request_is_answered(
    method: str,
    path: str,
    headers: dict[str, str],
    peer: str,
    tokens: bool,  # noqa: FBT001
) -> None:
    """Whatever method, path and headers come, the answer is one of the table's, and a 2xx only where it is due."""
    here = receiver(tokens=tokens)

    answer = ask(here, BODY, method=method, path=path, headers=headers, peer=peer)

    assert answer.status in (200, 400, 401, 403, 404, 405, 413, 415)
    assert json.loads(answer.body)
    assert all(name.isascii() and value.isascii() and value.isprintable() for name, value in answer.headers.items())
    if answer.status == 200 and path not in ("/healthz", "/readyz"):
        assert method == "POST"
        assert sink_of(here).objects == LINES


@pytest.mark.parametrize(
    ("failure", "detail"),
    [(Failure.CREDENTIALS, "until a deployer acts"), (Failure.BROKEN, "does not accept events. See the log")],
)
def test_readiness_says_whether_a_deployer_must_act(failure: Failure, detail: str) -> None:
    """Wrong credentials stay wrong until a deployer acts; a broken server may recover by itself."""
    sink = MemorySink(KeyTemplate("{user}"))
    sink.failure = SinkFailure(failure, "401")

    answer = ask(receiver(sink), method="GET", path="/readyz")

    assert answer.status == 503
    assert detail in json.loads(answer.body)["detail"]


@pytest.mark.parametrize("asked", range(3))
def test_the_sender_is_asked_for_between_the_phases(asked: int) -> None:
    """Before decoding, before the transforms, and before the first sink. Nothing is stored."""
    here, answers = receiver(), iter([False] * asked + [True] * 9)
    request = Request("POST", "/", {"content-type": JSON}, io.BytesIO(BODY), "127.0.0.1", lambda: next(answers))

    answer = here.handle(request)

    assert (answer.status, document(answer)["code"]) == (400, "sender-left")
    assert sink_of(here).objects == {}
