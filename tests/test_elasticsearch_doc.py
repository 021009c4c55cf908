"""docs/elasticsearch.md: its options and fields are the store's own. tests/live runs its commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from auditsplit.sinks.elasticsearch import bulk, store, streams, template
from auditsplit.sinks.options import Target

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "elasticsearch.md").read_text()
OPTIONS = dict(
    re.findall(r"^\| `(\w+)` \| `?([^|]*?)`? ?\| ", DOC[DOC.index("| option |") :].partition("\n\n")[0], re.MULTILINE)
)


class AskedTarget(Target):
    """A store's URL that remembers which options it was asked for."""

    asked: set[str]

    def text(self, name: str, default: str) -> str:
        """Return the option."""
        self.asked.add(name)
        return super().text(name, default)


def mapped(field: str) -> bool:
    """Return whether the template maps ``field``, or all that is below it where it ends in ``.*``."""
    found: Any = template.MAPPINGS
    for name in field.removesuffix(".*").split("."):
        found = found.get("properties", {}).get(name, {})
    return bool(found)


def test_the_options_are_the_stores_own() -> None:
    """None is missing, none is made up."""
    target = AskedTarget("elasticsearch+https://es.example:9200", {}, "authenticated")
    target.asked = set()

    store.from_target(target)

    assert set(OPTIONS) == target.asked


def test_the_defaults_are_the_stores_own() -> None:
    """Those that are numbers or names."""
    assert OPTIONS["target"] == streams.DEFAULT_TARGET
    assert (OPTIONS["timeout"], OPTIONS["bulk_bytes"]) == (str(store.TIMEOUT_S), str(bulk.MAX_BYTES))


def test_the_urls_are_good() -> None:
    """But for the certificate, which lies elsewhere."""
    urls = re.findall(r"^export AUDIT_SINKS='(.*)'$", DOC, re.MULTILINE)

    found = [Target(url.replace("ca_file=/etc/ssl/es.pem", ""), {}, "authenticated") for url in urls]

    assert [store.from_target(target).streams.patterns[0] for target in found] == [
        "kube-audit-*",
        "logs-kubernetes.audit_logs-prod",
    ]
    assert [target.mistakes for target in found] == [[], []]


@pytest.mark.parametrize("row", re.findall(r"^\| [a-z ]+\? \| (.*) \|$", DOC, re.MULTILINE))
def test_the_fields_that_answer_a_question_are_mapped(row: str) -> None:
    """Of each of the eight questions; a name that begins with a dot goes on with the first part of the one before."""
    fields = [code.partition(" : ")[0] for code in re.findall(r"`([^`]*)`", row)]
    full = [field for field in fields if not field.startswith(".")]

    assert full
    assert [field for field in full if not mapped(field)] == []


def test_all_questions_are_there() -> None:
    """The seven of Kubernetes' auditing page, and what was denied."""
    assert len(re.findall(r"^\| [a-z ]+\? \| ", DOC, re.MULTILINE)) == 8


def test_the_priority_is_the_templates() -> None:
    """The page says that it is above Elastic's own."""
    assert f"priority {template.PRIORITY} and one for each character of the names' beginning, above" in DOC


def test_kibanas_file_is_where_the_command_takes_it_from() -> None:
    """The command stands in the page once."""
    [path] = re.findall(r"--form file=@(\S+)", DOC)

    assert (ROOT / path).is_file()
