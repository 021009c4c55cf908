"""docs/operate.md: its commands run, its alerts are the rules', and its log line has a line's fields."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from auditsplit import errors
from auditsplit.errors import AuditsplitError
from auditsplit.telemetry import logs

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operate.md").read_text()
COMMANDS = [command for _, command in re.findall(r"^( *)```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_succeeds(command: str, tmp_path: Path) -> None:
    """In a copy of the checkout."""
    for path in ROOT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_")}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"

    done = subprocess.run(["bash", "-euc", command], cwd=tmp_path, env=environ, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    """In the same order, with the same severities, and with codes that exist."""
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "auditsplit.rules.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    section = PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .* \| (.*) ?\|$", section, re.MULTILINE)

    codes = {code for *_, cell in rows for code in re.findall(r"`([^`]+)`", cell)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AuditsplitError)]

    assert [row[:2] for row in rows] == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts]
    assert codes <= {"rejected"} | {kind.code for kind in kinds}
    for rule in alerts:
        [cell] = [cell for name, _, cell in rows if name == rule["alert"]]
        assert all(code in rule["annotations"]["description"] for code in re.findall(r"`([^`]+)`", cell))


def test_the_log_line_on_the_page_has_every_field() -> None:
    """In the order of a real line."""
    [shown] = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)

    fields = list(json.loads(shown))

    assert fields == list(logs.HELP)
