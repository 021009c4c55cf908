"""docs/security.md: the test behind each claim exists, and AUDIT_DROP's defaults and examples are true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from auditsplit.policy.redaction import DEFAULT, Redaction

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_behind_a_claim_exists(path: str, name: str) -> None:
    """A renamed or removed test no longer proves its claim."""
    tree = ast.parse((ROOT / path).read_text())

    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_claims_name_tests() -> None:
    """Nothing that looks like a test's name escapes the check above."""
    assert len(NAMED) > 40
    assert len(re.findall(r"::test_\w+", TEXT)) == len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", TEXT))


def test_the_defaults_are_those_of_the_code() -> None:
    """The table of redacted resources has each default, and no other row."""
    table = TEXT.split("| resource, in any API group |")[1].split("\n\n")[0]

    assert set(re.findall(r"^\| `([a-z/]+)` \|", table, re.MULTILINE)) == set(DEFAULT)


def test_the_examples_are_settings() -> None:
    """Each example of AUDIT_DROP is valid."""
    examples = re.findall(r"^AUDIT_DROP='([^']*)'", TEXT, re.MULTILINE)

    assert [len(str(Redaction.parse(example)).split()) for example in examples] == [5, 3, 1]
