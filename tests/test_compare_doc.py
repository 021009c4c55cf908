"""docs/compare.md: what it says about moving from the recipes works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.environment import plain_environment
from support.pages import blocks

DATA = Path(__file__).parent / "data"
PROGRAM = Path(sys.executable).with_name("auditsplit")


def run(command: str, folder: Path, **settings: str) -> None:
    """Run a command of the page in ``folder``, where its ``/var/log`` is."""
    command = command.strip().replace("/var/log", str(folder)).replace("auditsplit", str(PROGRAM), 1)
    subprocess.run(["bash", "-euc", command], cwd=folder, env=plain_environment() | settings, check=True, timeout=60)


def test_the_shipper_takes_over_from_fluentd(tmp_path: Path) -> None:
    """It writes the recipe's files of the log that is there."""
    (tmp_path / "kube-audit").write_bytes((DATA / "audit.log").read_bytes())
    [command] = blocks("compare.md", "Move from the fluentd recipe", "")

    run(f"{command.rstrip()} --once --checkpoint ship.json", tmp_path)

    names = sorted(path.name for path in tmp_path.glob("audit-by-namespace/audit-*"))
    assert any(name.startswith("audit-none.") for name in names)
    assert all(name.endswith(".log.gz") for name in names)


def test_the_lines_of_logstash_are_split(tmp_path: Path) -> None:
    """From the recipe's folders, each event once."""
    lines = [json.loads(line) for line in (DATA / "audit.log").read_bytes().splitlines()]
    for event in lines:
        folder = tmp_path / f"kube-audit-{event['user'].get('username', '').replace('/', '_')}"
        folder.mkdir(exist_ok=True)
        with (folder / "audit").open("a") as file:
            file.write(json.dumps({"event": event}) + "\n")

    run("auditsplit split kube-audit-*/audit", tmp_path, AUDIT_SINKS="file:new")

    stored = [json.loads(line) for path in tmp_path.glob("new/*/audit") for line in path.read_bytes().splitlines()]
    assert sorted(event["auditID"] + event["stage"] for event in stored) == sorted(
        event["auditID"] + event["stage"] for event in lines
    )
