"""Why Elasticsearch did not take a request or an item of it, sorted by who must act."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from elastic_transport import ConnectionTimeout, SerializationError, TlsError, TransportError
from elasticsearch import ApiError, UnsupportedProductError

from auditsplit.errors import SinkError


class Failure(Enum):
    """A class of failures; the value is what a log says of it."""

    DOCUMENT = "the document's: one of its fields is not taken"
    TOO_LARGE = "the deployer's: larger than http.max_content_length, or than the node's memory for one operation"
    NO_STREAM = "the deployer's: no template makes a data stream of this name; run auditsplit elasticsearch setup"
    NOT_ALLOWED = "the deployer's: these credentials may not do that; events need create_doc and auto_configure"
    CREDENTIALS = "the deployer's: the credentials are missing, wrong or expired"
    PRODUCT = "the deployer's: the server is not Elasticsearch 9"
    CERTIFICATE = (
        "the deployer's: the server's certificate is not what ca_file or fingerprint name, or it speaks no TLS"
    )
    BLOCKED = "the deployer's: the index is closed or read-only"
    FULL = "the deployer's: the cluster may hold no more shards (cluster.max_shards_per_node)"
    REFUSED = "the deployer's: the server refuses such a request"
    THROTTLED = "the server asks for fewer requests"
    BROKEN = "the server has a fault of its own"
    NO_SHARD = "the index's primary shard is not there"
    UNREACHABLE = "no node can be reached"
    SLOW = "the server did not answer in time"

    @property
    def deployers(self) -> bool:
        """Whether a deployer must act: it stays until the settings, the permissions or the server change."""
        return self not in _PASSING

    @property
    def shrinks(self) -> bool:
        """Whether less of the same document may be taken."""
        return self in (Failure.DOCUMENT, Failure.TOO_LARGE)


_PASSING = {
    Failure.DOCUMENT,
    Failure.THROTTLED,
    Failure.BROKEN,
    Failure.NO_SHARD,
    Failure.UNREACHABLE,
    Failure.SLOW,
}
_BY_TYPE: Mapping[str, Failure] = {
    "index_not_found_exception": Failure.NO_STREAM,
    "index_closed_exception": Failure.BLOCKED,
    "security_exception": Failure.NOT_ALLOWED,
    "media_type_header_exception": Failure.PRODUCT,
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
    406: Failure.PRODUCT,
    408: Failure.SLOW,
    413: Failure.TOO_LARGE,
    415: Failure.PRODUCT,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
    504: Failure.SLOW,
}
_MAX_WORDS = 200
_BLOCK = "cluster_block_exception"
_BLOCKED = 403  # a block that an operator set; the flood-stage watermark's answers 429, one for want of a master 503
_UNAUTHENTICATED = 401
_ONE_OPERATION = "operation of size"  # a 429 that stays: a document larger than a node ever takes
_OPERATION_BYTES = re.compile(r"(\d+), max_[a-z]+_bytes=(\d+)")  # likewise, where the first is the larger
_BY_ERROR: tuple[tuple[type[Exception], Failure, str], ...] = (
    (UnsupportedProductError, Failure.PRODUCT, "it answers without the header X-Elastic-Product"),
    (ConnectionTimeout, Failure.SLOW, "no answer"),
    (SerializationError, Failure.PRODUCT, "its answer is no JSON"),
)


class ElasticsearchError(SinkError):
    """Elasticsearch refused or failed; ``failure`` is the class, ``detail`` the server's words, never an event's."""

    def __init__(self, failure: Failure, detail: str) -> None:
        """Compose the message of both."""
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
        self.deployers = failure.deployers
        self.detail = detail


def classify(status: int, kind: str, reason: str = "") -> Failure:
    """Return why an item or a whole request failed, by HTTP's status, the error's ``type`` and its ``reason``."""
    if kind == _BLOCK and status == _BLOCKED:
        return Failure.BLOCKED
    sizes = _OPERATION_BYTES.search(reason)
    if _ONE_OPERATION in reason or (sizes and int(sizes[1]) > int(sizes[2])):
        return Failure.TOO_LARGE
    if status == _UNAUTHENTICATED:  # a security_exception too
        return Failure.CREDENTIALS
    server_fault = Failure.BROKEN if status >= 500 else Failure.REFUSED  # noqa: PLR2004 - as HTTP has it
    return _BY_TYPE.get(kind) or _BY_STATUS.get(status) or server_fault


def explain(error: ApiError | TransportError) -> ElasticsearchError:
    """Return what to raise from an exception of the client; none of its words come from an event."""
    for exception, failure, words in _BY_ERROR:
        if isinstance(error, exception):
            return ElasticsearchError(failure, words)
    match error:
        case ApiError(status_code=status, body={"error": {"type": str(kind), **more}}):
            return _of_request(status, kind, str(more.get("reason", "")))
        case ApiError(status_code=status):
            return _of_request(status, "without a reason")
    failure = Failure.CERTIFICATE if isinstance(error, TlsError) else Failure.UNREACHABLE
    return ElasticsearchError(failure, _root(error))


def _root(error: BaseException) -> str:
    """Return what the network said: of the exception that all the others come from."""
    while under := error.__cause__ or error.__context__:
        error = under
    return f"{type(error).__name__}: {error}"[:_MAX_WORDS]


def _of_request(status: int, kind: str, reason: str = "") -> ElasticsearchError:
    failure = classify(status, kind, reason)
    # The bodies are our own, so a request that is refused as such is so for what the URL or the server say.
    return ElasticsearchError(Failure.REFUSED if failure is Failure.DOCUMENT else failure, f"{status} {kind}")
