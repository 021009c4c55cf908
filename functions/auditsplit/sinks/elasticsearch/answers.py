"""What Elasticsearch's answers and the client's errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping

import elastic_transport
import elasticsearch

from auditsplit.sinks.failures import Action, DriverErrors, Failure, SinkFailure, by_status, failure_of

_BY_TYPE: Mapping[str, Failure] = {
    "index_not_found_exception": Failure.NO_STREAM,
    "index_closed_exception": Failure.BLOCKED,
    "security_exception": Failure.NOT_ALLOWED,
    "media_type_header_exception": Failure.WRONG_SERVER,
    "unavailable_shards_exception": Failure.NO_SHARD,
    "no_shard_available_action_exception": Failure.NO_SHARD,
    "process_cluster_event_timeout_exception": Failure.SLOW,  # making the data stream took too long
    "timeout_exception": Failure.SLOW,
    "validation_exception": Failure.FULL,
}
_BY_STATUS: Mapping[int, Failure] = {
    400: Failure.DOCUMENT,
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.NO_STREAM,
    406: Failure.WRONG_SERVER,
    408: Failure.SLOW,
    413: Failure.TOO_LARGE,
    415: Failure.WRONG_SERVER,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
    504: Failure.SLOW,
}
ROOTS: tuple[type[Exception], ...] = (elastic_transport.TransportError, elastic_transport.ApiError)
"""The ancestors of all errors of the client. An ``ApiError`` has an answer."""

ERRORS: DriverErrors = {
    elastic_transport.ConnectionError: Failure.UNREACHABLE,
    elastic_transport.ConnectionTimeout: Failure.SLOW,
    elastic_transport.SerializationError: Failure.WRONG_SERVER,
    elastic_transport.SniffingError: Failure.UNREACHABLE,
    elastic_transport.TlsError: Failure.CERTIFICATE,
    elasticsearch.UnsupportedProductError: Failure.WRONG_SERVER,
}
"""What the client's errors mean. An ``ApiError`` without a row means what its answer means."""

_WORDS: Mapping[type[Exception], str] = {
    elastic_transport.ConnectionTimeout: "no answer",
    elastic_transport.SerializationError: "its answer is not JSON",
    elasticsearch.UnsupportedProductError: "it answers without the header X-Elastic-Product",
}
_MAX_WORDS = 200
_BLOCK = "cluster_block_exception"
_BLOCKED = 403  # of a block that an operator set; that of the flood-stage watermark is 429, of a missing master 503
_UNAUTHENTICATED = 401
_ONE_OPERATION = "operation of size"  # a 429 that stays: a document larger than a node ever accepts
_OPERATION_BYTES = re.compile(
    r"(\d+), max_[a-z]+_bytes=(\d+)"
)  # a 429 that stays too, if the first number is the larger


def classify(status: int, kind: str, reason: str = "") -> Failure:
    """Return why an item or a whole request failed, by HTTP's status, the error's ``type`` and its ``reason``."""
    if kind == _BLOCK and status == _BLOCKED:
        return Failure.BLOCKED
    sizes = _OPERATION_BYTES.search(reason)
    if _ONE_OPERATION in reason or (sizes and int(sizes[1]) > int(sizes[2])):
        return Failure.TOO_LARGE
    if status == _UNAUTHENTICATED:  # a security_exception too
        return Failure.CREDENTIALS
    return _BY_TYPE.get(kind) or by_status(status, _BY_STATUS)


def explain(error: Exception) -> SinkFailure:
    """Return what to raise from an error of the client. None of its words come from an event."""
    failure = failure_of(error, ERRORS)
    if failure is Failure.UNMAPPED:
        match error:
            case elasticsearch.ApiError(status_code=status, body={"error": {"type": str(kind), **more}}):
                return _of_request(status, kind, str(more.get("reason", "")))
            case elasticsearch.ApiError(status_code=status):
                return _of_request(status, "without a reason")
    return SinkFailure(failure, _WORDS.get(type(error)) or _root(error))


def _root(error: BaseException) -> str:
    """Return the words of the network: those of the exception that all others come from."""
    while under := error.__cause__ or error.__context__:
        error = under
    return f"{type(error).__name__}: {error}"[:_MAX_WORDS]


def _of_request(status: int, kind: str, reason: str = "") -> SinkFailure:
    failure = classify(status, kind, reason)
    if failure.action is Action.REJECT:  # the sink made the request, so the URL or the server is the reason
        failure = Failure.REFUSED
    return SinkFailure(failure, f"{status} {kind}")
