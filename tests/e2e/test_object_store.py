"""An object store behind the function, which itself keeps nothing: a real S3 server."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from support import object_places, servers, traffic
from support.kubernetes import SMALL_BATCHES
from support.processes import wait_for
from support.way import Way


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[str]:
    """Run an S3 server that keeps its files in ``folder``, and yield its URL. It has the tests' bucket."""
    folder.mkdir()
    with servers.seaweed(folder) as url:
        object_places.s3_client(url).create_bucket(Bucket=servers.BUCKET)
        yield url


def held(url: str) -> Counter[tuple[str, bytes]]:
    """Return how often each line is stored below each prefix, which stands for the file of the file store."""
    client, found = object_places.s3_client(url), Counter[tuple[str, bytes]]()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=servers.BUCKET):
        for entry in page.get("Contents", ()):
            body = client.get_object(Bucket=servers.BUCKET, Key=entry["Key"])["Body"].read()
            folder = entry["Key"].rpartition("/")[0]
            found.update((f"{folder}/audit", line) for line in gzip.decompress(body).splitlines())
    return found


def test_a_process_without_memory_stores_nothing_twice(way: Callable[..., Way], tmp_path: Path) -> None:
    """All kinds of traffic, and a kill within: the next process knows nothing of its batches, and repeats none."""
    with bucket(tmp_path / "seaweed") as s3:
        apiserver, function = opened = way(
            SMALL_BATCHES,
            AUDIT_SINKS=object_places.s3_url(s3, "", key="{cluster}/{user}"),
            AWS_ACCESS_KEY_ID="put-only",
            AWS_SECRET_ACCESS_KEY=servers.secret("put-only"),
        )
        requests = threading.Thread(target=traffic.whole, args=(apiserver,))
        requests.start()
        wait_for("some batches are stored", lambda: held(s3).total() > 260)
        function.kill()
        requests.join()
        at_the_kill = held(s3)
        function.start()
        apiserver.stop()

        logged = opened.logged()
        assert at_the_kill.total() < logged.total()
        assert held(s3) == logged
        assert apiserver.lost() == {}
