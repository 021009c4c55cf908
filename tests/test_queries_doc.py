"""docs/investigate.md: its SQL is run, over what the layout makes of a real apiserver's events."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.environment import plain_environment
from support.eventlists import HOSTILE, eventlist
from support.folder_store import FolderStore
from support.pages import blocks

from auditsplit import sinks
from auditsplit.archive.compact import compact
from auditsplit.archive.objects import Hours
from auditsplit.decode import batch as batches
from auditsplit.sinks.objects import layout
from auditsplit.sinks.objects.options import layout_of

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "investigate.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOC, re.MULTILINE | re.DOTALL))
DEFINITIONS = [
    ("DuckDB", "duckdb/audit_events.sql"),
    ("DuckDB", "duckdb/audit_files.sql"),
    ("Athena", "athena/audit_events.sql"),
    ("Athena", "athena/audit_events_by_user.sql"),
    ("BigQuery", "bigquery/audit_events.sql"),
]
BIGQUERY_KEY = "cluster={cluster}/username={user}/dt={date}/hour={hour}"
SECRETS, DELETED, DENIED, DEPLOYMENT = 0, 1, 2, 3
PROGRAMS = Path(sys.executable).parent


def statements(engine: str) -> list[str]:
    """Return the engine's SQL blocks, definitions first."""
    return re.findall(r"^```sql\n(.*?)^```$", SECTIONS[engine], re.MULTILINE | re.DOTALL)


def queries(engine: str) -> list[str]:
    """Return the engine's questions in the page's order."""
    return [text for text in statements(engine) if text.startswith("SELECT")]


def write(folder: Path, lists: list[bytes], **options: str) -> int:
    """Write the events' objects below ``folder`` as the stores lay them out; return the number of events."""
    target: Any = sinks.read_target("s3://my-bucket/audit", options, "authenticated")
    made = layout_of(target)
    count = 0
    for raw in lists:
        batch = batches.read(raw, "prod")
        count += len(batch.events)
        for name, events in made.group(batch).items():
            key, body = made.render("prod", name, events)
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    rejected = folder / "audit" / made.rejected("prod", "0" * 64)
    rejected.parent.mkdir(parents=True, exist_ok=True)
    rejected.write_bytes(b"no event")
    return count


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, recorded: list[bytes]) -> Path:
    """Return a folder with the recorded events of a real apiserver, and what is no event."""
    folder = tmp_path_factory.mktemp("stored")
    write(folder, recorded)
    return folder


def events(recorded: list[bytes]) -> list[dict[str, Any]]:
    """Return the recorded events."""
    return [event for raw in recorded for event in json.loads(raw)["items"]]


