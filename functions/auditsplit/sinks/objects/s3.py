"""The S3 store: Amazon's, and every server that speaks like it, by boto3 and its own chain of credentials.

The one permission it needs is ``s3:PutObject`` (``s3:PutObjectTagging`` for tags, ``kms:GenerateDataKey`` for a KMS
key of one's own). boto3 tries nothing twice here: `auditsplit.sinks.objects.store` does, as its deadline allows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import HTTPClientError as BotoHTTPClientError
from botocore.parsers import ResponseParserError

from auditsplit.sinks.objects import layout, store
from auditsplit.sinks.objects.failures import Failure, ObjectError, Refusal, unanswered
from auditsplit.sinks.objects.store import ObjectSink
from auditsplit.sinks.options import Target

_log = logging.getLogger(__name__)

_EXISTS, _UNKNOWN = 412, 501
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SSE = ("AES256", "aws:kms", "aws:kms:dsse")
_WRONG_MD5 = "A" * 22 + "=="  # of no bytes that anybody knows
_BY_CODE: Mapping[str, Failure] = {
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",  # signed for another region
            "IllegalLocationConstraintException",
            "InvalidBucketName",
            "NoSuchBucket",
            "PermanentRedirect",
        ),
        Failure.WRONG_BUCKET,
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
            "ConditionalRequestConflict",  # somebody puts the same object this moment
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
    **dict.fromkeys(("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"), Failure.BROKEN),  # hurt on its way
}
_BY_STATUS: Mapping[int, Failure] = {
    301: Failure.WRONG_BUCKET,
    307: Failure.BROKEN,  # a young bucket's name isn't known everywhere; boto3 has followed it already
    401: Failure.CREDENTIALS,
    403: Failure.NOT_ALLOWED,
    404: Failure.WRONG_BUCKET,
    408: Failure.SLOW,
    409: Failure.THROTTLED,
    429: Failure.THROTTLED,
    503: Failure.THROTTLED,
}
_BY_ERROR: tuple[tuple[type[Exception], Failure], ...] = (
    (NoCredentialsError, Failure.CREDENTIALS),
    (PartialCredentialsError, Failure.CREDENTIALS),
    (CredentialRetrievalError, Failure.CREDENTIALS),
    (SSOError, Failure.CREDENTIALS),
    (TokenRetrievalError, Failure.CREDENTIALS),
    (NoRegionError, Failure.WRONG_BUCKET),
    (InvalidRegionError, Failure.WRONG_BUCKET),
    (ConnectTimeoutError, Failure.SLOW),
    (ReadTimeoutError, Failure.SLOW),
    (ConnectionClosedError, Failure.BROKEN),
    (BotoConnectionError, Failure.UNREACHABLE),
    (BotoHTTPClientError, Failure.BROKEN),
    (ResponseParserError, Failure.BROKEN),
)


def classify(status: int, code: str) -> Failure:
    """Return why a put failed, by the answer's HTTP status and S3's error code (empty where there was none)."""
    server_fault = Failure.BROKEN if status >= 500 else Failure.REFUSED  # noqa: PLR2004 - as HTTP has it
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or server_fault


def classify_error(error: Exception) -> Failure:
    """Return why a put failed that got no answer, by botocore's exception."""
    return next((failure for kind, failure in _BY_ERROR if isinstance(error, kind)), Failure.REFUSED)


def from_target(target: Target) -> ObjectSink:
    """Return the store for an ``s3://bucket/prefix`` URL."""
    if not _BUCKET.fullmatch(target.host):
        target.mistakes.append(f"{target.url!r} names no bucket; write s3://bucket/prefix")
    region, endpoint = target.text("region", ""), target.text("endpoint_url", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        target.mistakes.append(f"endpoint_url: {endpoint!r} has no scheme; write https://host")
    path_style = target.flag("path_style", default=bool(endpoint))
    options = _put_options(target)

    def connect(puts: int) -> S3Bucket:
        return S3Bucket(_client(region, endpoint, path_style=path_style, puts=puts), target.host, options)

    return store.from_target(target, connect)


def _put_options(target: Target) -> dict[str, Any]:
    """Return what goes with every put, by boto3's names."""
    key = target.text("kms_key", "")
    sse = target.text("sse", "aws:kms" if key else "")
    if sse and sse not in _SSE:
        target.mistakes.append(f"sse: {sse!r} is none of {', '.join(_SSE)}")
    if key and sse == "AES256":
        target.mistakes.append("kms_key: sse=AES256 takes none; write sse=aws:kms or leave sse out")
    options = {
        "ServerSideEncryption": sse,
        "SSEKMSKeyId": key,
        "BucketKeyEnabled": target.flag("bucket_key", default=False),
        "StorageClass": target.text("storage_class", ""),
        "Tagging": urlencode(layout.tags(target)),
        "ExpectedBucketOwner": target.text("bucket_owner", ""),
    }
    return {name: value for name, value in options.items() if value}


def _client(region: str, endpoint: str, *, path_style: bool, puts: int) -> Any:
    config = Config(
        connect_timeout=store.CONNECT_S,
        read_timeout=store.READ_S,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=puts,
        s3={"addressing_style": "path"} if path_style else {},
    )
    try:
        return boto3.session.Session().client(
            "s3", region_name=region or None, endpoint_url=endpoint or None, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ObjectError(classify_error(error), type(error).__name__) from error


class S3Bucket:
    """A `Bucket` of S3; ``client`` is boto3's, ``options`` go with every put."""

    def __init__(self, client: Any, name: str, options: Mapping[str, Any]) -> None:
        """Take the client over."""
        self._client, self._name, self._options = client, name, options
        self._condition: dict[str, str] = {"IfNoneMatch": "*"}

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`; always True from a server that doesn't know conditions: it gets the same bytes once more.

        Such servers refuse the condition (501), or ignore it.
        """
        condition = self._condition
        refusal = self._put(key, body, ContentType=content_type, **condition)
        if refusal and refusal.status == _UNKNOWN and condition:
            _log.warning("bucket %s knows no conditional put; putting without, which repeats no event", self._name)
            self._condition = {}
            return self.put(key, body, content_type)
        if refusal and refusal.status != _EXISTS:
            raise refusal.of(key) from refusal.error
        return refusal is None

    def probe(self, key: str) -> None:
        """See `Bucket.probe`; gives the checksum of other bytes, which S3 looks at once all else is right."""
        refusal = self._put(key, b"", ContentMD5=_WRONG_MD5, **self._condition)
        if refusal and refusal.code != "BadDigest" and refusal.status not in (_EXISTS, _UNKNOWN):
            raise refusal.of(key) from refusal.error

    def _put(self, key: str, body: bytes, **more: str) -> Refusal | None:
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=body, **self._options, **more)
        except ClientError as error:
            answer: Any = error.response
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = answer.get("Error", {}).get("Code", "")
            return Refusal(classify(status, code), status, code, error)
        except (BotoCoreError, ResponseParserError) as error:
            raise unanswered(classify_error(error), error, key) from error
        return None
