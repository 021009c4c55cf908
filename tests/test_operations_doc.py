"""The page on operating: its commands run, its tables name what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.requests import BODY
from support.server import Server

from auditsplit import errors
from auditsplit.errors import AuditsplitError
from auditsplit.telemetry.figures import Figures

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def column(heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    return [
        name
        for cell in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w[\w-]*)`", cell)
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_succeeds(command: str, tmp_path: Path) -> None:
    """What the page shows can be typed."""
    for path in ROOT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AUDIT_")}

    done = subprocess.run(["bash", "-euc", command], cwd=tmp_path, env=environ, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_every_metric_is_described(serve: Callable[..., Server]) -> None:
    """Those that the server tells, and no others."""
    server = serve()
    server.post(BODY)

    text = server.request("GET", "/metrics").body.decode()

    told = set(re.findall(r"^# TYPE (auditsplit_\w+)", text, re.MULTILINE))
    assert set(column("## Metrics")) == told


def test_every_code_is_described() -> None:
    """Those of the errors, and what a line without one says."""
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AuditsplitError)
    ]

    assert set(column("### Codes")) == {kind.code for kind in classes} - {"refused"} | {"ok", "rejected"}


def test_every_alert_is_described() -> None:
    """Those of the rules, in their order, with their severities; and codes that there are."""
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "auditsplit.rules.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    section = PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .* \| (.*) ?\|$", section, re.MULTILINE)

    codes = {code for *_, cell in rows for code in re.findall(r"`([^`]+)`", cell)}

    assert [row[:2] for row in rows] == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts]
    assert codes <= set(column("### Codes"))
    for rule in alerts:
        [cell] = [cell for name, _, cell in rows if name == rule["alert"]]
        assert all(code in rule["annotations"]["description"] for code in re.findall(r"`([^`]+)`", cell))


def test_the_line_shown_has_a_lines_fields() -> None:
    """In their order."""
    [shown] = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)

    fields = list(json.loads(shown))

    own = ["time", "severity", "level", "logger", "message", "status", "code", "peer"]
    assert fields == own + list(Figures().fields())
