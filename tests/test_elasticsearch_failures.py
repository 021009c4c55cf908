"""Failures: what Elasticsearch's answers mean, each as a real server gave it."""

from __future__ import annotations

import socket
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from elastic_transport import (
    ApiResponseMeta,
    ConnectionError,  # noqa: A004 - the driver's own name
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    SerializationError,
    TlsError,
    TransportError,
)
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from auditsplit.sinks.elasticsearch.failures import Failure, classify, explain

PRIMARY = (
    "rejected execution of primary operation [coordinating_and_primary_bytes=25000213, replica_bytes=0, "
    "all_bytes=25000213, primary_operation_bytes=100000244, max_primary_bytes=62914560]"
)
COORDINATING = (
    "rejected execution of coordinating operation [coordinating_and_primary_bytes=982870, replica_bytes=0, "
    "all_bytes=982870, coordinating_operation_bytes=78632, max_coordinating_bytes=1048576]"
)
OPERATION = (
    "Request contains an operation of size [60000324] bytes, which exceeds the maximum allowed limit of [53687091]"
)
PASSING = {Failure.DOCUMENT, Failure.THROTTLED, Failure.BROKEN, Failure.NO_SHARD, Failure.UNREACHABLE, Failure.SLOW}


@pytest.mark.parametrize(
    ("status", "kind", "reason", "failure"),
    [
        (400, "document_parsing_exception", "[1:84] failed to parse field [a] of type [ip]", Failure.DOCUMENT),
        (400, "illegal_argument_exception", "Document contains at least one immense term", Failure.DOCUMENT),
        (400, "index_closed_exception", "closed", Failure.BLOCKED),
        (400, "validation_exception", "this action would add [2] shards, but", Failure.FULL),
        (400, "media_type_header_exception", "Invalid media-type value on headers [Accept]", Failure.PRODUCT),
        (401, "security_exception", "missing authentication credentials", Failure.CREDENTIALS),
        (403, "security_exception", "action [indices:admin/auto_create] is unauthorized", Failure.NOT_ALLOWED),
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];", Failure.BLOCKED),
        (404, "index_not_found_exception", "require_data_stream", Failure.NO_STREAM),
        (406, "", "", Failure.PRODUCT),
        (413, "", "", Failure.TOO_LARGE),
        (429, "cluster_block_exception", "blocked by: [TOO_MANY_REQUESTS/12/disk usage", Failure.THROTTLED),
        (429, "es_rejected_execution_exception", COORDINATING, Failure.THROTTLED),
        (429, "es_rejected_execution_exception", PRIMARY, Failure.TOO_LARGE),
        (429, "es_rejected_execution_exception", OPERATION, Failure.TOO_LARGE),
        (429, "circuit_breaking_exception", "[parent] Data too large", Failure.THROTTLED),
        (500, "null_pointer_exception", "", Failure.BROKEN),
        (502, "", "", Failure.BROKEN),
        (503, "unavailable_shards_exception", "primary shard is not active", Failure.NO_SHARD),
        (503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];", Failure.THROTTLED),
        (503, "process_cluster_event_timeout_exception", "failed to process cluster event", Failure.SLOW),
        (504, "", "", Failure.SLOW),
        (418, "teapot_exception", "", Failure.REFUSED),
    ],
)
def test_an_answer_is_classified(status: int, kind: str, reason: str, failure: Failure) -> None:
    """By the error's type, else the status; a 429 that can't pass by the sizes in its reason."""
    assert classify(status, kind, reason) is failure


def answer(status: int, body: Any) -> ApiError:
    """Return the client's exception for an answer."""
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "localhost", 9200))
    return ApiError("x", meta, body)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            answer(429, {"error": {"type": "es_rejected_execution_exception", "reason": COORDINATING}}),
            Failure.THROTTLED,
        ),
        (answer(429, {"error": {"type": "es_rejected_execution_exception", "reason": PRIMARY}}), Failure.TOO_LARGE),
        (answer(401, {"error": {"type": "security_exception"}, "status": 401}), Failure.CREDENTIALS),
        (answer(400, {"error": {"type": "illegal_argument_exception", "reason": "x"}}), Failure.REFUSED),
        (answer(400, "no json"), Failure.REFUSED),
        (answer(503, b"<html>"), Failure.THROTTLED),
        (UnsupportedProductError("x", answer(200, {}).meta, {}), Failure.PRODUCT),
        (SerializationError("x"), Failure.PRODUCT),
        (TlsError("x"), Failure.CERTIFICATE),
        (ConnectionTimeout("x"), Failure.SLOW),
        (ConnectionError("x"), Failure.UNREACHABLE),
        (TransportError("x"), Failure.UNREACHABLE),
    ],
)
def test_an_exception_of_the_client_is_explained(error: ApiError | TransportError, failure: Failure) -> None:
    """With who must act."""
    told = explain(error)

    assert told.failure is failure
    assert told.deployers is (failure not in PASSING)
    assert str(told).startswith(failure.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{closed}", "no node can be reached: ConnectionRefusedError"),
        ("http://nowhere.invalid:{closed}", "no node can be reached: gaierror"),
        ("https://127.0.0.1:{plain}", "or it speaks no TLS: SSLError"),
    ],
)
def test_a_connection_that_fails_says_how(url: str, words: str) -> None:
    """A wrong port, a wrong name and https where there is none are told apart."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as plain, socket.create_server(("127.0.0.1", 0)) as gone:
        ports = {"plain": plain.server_address[1], "closed": gone.getsockname()[1]}
        gone.close()
        plain.timeout = 5
        answering = Thread(target=plain.handle_request)
        if "plain" in url:
            answering.start()
        with Elasticsearch(url.format(**ports), max_retries=0) as client, pytest.raises(TransportError) as caught:
            client.info()
        if "plain" in url:
            answering.join()

    assert words in str(explain(caught.value))


def test_the_words_of_a_server_are_bounded() -> None:
    """Whatever it says in place of HTTP."""
    error = ConnectionError("x")
    error.__cause__ = BadStatusLine("x" * 10_000)

    assert len(str(explain(error))) < 300
