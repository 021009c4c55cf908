"""The Google Cloud Storage sink, by google-cloud-storage and Google's default credentials.

It needs only the permission ``storage.objects.create`` (the role Storage Object Creator). The library retries nothing
here: `auditsplit.sinks.objects.sink` does, within its deadline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import google.api_core.exceptions
import google.auth
import google.auth.exceptions
import google.cloud.storage.exceptions
import msgspec
import requests
import urllib3.exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from requests.adapters import HTTPAdapter

from auditsplit.sinks import Sink
from auditsplit.sinks.failures import DriverErrors, Failure, SinkFailure, by_status, failure_of, rows
from auditsplit.sinks.objects import options, sink
from auditsplit.sinks.objects.answers import RefusedPut, unanswered
from auditsplit.sinks.objects.options import ObjectOptions
from auditsplit.sinks.options import Target

_api: Any = google.api_core.exceptions  # none of these has types
_auth: Any = google.auth.exceptions
_requests: Any = requests.exceptions
_storage: Any = google.cloud.storage.exceptions

_BUCKET = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_EXISTS = 412
_WRONG_MD5 = "A" * 22 + "=="  # of no known bytes
_MAY_NOT_REPLACE = "storage.objects.delete"
_SKEWED = re.compile(r"reasonable timeframe|iat and exp", re.IGNORECASE)
_BY_REASON: Mapping[str, Failure] = {
    "rateLimitExceeded": Failure.THROTTLED,
    "userRateLimitExceeded": Failure.THROTTLED,
    "requestTimeTooSkewed": Failure.CLOCK,
}
_BY_STATUS: Mapping[int, Failure] = {
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.WRONG_PLACE,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    504: Failure.SLOW,
}
_ROOTLESS_ERRORS: DriverErrors = {
    **rows(_api, Failure.CONFIGURATION, "AsyncRestUnsupportedParameterError"),
    **rows(_storage, Failure.BROKEN, "DataCorruption", "InvalidResponse"),
    **rows(_storage, Failure.REFUSED, "InvalidPathError"),
}
ROOTS: tuple[type[Exception], ...] = (
    _api.GoogleAPICallError,
    _api.GoogleAPIError,
    _auth.GoogleAuthError,
    _requests.RequestException,
    *_ROOTLESS_ERRORS,
)
"""The ancestors of all errors of google-cloud-storage and of the libraries that it sends requests with."""

ERRORS: DriverErrors = {
    **_ROOTLESS_ERRORS,
    **rows(_api, Failure.BROKEN, "ResumableTransferError", "ServerError"),
    **rows(_api, Failure.CONFIGURATION, "DuplicateCredentialArgs"),
    **rows(_api, Failure.REFUSED, "ClientError", "Redirection"),
    **rows(_api, Failure.SLOW, "RetryError"),
    **rows(
        _auth,
        Failure.CREDENTIALS,
        "ClientCertError",
        "DefaultCredentialsError",
        "MutualTLSChannelError",
        "OAuthError",
        "RefreshError",
        "ResponseError",
        "UserAccessTokenError",
    ),
    **rows(_auth, Failure.SLOW, "TimeoutError"),
    **rows(_auth, Failure.UNREACHABLE, "TransportError"),
    **rows(
        _requests,
        Failure.BROKEN,
        "ChunkedEncodingError",
        "ContentDecodingError",
        "HTTPError",
        "InvalidJSONError",
        "RetryError",
        "StreamConsumedError",
        "TooManyRedirects",
        "UnrewindableBodyError",
    ),
    **rows(
        _requests, Failure.CONFIGURATION, "InvalidHeader", "InvalidSchema", "InvalidURL", "MissingSchema", "URLRequired"
    ),
    **rows(_requests, Failure.SLOW, "ConnectTimeout", "Timeout"),
    **rows(_requests, Failure.UNREACHABLE, "ConnectionError"),
}
"""What the errors mean where a put got no answer."""


class Options(ObjectOptions, frozen=True, kw_only=True):
    """The options of a ``gs:`` URL."""

    kms_key: Annotated[str, msgspec.Meta(description="the KMS key for objects, else the bucket's own")] = ""
    storage_class: options.StorageClass = ""
    user_project: Annotated[str, msgspec.Meta(description="the project that pays for requests")] = ""


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with a ``gs://bucket/prefix`` URL."""
    if not _BUCKET.fullmatch(target.host):
        yield f"{target.url!r} names no bucket. Write gs://bucket/prefix"
    yield from options.mistakes(target)


