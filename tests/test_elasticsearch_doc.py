"""docs/elasticsearch.md: its URLs are valid, and its fields are mapped. tests/live runs its commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from auditsplit import sinks
from auditsplit.sinks.elasticsearch import template

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "elasticsearch.md").read_text()


def mapped(field: str) -> bool:
    """Return whether the template maps ``field``, or all that is below it where it ends in ``.*``."""
    mapping: Any = template.MAPPINGS
    for name in field.removesuffix(".*").split("."):
        mapping = mapping.get("properties", {}).get(name, {})
    return bool(mapping)


def test_the_urls_are_valid() -> None:
    """Except for the certificate, which is elsewhere."""
    urls = re.findall(r"^export AUDIT_SINKS='(.*)'$", DOC, re.MULTILINE)

    targets: list[Any] = [
        sinks.read_target(url.replace("ca_file=/etc/ssl/es.pem", ""), {}, "authenticated") for url in urls
    ]

    assert [target.options.target.patterns[0] for target in targets] == [
        "kube-audit-*",
        "logs-kubernetes.audit_logs-prod",
    ]


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


def test_kibanas_file_is_where_the_command_takes_it_from() -> None:
    """The command stands in the page once."""
    [path] = re.findall(r"--form file=@(\S+)", DOC)

    assert (ROOT / path).is_file()
