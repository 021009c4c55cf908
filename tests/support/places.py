"""Places: a fresh spot in every kind of store, with what a test must see and break there that the function may not."""

from __future__ import annotations

import base64
import gzip
import itertools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote

import boto3
import pytest
from azure.storage.blob import ContainerClient
from google.cloud import storage

from auditsplit import sinks
from auditsplit.errors import SinkError
from auditsplit.sinks import Sink
from auditsplit.sinks.elasticsearch import failures as elastic_failures
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.bulk import Done, Refused
from auditsplit.sinks.elasticsearch.failures import ElasticsearchError
from auditsplit.sinks.elasticsearch.store import ElasticsearchSink
from auditsplit.sinks.file.sink import FileSink
from auditsplit.sinks.memory import MemorySink
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.objects.store import Bucket, ObjectSink
from support import elastic_server, servers

_OWN_FOLDER = ".auditsplit"


class Place(Protocol):
    """A fresh spot in a store."""

    def sink(self) -> Sink:
        """Return the store as a new process would have it."""

    def dying(self, puts: int) -> Sink:
        """Return the store as a process has it that dies after ``puts`` of the batch's users."""

    def dead(self) -> Sink:
        """Return a store whose server, disk or memory isn't there."""

    def held(self) -> dict[str, bytes]:
        """Return what lies there by key, unpacked: everything, but for the file store's own folder."""


class FilePlace:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not be there."""
        self._folder = folder

    def sink(self) -> Sink:
        """See `Place.sink`."""
        return _sink(f"file://{self._folder}/log?fsync=0")

    def dying(self, puts: int) -> Sink:
        """See `Place.dying`."""
        sink = cast("FileSink", self.sink())
        left, put = itertools.count(puts, -1), sink._tree.write

        def dying_put(key: str, chunk: bytes, offset: int) -> None:
            if next(left) <= 0:
                raise OSError("the process died")
            put(key, chunk, offset)

        sink._tree.write = dying_put  # type: ignore[method-assign]
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "file").touch()
        return _sink(f"file://{self._folder}/file/log")

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        root = self._folder / "log"
        files = [path for path in root.rglob("*") if path.is_file() and _OWN_FOLDER not in path.parts]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}


class MemoryPlace:
    """A process."""

    def __init__(self) -> None:
        """Start empty."""
        self._sink = cast("MemorySink", _sink("memory:"))

    def sink(self) -> Sink:
        """See `Place.sink`."""
        self._sink.failure = None
        return self._sink

    def dying(self, puts: int) -> Sink:  # noqa: ARG002 - it stores a batch in one go
        """See `Place.dying`."""
        return self.dead()

    def dead(self) -> Sink:
        """See `Place.dead`."""
        self._sink.failure = SinkError("there is no memory")
        return self._sink

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        return {**self._sink.objects, **self._sink.rejected}


class ObjectPlace:
    """A prefix of a bucket; ``fetch`` returns its objects with the prefix, by an administrator's means."""

    def __init__(self, url: str, dead_url: str, fetch: Callable[[str], dict[str, bytes]]) -> None:
        """Take the stores' URLs, with ``PREFIX`` where this place's goes."""
        self.prefix = f"place-{uuid.uuid4()}/"
        self.url = url.replace("PREFIX", self.prefix)
        self._dead_url = dead_url.replace("PREFIX", self.prefix)
        self._fetch = fetch

    def sink(self) -> ObjectSink:
        """See `Place.sink`."""
        return cast("ObjectSink", _sink(self.url))

    def dying(self, puts: int) -> ObjectSink:
        """See `Place.dying`."""
        sink = self.sink()
        connect = sink._connect
        sink._connect = lambda threads: DyingBucket(connect(threads), puts)
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        return _sink(self._dead_url)

    def held(self) -> dict[str, bytes]:
        """See `Place.held`."""
        return {key: _unpacked(key, body) for key, body in self.raw().items()}

    def raw(self) -> dict[str, bytes]:
        """Return the objects as they lie there, by key below the prefix."""
        return {key.removeprefix(self.prefix): body for key, body in self._fetch(self.prefix).items()}


class DyingBucket:
    """A bucket that takes ``puts`` objects and then no more."""

    def __init__(self, bucket: Bucket, puts: int) -> None:
        """Take over ``bucket``."""
        self._bucket, self._left = bucket, itertools.count(puts, -1)

    def put(self, key: str, body: bytes, content_type: str) -> bool:
        """See `Bucket.put`."""
        if next(self._left) <= 0:
            raise ObjectError(Failure.NOT_ALLOWED, "the process died")
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
    """Return a store's URL in the tests' bucket on the S3 server at ``url``."""
    named = {"endpoint_url": url, "region": servers.REGION, **options}
    query = "&".join(f"{name}={quote(value, safe=':/,=')}" for name, value in named.items())
    return f"s3://{servers.BUCKET}/{prefix}?{query}"


def s3_place(request: pytest.FixtureRequest, identity: str = "admin", **options: str) -> ObjectPlace:
    """Return a place on the S3 server; the process gets the credentials of ``identity``."""
    url = request.getfixturevalue("s3_url")
    environ: pytest.MonkeyPatch = request.getfixturevalue("no_credentials")
    environ.setenv("AWS_ACCESS_KEY_ID", identity)
    environ.setenv("AWS_SECRET_ACCESS_KEY", servers.secret(identity))
    client = s3_client(url)
    if servers.BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=servers.BUCKET)

    def fetch(prefix: str) -> dict[str, bytes]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=servers.BUCKET, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {key: client.get_object(Bucket=servers.BUCKET, Key=key)["Body"].read() for key in keys}

    dead = s3_url(f"http://127.0.0.1:{servers.free_port()}", **options)
    return ObjectPlace(s3_url(url, **options), dead, fetch)