def build(target: Target[Options], environ: Mapping[str, str]) -> Sink:
    """Return the sink for a ``gs:`` URL. With ``STORAGE_EMULATOR_HOST``, Google's own name, it sends no credentials."""
    chosen = target.options
    emulator = environ.get("STORAGE_EMULATOR_HOST", "")

    def connect(puts: int) -> GcsBucket:
        client = _client(chosen.endpoint_url or emulator, puts, anonymous=bool(emulator))
        bucket = client.bucket(target.host, user_project=chosen.user_project or None)
        return GcsBucket(bucket, kms_key=chosen.kms_key, storage_class=chosen.storage_class)

    return sink.build(target, connect)


def classify(status: int, reason: str) -> Failure:
    """Return why a put failed, by the answer's HTTP status and the JSON API's reason (empty where there was none)."""
    return _BY_REASON.get(reason) or by_status(status, _BY_STATUS)


def classify_error(error: Exception) -> Failure:
    """Return why a put failed that got no answer."""
    match error:
        case requests.exceptions.ConnectionError(args=[urllib3.exceptions.ProtocolError(), *_]):
            return Failure.BROKEN
    failure = failure_of(error, ERRORS)
    if failure is Failure.CREDENTIALS and _SKEWED.search(str(error)):
        return Failure.CLOCK
    return failure


def _client(endpoint: str, puts: int, *, anonymous: bool) -> Any:
    credentials: Any
    project: str | None = None
    try:
        if anonymous:
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        else:
            credentials, project = google.auth.default(scopes=[_SCOPE])
    except _auth.GoogleAuthError as error:
        raise SinkFailure(classify_error(error), type(error).__name__) from error
    session: Any = AuthorizedSession(credentials, refresh_timeout=sink.READ_S)  # type: ignore[no-untyped-call]
    session.mount("https://", HTTPAdapter(pool_maxsize=puts))
    session.mount("http://", HTTPAdapter(pool_maxsize=puts))
    client_options = {"api_endpoint": endpoint} if endpoint else {}
    return storage.Client(project or "none", credentials, _http=session, client_options=client_options)


class GcsBucket:
    """A `Bucket` of Google Cloud Storage."""

    def __init__(self, bucket: Any, *, kms_key: str = "", storage_class: str = "") -> None:
        """Wrap google-cloud-storage's ``bucket``; an empty option is the bucket's own default."""
        self._bucket, self._kms_key, self._storage_class = bucket, kms_key, storage_class

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`. A 403 that denies *replacing* means as clearly as a 412 that the object exists."""
        refused = self._put(key, body, content_type)
        if refused and refused.status != _EXISTS and _MAY_NOT_REPLACE not in str(refused.error):
            raise refused.failure_at(key) from refused.error
        return refused is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`. It sends a wrong checksum, which the server checks once everything else is right."""
        refused = self._put(key, b"", "text/plain", _WRONG_MD5)
        if refused and refused.status != _EXISTS and "MD5" not in str(refused.error):
            raise refused.failure_at(key) from refused.error

    def _put(self, key: str, body: bytes, content_type: str, md5: str | None = None) -> RefusedPut | None:
        blob = self._bucket.blob(key, kms_key_name=self._kms_key or None)
        if self._storage_class:
            blob.storage_class = self._storage_class
        if md5:
            blob.md5_hash = md5
        try:
            blob.upload_from_string(
                body, content_type, if_generation_match=0, timeout=(sink.CONNECT_S, sink.READ_S), retry=None
            )
        except ROOTS as error:
            status = int(getattr(error, "code", None) or 0)
            if not status:
                raise unanswered(classify_error(error), error, key) from error
            reason = next((part.get("reason", "") for part in getattr(error, "errors", ())), "")
            return RefusedPut(classify(status, reason), status, reason, error)
        return None
