"""The Google Cloud Storage store, by google-cloud-storage and Google's default credentials.

The one permission it needs is ``storage.objects.create`` (the role Storage Object Creator). The library tries nothing
twice here: `auditsplit.sinks.objects.store` does, as its deadline allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import google.auth
import requests
import urllib3.exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.exceptions import TimeoutError as AuthTimeoutError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from requests.adapters import HTTPAdapter

from auditsplit.sinks.objects import store
from auditsplit.sinks.objects.failures import Failure, ObjectError, Refusal, unanswered
from auditsplit.sinks.objects.store import ObjectSink
from auditsplit.sinks.options import Target

_BUCKET = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_EXISTS = 412
_WRONG_MD5 = "A" * 22 + "=="  # of no bytes that anybody knows
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
    404: Failure.WRONG_BUCKET,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    504: Failure.SLOW,
}


def classify(status: int, reason: str) -> Failure:
    """Return why a put failed, by the answer's HTTP status and the JSON API's reason (empty where there was none)."""
    server_fault = Failure.BROKEN if status >= 500 else Failure.REFUSED  # noqa: PLR2004 - as HTTP has it
    return _BY_REASON.get(reason) or _BY_STATUS.get(status) or server_fault


def classify_error(error: Exception) -> Failure:
    """Return why a put failed that got no answer, by the exception of google-auth or requests."""
    match error:
        case TransportError() | requests.exceptions.SSLError():
            return Failure.UNREACHABLE
        case AuthTimeoutError() | requests.exceptions.Timeout():
            return Failure.SLOW
        case GoogleAuthError():
            return Failure.CLOCK if _SKEWED.search(str(error)) else Failure.CREDENTIALS
        case requests.exceptions.ConnectionError(args=[urllib3.exceptions.ProtocolError(), *_]):
            return Failure.BROKEN
        case requests.exceptions.ConnectionError():
            return Failure.UNREACHABLE
    return Failure.BROKEN


def from_target(target: Target) -> ObjectSink:
    """Return the store for a ``gs://bucket/prefix`` URL."""
    if not _BUCKET.fullmatch(target.host):
        target.mistakes.append(f"{target.url!r} names no bucket; write gs://bucket/prefix")
    endpoint, project = target.text("endpoint_url", ""), target.text("user_project", "")
    options = Options(target.text("kms_key", ""), target.text("storage_class", ""))

    def connect(puts: int) -> GcsBucket:
        client = _client(endpoint, puts)
        return GcsBucket(client.bucket(target.host, user_project=project or None), options)

    return store.from_target(target, connect)


class Options(NamedTuple):
    """What goes with every put; empty is the bucket's own default."""

    kms_key: str = ""
    storage_class: str = ""


def _client(endpoint: str, puts: int) -> Any:
    credentials: Any
    project: str | None = None
    try:
        if os.environ.get("STORAGE_EMULATOR_HOST"):  # Google's own name for it; the client heeds it too
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        else:
            credentials, project = google.auth.default(scopes=[_SCOPE])
    except GoogleAuthError as error:
        raise ObjectError(classify_error(error), type(error).__name__) from error
    session: Any = AuthorizedSession(credentials, refresh_timeout=store.READ_S)  # type: ignore[no-untyped-call]
    session.mount("https://", HTTPAdapter(pool_maxsize=puts))
    session.mount("http://", HTTPAdapter(pool_maxsize=puts))
    options = {"api_endpoint": endpoint} if endpoint else {}
    return storage.Client(project or "none", credentials, _http=session, client_options=options)


class GcsBucket:
    """A `Bucket` of Google Cloud Storage; ``bucket`` is google-cloud-storage's."""

    def __init__(self, bucket: Any, options: Options) -> None:
        """Take the bucket over."""
        self._bucket, self._options = bucket, options

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`; a 403 for want of the right to *replace* says as clearly as 412 that the object exists."""
        refusal = self._put(key, body, content_type)
        if refusal and refusal.status != _EXISTS and _MAY_NOT_REPLACE not in str(refusal.error):
            raise refusal.of(key) from refusal.error
        return refusal is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`; gives the checksum of other bytes, which is looked at once all else is right."""
        refusal = self._put(key, b"", "text/plain", _WRONG_MD5)
        if refusal and refusal.status != _EXISTS and "MD5" not in str(refusal.error):
            raise refusal.of(key) from refusal.error

    def _put(self, key: str, body: bytes, content_type: str, md5: str | None = None) -> Refusal | None:
        blob = self._bucket.blob(key, kms_key_name=self._options.kms_key or None)
        if self._options.storage_class:
            blob.storage_class = self._options.storage_class
        if md5:
            blob.md5_hash = md5
        try:
            blob.upload_from_string(
                body, content_type, if_generation_match=0, timeout=(store.CONNECT_S, store.READ_S), retry=None
            )
        except GoogleAPICallError as error:
            status, reason = int(error.code or 0), next((part.get("reason", "") for part in error.errors), "")
            return Refusal(classify(status, reason), status, reason, error)
        except (GoogleAuthError, requests.exceptions.RequestException) as error:
            raise unanswered(classify_error(error), error, key) from error
        return None
