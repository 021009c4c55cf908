"""The function in Lambda's own runtime client, with a real S3 server as its sink."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import object_places, runtime_api
from support.environment import plain_environment
from support.eventlists import event, eventlist, line, numbered
from support.lambdaevents import KINDS, SENDER, Sent, Wrap, function_url
from support.metrics import EMBEDDED
from support.recording import DATA, manifest
from support.runtime_api import Function
from support.server import Answer, Server

from auditsplit import auth

FUNCTIONS = Path(__file__).parents[2] / "functions"
TOKEN, HASH = auth.new_token("prod")
JSON = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
START = Callable[..., Function]
every_kind = pytest.mark.parametrize("wrap", KINDS.values(), ids=KINDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[START]:
    """Return a function that starts ours in awslambdaric with these settings; all are ended."""
    with ExitStack() as stack:

        def start(*, timeout_s: float = 30, **environ: str) -> Function:
            settings = {"AUDIT_TOKENS": str(HASH), **environ}
            log = tmp_path / "function.log"
            return stack.enter_context(
                runtime_api.running(FUNCTIONS, {**plain_environment(), **settings}, log, timeout_s=timeout_s)
            )

        yield start


def answer_of(function: Function, wrap: Wrap, sent: Sent) -> Answer:
    """Return what the sender gets to see."""
    outcome = function.invoke(wrap(sent))
    assert outcome.kind == "response", outcome
    document = outcome.document
    several = {name: value for name, [value] in document.get("multiValueHeaders", {}).items()}
    headers = {name.lower(): value for name, value in {**document.get("headers", {}), **several}.items()}
    return Answer(document["statusCode"], headers, document["body"].encode())


def logged(function: Function) -> list[dict[str, Any]]:
    """Return the log's lines of ours, each of which is a JSON object; libraries' go through Lambda's own handler."""
    lines = [json.loads(line) for line in function.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"].startswith("auditsplit")]


@every_kind
def test_recorded_lists_are_stored_whoever_sends_them(
    request: pytest.FixtureRequest, start: START, wrap: Wrap, recorded: list[bytes]
) -> None:
    """As text or in base64, plain or compressed; every line of the apiserver's own log once."""
    place = object_places.s3_place(request, "put-only")
    function = start(AUDIT_SINKS=place.url, AUDIT_DROP="none")
    zipped = {**JSON, "Content-Encoding": "gzip"}

    answers = []
    for number, body in enumerate(recorded):
        sent = [Sent(headers=JSON, body=body), Sent("POST", "/clusters/prod", JSON, body, in_base64=True)]
        sent += [Sent(headers=zipped, body=gzip.compress(body), in_base64=True)]
        answers.append(answer_of(function, wrap, sent[number % 3]))

    assert [answer.status for answer in answers] == [200] * len(recorded)
    assert [answer.json()["events"] for answer in answers] == [entry["events"] for entry in manifest()["lists"]]
    assert {answer.json()["cluster"] for answer in answers} == {"prod"}
    stored = Counter(line for body in place.held().values() for line in body.splitlines())
    assert stored == Counter((DATA / "audit.log").read_bytes().splitlines())


def requests_of_all_statuses() -> Iterator[tuple[int, Sent]]:
    """Yield requests with the status that each must have."""
    good, other = eventlist([event("alice")]), auth.new_token("prod")[0]
    yield 200, Sent("GET", "/healthz")
    yield 200, Sent("GET", "/readyz")
    yield 200, Sent(headers=JSON, body=good)
    yield 200, Sent("POST", "/clusters/prod/", JSON, good)
    yield 200, Sent(headers={**JSON, "Content-Type": "application/x-ndjson"}, body=line("bob"), in_base64=True)
    yield 400, Sent(headers=JSON, body=b"{")
    yield 400, Sent(headers=JSON)
    yield 400, Sent(headers={**JSON, "Content-Encoding": "gzip"}, body=gzip.compress(good)[:-9], in_base64=True)
    yield 401, Sent(body=good)
    yield 401, Sent(headers={**JSON, "Authorization": f"Bearer {other}"}, body=good)
    yield 403, Sent("POST", "/clusters/test", JSON, good)
    yield 404, Sent("POST", "/elsewhere", JSON, good)
    yield 404, Sent("POST", "/clusters/UPPER", JSON, good)
    yield 405, Sent("GET", "/", JSON)
    yield 405, Sent("PUT", "/clusters/prod", JSON, good)
    yield 413, Sent(headers=JSON, body=b" " * 100_001)
    yield 413, Sent(headers={**JSON, "Content-Encoding": "gzip"}, body=gzip.compress(b" " * 100_001), in_base64=True)
    yield 415, Sent(headers={**JSON, "Content-Type": "text/plain"}, body=good)
    yield 415, Sent(headers={**JSON, "Content-Encoding": "br"}, body=good)


def test_the_statuses_are_the_ones_of_functions_framework(
    request: pytest.FixtureRequest, start: START, serve: Callable[..., Server]
) -> None:
    """Every request, from every sender: the same status, type and words, on Lambda and off it."""
    place = object_places.s3_place(request, "put-only")
    settings = {"AUDIT_SINKS": place.url, "AUDIT_TOKENS": str(HASH), "AUDIT_MAX_BODY_BYTES": "100000"}
    function, server = start(**settings), serve(**settings)
    for status, sent in requests_of_all_statuses():
        there = server.request(sent.method, sent.path, sent.body or None, sent.headers)
        for kind, wrap in KINDS.items():
            here = answer_of(function, wrap, sent)

            assert (here.status, there.status) == (status, status), (kind, sent, here.body)
            assert here.headers["content-type"] == there.headers["content-type"]
            assert here.json().keys() == there.json().keys()
            if status not in (200, 413):
                assert here.json()["detail"] == there.json()["detail"]
                assert here.headers.get("allow") == there.headers.get("allow")


def test_a_retry_is_stored_once_by_another_environment_too(request: pytest.FixtureRequest, start: START) -> None:
    """Which needs no permission but to put."""
    place = object_places.s3_place(request, "put-only")
    body = eventlist(numbered(50))
    answers = [answer_of(start(AUDIT_SINKS=place.url), function_url, Sent(headers=JSON, body=body)) for _ in range(2)]

    assert [answer.json()["alreadyStored"] for answer in answers] == [False, True]
    assert sum(len(lines.splitlines()) for lines in place.held().values()) == 50


def test_the_largest_list_that_lambda_takes_is_stored(request: pytest.FixtureRequest, start: START) -> None:
    """6 MiB as JSON within JSON."""
    place = object_places.s3_place(request, "put-only")
    function = start(AUDIT_SINKS=place.url)
    item = event("alice", requestObject="x" * 10_000)
    body = eventlist([item] * 500)

    answer = answer_of(function, function_url, Sent(headers=JSON, body=body))

    assert (answer.status, answer.json()["events"]) == (200, 500)
    assert len(body) > 5_000_000
    with pytest.raises(ValueError, match="Lambda takes"):
        function.invoke(function_url(Sent(headers=JSON, body=b'"' * 4_000_000)))


def test_a_sink_that_hangs_is_answered_before_lambda_ends_the_function(
    request: pytest.FixtureRequest, start: START
) -> None:
    """503 with a second to spare, though the sink alone would wait for longer than the function may take."""
    place = object_places.s3_place(request, "put-only")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = re.sub(r"http://[0-9.:]+", f"http://127.0.0.1:{silent.getsockname()[1]}", place.url)
        function = start(timeout_s=4, AUDIT_SINKS=url)
        assert answer_of(function, function_url, Sent("GET", "/healthz")).status == 200
        began = time.monotonic()

        answer = answer_of(function, function_url, Sent(headers=JSON, body=eventlist([event("alice")])))

        took_s = time.monotonic() - began
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert re.search(r"over (2\.\d+|3) s", answer.json()["detail"])
    assert 2.5 < took_s < 3.9
    assert answer_of(function, function_url, Sent("GET", "/healthz")).status == 200


def test_every_mistake_in_the_settings_is_the_error_of_the_start(start: START) -> None:
    """Lambda shows it: what is wrong, what to write instead, and little of a stack."""
    function = start(AUDIT_TOKENS="", AUDIT_SINKS="s3:bucket", AUDIT_SINK="s3://x")

    outcome = function.outcome()

    assert outcome.kind == "init/error"
    assert outcome.document["errorType"] == "SettingsError"
    message = outcome.document["errorMessage"]
    assert message.startswith("auditsplit can't start with these settings:\n")
    assert all(name in message for name in ("AUDIT_SINK: ", "AUDIT_TOKENS: not set", "Write s3://bucket/prefix"))
    assert not any("settings.py" in frame for frame in outcome.document["stackTrace"])
    assert function.process.wait(10) == 1


def test_no_settings_at_all_are_mistakes(start: START) -> None:
    """A file would be gone with the instance, and without tokens anyone could write."""
    message = start(AUDIT_TOKENS="").outcome().document["errorMessage"]

    assert "AUDIT_SINKS: not set" in message
    assert "AUDIT_TOKENS: not set" in message


def test_what_is_no_request_is_an_error_of_the_invocation(request: pytest.FixtureRequest, start: START) -> None:
    """So that Lambda counts it, keeps it where it came by a queue, and the next request is answered."""
    place = object_places.s3_place(request, "put-only")
    function = start(AUDIT_SINKS=place.url)

    outcome = function.invoke({"Records": []})

    assert (outcome.kind, outcome.document["errorType"]) == ("error", "NoRequest")
    assert "came an object with Records" in outcome.document["errorMessage"]
    assert answer_of(function, function_url, Sent("GET", "/healthz")).status == 200


def test_a_batch_is_a_metric_for_cloudwatch(start: START) -> None:
    """The runtime's own line has what the embedded metric format asks for; a refused request is none."""
    function = start(AUDIT_SINKS="memory:")
    for body in (eventlist([event("alice"), event("bob")]), b"no JSON"):
        answer_of(function, function_url, Sent(body=body, headers=JSON))

    batch, refused = logged(function)

    jsonschema.validate(batch, EMBEDDED)
    assert (batch["cluster"], batch["events"]) == ("prod", 2)
    assert "_aws" not in refused


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_a_line_of_the_log_is_one_object_and_comes_once(
    request: pytest.FixtureRequest, start: START, log_format: str
) -> None:
    """Whichever of Lambda's formats is set; ``level`` is what its filters read."""
    place = object_places.s3_place(request, "put-only")
    function = start(AUDIT_SINKS=place.url, AWS_LAMBDA_LOG_FORMAT=log_format, AWS_LAMBDA_LOG_LEVEL="INFO")

    answer_of(function, function_url, Sent("PUT", "/", JSON))

    [line] = logged(function)
    assert (line["level"], line["logger"]) == ("WARNING", "auditsplit.serve.receiver")
    assert (line["status"], line["peer"]) == (405, SENDER)
    assert function.log.count("expected POST") == 1
    assert TOKEN not in function.log
