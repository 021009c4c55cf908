"""docs/cluster/flags.md and docs/policy.md: their commands work and print what the pages show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import yaml

from auditsplit.policy.profiles import PROFILES

DOCS = Path(__file__).parents[1] / "docs"
FLAGS, POLICY = ((DOCS / name).read_text() for name in ("cluster/flags.md", "policy.md"))
BLOCKS = [("", ""), *re.findall(r"^```(\w+)\n(.*?)^```$", FLAGS + POLICY, re.MULTILINE | re.DOTALL), ("", "")]
COMMANDS = [
    (text, then if shows == "text" else None) for (kind, text), (shows, then) in pairwise(BLOCKS) if kind == "sh"
]
"""Each command, with the output that follows it on the page. None if no output follows."""


def test_the_pages_commands_print_and_write_what_the_pages_show(tmp_path: Path) -> None:
    """All of them succeed, in their order. Each prints the text that follows it, and the files are valid YAML."""
    shutil.copy(DOCS.parent / "tests" / "data" / "audit.log", tmp_path)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command, shown in COMMANDS:
        bash = ["bash", "-euo", "pipefail", "-c", command]
        ran = subprocess.run(bash, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, check=True, timeout=60)
        assert shown in (None, ran.stdout.decode())

    written = {str(path.relative_to(tmp_path)): yaml.safe_load(path.read_text()) for path in tmp_path.rglob("*.yaml")}
    assert {name: document["kind"] for name, document in written.items()} == {
        "policy.yaml": "Policy",
    }


def test_every_command_of_the_pages_is_run() -> None:
    """The page of flags shows the output of each of its commands."""
    assert len([shown for _, shown in COMMANDS if shown]) == FLAGS.count("```sh\n")
    assert len(COMMANDS) == (FLAGS + POLICY).count("```sh\n")


def test_the_page_lists_every_profile() -> None:
    """And no other."""
    section = POLICY.partition("\n## Start\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE) == list(PROFILES)


def test_the_alert_is_a_rule_for_prometheus() -> None:
    """It watches the events that the apiserver lost."""
    [text] = re.findall(r"^```yaml\n(.*?)^```$", FLAGS, re.MULTILINE | re.DOTALL)

    [rule] = yaml.safe_load(text)["groups"][0]["rules"]
    assert "apiserver_audit_error_total" in rule["expr"]
