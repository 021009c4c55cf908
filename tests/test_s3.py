"""S3 apart from any server: settings, and what its answers and boto3's exceptions mean."""

from __future__ import annotations

import logging
import re
from typing import Any

import botocore.exceptions as boto
import pytest
from botocore.parsers import ResponseParserError

from auditsplit import sinks
from auditsplit.sinks.objects import s3
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.objects.s3 import S3Bucket
from auditsplit.sinks.options import Target

REFUSED = {"endpoint_url": "http://x", "error": "refused"}


class FakeClient:
    """Answers puts with the given statuses and codes in turn, 200 for none; notes what it was asked."""

    def __init__(self, *answers: tuple[int, str] | Exception) -> None:
        """Take the answers."""
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def put_object(self, **asked: Any) -> None:
        """Answer."""
        self.asked.append(asked)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer:
            status, code = answer
            document: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise boto.ClientError(document, "PutObject")


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (404, "NoSuchBucket", Failure.WRONG_BUCKET),
        (301, "PermanentRedirect", Failure.WRONG_BUCKET),
        (400, "AuthorizationHeaderMalformed", Failure.WRONG_BUCKET),
        (400, "IllegalLocationConstraintException", Failure.WRONG_BUCKET),
        (403, "AccessDenied", Failure.NOT_ALLOWED),
        (403, "AllAccessDisabled", Failure.NOT_ALLOWED),
        (400, "ExpiredToken", Failure.CREDENTIALS),
        (403, "InvalidAccessKeyId", Failure.CREDENTIALS),
        (403, "SignatureDoesNotMatch", Failure.CREDENTIALS),
        (400, "InvalidToken", Failure.CREDENTIALS),
        (403, "RequestTimeTooSkewed", Failure.CLOCK),
        (503, "SlowDown", Failure.THROTTLED),
        (503, "", Failure.THROTTLED),
        (429, "TooManyRequests", Failure.THROTTLED),
        (409, "ConditionalRequestConflict", Failure.THROTTLED),
        (409, "OperationAborted", Failure.THROTTLED),
        (500, "InternalError", Failure.BROKEN),
        (502, "", Failure.BROKEN),
        (504, "", Failure.BROKEN),
        (400, "BadDigest", Failure.BROKEN),
        (400, "RequestTimeout", Failure.SLOW),
        (400, "KMS.DisabledException", Failure.REFUSED),
        (400, "InvalidStorageClass", Failure.REFUSED),
        (400, "InvalidTag", Failure.REFUSED),
        (400, "", Failure.REFUSED),
    ],
)
def test_an_answer_is_classified(status: int, code: str, failure: Failure) -> None:
    """By S3's code, else by the status; see the error responses in S3's API reference."""
    assert s3.classify(status, code) is failure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (boto.NoCredentialsError(), Failure.CREDENTIALS),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), Failure.CREDENTIALS),
        (boto.CredentialRetrievalError(provider="x", error_msg="x"), Failure.CREDENTIALS),
        (boto.UnauthorizedSSOTokenError(), Failure.CREDENTIALS),
        (boto.TokenRetrievalError(provider="x", error_msg="x"), Failure.CREDENTIALS),
        (boto.NoRegionError(), Failure.WRONG_BUCKET),
        (boto.ConnectTimeoutError(**REFUSED), Failure.SLOW),
        (boto.ReadTimeoutError(**REFUSED), Failure.SLOW),
        (boto.EndpointConnectionError(**REFUSED), Failure.UNREACHABLE),
        (boto.SSLError(**REFUSED), Failure.UNREACHABLE),
        (boto.ProxyConnectionError(proxy_url="http://x"), Failure.UNREACHABLE),
        (boto.ConnectionClosedError(**REFUSED), Failure.BROKEN),
        (boto.HTTPClientError(error="x"), Failure.BROKEN),
        (ResponseParserError("x"), Failure.BROKEN),
        (boto.ParamValidationError(report="x"), Failure.REFUSED),
    ],
)
def test_an_exception_is_classified(error: Exception, failure: Failure) -> None:
    """By its kind."""
    assert s3.classify_error(error) is failure


def test_a_put_is_for_creation_only() -> None:
    """With the options of the store, and no Content-Encoding."""
    client = FakeClient()

    assert S3Bucket(client, "bucket", {"StorageClass": "STANDARD_IA"}).put("k", b"x", "application/gzip")

    assert client.asked == [
        {
            "Bucket": "bucket",
            "Key": "k",
            "Body": b"x",
            "ContentType": "application/gzip",
            "IfNoneMatch": "*",
            "StorageClass": "STANDARD_IA",
        }
    ]


def test_an_object_that_exists_is_success() -> None:
    """Its name is its content, so it is the same."""
    assert not S3Bucket(FakeClient((412, "PreconditionFailed")), "bucket", {}).put("k", b"x", "")


