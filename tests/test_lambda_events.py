"""Lambda's events: a request is the same from every source, and each source gets the answer in its own shape."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY, event, eventlist
from support.lambdaevents import KINDS, SENDER, Sent, Wrap, function_url, http_api, load_balancer, rest_api

from auditsplit import auth, bootstrap
from auditsplit.serve import lambda_events
from auditsplit.serve.lambda_events import NoRequest
from auditsplit.serve.messages import Response

FUNCTIONS = Path(__file__).parents[1] / "functions"
TOKEN, HASH = auth.new_token("prod")
every_kind = pytest.mark.parametrize("wrap", KINDS.values(), ids=KINDS)


@every_kind
@PROPERTY
@given(body=st.binary(), in_base64=st.booleans(), path=st.sampled_from(["/", "/clusters/prod", "/healthz"]))
def test_a_request_is_the_same_from_every_source(wrap: Wrap, body: bytes, path: str, *, in_base64: bool) -> None:
    """Method, path without a stage, headers, sender, and the very bytes of the body."""
    body = body if in_base64 else body.decode(errors="replace").encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}", "X-Empty": ""}

    request = lambda_events.request_of(wrap(Sent("POST", path, headers, body, in_base64)))

    assert (request.method, request.path, request.peer) == ("POST", path, SENDER)
    assert {name.lower(): value for name, value in headers.items()}.items() <= request.headers.items()
    assert request.stream.read(len(body) + 1) == body


@pytest.mark.parametrize(
    ("wrap", "raw", "path"),
    [
        (http_api, "", "/"),  # a stage's URL without the last slash
        (http_api, "/", "/"),
        (http_api, "/production", "/production"),
        (rest_api, "/prod/clusters/a", "/prod/clusters/a"),  # a path below a domain's mapping: 404
        (rest_api, "", "/"),
        (function_url, "/$default/clusters/a", "/$default/clusters/a"),
        (function_url, "/clusters/pro%64", "/clusters/prod"),  # as functions-framework has it
    ],
)
def test_only_a_stage_is_taken_off_a_path(wrap: Wrap, raw: str, path: str) -> None:
    """And only where API Gateway puts one."""
    assert lambda_events.request_of(wrap(Sent(path=raw))).path == path


def test_a_header_that_comes_twice_is_one_with_a_comma() -> None:
    """So two tokens are no token, and nobody chooses which one counts."""
    message = {**rest_api(Sent()), "multiValueHeaders": {"AUTHORIZATION": ["Bearer a", "Bearer b"]}}

    assert lambda_events.request_of(message).headers["authorization"] == "Bearer a, Bearer b"


def test_the_announced_length_is_not_looked_at() -> None:
    """An event is whole; that its body was re-encoded on the way makes it no broken one."""
    assert "content-length" not in lambda_events.request_of(function_url(Sent(body=b"x"))).headers


def test_what_is_no_unicode_is_handed_on() -> None:
    """A lone surrogate in the event's text becomes bytes, not an error."""
    message = {**function_url(Sent()), "body": "\ud800"}

    assert lambda_events.request_of(message).stream.read(9) == b"\xed\xa0\x80"


def test_no_headers_at_all_are_none() -> None:
    """API Gateway's console sends null."""
    message = {**rest_api(Sent()), "headers": None, "multiValueHeaders": None}

    assert lambda_events.request_of(message).headers == {}
    assert "headers" in lambda_events.answer_to(message, Response(200, {}, b""))


