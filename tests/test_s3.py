"""S3 without a server: options, and what each put sends and accepts as success."""

from __future__ import annotations

import logging
import re
from typing import Any

import botocore.exceptions as boto
import pytest

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.sinks.failures import SinkFailure
from auditsplit.sinks.objects import s3
from auditsplit.sinks.objects.s3 import S3Bucket


class FakeClient:
    """Answers puts with the given statuses and codes in turn, then with 200; notes what it was asked."""

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


def test_a_put_is_for_creation_only() -> None:
    """With the options of the sink, and no Content-Encoding."""
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
    """Its name is the hash of its content, so it is the same object."""
    assert not S3Bucket(FakeClient((412, "PreconditionFailed")), "bucket", {}).put("k", b"x", "")


def test_a_server_without_conditions_gets_plain_puts(caplog: pytest.LogCaptureFixture) -> None:
    """After its first refusal, which is logged once."""
    client = FakeClient((501, "NotImplemented"))
    bucket = S3Bucket(client, "bucket", {})

    with caplog.at_level(logging.WARNING):
        assert [bucket.put("k", b"x", ""), bucket.put("k", b"x", "")] == [True, True]

    assert ["IfNoneMatch" in asked for asked in client.asked] == [True, False, False]
    assert len(caplog.records) == 1


def test_a_server_that_refuses_plain_puts_too_is_an_error() -> None:
    """A third way does not exist."""
    with pytest.raises(SinkFailure, match="501 NotImplemented to the put of k"):
        S3Bucket(FakeClient((501, "NotImplemented"), (501, "NotImplemented")), "bucket", {}).put("k", b"x", "")


@pytest.mark.parametrize("answer", [(400, "BadDigest"), (412, "PreconditionFailed"), (501, "NotImplemented"), None])
def test_a_probe_is_refused_by_a_server_that_is_ready(answer: tuple[int, str] | None) -> None:
    """Or accepted by a server that checks no checksum."""
    client = FakeClient(*([answer] if answer else []))

    S3Bucket(client, "bucket", {}).probe("k")

    assert client.asked[0]["ContentMD5"]


@pytest.mark.parametrize("answer", [(403, "AccessDenied"), (404, "NoSuchBucket"), (503, "SlowDown"), (400, "X")])
def test_a_probe_fails_as_a_put_would(answer: tuple[int, str]) -> None:
    """With the same class."""
    with pytest.raises(SinkFailure) as caught:
        S3Bucket(FakeClient(answer), "bucket", {}).probe("k")

    assert caught.value.failure is s3.classify(*answer)


def test_an_errors_words_are_not_repeated() -> None:
    """They may hold an endpoint's credentials."""
    error = boto.EndpointConnectionError(endpoint_url="http://user:hunter2@host")

    with pytest.raises(SinkFailure) as caught:
        S3Bucket(FakeClient(error), "bucket", {}).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is error


def put_options(url: str) -> dict[str, Any]:
    """Return what goes with every put, for a URL."""
    target = sinks.read_target(url, {}, "authenticated")
    assert isinstance(target.options, s3.Options)
    return s3._put_options(target.options)


def test_options_go_with_every_put() -> None:
    """By boto3's names. An option that is not set leaves the bucket's own default."""
    url = "s3://bucket?kms_key=alias/x&bucket_key=1&storage_class=GLACIER_IR&tags=team=sec&bucket_owner=123456789012"

    assert put_options(url) == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/x",
        "BucketKeyEnabled": True,
        "StorageClass": "GLACIER_IR",
        "Tagging": "team=sec",
        "ExpectedBucketOwner": "123456789012",
    }
    assert put_options("s3://bucket") == {}


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("s3:bucket", "'s3:bucket' names no bucket. Write s3://bucket/prefix"),
        ("s3://key:hunter2@bucket", "names no bucket"),
        ("s3://Bucket_", "names no bucket"),
        ("s3://bucket?sse=rot13", "sse: must be AES256, aws:kms or aws:kms:dsse, not 'rot13'"),
        ("s3://bucket?sse=AES256&kms_key=x", "kms_key: sse=AES256 uses no KMS key"),
        ("s3://bucket?endpoint_url=localhost:9000", "endpoint_url: 'localhost:9000' has no scheme"),
        ("s3://bucket?regoin=x", "regoin: the sink s3: has no such option"),
    ],
)
def test_mistakes_in_a_url_are_reported(url: str, mistake: str) -> None:
    """A deployer reads what is wrong before the first event arrives."""
    with pytest.raises(ValueError, match=re.escape(mistake)):
        sinks.from_url(url)


@pytest.mark.parametrize(
    ("url", "endpoint", "style"),
    [
        ("s3://bucket?region=eu-north-1", "https://s3.eu-north-1.amazonaws.com", None),
        ("s3://bucket?endpoint_url=https://minio.example", "https://minio.example", "path"),
        ("s3://bucket?endpoint_url=https://r2.example&path_style=0", "https://r2.example", None),
    ],
)
def test_the_client_does_not_retry_and_waits_for_seconds(
    url: str, endpoint: str, style: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries and the deadline are those of the sink."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    sink = sinks.from_url(url)

    client = sink._connect(7)._client  # type: ignore[attr-defined]

    config = client.meta.config
    assert client.meta.endpoint_url == endpoint
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (3, 6, 7)
    assert (config.s3 or {}).get("addressing_style") == style


def test_a_client_that_can_not_be_made_needs_a_deployer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a client for a profile that does not exist."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")

    with pytest.raises(SinkFailure) as caught:
        sinks.from_url("s3://bucket?region=us-east-1").check(Deadline.after(5))

    assert caught.value.needs_deployer
