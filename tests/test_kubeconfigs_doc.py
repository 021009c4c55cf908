"""docs/kubeconfigs.md: its commands and its list work, and its tables are the program's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditsplit.apiserver.rules import ERROR, RULES
from auditsplit.cli import main
from auditsplit.cli.kubeconfig_files import create

DOC = (Path(__file__).parents[1] / "docs" / "kubeconfigs.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/auditsplit (.*)$", DOC, re.MULTILINE)


def test_the_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, with the list that is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_TOKENS", raising=False)
    [clusters] = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
    Path("clusters.yaml").write_text(clusters)

    results = [CliRunner().invoke(main, shlex.split(command)) for command in COMMANDS]

    assert [result.exit_code for result in results] == [0, 0, 0], [result.output for result in results]
    assert {path.stem for path in Path("kubeconfigs").iterdir()} == {"prod", "prod-metrics", "edge"}


def test_every_finding_is_there() -> None:
    """With its level, and none is made up."""
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| (error|warning) \| ", DOC, re.MULTILINE)
    listed = {name: level for names, level in rows for name in re.findall(r"`([a-z-]+)`", names)}

    assert listed == {rule.name: rule.level for rule in RULES} | {"type": ERROR, "unknown-field": ERROR}


def test_every_option_for_credentials_is_there() -> None:
    """None that the command doesn't have, and all that make credentials."""
    options = {option for parameter in create.params for option in parameter.opts}
    [table] = re.findall(r"## Credentials\n(.*?)\n## ", DOC, re.DOTALL)

    shown = set(re.findall(r"--[a-z][a-z-]+", table))

    assert shown <= options
    assert options - shown == {"--server", "--insecure-skip-tls-verify", "--output", "--force", "--dry-run", "cluster"}
