"""Google Cloud Storage without a server: options, and what each put sends and accepts as success."""

from __future__ import annotations

from typing import Any, cast

import google.api_core.exceptions
import google.auth.exceptions
import pytest
from google.auth.credentials import AnonymousCredentials

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.objects.gcs import GcsBucket

api: Any = google.api_core.exceptions  # neither has types
auth: Any = google.auth.exceptions


class FakeBucket:
    """Raises the given exception at each upload, if any; is its own blob, and records what was asked."""

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


def test_a_put_is_for_creation_only() -> None:
    """With the options of the sink, and without the library's retries."""
    bucket = FakeBucket()

    assert GcsBucket(bucket, kms_key="projects/p/key", storage_class="NEARLINE").put("k", b"x", "application/gzip")

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
    """Credentials that may create and not replace get a 403."""
    assert not GcsBucket(FakeBucket(error)).put("k", b"x", "")


@pytest.mark.parametrize("call", ["put", "probe"])
def test_another_answer_is_an_error(call: str) -> None:
    """With its class of failures."""
    error = api.Forbidden("sa has no storage.objects.create access", errors=[{"reason": "forbidden"}])
    bucket = GcsBucket(FakeBucket(error))

    with pytest.raises(SinkFailure, match="403 forbidden to the put of k") as caught:
        bucket.put("k", b"x", "") if call == "put" else bucket.probe("k")

    assert caught.value.failure is Failure.NOT_ALLOWED


def test_an_exceptions_words_are_not_repeated() -> None:
    """They may hold secrets."""
    with pytest.raises(SinkFailure, match="RefreshError at the put of k") as caught:
        GcsBucket(FakeBucket(auth.RefreshError("hunter2"))).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)


def test_missing_credentials_need_a_deployer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use shows it."""

    def default(**_: Any) -> None:
        raise auth.DefaultCredentialsError

    monkeypatch.setattr(google.auth, "default", default)

    with pytest.raises(SinkFailure) as caught:
        sinks.from_url("gs://bucket", environ={}).check(Deadline.after(5))

    assert caught.value.failure is Failure.CREDENTIALS
    assert caught.value.needs_deployer


def test_default_credentials_and_an_endpoint_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has as many connections as there are puts."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    url = "gs://bucket?endpoint_url=https://storage.example&user_project=billed"

    bucket = cast("Any", sinks.from_url(url, environ={}))._connect(7)._bucket

    assert (bucket.name, bucket.user_project) == ("bucket", "billed")
    assert bucket.client.project == "project"
    assert bucket.client.api_endpoint == "https://storage.example"
    assert bucket.client._http.get_adapter("https://x")._pool_maxsize == 7


def test_an_emulator_gets_no_credentials() -> None:
    """Its URL comes from the environment that the sink is built with."""
    sink = cast("Any", sinks.from_url("gs://bucket", environ={"STORAGE_EMULATOR_HOST": "http://localhost:9023"}))

    client = sink._connect(7)._bucket.client

    assert client.api_endpoint == "http://localhost:9023"
    assert isinstance(client._credentials, AnonymousCredentials)


@pytest.mark.parametrize("url", ["gs:bucket", "gs://Bucket", "gs://b", "gs://key@bucket"])
def test_mistakes_in_a_url_are_reported(url: str) -> None:
    """A deployer reads what is wrong before the first event arrives."""
    with pytest.raises(ValueError, match=r"names no bucket\. Write gs://bucket/prefix"):
        sinks.from_url(url)
