"""S3, read back: ``s3:ListBucket`` and ``s3:GetObject``.

Compaction also needs ``s3:PutObject``, ``s3:DeleteObject`` and ``s3:GetBucketObjectLockConfiguration``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from auditsplit.archive.stores import Gone, Listed, Store
from auditsplit.sinks.failures import SinkFailure, failure_of
from auditsplit.sinks.objects import s3
from auditsplit.sinks.objects.s3_errors import ERRORS, ROOTS
from auditsplit.sinks.options import Target

_NOT_FOUND = 404
_NOT_LOCKED = ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "NotImplemented")
_T = TypeVar("_T")


def build(target: Target[s3.Options], _: Mapping[str, str]) -> Store:
    """Return the store of an ``s3:`` URL."""
    client = s3.client(target, target.options.puts)
    return S3Store(client, target.host, s3.put_options(target.options))


class S3Store(s3.S3Bucket):
    """A `Store` of S3."""

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """See `Store.list`."""
        asked = {"Bucket": self._name, "Prefix": prefix, **({} if deep else {"Delimiter": "/"})}
        while True:
            page = self._ask(f"list of {prefix}", lambda: self._client.list_objects_v2(**asked))
            folders = [Listed(folder["Prefix"], 0) for folder in page.get("CommonPrefixes", ())]
            yield from sorted([*folders, *(Listed(of["Key"], of["Size"]) for of in page.get("Contents", ()))])
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def get(self, key: str) -> bytes:
        """See `Store.get`."""

        def get() -> bytes:
            body: bytes = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
            return body

        return self._ask(f"get of {key}", get)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._ask(f"delete of {key}", lambda: self._client.delete_object(Bucket=self._name, Key=key))

    def is_locked(self) -> bool:
        """See `Store.is_locked`. Any bucket with Object Lock counts, because retention may be set for each object."""
        try:
            answer = self._client.get_object_lock_configuration(Bucket=self._name)
        except ClientError as error:
            if _code(error) in _NOT_LOCKED:
                return False
            raise _failure(error, "question whether objects are locked") from error
        except ROOTS as error:
            raise _failure(error, "question whether objects are locked") from error
        enabled: bool = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        return enabled

    @staticmethod
    def _ask(what: str, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except ClientError as error:
            if _status(error) == _NOT_FOUND and _code(error) != "NoSuchBucket":
                raise Gone(what) from error
            raise _failure(error, what) from error
        except ROOTS as error:
            raise _failure(error, what) from error


def _code(error: ClientError) -> str:
    answer: Any = error.response
    return str(answer.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    answer: Any = error.response
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _failure(error: Exception, what: str) -> SinkFailure:
    if isinstance(error, ClientError):
        failure = s3.classify(_status(error), _code(error))
        return SinkFailure(failure, f"{_status(error)} {_code(error)} to the {what}")
    return SinkFailure(failure_of(error, ERRORS), f"{type(error).__name__} at the {what}")