@pytest.mark.parametrize(
    ("message", "came"),
    [
        ({}, "an object with nothing in it"),
        ({"Records": [{"body": "secret"}]}, "an object with Records"),
        ({"requestContext": {"connectionId": "x"}, "body": ""}, "an object with body, requestContext"),
        (["secret"], "a list"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_request_is_refused(message: Any, came: str) -> None:
    """A queue's message is not a request. The error describes the event without its values."""
    with pytest.raises(NoRequest, match=came) as caught:
        lambda_events.request_of(message)

    assert "secret" not in str(caught.value)


@every_kind
def test_a_header_that_is_null_is_left_out(wrap: Wrap) -> None:
    """It is as if there was no such header. The others stay."""
    message = wrap(Sent(headers={"Content-Type": "application/json"}))
    several = {"X-None": None, "X-Nothing": [None], "X-Some": ["a", None, "b"]}
    message["headers"] = {**(message.get("headers") or {}), "X-Null": None}
    message["multiValueHeaders"] = {**(message.get("multiValueHeaders") or {}), **several}

    headers = lambda_events.request_of(message).headers

    assert headers["content-type"] == "application/json"
    assert headers["x-some"] == "a, b"
    assert not {"x-null", "x-none", "x-nothing"} & headers.keys()


@every_kind
@pytest.mark.parametrize("name", ["headers", "multiValueHeaders"])
@pytest.mark.parametrize("value", [0, 7, 1.5, True, {}, {"a": "b"}, ["x", 7], ["x", ["y"]], [{}]])
@pytest.mark.parametrize("header", ["authorization", "content-type", "x-other"])
def test_a_header_that_is_not_a_string_is_refused(wrap: Wrap, name: str, value: Any, header: str) -> None:
    """AWS documents strings. The error names the type."""
    message = {**wrap(Sent()), name: {header: value}}

    with pytest.raises(NoRequest, match=r"not a string|not a list"):
        lambda_events.request_of(message)


@pytest.mark.parametrize(("name", "value"), [("headers", ["secret"]), ("multiValueHeaders", "secret")])
def test_a_header_of_the_wrong_shape_is_refused(name: str, value: Any) -> None:
    """Headers have one string, multi-value headers a list. The error does not repeat the value."""
    with pytest.raises(NoRequest, match="as AWS documents it") as caught:
        lambda_events.request_of({**rest_api(Sent()), name: {"authorization": value}})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [7, ["POST"], {}, True])
def test_a_method_path_or_address_that_is_not_a_string_is_refused(value: Any) -> None:
    """The receiver gets strings, whatever invoked the function."""
    http = {"http": {"method": "POST", "sourceIp": "192.0.2.1"}}
    messages = [
        {**rest_api(Sent()), "httpMethod": value},
        {**rest_api(Sent()), "path": value},
        {**rest_api(Sent()), "requestContext": {"identity": {"sourceIp": [value]}}},
        {**function_url(Sent()), "rawPath": value},
        {**function_url(Sent()), "requestContext": {"http": {**http["http"], "method": value}}},
        {**function_url(Sent()), "requestContext": {"http": {**http["http"], "sourceIp": [value]}}},
    ]

    for message in messages:
        with pytest.raises(NoRequest, match="not a string"):
            lambda_events.request_of(message)


@PROPERTY
@given(
    st.dictionaries(
        st.sampled_from(["headers", "multiValueHeaders", "body", "isBase64Encoded", "path", "rawPath", "version"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
        ),
    ),
    st.sampled_from([{"http": {"method": "POST"}}, {"http": "POST"}, {"identity": None}, {"elb": {}}, {"stage": 1}]),
)
def test_nothing_else_comes_of_a_strange_event(event: dict[str, Any], context: dict[str, Any]) -> None:
    """A request, or that it is none, whatever its members are."""
    with contextlib.suppress(NoRequest):
        request = lambda_events.request_of({**event, "httpMethod": "POST", "requestContext": context})

        assert isinstance(request.stream.read(9), bytes)
        assert all(isinstance(part, str) for part in (request.method, request.path, request.peer))
        assert all(isinstance(text, str) for pair in request.headers.items() for text in pair)


@pytest.mark.parametrize("text", ["{}", "YQ", "YQ==\n", "é"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    """Nothing is left out of a body in silence."""
    with pytest.raises(NoRequest, match="as AWS documents it"):
        lambda_events.request_of({**function_url(Sent()), "body": text, "isBase64Encoded": True})


@every_kind
def test_an_answer_has_what_its_sender_reads(wrap: Wrap) -> None:
    """Status, text and headers; a load balancer's phrase, and lists where it sent lists."""
    message = wrap(Sent())
    headers = {"Content-Type": "application/problem+json", "Connection": "close"}
    response = Response(413, headers, b'{"a":"\xc3\xa9"}')

    answer = lambda_events.answer_to(message, response)

    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (413, '{"a":"é"}', False)
    assert headers_of(answer) == {"Content-Type": "application/problem+json"}
    assert ("multiValueHeaders" in answer) == ("multiValueHeaders" in message)
    assert answer.get("statusDescription", "").startswith("413 ") == ("elb" in message["requestContext"])
    assert json.loads(json.dumps(answer)) == answer


def headers_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return an answer's headers, whichever way it has them."""
    several = {name: value for name, [value] in answer.get("multiValueHeaders", {}).items()}
    return {**answer.get("headers", {}), **several}


def test_a_claimed_loopback_address_is_refused() -> None:
    """Who claims to come from this machine, behind a load balancer, does not, even where no token is asked for."""
    receiver = bootstrap.receiver({"AUDIT_SINKS": "memory:"})
    claims = [{"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "127.0.0.1, ::1"}, {"Forwarded": "for=127.0.0.1"}]
    bare = load_balancer(Sent(body=eventlist([event("eve")])))
    bare["headers"] = {"x-forwarded-for": "127.0.0.1"}  # one that keeps what the sender claims

    messages = [bare] + [wrap(Sent(headers=claim)) for wrap in KINDS.values() for claim in claims]

    assert {receiver.handle(lambda_events.request_of(message)).status for message in messages} == {403}