def gcs_place(request: pytest.FixtureRequest, **options: str) -> Place:
    """Return a place on the Google Cloud Storage server."""
    url = request.getfixturevalue("gcs_url")
    request.getfixturevalue("no_credentials").setenv("STORAGE_EMULATOR_HOST", url)
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


def azure_place(request: pytest.FixtureRequest, **options: str) -> Place:
    """Return a place on the Azure blob server."""
    url = request.getfixturevalue("azure_url")
    connection = f"AccountName={servers.AZURE_ACCOUNT};AccountKey={servers.AZURE_KEY}"
    environ: pytest.MonkeyPatch = request.getfixturevalue("no_credentials")
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


class ElasticsearchPlace:
    """Data streams of a prefix of their own, with the template that a deployer installs."""

    def __init__(self, node: elastic_server.Node) -> None:
        """Install the template."""
        self.prefix = f"place-{uuid.uuid4().hex[:12]}-"
        self.url = f"elasticsearch+{node.url}?target={self.prefix}{{user}}"
        self._client = node.client(request_timeout=60)
        template.install(self._client, self.sink().streams)

    def close(self) -> None:
        """Delete all of it: a node may hold a thousand shards."""
        self._client.indices.delete_data_stream(name=f"{self.prefix}*")
        self._client.close()

    def sink(self) -> ElasticsearchSink:
        """See `Place.sink`."""
        return cast("ElasticsearchSink", _sink(self.url))

    def dying(self, puts: int) -> Sink:
        """See `Place.dying`; sends a document at a time."""
        sink = cast("ElasticsearchSink", _sink(f"{self.url}&bulk_bytes=1"))
        left, send = itertools.count(puts, -1), sink._send

        def dying_send(body: bytes, count: int, ends: float) -> list[Done | Refused]:
            if next(left) <= 0:
                raise ElasticsearchError(elastic_failures.Failure.NOT_ALLOWED, "the process died")
            return send(body, count, ends)

        sink._send = dying_send  # type: ignore[method-assign]
        return sink

    def dead(self) -> Sink:
        """See `Place.dead`."""
        return _sink(f"elasticsearch+http://127.0.0.1:{servers.free_port()}?timeout=2")

    def held(self) -> dict[str, bytes]:
        """See `Place.held`; the lines are those in the documents, in the order in which these were indexed."""
        found: dict[str, bytes] = {}
        for name, hit in self.documents():
            source = hit["_source"]
            if name == f"{self.prefix}_rejected":
                place = f"_rejected/{source['orchestrator']['cluster']['name']}/{hit['_id']}"
                found[place] = base64.b64decode(source["auditsplit"]["original_base64"])
            else:
                found[name] = found.get(name, b"") + original(source) + b"\n"
        return found

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the data streams' names and all their hits."""
        pattern = f"{self.prefix}*"
        self._client.indices.refresh(index=pattern)
        for stream in self._client.indices.get_data_stream(name=pattern)["data_streams"]:
            answer = self._client.search(index=stream["name"], size=10_000, sort="_seq_no")
            for hit in answer["hits"]["hits"]:
                yield stream["name"], hit

    def found(self, query: dict[str, Any]) -> list[str]:
        """Return the audit ids of the events that a query finds."""
        hits = self._client.search(index=f"{self.prefix}*", query=query)["hits"]["hits"]
        return [hit["_source"]["event"]["id"] for hit in hits]

    def mappings(self, stream: str) -> dict[str, Any]:
        """Return the mappings of a data stream as they are now."""
        (found,) = self._client.indices.get_mapping(index=stream).values()
        return cast("dict[str, Any]", found["mappings"])

    def override(self, name: str, more: dict[str, Any]) -> None:
        """Have the data stream ``name`` made by another template, with ``more`` in it."""
        streams = self.sink().streams
        (index_template,) = [body for path, body in template.documents(streams).items() if "_index_template" in path]
        self._client.indices.put_index_template(
            name=f"override-{self.prefix}{name}",
            index_patterns=[f"{self.prefix}{name}"],
            data_stream={},
            composed_of=index_template["composed_of"],
            priority=index_template["priority"] + 1,
            template=more,
        )

    def set(self, name: str, settings: dict[str, Any]) -> None:
        """Change settings of the data stream ``name``."""
        self._client.indices.put_settings(index=f"{self.prefix}{name}", settings=settings)


def original(source: dict[str, Any]) -> bytes:
    """Return the log line in a document."""
    text = source["event"].get("original")
    return base64.b64decode(source["auditsplit"]["original_base64"]) if text is None else text.encode()


def elasticsearch_place(request: pytest.FixtureRequest) -> ElasticsearchPlace:
    """Return a place on the Elasticsearch server."""
    place = ElasticsearchPlace(request.getfixturevalue("elastic"))
    request.addfinalizer(place.close)
    return place


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "az": azure_place,
    "elasticsearch": elasticsearch_place,
    "file": lambda request: FilePlace(request.getfixturevalue("tmp_path")),
    "gs": gcs_place,
    "memory": lambda _: MemoryPlace(),
    "s3": s3_place,
}
"""By the store's scheme."""


def _sink(url: str) -> Sink:
    return sinks.from_url(url, {}, "authenticated")


def _unpacked(key: str, body: bytes) -> bytes:
    return gzip.decompress(body) if key.endswith(".gz") else body
