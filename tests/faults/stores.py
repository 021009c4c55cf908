"""Faults of stores: an object store that is down, slow or half answers, a disk that is full or read-only."""

from __future__ import annotations

import subprocess
import uuid
from collections import Counter
from pathlib import Path

from support import object_places, servers
from support.faults import proxy
from support.server import SMALL_DISK, Server, serving

from faults.sender import Row, Sender, counted, in_files

_SEED = 20261125
_ALWAYS = 1.01


class ObjectStore:
    """A prefix in the S3 server at ``url``, through what stands in front of it at another."""

    def __init__(self, url: str) -> None:
        """Make a prefix of its own."""
        self.upstream, self.prefix = url, uuid.uuid4().hex
        self._client = object_places.s3_client(url)

    def environ(self, front: str) -> dict[str, str]:
        """Return the settings of a function that reaches it by ``front``."""
        return {
            "AUDIT_SINKS": object_places.s3_url(front, self.prefix),
            "AWS_ACCESS_KEY_ID": "admin",
            "AWS_SECRET_ACCESS_KEY": servers.secret("admin"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def held(self) -> Counter[str]:
        """Return how often each event is there."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=servers.BUCKET, Prefix=self.prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return counted(self._client.get_object(Bucket=servers.BUCKET, Key=key)["Body"].read() for key in keys)


def down(folder: Path, s3: str) -> Row:
    """Nobody listens at the store's address; later somebody does."""
    store, port = ObjectStore(s3), servers.free_port()
    with serving(folder, store.environ(f"http://127.0.0.1:{port}")) as server:
        sender = Sender(server)
        bodies = [sender.batch() for _ in range(3)]
        assert [sender.once(body) for body in bodies] == [503] * 3
        with proxy(s3, _SEED, {}, port):
            for body in bodies:
                sender.until_taken(body)
    return sender.row("503 and `Retry-After: 1`, then 200", store.held())


def slow(folder: Path, s3: str) -> Row:
    """Every put takes 3 s, then they don't end within the request's time, then all is well."""
    store, rates = ObjectStore(s3), {"late": _ALWAYS}
    with proxy(s3, _SEED, rates) as front, serving(folder, store.environ(front.url)) as server:
        sender = Sender(server)
        front.late_s = 3
        assert sender.once(sender.batch()) == 200
        front.late_s = 60
        body = sender.batch()
        assert sender.once(body) == 503
        waited_s = sender.slowest_s
        rates.clear()
        sender.until_taken(body)
    return sender.row(f"puts of 3 s: 200; puts of 60 s: 503 after {waited_s:.0f} s, then 200", store.held())


def half_answering(folder: Path, s3: str) -> Row:
    """The object is stored and the answer cut in its middle, or half of the object came; for two puts of three."""
    store, rates = ObjectStore(s3), {"half an answer": 0.4, "reset within": 0.3}
    with proxy(s3, _SEED, rates) as front, serving(folder, store.environ(front.url)) as server:
        sender = Sender(server)
        for _ in range(25):
            sender.until_taken(sender.batch())
        assert min(front.done["half an answer"], front.done["reset within"]) > 10
    assert set(sender.told) <= {200, 503}
    return sender.row(f"{sender.seen()}", store.held())


def disk_full(folder: Path, _s3: str) -> Row:
    """A disk of 1 MiB fills up; then it is made larger."""
    return _mended(folder, SMALL_DISK, batches=40, told={200, 503}, mend="size=64m")


def disk_read_only(folder: Path, _s3: str) -> Row:
    """The disk is read-only; then it is not."""
    read_only = tuple(word.replace("size=1m", "size=64m,ro") for word in SMALL_DISK)
    return _mended(folder, read_only, batches=5, told={503}, mend="rw")


def _mended(folder: Path, mount: tuple[str, ...], batches: int, told: set[int], mend: str) -> Row:
    disk = folder / "disk"
    disk.mkdir()
    with serving(folder, {"AUDIT_SINKS": f"file:{disk}/log"}, before=(*mount, str(disk))) as server:
        sender = Sender(server, events=8, pad=4_000)
        bodies = [sender.batch() for _ in range(batches)]
        for body in bodies:
            sender.once(body)
        assert set(sender.told) == told
        sees = sender.seen()
        _remount(server, disk, mend)
        for body in bodies:
            sender.until_taken(body)
        inside = Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/") / "log"
        return sender.row(f"{sees}; with the disk mended 200 for all", in_files(inside))


def _remount(server: Server, disk: Path, option: str) -> None:
    within = ["nsenter", f"--target={server.process.pid}", "--user", "--mount", "--preserve-credentials"]
    subprocess.run([*within, "mount", "-o", f"remount,{option}", str(disk)], check=True)
