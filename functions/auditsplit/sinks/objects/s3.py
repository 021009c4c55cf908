"""The S3 sink: Amazon's service and every server that speaks its protocol, by boto3 and its own chain of credentials.

It needs only the permission ``s3:PutObject`` (``s3:PutObjectTagging`` for tags, ``kms:GenerateDataKey`` for a KMS key
of one's own). boto3 retries nothing here: `auditsplit.sinks.objects.sink` does, within its deadline.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from auditsplit.sinks import Sink
from auditsplit.sinks.failures import Failure, SinkFailure, by_status, failure_of
from auditsplit.sinks.objects import options, sink
from auditsplit.sinks.objects.answers import RefusedPut, unanswered
from auditsplit.sinks.objects.options import ObjectOptions, Tags
from auditsplit.sinks.objects.s3_errors import ERRORS, ROOTS
from auditsplit.sinks.options import Target

_log = logging.getLogger(__name__)

_EXISTS, _NOT_IMPLEMENTED = 412, 501
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_WRONG_MD5 = "A" * 22 + "=="  # of no known bytes
_BY_CODE: Mapping[str, Failure] = {
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",  # signed for another region
            "IllegalLocationConstraintException",
            "InvalidBucketName",
            "NoSuchBucket",
            "PermanentRedirect",
        ),
        Failure.WRONG_PLACE,
    ),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
        ),
        Failure.CREDENTIALS,
    ),
    "RequestTimeTooSkewed": Failure.CLOCK,
    "RequestExpired": Failure.CLOCK,
    **dict.fromkeys(
        (
            "ConditionalRequestConflict",  # another process puts the same object at this moment
            "OperationAborted",
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
        ),
        Failure.THROTTLED,
    ),
    "RequestTimeout": Failure.SLOW,
    **dict.fromkeys(("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"), Failure.BROKEN),  # damaged on its way
}
_BY_STATUS: Mapping[int, Failure] = {
    301: Failure.WRONG_PLACE,
    307: Failure.BROKEN,  # not all of S3 knows a new bucket's name yet; boto3 has followed the redirect already
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.WRONG_PLACE,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
}


class Options(ObjectOptions, frozen=True, kw_only=True):
    """The options of an ``s3:`` URL."""

    region: Annotated[str, msgspec.Meta(description="the bucket's region, else boto3's own")] = ""
    path_style: Annotated[
        Literal["", "1", "0"],
        msgspec.Meta(description="1: the bucket is in the path, 0: in the host's name; 1 with `endpoint_url`, else 0"),
    ] = ""
    sse: Annotated[
        Literal["", "AES256", "aws:kms", "aws:kms:dsse"],
        msgspec.Meta(description="server-side encryption, else the bucket's own, or `aws:kms` with `kms_key`"),
    ] = ""
    kms_key: Annotated[str, msgspec.Meta(description="the KMS key for objects, else the bucket's own")] = ""
    bucket_key: Annotated[
        bool, msgspec.Meta(description="use an S3 bucket key: a request to KMS for many objects, not for each object")
    ] = False
    storage_class: options.StorageClass = ""
    tags: options.TagsOption = Tags()
    bucket_owner: Annotated[str, msgspec.Meta(description="the account that must own the bucket")] = ""


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with an ``s3://bucket/prefix`` URL."""
    chosen = target.options
    if not _BUCKET.fullmatch(target.host):
        yield f"{target.url!r} names no bucket. Write s3://bucket/prefix"
    if chosen.endpoint_url and not chosen.endpoint_url.startswith(("http://", "https://")):
        yield f"endpoint_url: {chosen.endpoint_url!r} has no scheme. Write https://host"
    if chosen.kms_key and chosen.sse == "AES256":
        yield "kms_key: sse=AES256 uses no KMS key. Write sse=aws:kms or leave sse out"
    yield from options.mistakes(target)


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink for an ``s3:`` URL. boto3's own chain finds the credentials."""
    chosen = target.options
    path_style = chosen.path_style == "1" or (not chosen.path_style and bool(chosen.endpoint_url))
    put_options = _put_options(chosen)

    def connect(puts: int) -> S3Bucket:
        client = _client(chosen.region, chosen.endpoint_url, path_style=path_style, puts=puts)
        return S3Bucket(client, target.host, put_options)

    return sink.build(target, connect)


def classify(status: int, code: str) -> Failure:
    """Return why a put failed, by the answer's HTTP status and S3's error code (empty where there was none)."""
    return _BY_CODE.get(code) or by_status(status, _BY_STATUS)


def _put_options(chosen: Options) -> dict[str, Any]:
    """Return what goes with every put, by boto3's names."""
    named = {
        "ServerSideEncryption": chosen.sse or ("aws:kms" if chosen.kms_key else ""),
        "SSEKMSKeyId": chosen.kms_key,
        "BucketKeyEnabled": chosen.bucket_key,
        "StorageClass": chosen.storage_class,
        "Tagging": chosen.tags.urlencoded(),
        "ExpectedBucketOwner": chosen.bucket_owner,
    }
    return {name: value for name, value in named.items() if value}


def _client(region: str, endpoint: str, *, path_style: bool, puts: int) -> Any:
    config = Config(
        connect_timeout=sink.CONNECT_S,
        read_timeout=sink.READ_S,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=puts,
        s3={"addressing_style": "path"} if path_style else {},
    )
    try:
        return boto3.session.Session().client(
            "s3", region_name=region or None, endpoint_url=endpoint or None, config=config
        )
    except ROOTS as error:
        raise SinkFailure(failure_of(error, ERRORS), type(error).__name__) from error
    except ValueError as error:  # botocore's word for an endpoint_url that is not a URL
        raise SinkFailure(Failure.CONFIGURATION, type(error).__name__) from error


class S3Bucket:
    """A `Bucket` of S3; ``client`` is boto3's, ``options`` go with every put."""

    def __init__(self, client: Any, name: str, options: Mapping[str, Any]) -> None:
        """Wrap the client."""
        self._client, self._name, self._options = client, name, options
        self._condition: dict[str, str] = {"IfNoneMatch": "*"}

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`.

        A server that refuses conditions (501) or ignores them gets the same bytes again. The return value is then
        always True.
        """
        condition = self._condition
        refused = self._put(key, body, ContentType=content_type, **condition)
        if refused and refused.status == _NOT_IMPLEMENTED and condition:
            _log.warning(
                "bucket %s does not support conditional puts. Plain puts follow, without duplicates", self._name
            )
            self._condition = {}
            return self.put(key, body, content_type)
        if refused and refused.status != _EXISTS:
            raise refused.failure_at(key) from refused.error
        return refused is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`. It sends a wrong checksum, which S3 checks once everything else is right."""
        refused = self._put(key, b"", ContentMD5=_WRONG_MD5, **self._condition)
        if refused and refused.code != "BadDigest" and refused.status not in (_EXISTS, _NOT_IMPLEMENTED):
            raise refused.failure_at(key) from refused.error

    def _put(self, key: str, body: bytes, **more: str) -> RefusedPut | None:
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=body, **self._options, **more)
        except ClientError as error:
            answer: Any = error.response
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = answer.get("Error", {}).get("Code", "")
            return RefusedPut(classify(status, code), status, code, error)
        except ROOTS as error:
            raise unanswered(failure_of(error, ERRORS), error, key) from error
        return None
