"""docs/cluster/kubeconfigs.md: its commands and its list work, and its tables match the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditsplit.cli import main
from auditsplit.cli.kubeconfig.create import create
from auditsplit.webhook.rules import ERROR, RULES

DOC = (Path(__file__).parents[1] / "docs" / "cluster" / "kubeconfigs.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^auditsplit (.*)$", "".join(BLOCKS), re.MULTILINE)


def test_the_pages_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, with the list on the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_TOKENS", raising=False)
    [clusters] = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
    Path("clusters.yaml").write_text(clusters)

    results = [CliRunner().invoke(main, shlex.split(command)) for command in COMMANDS]

    assert [result.exit_code for result in results] == [0, 0, 0], [result.output for result in results]
    assert {path.stem for path in Path("kubeconfigs").iterdir()} == {"prod", "prod-metrics", "edge"}


def test_the_page_lists_every_finding() -> None:
    """With its level, and no other."""
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| (error|warning) \| ", DOC, re.MULTILINE)
    listed = {name: level for names, level in rows for name in re.findall(r"`([a-z-]+)`", names)}

    assert listed == {rule.name: rule.level for rule in RULES} | {"type": ERROR, "unknown-field": ERROR}


def test_the_page_lists_every_option_for_credentials() -> None:
    """And no option that the command does not have."""
    options = {option for parameter in create.params for option in parameter.opts}
    [table] = re.findall(r"## Credentials\n(.*?)\n## ", DOC, re.DOTALL)

    shown = set(re.findall(r"--[a-z][a-z-]+", table))

    assert shown <= options
    assert options - shown == {"--server", "--insecure-skip-tls-verify", "--output", "--force", "--dry-run", "cluster"}
