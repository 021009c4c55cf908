"""docs/apiserver-flags.md and docs/policy.md: their commands are run, and print what they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from auditsplit.apiserver.flags.platforms import OURS, PLATFORMS
from auditsplit.policy.profiles import PROFILES

DOCS = Path(__file__).parents[1] / "docs"
FLAGS, POLICY = ((DOCS / name).read_text() for name in ("apiserver-flags.md", "policy.md"))
BLOCKS = [("", ""), *re.findall(r"^```(\w+)\n(.*?)^```$", FLAGS + POLICY, re.MULTILINE | re.DOTALL), ("", "")]
COMMANDS = [
    (text, then if shows == "text" else None) for (kind, text), (shows, then) in pairwise(BLOCKS) if kind == "sh"
]
"""Each command, with the output that the page shows next."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the folder in which the pages' commands were run, one after the other, and what each printed."""
    folder = tmp_path_factory.mktemp("pages")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    printed = []
    for command, _ in COMMANDS:
        bash = ["bash", "-euo", "pipefail", "-c", command]
        printed.append(
            subprocess.run(bash, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=60).stdout
        )
    return folder, [output.decode() for output in printed]


@pytest.mark.parametrize("number", [number for number, (_, shown) in enumerate(COMMANDS) if shown])
def test_commands_print_what_is_shown(run: tuple[Path, list[str]], number: int) -> None:
    """To the letter; all of them succeed."""
    _, printed = run

    assert printed[number] == COMMANDS[number][1]


def test_the_pages_show_what_matters() -> None:
    """Three outputs, and every command of the pages is among those that are run."""
    assert len([shown for _, shown in COMMANDS if shown]) == 3
    assert len(COMMANDS) == (FLAGS + POLICY).count("```sh\n") == 7


def test_the_files_are_where_the_page_puts_them(run: tuple[Path, list[str]]) -> None:
    """And are YAML."""
    folder, _ = run

    written = {str(path.relative_to(folder)): yaml.safe_load(path.read_text()) for path in folder.rglob("*.yaml")}
    assert {name: document["kind"] for name, document in written.items()} == {
        "cluster.yaml": "ClusterConfiguration",
        "patches/kube-apiserver+strategic.yaml": "Pod",
        "policy.yaml": "Policy",
    }


def test_the_platforms_limits_are_shown() -> None:
    """Each platform with the bytes that a list may have."""
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([\d,]+) \|", FLAGS, re.MULTILINE))

    assert rows == {name: f"{platform.list_bytes(OURS):,}" for name, platform in PLATFORMS.items()}


def test_the_profiles_are_shown() -> None:
    """Each of them, and none that there isn't."""
    assert re.findall(r"^\| `([a-z]+)` \|", POLICY, re.MULTILINE) == list(PROFILES)


def test_the_alert_is_yaml() -> None:
    """As Prometheus reads rules."""
    [text] = re.findall(r"^```yaml\n(.*?)^```$", FLAGS, re.MULTILINE | re.DOTALL)

    [rule] = yaml.safe_load(text)["groups"][0]["rules"]
    assert "apiserver_audit_error_total" in rule["expr"]
