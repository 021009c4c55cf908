"""The image in a real runtime: what it may do, what it answers and how it ends."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from support import container
from support.container import contained
from support.eventlists import event, eventlist

from auditsplit import __version__
from auditsplit.sinks import SCHEMES

FILES = {"AUDIT_SINKS": "file:/events"}
USER = 65532


def events_folder(tmp_path: Path) -> Path:
    """Return a folder that the image's user may write to."""
    folder = tmp_path / "events"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


def test_the_image_names_its_version_and_user() -> None:
    """The version is the project's. The user is no name, because Kubernetes must see that it is not root."""
    config = container.image_config()

    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["User"] == f"{USER}:{USER}"


def test_a_container_with_a_read_only_root_stores_events(tmp_path: Path) -> None:
    """It serves without a capability, and answers health, readiness and metrics."""
    with contained(tmp_path) as box:
        folder = events_folder(tmp_path)
        box.start(FILES, {"/events": folder})

        posted = box.request("POST", "/", eventlist([event("alice")]))
        paths = {path: box.request("GET", path).status for path in ("/healthz", "/readyz", "/metrics")}

        assert posted.status == 200
        assert json.loads(posted.body)["events"] == 1
        assert paths == {"/healthz": 200, "/readyz": 200, "/metrics": 200}
        assert b"auditsplit_events_stored_total" in box.request("GET", "/metrics").body
        assert (folder / "kube-audit-alice" / "audit").stat().st_uid == USER


def test_sigterm_drains_a_request_that_is_under_way(tmp_path: Path) -> None:
    """The request is answered 200 after the signal, and then the container ends with 0."""
    with contained(tmp_path) as box:
        folder = events_folder(tmp_path)
        box.start({**FILES, "WORKERS": "1", "THREADS": "2"}, {"/events": folder})
        body = eventlist([event("alice")])
        with socket.create_connection(("127.0.0.1", box.port), timeout=30) as connection:
            head = (
                f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            continued = connection.recv(4096)  # a thread has the request
            box.terminate()
            connection.sendall(body)
            answer = connection.recv(65536)

        assert continued.startswith(b"HTTP/1.1 100 ")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert box.wait() == 0
        assert (folder / "kube-audit-alice" / "audit").read_bytes().count(b"\n") == 1


def test_the_image_has_the_library_of_each_sink(tmp_path: Path) -> None:
    """Each sink's module and its driver are imported in the image."""
    with contained(tmp_path) as box:
        drivers = "boto3, google.cloud.storage, azure.storage.blob, elasticsearch, zstandard, prometheus_client"
        script = (
            f"import sys, {drivers}; from auditsplit import sinks; [sinks.module_of(name) for name in sys.argv[1:]]"
        )

        code = box.run({}, ["python", "-c", script, *SCHEMES])

        assert code == 0, box.log.read_text()


def test_the_image_writes_nowhere_but_to_tmp(tmp_path: Path) -> None:
    """Not even to its own code."""
    with contained(tmp_path) as box:
        script = "import pathlib; pathlib.Path('/tmp/x').touch(); pathlib.Path('/venv/x').touch()"

        code = box.run({}, ["python", "-c", script])

        assert code == 1
        assert "Read-only file system: '/venv/x'" in box.log.read_text()


def test_a_wrong_setting_ends_the_container_with_its_reason(tmp_path: Path) -> None:
    """Not after a loop of restarts: the first start prints what to write instead."""
    with contained(tmp_path) as box:
        code = box.run({"AUDIT_SINKS": "s3:bucket"})

        assert code != 0
        assert "AUDIT_SINKS" in box.log.read_text()


def test_the_settings_can_be_checked_without_serving(tmp_path: Path) -> None:
    """By the entry point's program."""
    with contained(tmp_path) as box:
        code = box.run({"AUDIT_SINKS": "memory:"}, ["auditsplit", "check"])

        assert code == 0, box.log.read_text()