def test_a_server_without_conditions_gets_plain_puts(caplog: pytest.LogCaptureFixture) -> None:
    """Once it has said so, and the log says it once."""
    client = FakeClient((501, "NotImplemented"))
    bucket = S3Bucket(client, "bucket", {})

    with caplog.at_level(logging.WARNING):
        assert [bucket.put("k", b"x", ""), bucket.put("k", b"x", "")] == [True, True]

    assert ["IfNoneMatch" in asked for asked in client.asked] == [True, False, False]
    assert len(caplog.records) == 1


def test_a_server_that_refuses_plain_puts_too_is_an_error() -> None:
    """There is no third way."""
    with pytest.raises(ObjectError, match="501 NotImplemented to the put of k"):
        S3Bucket(FakeClient((501, "NotImplemented"), (501, "NotImplemented")), "bucket", {}).put("k", b"x", "")


@pytest.mark.parametrize("answer", [(400, "BadDigest"), (412, "PreconditionFailed"), (501, "NotImplemented"), None])
def test_a_probe_is_refused_by_a_store_that_is_ready(answer: tuple[int, str] | None) -> None:
    """Or taken by one that looks at no checksum."""
    client = FakeClient(*([answer] if answer else []))

    S3Bucket(client, "bucket", {}).probe("k")

    assert client.asked[0]["ContentMD5"]


@pytest.mark.parametrize("answer", [(403, "AccessDenied"), (404, "NoSuchBucket"), (503, "SlowDown"), (400, "X")])
def test_a_probe_fails_as_a_put_would(answer: tuple[int, str]) -> None:
    """With the same class."""
    with pytest.raises(ObjectError) as caught:
        S3Bucket(FakeClient(answer), "bucket", {}).probe("k")

    assert caught.value.failure is s3.classify(*answer)


def test_an_errors_words_are_not_repeated() -> None:
    """They may hold an endpoint's credentials."""
    error = boto.EndpointConnectionError(endpoint_url="http://user:hunter2@host")

    with pytest.raises(ObjectError) as caught:
        S3Bucket(FakeClient(error), "bucket", {}).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_options_go_with_every_put() -> None:
    """By boto3's names; what isn't set is the bucket's own default."""
    url = "s3://b?kms_key=alias/x&bucket_key=1&storage_class=GLACIER_IR&tags=team=sec&bucket_owner=123456789012"

    assert s3._put_options(Target(url, {}, "authenticated")) == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/x",
        "BucketKeyEnabled": True,
        "StorageClass": "GLACIER_IR",
        "Tagging": "team=sec",
        "ExpectedBucketOwner": "123456789012",
    }
    assert s3._put_options(Target("s3://b", {}, "authenticated")) == {}


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("s3:bucket", "'s3:bucket' names no bucket; write s3://bucket/prefix"),
        ("s3://key:hunter2@bucket", "names no bucket"),
        ("s3://Bucket_", "names no bucket"),
        ("s3://bucket?sse=rot13", "sse: 'rot13' is none of AES256, aws:kms, aws:kms:dsse"),
        ("s3://bucket?sse=AES256&kms_key=x", "kms_key: sse=AES256 takes none"),
        ("s3://bucket?endpoint_url=localhost:9000", "endpoint_url: 'localhost:9000' has no scheme"),
        ("s3://bucket?regoin=x", "regoin: the s3: store has no such option"),
    ],
)
def test_mistakes_are_named(url: str, mistake: str) -> None:
    """A deployer reads what is wrong before the first event comes."""
    with pytest.raises(ValueError, match=re.escape(mistake)):
        sinks.from_url(url, {}, "authenticated")


@pytest.mark.parametrize(
    ("url", "endpoint", "style"),
    [
        ("s3://b?region=eu-north-1", "https://s3.eu-north-1.amazonaws.com", None),
        ("s3://b?endpoint_url=https://minio.example", "https://minio.example", "path"),
        ("s3://b?endpoint_url=https://r2.example&path_style=0", "https://r2.example", None),
    ],
)
def test_the_client_tries_once_and_waits_seconds(
    url: str, endpoint: str, style: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries and the deadline are the object store's."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    sink = s3.from_target(Target(url, {}, "authenticated"))

    client = sink._connect(7)._client  # type: ignore[attr-defined]

    config = client.meta.config
    assert client.meta.endpoint_url == endpoint
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (3, 6, 7)
    assert (config.s3 or {}).get("addressing_style") == style


def test_a_client_that_can_not_be_made_is_the_deployers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one for a profile that isn't there."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")

    with pytest.raises(ObjectError) as caught:
        s3.from_target(Target("s3://bucket?region=us-east-1", {}, "authenticated")).check()

    assert caught.value.failure.deployers
