"""docs/elasticsearch.md: its commands run, against a real server, and print what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elasticsearch import AuthorizationException
from support import elastic_server
from support.elastic_server import Node
from support.environment import plain_environment

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "elasticsearch.md"
NOT_HERE = ("pip install", "kibana.example")
"""What marks a command that isn't run: the package is installed, and there is no Kibana."""
DAILY, WEEKLY, MONTHLY = 1, 7, 30
NODES = 3


class Ran(NamedTuple):
    """What a block of commands printed, and what the page says that it prints; None where it says nothing."""

    printed: str
    said: str | None


def blocks() -> list[tuple[str, str | None]]:
    """Return the page's blocks of commands, each with the JSON right after it."""
    found = re.findall(r"```sh\n(.*?)```\n(?:\n```json\n(.*?)```)?", DOC.read_text(), re.DOTALL)
    return [(commands, said or None) for commands, said in found if not any(mark in commands for mark in NOT_HERE)]


def in_one_shell(commands: list[str], node: Node, folder: Path) -> list[str]:
    """Return what each block printed, one after the other in a shell that ends at the first failure."""
    mark = "--- the next block ---"
    script = "set -euo pipefail\n" + f"echo '{mark}'\n".join(commands)
    for written, here in {
        "es.example:9200": node.url.partition("//")[2],
        "/etc/ssl/es.pem": str(node.ca),
        "…": elastic_server.PASSWORD,
        "tests/data": str(ROOT / "tests" / "data"),
        "?ca_file": "?timeout=25&ca_file",  # a busy machine takes long to make a dozen data streams at once
    }.items():
        script = script.replace(written, here)
    environ = plain_environment("ELASTICSEARCH_")
    path = f"{Path(sys.executable).parent}:{environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout.split(f"{mark}\n")


@pytest.fixture(scope="module")
def ran(secured_elastic: Node, tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """Return the page's blocks, after they ran."""
    found = blocks()
    printed = in_one_shell([commands for commands, _ in found], secured_elastic, tmp_path_factory.mktemp("doc"))
    return [Ran(text, said) for text, (_, said) in zip(printed, found, strict=True)]


def test_the_commands_print_what_the_page_says(ran: list[Ran]) -> None:
    """Four searches have their answers on the page, each that of the last command before it."""
    answered = [each for each in ran if each.said]

    assert [last(each.printed) for each in answered] == [last(str(each.said)) for each in answered]
    assert len(answered) == 4


@pytest.mark.usefixtures("ran")
def test_the_document_is_one_that_was_stored(secured_elastic: Node) -> None:
    """With more members than the page shows, and the same values."""
    [shown] = re.findall(r"## A document\n\n```json\n(.*?)```", DOC.read_text(), re.DOTALL)
    document = json.loads(shown)
    stage = document["kubernetes"]["audit"]["stage"]
    wanted = [{"term": {"event.id": document["event"]["id"]}}, {"term": {"kubernetes.audit.stage": stage}}]

    [hit] = secured_elastic.client().search(
        index="logs-kubernetes.audit_logs-prod", query={"bool": {"filter": wanted}}
    )["hits"]["hits"]

    assert subset(document, hit["_source"])


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(
    ("user", "view", "beyond"),
    [
        ("alice", "audit-of-alice", "logs-kubernetes.audit_logs-prod"),
        ("bob", "logs-kubernetes.audit_logs-prod", "kube-audit-bob"),
    ],
)
def test_a_view_shows_no_other_users_events(user: str, view: str, beyond: str, secured_elastic: Node) -> None:
    """Neither by a search for them, nor beside the view."""
    reader = secured_elastic.client(basic_auth=(user, "change-me-soon"))

    users = {hit["_source"]["user"]["name"].partition("@")[0] for hit in reader.search(index=view)["hits"]["hits"]}

    assert users == {user}
    assert reader.count(index=view, query={"term": {"user.name": "admin"}})["count"] == 0
    with pytest.raises(AuthorizationException):
        reader.count(index=beyond)


@pytest.mark.usefixtures("ran")
def test_the_key_of_the_quick_start_cannot_read(secured_elastic: Node) -> None:
    """It has no other privileges than to create documents in the data streams of the target."""
    [key] = secured_elastic.client().security.get_api_key(name="auditsplit", active_only=True)["api_keys"][-1:]
    [privileges] = key["role_descriptors"].values()

    assert privileges["cluster"] == []
    assert [(each["names"], each["privileges"]) for each in privileges["indices"]] == [
        (["kube-audit-*"], ["create_doc", "auto_configure"])
    ]


@pytest.mark.usefixtures("ran")
def test_the_retention_is_in_the_template(secured_elastic: Node) -> None:
    """And in the data streams that came of it."""
    [stream] = secured_elastic.client().indices.get_data_stream(name="kube-audit-bob")["data_streams"]

    assert stream["lifecycle"]["data_retention"] == "90d"


def test_the_limit_of_shards_is_the_servers(secured_elastic: Node) -> None:
    """The page's number is the default."""
    settings = secured_elastic.client().cluster.get_settings(include_defaults=True, flat_settings=True)

    assert (
        f"`cluster.max_shards_per_node` ({int(settings['defaults']['cluster.max_shards_per_node']):,})"
        in DOC.read_text()
    )


def test_the_shards_of_the_table_are_right() -> None:
    """Indices are a day, a week or 30 days long, and one more than fit into the retention is there at any time."""
    rows = [
        list(map(int, row))
        for row in re.findall(r"^\| (\d+)d \| (\d+) \| (\d+) \| (\d+) \|$", DOC.read_text(), re.MULTILINE)
    ]

    assert len(rows) == 4
    for days, indices, shards, users in rows:
        length = DAILY if days <= 14 else WEEKLY if days <= 90 else MONTHLY
        assert indices == -(-days // length) + 1
        assert (shards, users) == (2 * indices, 1000 * NODES // (2 * indices))


def last(text: str) -> Any:
    """Return the last of the JSON documents in ``text``."""
    found, rest = None, text.strip()
    while rest:
        found, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
    return found


def subset(part: Any, whole: Any) -> bool:
    """Return whether every member of ``part`` is in ``whole``."""
    if isinstance(part, dict):
        return all(name in whole and subset(value, whole[name]) for name, value in part.items())
    return bool(part == whole)
