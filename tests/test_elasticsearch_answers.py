"""What Elasticsearch's answers mean, each as a real server gave it."""

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

from auditsplit.sinks.elasticsearch.answers import classify, explain
from auditsplit.sinks.failures import Action, Failure

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


@pytest.mark.parametrize(
    ("status", "kind", "reason", "failure"),
    [
        (400, "document_parsing_exception", "[1:84] failed to parse field [a] of type [ip]", Failure.DOCUMENT),
        (400, "illegal_argument_exception", "Document contains at least one immense term", Failure.DOCUMENT),
        (400, "index_closed_exception", "closed", Failure.BLOCKED),
        (400, "validation_exception", "this action would add [2] shards, but", Failure.FULL),
        (400, "media_type_header_exception", "Invalid media-type value on headers [Accept]", Failure.WRONG_SERVER),
        (401, "security_exception", "missing authentication credentials", Failure.CREDENTIALS),
        (403, "security_exception", "action [indices:admin/auto_create] is unauthorized", Failure.NOT_ALLOWED),
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];", Failure.BLOCKED),
        (404, "index_not_found_exception", "require_data_stream", Failure.NO_STREAM),
        (406, "", "", Failure.WRONG_SERVER),
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
    """By the error's type, else the status. The sizes in its reason show a 429 that can't pass."""
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
        (UnsupportedProductError("x", answer(200, {}).meta, {}), Failure.WRONG_SERVER),
        (SerializationError("x"), Failure.WRONG_SERVER),
        (TlsError("x"), Failure.CERTIFICATE),
        (ConnectionTimeout("x"), Failure.SLOW),
        (ConnectionError("x"), Failure.UNREACHABLE),
        (TransportError("x"), Failure.UNMAPPED),
    ],
)
def test_an_exception_of_the_client_is_explained(error: ApiError | TransportError, failure: Failure) -> None:
    """With what to do and who must act."""
    explained = explain(error)

    assert explained.failure is failure
    assert explained.needs_deployer is (failure.action is not Action.RETRY)
    assert str(explained).startswith(failure.words)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{closed}", "the server can't be reached (ConnectionRefusedError"),
        ("http://nowhere.invalid:{closed}", "the server can't be reached (gaierror"),
        ("https://127.0.0.1:{plain}", "or it speaks no TLS. Check ca_file or fingerprint (SSLError"),
    ],
)
def test_the_message_says_why_a_connection_failed(url: str, words: str) -> None:
    """A wrong port, a wrong name, and https to a server without TLS."""
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
    """Also where the server does not speak HTTP."""
    error = ConnectionError("x")
    error.__cause__ = BadStatusLine("x" * 10_000)

    assert len(str(explain(error))) < 300
