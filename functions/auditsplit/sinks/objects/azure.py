"""The Azure Blob Storage store, by azure-storage-blob.

Its credentials are, the first that there is: ``AZURE_STORAGE_KEY`` or ``AZURE_STORAGE_SAS_TOKEN`` in the environment,
or what azure-identity finds (workload and managed identities, a service principal, the command line's). A SAS needs the
permission to create (``sp=c``), a role the action ``…/blobs/add/action`` or ``…/blobs/write``. The library tries
nothing twice here: `auditsplit.sinks.objects.store` does, as its deadline allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient, ContentSettings
from requests.adapters import HTTPAdapter

from auditsplit.sinks.objects import layout, store
from auditsplit.sinks.objects.failures import Failure, Refusal, unanswered
from auditsplit.sinks.objects.store import ObjectSink
from auditsplit.sinks.options import Target

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_EXISTS = ("BlobAlreadyExists", "UnauthorizedBlobOverwrite")  # the second where one may create and not replace
_WRONG_MD5 = bytearray(16)  # of no bytes that anybody knows
_ONE_PUT_BYTES = 1024 * 1024 * 1024  # below it, a blob goes in one request
_SKEWED = re.compile(r"request date header|too old", re.IGNORECASE)
_BY_CODE: Mapping[str, Failure] = {
    **dict.fromkeys(("ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"), Failure.WRONG_BUCKET),
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"), Failure.CREDENTIALS
    ),
    **dict.fromkeys(("ServerBusy", "TooManyRequests"), Failure.THROTTLED),
    "OperationTimedOut": Failure.SLOW,
}
_BY_STATUS: Mapping[int, Failure] = {
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.WRONG_BUCKET,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
}


def classify(status: int, code: str, message: str = "") -> Failure:
    """Return why a put failed, by the answer's HTTP status and Azure's error code; only its message tells a clock's."""
    if code == "AuthenticationFailed" and _SKEWED.search(message):
        return Failure.CLOCK
    server_fault = Failure.BROKEN if status >= 500 else Failure.REFUSED  # noqa: PLR2004 - as HTTP has it
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or server_fault


def classify_error(error: Exception) -> Failure:
    """Return why a put failed that got no answer, by azure-core's exception."""
    match error:
        case ClientAuthenticationError():
            return Failure.CREDENTIALS
        case ServiceRequestTimeoutError() | ServiceResponseTimeoutError():
            return Failure.SLOW
        case ServiceRequestError():
            return Failure.UNREACHABLE
    return Failure.BROKEN


def from_target(target: Target) -> ObjectSink:
    """Return the store for an ``az://container/prefix?account=name`` URL."""
    if not _CONTAINER.fullmatch(target.host):
        target.mistakes.append(f"{target.url!r} names no container; write az://container/prefix")
    account = target.text("account", "")
    if not _ACCOUNT.fullmatch(account):
        target.mistakes.append(f"account: {account!r} is no storage account; write az://container/prefix?account=name")
    endpoint = target.text("endpoint_url", f"https://{account}.blob.core.windows.net")
    options = {
        "encryption_scope": target.text("encryption_scope", ""),
        "standard_blob_tier": target.text("tier", ""),
        "tags": layout.tags(target),
    }
    options = {name: value for name, value in options.items() if value}

    def connect(puts: int) -> AzureContainer:
        return AzureContainer(_client(endpoint, target.host, account, puts), options)

    return store.from_target(target, connect)


def _client(endpoint: str, container: str, account: str, puts: int) -> ContainerClient:
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=puts))
    session.mount("http://", HTTPAdapter(pool_maxsize=puts))
    return ContainerClient(
        endpoint,
        container,
        _credential(account),
        retry_total=0,
        max_single_put_size=_ONE_PUT_BYTES,
        transport=RequestsTransport(session=session, connection_timeout=store.CONNECT_S, read_timeout=store.READ_S),
    )


def _credential(account: str) -> Any:
    if key := os.environ.get("AZURE_STORAGE_KEY"):
        return AzureNamedKeyCredential(account, key)
    if signature := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
        return AzureSasCredential(signature)
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - costs time, and a key or SAS needs it not

    return DefaultAzureCredential()


class AzureContainer:
    """A `Bucket` of Azure; ``options`` go with every put."""

    def __init__(self, client: ContainerClient, options: Mapping[str, Any]) -> None:
        """Take the client over."""
        self._client, self._options = client, options

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`."""
        refusal = self._put(key, body, ContentSettings(content_type=content_type))
        if refusal and refusal.code not in _EXISTS:
            raise refusal.of(key) from refusal.error
        return refusal is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`; gives the checksum of other bytes, which is looked at once all else is right."""
        refusal = self._put(key, b"", ContentSettings(content_md5=_WRONG_MD5))
        if refusal and refusal.code not in (*_EXISTS, "Md5Mismatch"):
            raise refusal.of(key) from refusal.error

    def _put(self, key: str, body: bytes, settings: ContentSettings) -> Refusal | None:
        try:
            self._client.upload_blob(key, body, overwrite=False, content_settings=settings, **self._options)
        except AzureError as error:
            status = getattr(error, "status_code", None)
            if status is None:
                raise unanswered(classify_error(error), error, key) from error
            code = getattr(error, "error_code", None) or ""
            code = str(getattr(code, "value", code))
            return Refusal(classify(status, code, str(error)), status, code, error)
        return None
