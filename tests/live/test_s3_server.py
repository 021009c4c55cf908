"""S3 on a real server: what its policies leave, what readers see, and what is told of a deployer's mistakes."""

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
from support import places, servers
from support.eventlists import event, eventlist

from auditsplit import sinks
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.objects.failures import Failure, ObjectError

BUCKET = servers.BUCKET


def batch_of(*users: str) -> Batch:
    """Return a batch with an event of each user."""
    return batches.read(eventlist(event(user) for user in users), "default")


def refused(client: Any, operation: str, **asked: str) -> bool:
    """Return whether the server denies ``client`` the operation."""
    try:
        getattr(client, operation)(Bucket=BUCKET, **asked)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == http.HTTPStatus.FORBIDDEN)
    return False


def keys(url: str, prefix: str) -> list[str]:
    """Return the keys below a prefix."""
    found = places.s3_client(url).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", ())]


def test_all_is_done_with_the_permission_to_put_alone(request: pytest.FixtureRequest, s3_url: str) -> None:
    """The policy grants s3:PutObject; the server denies the same credentials to read, list and delete."""
    place = places.s3_place(request, "put-only")
    sink, batch = place.sink(), batch_of("alice", "bob")

    sink.recover()
    sink.check()
    with pytest.raises(ObjectError):
        place.dying(1).write(batch)
    news = [place.sink().write(batch), sink.write(batch)]
    sink.reject("default", "0" * 64, b"no event")
    sink.reject("default", "0" * 64, b"no event")

    assert news == [True, False]
    assert len(place.held()) == 3
    limited = places.s3_client(s3_url, "put-only")
    for key in keys(s3_url, place.prefix):
        assert refused(limited, "get_object", Key=key)
        assert refused(limited, "head_object", Key=key)
        assert refused(limited, "delete_object", Key=key)
    assert refused(limited, "list_objects_v2")
    assert refused(limited, "head_bucket")


def test_a_users_reader_reads_that_user_only(request: pytest.FixtureRequest, s3_url: str) -> None:
    """Credentials limited to alice's prefix get alice's objects, and neither bob's nor alice2's."""
    places.s3_place(request)
    url = places.s3_url(s3_url, "isolation")
    sinks.from_url(url, {}, "authenticated").write(batch_of("alice", "bob", "alice2", "../alice", "Alice", "alice/"))
    alice = places.s3_client(s3_url, "alice-reads")

    readable = [key for key in keys(s3_url, "isolation/") if not refused(alice, "get_object", Key=key)]

    assert len(keys(s3_url, "isolation/")) == 6
    assert [key.split("/")[2] for key in readable] == ["user=alice"]
    assert refused(alice, "list_objects_v2", Prefix="isolation/")
    assert refused(alice, "put_object", Key=readable[0], Body="")


def test_encryption_class_and_tags_reach_the_object(request: pytest.FixtureRequest, s3_url: str) -> None:
    """As the server tells them afterwards."""
    place = places.s3_place(
        request, sse="aws:kms", kms_key="audit-key", bucket_key="1", storage_class="STANDARD_IA", tags="team=security"
    )

    place.sink().write(batch_of("alice"))

    (key,) = keys(s3_url, place.prefix)
    client = places.s3_client(s3_url)
    told = client.head_object(Bucket=BUCKET, Key=key)
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"]) == ("aws:kms", "audit-key")
    assert told["StorageClass"] == "STANDARD_IA"
    tags = client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    assert tags == [{"Key": "team", "Value": "security"}]


def test_the_stores_own_encryption_reaches_the_object(request: pytest.FixtureRequest, s3_url: str) -> None:
    """SSE-S3."""
    place = places.s3_place(request, sse="AES256")

    place.sink().write(batch_of("alice"))

    (key,) = keys(s3_url, place.prefix)
    told = places.s3_client(s3_url).head_object(Bucket=BUCKET, Key=key)
    assert told["ServerSideEncryption"] == "AES256"