def duck(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return DuckDB with the page's view over ``folder``."""
    connection = duckdb.connect()
    connection.execute(statements("DuckDB")[0].replace("s3://my-bucket", str(folder)))
    return connection


@pytest.mark.parametrize(("engine", "file"), DEFINITIONS)
def test_the_definitions_are_the_files(engine: str, file: str) -> None:
    """What the page shows is what infra/ has."""
    assert (ROOT / "infra" / file).read_text() in statements(engine)


def test_the_view_and_the_tables_read_compacted_objects(tmp_path: Path, recorded: list[bytes]) -> None:
    """They find the same lines in one object for each place and hour. Manifests are not below their partitions."""
    write(tmp_path, recorded)
    every = 'SELECT count(*), count(DISTINCT json), min("time"), max("time") FROM audit_events'
    before = duck(tmp_path).execute(every).fetchall()
    hours = Hours(FolderStore(tmp_path), "audit/")

    outcomes = list(compact(hours, timedelta(hours=2), 10**8, 1, datetime.now(UTC)))

    assert outcomes
    assert not [outcome.problem for outcome in outcomes if outcome.problem]
    keys = list(hours.keys("cluster="))
    assert len(keys) == len({key.rpartition("/")[0] for key in keys})
    assert duck(tmp_path).execute(every).fetchall() == before
    assert not list((tmp_path / "audit").glob("cluster=*/**/*.json"))


def test_duckdb_tells_who_read_secrets(stored: Path) -> None:
    """The admin did; bob was denied it, so he is not in the list."""
    found = duck(stored).execute(queries("DuckDB")[SECRETS]).fetchall()

    assert [(row[0], row[2], row[3], row[-2]) for row in found] == [("admin", "get", "team-a", 1)]


def test_duckdb_tells_what_a_user_deleted(stored: Path) -> None:
    """In order of time, and none that failed."""
    found = duck(stored).execute(queries("DuckDB")[DELETED]).fetchall()

    assert sorted(row[2] for row in found) == ["deployments", "namespaces", "widgets"]
    assert found == sorted(found)


def test_duckdb_tells_whose_requests_were_denied(stored: Path, recorded: list[bytes]) -> None:
    """Each once, whatever its stages; users with any name."""
    expected: dict[str | None, int] = {}
    for event in events(recorded):
        if event["stage"] == "ResponseComplete" and event.get("responseStatus", {}).get("code") in (401, 403):
            name = event["user"].get("username")
            expected[name] = expected.get(name, 0) + 1

    found = duck(stored).execute(queries("DuckDB")[DENIED]).fetchall()

    assert {row[1]: row[2] for row in found} == expected
    assert {"bob", "a/b", "Carol Test User"} <= set(expected)


def test_a_user_cant_break_the_query_for_all(tmp_path: Path, recorded: list[bytes]) -> None:
    """Lines that parsers refuse leave the other rows as they were, and show in the last question."""
    count = write(tmp_path, [*recorded, eventlist(HOSTILE.values())])
    connection = duck(tmp_path)

    (left_out,) = connection.execute(queries("DuckDB")[-1]).fetchall()

    assert connection.execute("SELECT count(*) FROM audit_events").fetchall() == [(count,)]
    assert left_out[0] == "mallory"
    assert 0 < left_out[-1] < len(HOSTILE)
    assert connection.execute("SELECT count(json) FROM audit_events").fetchall() == [(count - left_out[-1],)]


def test_duckdb_tells_who_deleted_a_deployment(stored: Path) -> None:
    """Without knowing the culprit."""
    found = duck(stored).execute(queries("DuckDB")[DEPLOYMENT]).fetchall()

    assert [row[1:4] for row in found] == [("admin", 200, "127.0.0.1")]


@pytest.fixture
def split_files(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a folder with the recorded log, and with its events in the default layout below var/log."""
    request.getfixturevalue("workspace")
    shutil.copy(ROOT / "tests" / "data" / "audit.log", tmp_path / "audit.log")
    settings = plain_environment() | {"AUDIT_SINKS": "file:var/log"}
    subprocess.run([PROGRAMS / "auditsplit", "split", "audit.log"], env=settings, check=True, capture_output=True)
    return tmp_path


def test_the_view_of_files_has_the_same_answers(stored: Path, split_files: Path) -> None:
    """Over the default layout, to all questions but the last."""
    asked = queries("DuckDB")[:-1]
    expected = [duck(stored).execute(query).fetchall() for query in asked]
    connection = duckdb.connect()
    connection.execute(statements("DuckDB")[1].replace("var/log", str(split_files / "var/log")))

    found = [
        connection.execute(query.replace("audit_events", "audit_files").replace("'prod'", "'default'")).fetchall()
        for query in asked
    ]

    assert found == expected


def commands_of_files() -> list[str]:
    """Return the command lines of the section about files."""
    return [text for block in blocks("investigate.md", "Files") for text in block.splitlines()]


def test_the_commands_about_files_run(split_files: Path) -> None:
    """Each finds something, and the backfill finds nothing missing."""
    lines = [text for text in commands_of_files() if text.startswith("auditsplit find")]
    environ = plain_environment() | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    for text in (*lines, "auditsplit split --only-missing audit.log"):
        script = f"export AUDIT_SINKS=file:var/log\n{text}"
        done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}: {done.stderr}"
        assert done.stdout or "0 were missing, 0 written" in done.stderr
    assert len(lines) == 11
    assert split_files.joinpath("var/log/kube-audit-admin/audit").is_file()


def test_the_gap_is_filled_as_the_page_shows(split_files: Path) -> None:
    """After a user's file was lost, the events come back from the log."""
    lost = split_files / "var/log/kube-audit-admin/audit"
    before = sorted(lost.read_bytes().splitlines())
    lost.unlink()
    [first, second] = [text for text in commands_of_files() if "find" not in text and "export" not in text]
    environ = plain_environment() | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "AUDIT_SINKS": "file:var/log"}
    subprocess.run(["sh", "-c", first], env=environ, check=True, capture_output=True)
    report = subprocess.run(["sh", "-c", second], env=environ, capture_output=True, text=True, check=False)

    assert sorted(lost.read_bytes().splitlines()) == before
    assert "duplicates: 0\n" in report.stdout


def columns(definition: str) -> dict[str, Any]:
    """Return the types of a CREATE TABLE's columns by name, as DuckDB's json_transform wants them."""
    (text,) = re.findall(r"EXTERNAL TABLE [\w.]+ \(\n(.*?)^\)", definition, re.MULTILINE | re.DOTALL)
    return {name: _type(rest) for name, rest in re.findall(r"^  (\w+) (.*?),?$", text, re.MULTILINE)}


def _type(text: str) -> Any:
    kind, _, inner = text.lower().partition("<")
    if kind == "struct":
        fields = re.findall(r"(\w+)[: ](array<\w+>|\w+)", inner)
        return {name: _type(rest) for name, rest in fields}
    if kind == "array":
        return [_type(inner.rstrip(">"))]
    return {"string": "VARCHAR", "int": "INTEGER", "int64": "BIGINT", "timestamp": "TIMESTAMP", "map": "JSON"}[kind]


def field_names(value: Any) -> set[str]:
    """Return the names of all members within a document, however deep."""
    if isinstance(value, dict):
        return set(value).union(*map(field_names, value.values()))
    return set().union(*map(field_names, value)) if isinstance(value, list) else set()


def spelled(recorded: list[bytes]) -> dict[str, str]:
    """Return the events' own spelling of each field by its lower-case name."""
    outer = [{name: event[name] for name in event if not name.endswith("Object")} for event in events(recorded)]
    return {name.lower(): name for name in field_names(outer)} | {"who": "user"}


def table(engine: str, number: int, folder: Path, spelled: dict[str, str], partitions: str) -> str:
    """Return DuckDB's CREATE VIEW for the engine's own table, made of its columns and types."""
    definition = statements(engine)[number]
    (name,) = re.findall(r"EXTERNAL TABLE ([\w.]+)", definition)
    picked = []
    for column, kind in columns(definition).items():
        own = {spelled[field.lower()]: of for field, of in kind.items()} if isinstance(kind, dict) else kind
        picked.append(f"""json_transform(json -> '$.{spelled[column.lower()]}', '{json.dumps(own)}') AS "{column}\"""")
    return f"""
        CREATE VIEW {name.partition(".")[2] or name} AS SELECT {partitions}, {", ".join(picked)} FROM read_json_objects(
        '{folder}/audit/cluster=*/**/*.jsonl.gz', format = 'newline_delimited', hive_partitioning = true)"""  # noqa: S608 - the SQL is the page's own


def test_athenas_questions_have_the_same_answers(stored: Path, recorded: list[bytes]) -> None:
    """Over the tables' own columns and types, in DuckDB, which has Athena's words where they are used."""
    connection, names = duck(stored), spelled(recorded)
    expected = [connection.execute(query).fetchall() for query in queries("DuckDB")]
    connection.execute("DROP VIEW audit_events")
    connection.execute(table("Athena", 0, stored, names, "cluster"))
    connection.execute(table("Athena", 1, stored, names, 'cluster, "user", dt::VARCHAR AS dt, hour::VARCHAR AS hour'))

    found = [connection.execute(query).fetchall() for query in queries("Athena")[:4]]

    assert [row[:5] for row in found[SECRETS]] == [row[:5] for row in expected[SECRETS]]
    assert [row[1:] for row in found[DELETED]] == [row[1:] for row in expected[DELETED]]
    assert [row[:4] for row in found[DENIED]] == [row[:4] for row in expected[DENIED]]
    assert [row[1:] for row in found[DEPLOYMENT]] == [row[1:] for row in expected[DEPLOYMENT]]


def test_bigquerys_questions_have_the_same_answers(tmp_path: Path, stored: Path, recorded: list[bytes]) -> None:
    """Over the key that BigQuery wants, and the table's own columns and types."""
    write(tmp_path, recorded, key=BIGQUERY_KEY)
    expected = [duck(stored).execute(query).fetchall() for query in queries("DuckDB")]
    connection, names = duckdb.connect(), spelled(recorded)
    connection.execute("CREATE SCHEMA audit; USE audit")
    connection.execute(table("BigQuery", 0, tmp_path, names, "cluster, username, dt, hour"))

    found = [connection.execute(query).fetchall() for query in queries("BigQuery")]

    assert [row[:5] for row in found[SECRETS]] == [row[:5] for row in expected[SECRETS]]
    assert found[DELETED] == expected[DELETED]
    assert found[DENIED] == expected[DENIED]
    assert found[DEPLOYMENT] == expected[DEPLOYMENT]


def test_the_tables_have_the_layouts_folders() -> None:
    """Projection and partition columns are the key's, in its order; both tables of Athena have the same columns."""
    by_cluster, by_user = statements("Athena")[:2]
    bigquery = statements("BigQuery")[0]
    partitions = re.findall(r"PARTITION COLUMNS \((.*)\)", bigquery)[0]

    assert layout.DEFAULT_KEY.format(cluster="${cluster}", user="${user}", date="${dt}", hour="${hour}") in by_user
    assert columns(by_cluster) == columns(by_user)
    assert [part.split()[0] for part in partitions.split(", ")] == re.findall(r"(\w+)=", BIGQUERY_KEY)
    assert f"key={BIGQUERY_KEY}" in SECTIONS["BigQuery"]
    assert BIGQUERY_KEY in (ROOT / "infra" / "modules" / "gcp" / "variables.tf").read_text()
