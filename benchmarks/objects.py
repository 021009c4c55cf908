"""The S3 sink against the file sink, and its cold start against bare boto3.

The S3 server is a real one on this machine, which shares the cores, so its figures are a floor and no promise.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # their servers and builders, from anywhere

from support import object_places, servers
from support.eventlists import event, eventlist

from auditsplit import sinks
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import batch as batches
from auditsplit.sinks import Sink

_EVENTS = 400
_BATCHES = 16  # in a round
_ROUNDS = 5
_SENDERS = 4
_USERS = (1, 8, 64)
_STARTS = 9

_BARE = """
import os, boto3
boto3.client("s3", region_name="us-east-1", endpoint_url=os.environ["S3"]).put_object(
    Bucket="audit", Key=os.environ["NAME"], Body=b"x", IfNoneMatch="*")
"""
_OURS = """
import os
from auditsplit import sinks
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode import batch
url = "s3://audit/{NAME}?region=us-east-1&endpoint_url={S3}".format_map(os.environ)
read = batch.read(open(os.environ["BODY"], "rb").read(), "default")
sinks.from_url(url).write(read, Deadline.after(25))
"""
_STEPS = {
    "Python alone": "pass",
    "import boto3": "import boto3",
    "import the S3 sink": "import auditsplit.sinks.objects.s3, auditsplit.decode.batch",
    "import google.cloud.storage": "import google.cloud.storage",
    "import azure.storage.blob": "import azure.storage.blob",
    "bare boto3: import, client, one put": _BARE,
    "the S3 sink: import, client, one batch": _OURS,
}


def body_of(name: str, users: int) -> bytes:
    """Return an EventList of `_EVENTS` events by ``users``; another ``name`` gives other events."""
    return eventlist(event(f"user-{number % users}", auditID=f"{name}-{number}") for number in range(_EVENTS))


def write(sink: Sink, bodies: list[bytes]) -> float:
    """Return how many events a second ``sink`` accepts from `_SENDERS` senders."""
    began = time.perf_counter()
    with ThreadPoolExecutor(_SENDERS) as pool:
        list(pool.map(lambda body: sink.write(batches.read(body, "default"), Deadline.after(REQUEST_S)), bodies))
    return len(bodies) * _EVENTS / (time.perf_counter() - began)


def throughput(url: str, folder: str) -> None:
    """Print the table of events a second; the sinks take turns."""
    stores = {
        "file": sinks.from_url(f"file:{folder}/log"),
        "file, fsync=0": sinks.from_url(f"file:{folder}/unsynced?fsync=0"),
        "s3": sinks.from_url(object_places.s3_url(url, "bench")),
    }
    print(f"Batches of {_EVENTS} events, {_SENDERS} senders, one process:\n")
    print("| users in a batch |", " | ".join(f"{name}, events/s" for name in stores), "| s3, puts/s |")
    print("| ---: |", "---: | " * (len(stores) + 1))
    for users in _USERS:
        found: dict[str, list[float]] = {name: [] for name in stores}
        for number in range(-1, _ROUNDS):  # the first warms up
            for name, sink in stores.items():
                bodies = [body_of(f"{name}-{number}-{one}", users) for one in range(_BATCHES)]
                rate = write(sink, bodies)
                found[name] += [rate] if number >= 0 else []
        medians = {name: statistics.median(rates) for name, rates in found.items()}
        figures = " | ".join(f"{rate:,.0f}" for rate in medians.values())
        print(f"| {users} | {figures} | {medians['s3'] / _EVENTS * users:,.0f} |")


def cold_start(url: str, folder: str) -> None:
    """Print how long processes take from their start to their end; they take turns."""
    body = Path(folder) / "body"
    body.write_bytes(body_of("cold", 1))
    found: dict[str, list[float]] = {name: [] for name in _STEPS}
    for number in range(_STARTS):
        for name, program in _STEPS.items():
            environ = {**os.environ, "S3": url, "NAME": f"cold-{number}-{name[:3]}", "BODY": str(body)}
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], env=environ, check=True)
            found[name].append(1000 * (time.perf_counter() - began))
    alone = statistics.median(found["Python alone"])
    print(
        f"\nA new process, ms over Python's own {alone:.0f} ms, median of {_STARTS}:\n\n| what | ms |\n| --- | ---: |"
    )
    for name in list(_STEPS)[1:]:
        print(f"| {name} | {statistics.median(found[name]) - alone:.0f} |")


@contextlib.contextmanager
def s3_server(folder: str) -> Iterator[str]:
    """Run the S3 server with the tests' bucket, whose credentials are then this process's."""
    data = Path(folder) / "s3"
    data.mkdir()
    os.environ |= {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": servers.secret("admin")}
    with servers.seaweed(data) as url:
        object_places.s3_client(url).create_bucket(Bucket=servers.BUCKET)
        yield url


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder, s3_server(folder) as url:
        throughput(url, folder)
        cold_start(url, folder)


if __name__ == "__main__":
    main()