def test_an_object_is_the_gzip_file_that_its_name_says(request: pytest.FixtureRequest, s3_url: str) -> None:
    """No Content-Encoding, so that nobody unpacks it on the way to zcat."""
    place = places.s3_place(request)
    place.sink().write(batch_of("alice"))

    (key,) = keys(s3_url, place.prefix)
    got = places.s3_client(s3_url).get_object(Bucket=BUCKET, Key=key)

    assert (got["ContentType"], got.get("ContentEncoding")) == ("application/gzip", None)
    plain = subprocess.run(["zcat"], input=got["Body"].read(), capture_output=True, check=True).stdout
    assert json.loads(plain)["user"]["username"] == "alice"


@pytest.mark.parametrize(("compress", "content_type"), [("zstd", "application/zstd"), ("none", "application/x-ndjson")])
def test_other_packings(request: pytest.FixtureRequest, s3_url: str, compress: str, content_type: str) -> None:
    """On request."""
    place = places.s3_place(request, compress=compress)
    place.sink().write(batch_of("alice"))

    (key,) = keys(s3_url, place.prefix)
    got = places.s3_client(s3_url).get_object(Bucket=BUCKET, Key=key)

    body = got["Body"].read()
    assert got["ContentType"] == content_type
    assert json.loads(zstandard.decompress(body) if compress == "zstd" else body)["kind"] == "Event"


@pytest.mark.parametrize("compress", ["gzip", "zstd", "none"])
def test_duckdb_reads_the_layout_by_its_folders(request: pytest.FixtureRequest, tmp_path: Path, compress: str) -> None:
    """Hive partitions: cluster, user, date and hour are columns, with the users' true names."""
    users = ["alice", "system:serviceaccount:ns:x", "a/b", "Alice"]
    place = places.s3_place(request, compress=compress)
    place.sink().write(batch_of(*users, "alice"))
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


def mistaken(sink: sinks.Sink) -> ObjectError:
    """Return what the store says of itself; a put must say the same."""
    with pytest.raises(ObjectError) as checked:
        sink.check()
    with pytest.raises(ObjectError) as written:
        sink.write(batch_of("alice"))
    assert checked.value.failure is written.value.failure
    return checked.value


def test_readiness_tells_a_deployers_mistakes(request: pytest.FixtureRequest, s3_url: str) -> None:
    """The very server's answers: no such bucket, no permission, unknown and wrong keys."""
    environ: pytest.MonkeyPatch = request.getfixturevalue("no_credentials")
    place = places.s3_place(request)
    missing = sinks.from_url(place.url.replace(BUCKET, "missing"), {}, "authenticated")

    assert mistaken(missing).failure is Failure.WRONG_BUCKET
    assert mistaken(places.s3_place(request, "nobody").sink()).failure is Failure.NOT_ALLOWED
    assert mistaken(places.s3_place(request, "unheard-of").sink()).failure is Failure.CREDENTIALS
    environ.setenv("AWS_ACCESS_KEY_ID", "admin")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    told = mistaken(place.sink())
    assert told.failure is Failure.CREDENTIALS
    assert "SignatureDoesNotMatch" in str(told)
    assert "wrong" not in told.detail
    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.delenv("AWS_SECRET_ACCESS_KEY")
    assert mistaken(place.sink()).failure is Failure.CREDENTIALS
    assert keys(s3_url, place.prefix) == []


def test_readiness_tells_a_store_that_is_down(request: pytest.FixtureRequest) -> None:
    """Which is no deployer's."""
    failure = mistaken(places.s3_place(request).dead()).failure

    assert failure is Failure.UNREACHABLE
    assert not failure.deployers


def test_only_the_configured_stores_library_is_imported() -> None:
    """A cold start pays for one."""
    program = (
        "import sys; from auditsplit import sinks; sinks.from_url(sys.argv[1], {}, 'authenticated');"
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
    """Such as a profile in a file; nothing in the store's URL is a secret."""
    place = places.s3_place(request)
    environ: pytest.MonkeyPatch = request.getfixturevalue("no_credentials")
    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    secret = servers.secret("put-only")
    credentials.write_text(f"[default]\naws_access_key_id=put-only\naws_secret_access_key={secret}\n")
    environ.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))

    assert boto3.session.Session().get_credentials().access_key == "put-only"
    assert place.sink().write(batch_of("alice"))
