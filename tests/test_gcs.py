"""Google Cloud Storage apart from any server: settings, and what answers and exceptions mean."""

from __future__ import annotations

from typing import Any, cast

import google.api_core.exceptions
import google.auth.exceptions
import pytest
import requests
import urllib3.exceptions
from google.auth.credentials import AnonymousCredentials

from auditsplit import sinks
from auditsplit.sinks.objects import gcs
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.objects.gcs import GcsBucket, Options
from auditsplit.sinks.options import Target

api: Any = google.api_core.exceptions  # neither has types
auth: Any = google.auth.exceptions


class FakeBucket:
    """Raises the given exception at each upload, if any; is its own blob, and keeps what was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        """Take the exception."""
        self._error = error
        self.asked: dict[str, Any] = {}
        self.storage_class = self.md5_hash = ""

    def blob(self, key: str, **asked: Any) -> FakeBucket:
        """Return a blob."""
        self.asked |= {"key": key, **asked}
        return self

    def upload_from_string(self, body: bytes, content_type: str, **asked: Any) -> None:
        """Answer."""
        self.asked |= {"body": body, "content_type": content_type, **asked}
        if self._error:
            raise self._error


@pytest.mark.parametrize(
    ("status", "reason", "failure"),
    [
        (404, "notFound", Failure.WRONG_BUCKET),
        (403, "forbidden", Failure.NOT_ALLOWED),
        (403, "insufficientPermissions", Failure.NOT_ALLOWED),
        (401, "authError", Failure.CREDENTIALS),
        (403, "requestTimeTooSkewed", Failure.CLOCK),
        (403, "rateLimitExceeded", Failure.THROTTLED),
        (403, "userRateLimitExceeded", Failure.THROTTLED),
        (429, "rateLimitExceeded", Failure.THROTTLED),
        (429, "", Failure.THROTTLED),
        (409, "conflict", Failure.THROTTLED),
        (500, "backendError", Failure.BROKEN),
        (502, "", Failure.BROKEN),
        (503, "backendError", Failure.BROKEN),
        (408, "", Failure.SLOW),
        (504, "gatewayTimeout", Failure.SLOW),
        (400, "invalid", Failure.REFUSED),
    ],
)
def test_an_answer_is_classified(status: int, reason: str, failure: Failure) -> None:
    """By the JSON API's reason, else by the status."""
    assert gcs.classify(status, reason) is failure


SKEWED = "('invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.'"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (auth.DefaultCredentialsError(), Failure.CREDENTIALS),
        (auth.RefreshError("invalid_grant: Token has been expired or revoked."), Failure.CREDENTIALS),
        (auth.RefreshError(SKEWED), Failure.CLOCK),
        (auth.TransportError("x"), Failure.UNREACHABLE),
        (auth.TimeoutError("x"), Failure.SLOW),
        (requests.exceptions.ConnectTimeout(), Failure.SLOW),
        (requests.exceptions.ReadTimeout(), Failure.SLOW),
        (requests.exceptions.SSLError(), Failure.UNREACHABLE),
        (requests.exceptions.ConnectionError("refused"), Failure.UNREACHABLE),
        (requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("reset")), Failure.BROKEN),
        (requests.exceptions.ChunkedEncodingError(), Failure.BROKEN),
    ],
)
def test_an_exception_is_classified(error: Exception, failure: Failure) -> None:
    """By its kind, and a clock's by Google's words."""
    assert gcs.classify_error(error) is failure


def test_a_put_is_for_creation_only() -> None:
    """With the options of the store, and tried once."""
    bucket = FakeBucket()

    assert GcsBucket(bucket, Options("projects/p/key", "NEARLINE")).put("k", b"x", "application/gzip")

    assert bucket.asked == {
        "key": "k",
        "kms_key_name": "projects/p/key",
        "body": b"x",
        "content_type": "application/gzip",
        "if_generation_match": 0,
        "timeout": (3.0, 6.0),
        "retry": None,
    }
    assert bucket.storage_class == "NEARLINE"


@pytest.mark.parametrize(
    "error",
    [
        api.PreconditionFailed("x"),
        api.Forbidden("sa does not have storage.objects.delete access"),
    ],
)
def test_an_object_that_exists_is_success(error: Exception) -> None:
    """Who may create and not replace is told that he may not replace."""
    assert not GcsBucket(FakeBucket(error), Options()).put("k", b"x", "")


@pytest.mark.parametrize("call", ["put", "probe"])
def test_another_answer_is_an_error(call: str) -> None:
    """With its class."""
    error = api.Forbidden("sa has no storage.objects.create access", errors=[{"reason": "forbidden"}])
    bucket = GcsBucket(FakeBucket(error), Options())

    with pytest.raises(ObjectError, match="403 forbidden to the put of k") as caught:
        bucket.put("k", b"x", "") if call == "put" else bucket.probe("k")

    assert caught.value.failure is Failure.NOT_ALLOWED


def test_an_exceptions_words_are_not_repeated() -> None:
    """They may hold secrets."""
    with pytest.raises(ObjectError, match="RefreshError at the put of k") as caught:
        GcsBucket(FakeBucket(auth.RefreshError("hunter2")), Options()).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)


def test_credentials_that_are_not_there_are_the_deployers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known at the first use."""

    def default(**_: Any) -> None:
        raise auth.DefaultCredentialsError

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", default)

    with pytest.raises(ObjectError) as caught:
        gcs.from_target(Target("gs://bucket", {}, "authenticated")).check()

    assert caught.value.failure is Failure.CREDENTIALS


def test_default_credentials_and_an_endpoint_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has as many connections as there are puts."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    url = "gs://bucket?endpoint_url=https://storage.example&user_project=billed"

    bucket = cast("Any", gcs.from_target(Target(url, {}, "authenticated"))._connect(7))._bucket

    assert (bucket.name, bucket.user_project) == ("bucket", "billed")
    assert bucket.client.project == "project"
    assert bucket.client.api_endpoint == "https://storage.example"
    assert bucket.client._http.get_adapter("https://x")._pool_maxsize == 7


@pytest.mark.parametrize("url", ["gs:bucket", "gs://Bucket", "gs://b", "gs://key@bucket"])
def test_mistakes_are_named(url: str) -> None:
    """A deployer reads what is wrong before the first event comes."""
    with pytest.raises(ValueError, match="names no bucket; write gs://bucket/prefix"):
        sinks.from_url(url, {}, "authenticated")
