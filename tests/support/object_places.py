"""Places in object stores, with what a test must see and break there that the function may not."""

from __future__ import annotations

import gzip
import itertools
import uuid
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

import boto3
import pytest
from azure.storage.blob import ContainerClient
from google.cloud import storage

from auditsplit import sinks
from auditsplit.sinks import Sink
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.objects.sink import Bucket, ObjectSink
from support import servers


class ObjectPlace:
    """A prefix of a bucket; ``fetch`` returns its objects with the prefix, with an administrator's credentials."""

    def __init__(self, url: str, dead_url: str, fetch: Callable[[str], dict[str, bytes]]) -> None:
        """Put this place's prefix into the sinks' URLs, instead of ``PREFIX``."""
        self.prefix = f"place-{uuid.uuid4()}/"
        self.url = url.replace("PREFIX", self.prefix)
        self.dead_url = dead_url.replace("PREFIX", self.prefix)
        self._fetch = fetch

    def sink(self) -> ObjectSink:
        """See `Place.sink`."""
        return cast("ObjectSink", sinks.from_url(self.url))

    def dying(self, puts: int) -> ObjectSink:
        """See `Place.dying`."""
        sink = self.sink()
        connect = sink._connect
        sink._connect = lambda threads: DyingBucket(connect(threads), puts)
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        return sinks.from_url(self.dead_url)

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        return {key: _unpacked(key, body) for key, body in self.raw().items()}

    def raw(self) -> dict[str, bytes]:
        """Return the objects as they are stored, by key below the prefix."""
        return {key.removeprefix(self.prefix): body for key, body in self._fetch(self.prefix).items()}


class DyingBucket:
    """A bucket that accepts ``puts`` objects and then fails."""

    def __init__(self, bucket: Bucket, puts: int) -> None:
        """Wrap ``bucket``."""
        self._bucket, self._left = bucket, itertools.count(puts, -1)

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`."""
        if next(self._left) <= 0:
            raise SinkFailure(Failure.NOT_ALLOWED, "the process died")
        return self._bucket.put(key, body, content_type)

    def probe(self, key: str) -> None:
        """See `Bucket.probe`."""
        self._bucket.probe(key)


def s3_client(url: str, identity: str = "admin") -> Any:
    """Return boto3's client for an identity of the S3 server."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=servers.REGION,
        aws_access_key_id=identity,
        aws_secret_access_key=servers.secret(identity),
    )


def s3_url(url: str, prefix: str = "PREFIX", **options: str) -> str:
    """Return a sink's URL in the tests' bucket on the S3 server at ``url``."""
    named = {"endpoint_url": url, "region": servers.REGION, **options}
    query = "&".join(f"{name}={quote(value, safe=':/,=')}" for name, value in named.items())
    return f"s3://{servers.BUCKET}/{prefix}?{query}"


def without_credentials(request: pytest.FixtureRequest) -> pytest.MonkeyPatch:
    """Keep this machine's own cloud settings out of the test; return what changes its environment."""
    environ: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        environ.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environ.setenv(name, str(request.getfixturevalue("tmp_path") / "none"))
    environ.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return environ


def s3_place(request: pytest.FixtureRequest, identity: str = "admin", **options: str) -> ObjectPlace:
    """Return a place on the S3 server; the process gets the credentials of ``identity``."""
    url = request.getfixturevalue("s3_url")
    environ = without_credentials(request)
    environ.setenv("AWS_ACCESS_KEY_ID", identity)
    environ.setenv("AWS_SECRET_ACCESS_KEY", servers.secret(identity))
    client = s3_client(url)
    if servers.BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=servers.BUCKET)

    def fetch(prefix: str) -> dict[str, bytes]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=servers.BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key: client.get_object(Bucket=servers.BUCKET, Key=key)["Body"].read() for key in keys}

    dead = s3_url(f"http://127.0.0.1:{servers.free_port()}", **options)
    return ObjectPlace(s3_url(url, **options), dead, fetch)


def gcs_place(request: pytest.FixtureRequest, **options: str) -> ObjectPlace:
    """Return a place on the Google Cloud Storage server."""
    url = request.getfixturevalue("gcs_url")
    without_credentials(request).setenv("STORAGE_EMULATOR_HOST", url)
    client = storage.Client(project="none")
    if not client.lookup_bucket(servers.BUCKET):
        client.create_bucket(servers.BUCKET)

    def fetch(prefix: str) -> dict[str, bytes]:
        return {
            blob.name: blob.download_as_bytes(raw_download=True)
            for blob in client.list_blobs(servers.BUCKET, prefix=prefix)
        }

    named = "&".join(f"{name}={value}" for name, value in options.items())
    dead = f"http://127.0.0.1:{servers.free_port()}"
    place = f"gs://{servers.BUCKET}/PREFIX?{named}"
    return ObjectPlace(place, f"{place}&endpoint_url={dead}", fetch)


def azure_place(request: pytest.FixtureRequest, **options: str) -> ObjectPlace:
    """Return a place on the Azure blob server."""
    url = request.getfixturevalue("azure_url")
    connection = f"AccountName={servers.AZURE_ACCOUNT};AccountKey={servers.AZURE_KEY}"
    environ = without_credentials(request)
    environ.setenv("AZURE_STORAGE_KEY", servers.AZURE_KEY)
    client = ContainerClient.from_connection_string(f"{connection};BlobEndpoint={url}", servers.BUCKET)
    if not client.exists():
        client.create_container()

    def fetch(prefix: str) -> dict[str, bytes]:
        names = list(client.list_blob_names(name_starts_with=prefix))
        return {name: client.download_blob(name).readall() for name in names}

    named = "".join(f"&{name}={value}" for name, value in options.items())
    place = f"az://{servers.BUCKET}/PREFIX?account={servers.AZURE_ACCOUNT}{named}"
    dead = f"http://127.0.0.1:{servers.free_port()}/{servers.AZURE_ACCOUNT}"
    return ObjectPlace(f"{place}&endpoint_url={url}", f"{place}&endpoint_url={dead}", fetch)


def _unpacked(key: str, body: bytes) -> bytes:
    return gzip.decompress(body) if key.endswith(".gz") else body
