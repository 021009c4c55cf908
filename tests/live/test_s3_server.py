"""S3 on a real server: what its policies allow, what readers see, and how a deployer's mistakes are reported."""

from __future__ import annotations

import http
import json
import subprocess
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import zstandard
from botocore.exceptions import ClientError
from support import object_places, servers
from support.eventlists import event, eventlist

from auditsplit import sinks
from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.failures import Failure, SinkFailure

BUCKET = servers.BUCKET


def batch_of(*users: str) -> Batch:
    """Return a batch with an event of each user."""
    return batches.read(eventlist(event(user) for user in users), "default")


def soon() -> Deadline:
    """Return a deadline that no test reaches."""
    return Deadline.after(20)


def refused(client: Any, operation: str, **asked: str) -> bool:
    """Return whether the server denies ``client`` the operation."""
    try:
        getattr(client, operation)(Bucket=BUCKET, **asked)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == http.HTTPStatus.FORBIDDEN)
    return False


def keys(url: str, prefix: str) -> list[str]:
    """Return the keys below a prefix."""
    found = object_places.s3_client(url).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", ())]


def test_the_permission_to_put_is_enough(request: pytest.FixtureRequest, s3_url: str) -> None:
    """The policy grants s3:PutObject. The server denies these credentials to read, list and delete."""
    place = object_places.s3_place(request, "put-only")
    sink, batch = place.sink(), batch_of("alice", "bob")

    sink.recover()
    sink.check(soon())
    with pytest.raises(SinkFailure):
        place.dying(1).write(batch, soon())
    news = [place.sink().write(batch, soon()).new, sink.write(batch, soon()).new]
    sink.reject("default", "0" * 64, b"no event", soon())
    sink.reject("default", "0" * 64, b"no event", soon())

    assert news == [True, False]
    assert len(place.held()) == 3
    limited = object_places.s3_client(s3_url, "put-only")
    for key in keys(s3_url, place.prefix):
        assert refused(limited, "get_object", Key=key)
        assert refused(limited, "head_object", Key=key)
        assert refused(limited, "delete_object", Key=key)
    assert refused(limited, "list_objects_v2")
    assert refused(limited, "head_bucket")


def test_a_users_reader_reads_that_user_only(request: pytest.FixtureRequest, s3_url: str) -> None:
    """Credentials limited to alice's prefix get alice's objects, and neither bob's nor alice2's."""
    object_places.s3_place(request)
    url = object_places.s3_url(s3_url, "isolation")
    batch = batch_of("alice", "bob", "alice2", "../alice", "Alice", "alice/")
    sinks.from_url(url).write(batch, soon())
    alice = object_places.s3_client(s3_url, "alice-reads")

    readable = [key for key in keys(s3_url, "isolation/") if not refused(alice, "get_object", Key=key)]

    assert len(keys(s3_url, "isolation/")) == 6
    assert [key.split("/")[2] for key in readable] == ["user=alice"]
    assert refused(alice, "list_objects_v2", Prefix="isolation/")
    assert refused(alice, "put_object", Key=readable[0], Body="")


def test_encryption_class_and_tags_reach_the_object(request: pytest.FixtureRequest, s3_url: str) -> None:
    """As the server reports them afterwards."""
    place = object_places.s3_place(
        request, sse="aws:kms", kms_key="audit-key", bucket_key="1", storage_class="STANDARD_IA", tags="team=security"
    )

    place.sink().write(batch_of("alice"), soon())

    (key,) = keys(s3_url, place.prefix)
    client = object_places.s3_client(s3_url)
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "audit-key")
    assert head["StorageClass"] == "STANDARD_IA"
    tags = client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    assert tags == [{"Key": "team", "Value": "security"}]


def test_the_stores_own_encryption_reaches_the_object(request: pytest.FixtureRequest, s3_url: str) -> None:
    """SSE-S3."""
    place = object_places.s3_place(request, sse="AES256")

    place.sink().write(batch_of("alice"), soon())

    (key,) = keys(s3_url, place.prefix)
    head = object_places.s3_client(s3_url).head_object(Bucket=BUCKET, Key=key)
    assert head["ServerSideEncryption"] == "AES256"


def test_an_object_is_the_gzip_file_that_its_name_promises(request: pytest.FixtureRequest, s3_url: str) -> None:
    """Without a Content-Encoding, so no client decompresses it before zcat does."""
    place = object_places.s3_place(request)
    place.sink().write(batch_of("alice"), soon())

    (key,) = keys(s3_url, place.prefix)
    got = object_places.s3_client(s3_url).get_object(Bucket=BUCKET, Key=key)

    assert (got["ContentType"], got.get("ContentEncoding")) == ("application/gzip", None)
    plain = subprocess.run(["zcat"], input=got["Body"].read(), capture_output=True, check=True).stdout
    assert json.loads(plain)["user"]["username"] == "alice"


