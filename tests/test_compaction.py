"""The scheduled compaction's two entry points, over a folder as the object store."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
from support.folder_store import FolderStore

from auditsplit import bootstrap
from auditsplit.archive import stores
from auditsplit.archive.joined import is_joined
from auditsplit.errors import SettingsError
from auditsplit.serve.compaction import Compaction, NotCompacted
from auditsplit.serve.messages import Request
from auditsplit.sinks.failures import Failure, SinkFailure

FUNCTIONS = Path(__file__).parents[1] / "functions"
PLACE = Path("audit", "cluster=prod", "user=alice", "dt=2026-01-31", "hour=22")
NAMES = [f"20260131T221{number}00.000000Z-{number:032x}.jsonl" for number in range(3)]
ENVIRON = {"AUDIT_SINKS": "s3://my-bucket/audit?compress=none", "AWS_LAMBDA_FUNCTION_NAME": "auditsplit-compact"}


class FailingStore(FolderStore):
    """A store that refuses every question about its lock."""

    def is_locked(self) -> bool:
        """Fail."""
        raise SinkFailure(Failure.NOT_ALLOWED, "403 AccessDenied to the question whether objects are locked")


class LockedStore(FolderStore):
    """A store that locks its objects."""

    def is_locked(self) -> bool:
        """Return True."""
        return True


def stored(root: Path, monkeypatch: pytest.MonkeyPatch, store: Callable[[Path], FolderStore] = FolderStore) -> Path:
    """Write three objects of an hour below ``root``, which is the bucket from now on. Return the hour's folder."""
    folder = root / PLACE
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(f'{{"name":"{name}"}}\n')
    monkeypatch.setattr(stores, "open_store", lambda *_: store(root))
    return folder


def post(function: Compaction, body: bytes) -> tuple[int, dict[str, Any]]:
    """Return the status and the document of the answer to a schedule."""
    response = function.handle(Request("POST", "/", {}, io.BytesIO(body), "127.0.0.1"))
    return response.status, json.loads(response.body)


def imported(module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import an entry point anew, with the settings of the function."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    for name in [module, "auditsplit.function.compaction"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(module)


def test_lambdas_handler_joins_the_hours_of_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no token, and a second run has nothing to do."""
    folder = stored(tmp_path, monkeypatch)
    entry = imported("lambda_compaction", monkeypatch)

    first = entry.compact({"older_than_s": 7200}, None)
    second = entry.compact({}, None)

    [joined] = folder.iterdir()
    assert is_joined(str((PLACE / joined.name).relative_to("audit")))
    assert len(joined.read_text().splitlines()) == len(NAMES)
    assert (first["hours"], first["parts"], first["deleted"], first["problems"]) == (1, 3, 3, 0)
    assert set(second.values()) == {0}


def test_lambdas_handler_does_without_the_framework() -> None:
    """Neither it, nor Flask, nor the command line takes of the time of a start."""
    program = (
        "import sys, lambda_compaction;"
        "print(sorted({'functions_framework', 'flask', 'click', 'auditsplit.ingest'} & set(sys.modules)))"
    )
    environ = {"PYTHONPATH": str(FUNCTIONS), **ENVIRON}

    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_cloud_runs_target_joins_the_hours_of_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Flask's request, as functions-framework gives it."""
    folder = stored(tmp_path, monkeypatch)
    entry = imported("compaction", monkeypatch)

    with flask.Flask("scheduled").test_request_context("/", method="POST", data=b'{"older_than_s": 7200}'):
        answer = entry.compact(flask.request)

    assert (answer.status_code, answer.json["deleted"]) == (200, 3)
    assert len(list(folder.iterdir())) == 1


def test_a_young_hour_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule chooses the age."""
    folder = stored(tmp_path, monkeypatch)
    age = datetime.now(UTC) - datetime(2026, 1, 31, 22, tzinfo=UTC) + timedelta(days=1)

    counts = bootstrap.compaction(ENVIRON).run({"older_than_s": age.total_seconds()})

    assert counts["deleted"] == 0
    assert len(list(folder.iterdir())) == len(NAMES)


def test_a_run_whose_time_is_over_leaves_the_rest_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error, so no alarm fires for a backlog."""
    stored(tmp_path, monkeypatch)

    counts = bootstrap.compaction(ENVIRON).run({"time_s": 1e-9})

    assert counts["unfinished"] == 1
    assert counts["problems"] == 0


def test_a_locked_bucket_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no error either."""
    folder = stored(tmp_path, monkeypatch, LockedStore)

    assert post(bootstrap.compaction(ENVIRON), b"")[1]["locked"] == 1
    assert len(list(folder.iterdir())) == len(NAMES)


def test_an_hour_that_can_not_be_joined_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the hour, and the error counts for the alarm."""
    stored(tmp_path, monkeypatch)

    with pytest.raises(NotCompacted, match="1 hours could not be joined"):
        bootstrap.compaction(ENVIRON).run({"max_bytes": 10})

    assert any("user=alice" in record.getMessage() for record in caplog.records if record.levelname == "ERROR")


def test_a_store_that_fails_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer has the reason and no traceback."""
    stored(tmp_path, monkeypatch, FailingStore)

    status, document = post(bootstrap.compaction(ENVIRON), b"{}")

    assert status == 500
    assert document["code"] == "not-compacted"
    assert "403 AccessDenied" in document["detail"]
    assert "Traceback" not in document["detail"]


@pytest.mark.parametrize("body", [b"no JSON", b'"2h"', b'{"older_than": "2h"}', b'{"older_than_s": 0}'])
def test_an_input_that_is_not_valid_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Before the store is asked. The message shows a valid one."""
    folder = stored(tmp_path, monkeypatch)

    status, document = post(bootstrap.compaction(ENVIRON), body)

    assert status == 500
    assert '{"older_than_s": 7200}' in document["detail"]
    assert len(list(folder.iterdir())) == len(NAMES)


def test_only_post_compacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy process says so."""
    folder = stored(tmp_path, monkeypatch)
    function = bootstrap.compaction(ENVIRON)

    response = function.handle(Request("GET", "/", {}, io.BytesIO(b""), "127.0.0.1"))

    assert (response.status, response.headers["Allow"], function.busy().status) == (405, "POST", 503)
    assert len(list(folder.iterdir())) == len(NAMES)


@pytest.mark.parametrize("sinks", ["memory:", "s3:bucket"])
def test_wrong_settings_end_the_start(sinks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a message, on both platforms."""
    with pytest.raises(SettingsError, match="AUDIT_SINKS"):
        bootstrap.compaction({"AUDIT_SINKS": sinks})
    monkeypatch.setitem(ENVIRON, "AUDIT_SINKS", sinks)
    with pytest.raises(SettingsError, match="can't start"):
        imported("lambda_compaction", monkeypatch)
    with pytest.raises(SystemExit, match="can't start"):
        imported("compaction", monkeypatch)
