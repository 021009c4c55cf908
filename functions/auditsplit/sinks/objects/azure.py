"""The Azure Blob Storage sink, by azure-storage-blob.

Its credentials are the first of these that exist: ``AZURE_STORAGE_KEY`` or ``AZURE_STORAGE_SAS_TOKEN`` in the
environment, or what azure-identity finds (workload and managed identities, a service principal, the command line's). A
SAS needs the permission to create (``sp=c``), a role the action ``…/blobs/add/action`` or ``…/blobs/write``. The
library retries nothing here: `auditsplit.sinks.objects.sink` does, within its deadline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import requests
from azure.core import exceptions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient, ContentSettings
from requests.adapters import HTTPAdapter

from auditsplit.sinks import Sink
from auditsplit.sinks.failures import DriverErrors, Failure, by_status, failure_of
from auditsplit.sinks.objects import options, sink
from auditsplit.sinks.objects.answers import RefusedPut, unanswered
from auditsplit.sinks.objects.options import ObjectOptions, Tags
from auditsplit.sinks.options import Target

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_EXISTS = ("BlobAlreadyExists", "UnauthorizedBlobOverwrite")  # the second if the credentials may only create
_WRONG_MD5 = bytearray(16)  # of no known bytes
_ONE_PUT_BYTES = 1024 * 1024 * 1024  # a smaller blob goes in one request
_SKEWED = re.compile(r"request date header|too old", re.IGNORECASE)
_BY_CODE: Mapping[str, Failure] = {
    **dict.fromkeys(("ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"), Failure.WRONG_PLACE),
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"), Failure.CREDENTIALS
    ),
    **dict.fromkeys(("ServerBusy", "TooManyRequests"), Failure.THROTTLED),
    "OperationTimedOut": Failure.SLOW,
}
_BY_STATUS: Mapping[int, Failure] = {
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.WRONG_PLACE,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
}
ROOTS: tuple[type[Exception], ...] = (
    exceptions.AzureError,
    exceptions.DeserializationError,
    exceptions.SerializationError,
)
"""The ancestors of all errors of Azure's libraries."""

ERRORS: DriverErrors = {
    exceptions.ClientAuthenticationError: Failure.CREDENTIALS,
    exceptions.DeserializationError: Failure.BROKEN,
    exceptions.HttpResponseError: Failure.BROKEN,
    exceptions.ResponseNotReadError: Failure.BROKEN,
    exceptions.SerializationError: Failure.CONFIGURATION,
    exceptions.ServiceRequestError: Failure.UNREACHABLE,
    exceptions.ServiceRequestTimeoutError: Failure.SLOW,
    exceptions.ServiceResponseError: Failure.BROKEN,
    exceptions.ServiceResponseTimeoutError: Failure.SLOW,
    exceptions.StreamClosedError: Failure.BROKEN,
    exceptions.StreamConsumedError: Failure.BROKEN,
}
"""What the errors mean where a put got no answer."""


class Options(ObjectOptions, frozen=True, kw_only=True):
    """The options of an ``az:`` URL."""

    account: Annotated[str, msgspec.Meta(description="the storage account, required")] = ""
    encryption_scope: Annotated[str, msgspec.Meta(description="the encryption scope, else the container's own")] = ""
    tier: Annotated[
        str, msgspec.Meta(description="the access tier of blobs, such as `Cool`, else the account's own")
    ] = ""
    tags: options.TagsOption = Tags()


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with an ``az://container/prefix?account=name`` URL."""
    account = target.options.account
    if not _CONTAINER.fullmatch(target.host):
        yield f"{target.url!r} names no container. Write az://container/prefix"
    if not _ACCOUNT.fullmatch(account):
        yield f"account: {account!r} is not a valid storage account. Write az://container/prefix?account=name"
    yield from options.mistakes(target)


def build(target: Target[Options], environ: Mapping[str, str]) -> Sink:
    """Return the sink for an ``az:`` URL."""
    chosen = target.options
    endpoint = chosen.endpoint_url or f"https://{chosen.account}.blob.core.windows.net"
    put_options = {
        "encryption_scope": chosen.encryption_scope,
        "standard_blob_tier": chosen.tier,
        "tags": dict(chosen.tags.pairs),
    }
    put_options = {name: value for name, value in put_options.items() if value}

    def connect(puts: int) -> AzureContainer:
        client = _client(endpoint, target.host, _credential(chosen.account, environ), puts)
        return AzureContainer(client, put_options)

    return sink.build(target, connect)


def classify(status: int, code: str, message: str = "") -> Failure:
    """Return why a put failed, by the answer's HTTP status and Azure's error code; the message names a wrong clock."""
    if code == "AuthenticationFailed" and _SKEWED.search(message):
        return Failure.CLOCK
    return _BY_CODE.get(code) or by_status(status, _BY_STATUS)


def _client(endpoint: str, container: str, credential: Any, puts: int) -> ContainerClient:
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=puts))
    session.mount("http://", HTTPAdapter(pool_maxsize=puts))
    return ContainerClient(
        endpoint,
        container,
        credential,
        retry_total=0,
        max_single_put_size=_ONE_PUT_BYTES,
        transport=RequestsTransport(session=session, connection_timeout=sink.CONNECT_S, read_timeout=sink.READ_S),
    )


def _credential(account: str, environ: Mapping[str, str]) -> Any:
    if key := environ.get("AZURE_STORAGE_KEY"):
        return AzureNamedKeyCredential(account, key)
    if signature := environ.get("AZURE_STORAGE_SAS_TOKEN"):
        return AzureSasCredential(signature)
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - takes time, and a key or SAS doesn't need it

    return DefaultAzureCredential()


class AzureContainer:
    """A `Bucket` of Azure; ``options`` go with every put."""

    def __init__(self, client: ContainerClient, options: Mapping[str, Any]) -> None:
        """Wrap the client."""
        self._client, self._options = client, options

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`."""
        refused = self._put(key, body, ContentSettings(content_type=content_type))
        if refused and refused.code not in _EXISTS:
            raise refused.failure_at(key) from refused.error
        return refused is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`. It sends a wrong checksum, which the server checks once everything else is right."""
        refused = self._put(key, b"", ContentSettings(content_md5=_WRONG_MD5))
        if refused and refused.code not in (*_EXISTS, "Md5Mismatch"):
            raise refused.failure_at(key) from refused.error

    def _put(self, key: str, body: bytes, settings: ContentSettings) -> RefusedPut | None:
        try:
            self._client.upload_blob(key, body, overwrite=False, content_settings=settings, **self._options)
        except ROOTS as error:
            status = getattr(error, "status_code", None)
            if status is None:
                raise unanswered(failure_of(error, ERRORS), error, key) from error
            code = getattr(error, "error_code", None) or ""
            code = str(getattr(code, "value", code))
            return RefusedPut(classify(status, code, str(error)), status, code, error)
        return None
