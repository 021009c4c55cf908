"""``auditsplit elasticsearch`` without a server: what it would send, and misuse."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner, Result

from auditsplit.cli import main
from auditsplit.sinks.elasticsearch import template
from auditsplit.sinks.elasticsearch.streams import Streams

URL = "elasticsearch+https://es.example.com"


def run(*arguments: str, sinks: str = URL) -> Result:
    """Return what the command did."""
    return CliRunner().invoke(main, ["elasticsearch", *arguments], env={"AUDIT_SINKS": sinks})


def requests(output: str) -> dict[str, object]:
    """Return the documents that were printed, by method and path."""
    shown = (text.partition("\n") for text in output.split("\n\n") if text.strip())
    return {head: json.loads(document) for head, _, document in shown}


def test_a_dry_run_prints_the_requests_for_kibanas_console() -> None:
    """Everything that it would install, for every Elasticsearch in the setting."""
    result = run("setup", "--dry-run", "--retention", "30d", sinks=f"memory: {URL} {URL}?target=all-audit")

    shown = requests(result.output)
    assert result.exit_code == 0
    assert list(shown) == [
        "PUT /_component_template/auditsplit",
        "PUT /_index_template/auditsplit-kube-audit",
        "PUT /_index_template/auditsplit-all-audit",
    ]
    documents = template.documents(Streams(), "30d")
    assert shown["PUT /_index_template/auditsplit-kube-audit"] == documents["/_index_template/auditsplit-kube-audit"]


def test_documents_are_kept_for_ever_without_a_retention() -> None:
    """The retention is that of the data stream, which Elasticsearch applies."""
    lifecycles = [
        template.documents(Streams(), retention)["/_index_template/auditsplit-kube-audit"]["template"]["lifecycle"]
        for retention in (None, "30d")
    ]

    assert lifecycles == [{"enabled": True}, {"enabled": True, "data_retention": "30d"}]


def test_a_key_gets_two_privileges() -> None:
    """On the names of the template."""
    result = run("key", "--dry-run", "--name", "prod")

    assert requests(result.output) == {
        "POST /_security/api_key": {
            "name": "prod",
            "role_descriptors": {
                "auditsplit": {
                    "cluster": [],
                    "indices": [{"names": ["kube-audit-*"], "privileges": ["create_doc", "auto_configure"]}],
                }
            },
        }
    }


@pytest.mark.parametrize("command", [("setup", "--dry-run"), ("key", "--dry-run")])
def test_no_elasticsearch_is_misuse(command: Sequence[str]) -> None:
    """The message says what to set."""
    result = run(*command, sinks="memory:")

    assert result.exit_code == 2
    assert "must have an Elasticsearch sink, as in elasticsearch+https://host:9200" in result.output


@pytest.mark.parametrize("retention", ["30", "0d", "d", "30 d", "-1d", "30y"])
def test_a_retention_is_a_number_and_a_unit(retention: str) -> None:
    """As Elasticsearch writes times."""
    result = run("setup", "--dry-run", "--retention", retention)

    assert result.exit_code == 2
    assert "as in 30d" in result.output


@pytest.mark.parametrize("command", ["setup", "key"])
def test_a_server_that_is_down_is_reported(command: str) -> None:
    """In a line, with an exit of 1."""
    result = run(command, sinks="elasticsearch+http://127.0.0.1:9")

    assert result.exit_code == 1
    assert "127.0.0.1:9/kube-audit-*: the server can't be reached" in result.output