@pytest.mark.parametrize(("compress", "content_type"), [("zstd", "application/zstd"), ("none", "application/x-ndjson")])
def test_other_compressions(request: pytest.FixtureRequest, s3_url: str, compress: str, content_type: str) -> None:
    """As the option asks."""
    place = object_places.s3_place(request, compress=compress)
    place.sink().write(batch_of("alice"), soon())

    (key,) = keys(s3_url, place.prefix)
    got = object_places.s3_client(s3_url).get_object(Bucket=BUCKET, Key=key)

    body = got["Body"].read()
    assert got["ContentType"] == content_type
    assert json.loads(zstandard.decompress(body) if compress == "zstd" else body)["kind"] == "Event"


@pytest.mark.parametrize("compress", ["gzip", "zstd", "none"])
def test_duckdb_reads_the_layout_by_its_folders(request: pytest.FixtureRequest, tmp_path: Path, compress: str) -> None:
    """Hive partitions: cluster, user, date and hour are columns, with the users' true names."""
    users = ["alice", "system:serviceaccount:ns:x", "a/b", "Alice"]
    place = object_places.s3_place(request, compress=compress)
    place.sink().write(batch_of(*users, "alice"), soon())
    for key, body in place.raw().items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    query = """
        SELECT cluster, "user", dt::VARCHAR, hour, count(*), any_value(json->>'$.user.username')
        FROM read_json_objects(?, hive_partitioning = true)
        GROUP BY ALL ORDER BY "user"
    """
    found = duckdb.connect().execute(query, [f"{tmp_path}/**/*.jsonl*"]).fetchall()

    assert found == [("default", user, "2026-11-23", 11, 2 if user == "alice" else 1, user) for user in sorted(users)]


def failure_of(sink: sinks.Sink) -> SinkFailure:
    """Return the failure of a check. A write must fail in the same way."""
    with pytest.raises(SinkFailure) as checked:
        sink.check(soon())
    with pytest.raises(SinkFailure) as written:
        sink.write(batch_of("alice"), soon())
    assert checked.value.failure is written.value.failure
    return checked.value


def test_readiness_reports_a_deployers_mistakes(request: pytest.FixtureRequest, s3_url: str) -> None:
    """As the server answers: no such bucket, no permission, unknown and wrong keys."""
    environ: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    place = object_places.s3_place(request)
    missing = sinks.from_url(place.url.replace(BUCKET, "missing"))

    assert failure_of(missing).failure is Failure.WRONG_PLACE
    assert failure_of(object_places.s3_place(request, "nobody").sink()).failure is Failure.NOT_ALLOWED
    assert failure_of(object_places.s3_place(request, "unheard-of").sink()).failure is Failure.CREDENTIALS
    environ.setenv("AWS_ACCESS_KEY_ID", "admin")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    failure = failure_of(place.sink())
    assert failure.failure is Failure.CREDENTIALS
    assert "SignatureDoesNotMatch" in str(failure)
    assert "wrong" not in failure.detail
    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.delenv("AWS_SECRET_ACCESS_KEY")
    assert failure_of(place.sink()).failure is Failure.CREDENTIALS
    assert keys(s3_url, place.prefix) == []


def test_readiness_reports_a_server_that_is_down(request: pytest.FixtureRequest) -> None:
    """A deployer can do nothing about it."""
    failure = failure_of(object_places.s3_place(request).dead()).failure

    assert failure is Failure.UNREACHABLE
    assert not failure.needs_deployer


def test_only_the_library_of_the_configured_sink_is_imported() -> None:
    """A cold start pays for one library."""
    program = (
        "import sys; from auditsplit import sinks; sinks.from_url(sys.argv[1]);"
        "print(*sorted({'boto3', 'google.cloud.storage', 'azure.storage.blob', 'zstandard'} & set(sys.modules)))"
    )
    imported = {
        url: subprocess.run(
            [servers.PYTHON, "-c", program, url], capture_output=True, check=True, text=True
        ).stdout.strip()
        for url in ("file:/tmp/x", "s3://bucket", "gs://bucket", "az://container?account=account")
    }

    assert list(imported.values()) == ["", "boto3", "google.cloud.storage", "azure.storage.blob"]


def test_the_default_chain_of_credentials_is_botos(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Such as a profile in a file. Nothing in the sink's URL is a secret."""
    place = object_places.s3_place(request)
    environ: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    secret = servers.secret("put-only")
    credentials.write_text(f"[default]\naws_access_key_id=put-only\naws_secret_access_key={secret}\n")
    environ.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))

    assert boto3.session.Session().get_credentials().access_key == "put-only"
    assert place.sink().write(batch_of("alice"), soon())
