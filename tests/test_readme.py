"""The README is run: its commands in their order, with the output that it shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.checkout import Checkout, running
from support.environment import plain_environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Return a checkout in which ``make run`` is up."""
    assert COMMANDS[1].startswith("make run")
    with running(tmp_path_factory.mktemp("checkout")) as made:
        yield made


def test_the_clone_has_the_makefile(tmp_path: Path) -> None:
    """With this repository behind the URL on the page."""
    [url] = re.findall(r"^git clone (\S+)$", COMMANDS[0], re.MULTILINE)
    replaced = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": url}
    command = f"{COMMANDS[0]}make --dry-run run"

    done = subprocess.run(["bash", "-euc", command], cwd=tmp_path, env=plain_environment() | replaced, check=False)

    assert done.returncode == 0


def test_the_first_screen_is_what_happens(checkout: Checkout) -> None:
    """The curl answers as shown, and makes the files shown."""
    shown = [text for kind, text in BLOCKS if kind in ("json", "")]
    curl, listing = COMMANDS[2:4]

    receipt = checkout.run(curl)
    files = checkout.run(listing)

    assert receipt == shown[1]
    assert sorted(line.split() for line in files.splitlines()) == sorted(line.split() for line in shown[2].splitlines())
    assert '"alreadyStored":true' in checkout.run(curl)
    assert checkout.run(listing) == files


@pytest.mark.parametrize("command", COMMANDS[4:])
def test_every_other_command_succeeds(checkout: Checkout, command: str) -> None:
    """What the README shows can be typed, after the list was posted."""
    checkout.run(COMMANDS[2])

    assert checkout.run(command) is not None


def test_the_kubeconfig_is_one() -> None:
    """The kubeconfig shown has what kube-apiserver wants: one cluster, one context, the current one."""
    [text] = [text for kind, text in BLOCKS if kind == "yaml"]

    document = yaml.safe_load(text)

    assert document["current-context"] == document["contexts"][0]["name"]
    assert document["contexts"][0]["context"]["cluster"] == document["clusters"][0]["name"]
    assert document["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:8888/clusters/prod"


def test_the_pages_of_first_steps_are_what_happens(tmp_path: Path) -> None:
    """docs/get-started.md, from the first event to the clean-up. docs/troubleshoot.md's commands work in between."""
    pages = [(ROOT / "docs" / name).read_text() for name in ("get-started.md", "troubleshoot.md")]
    first, trouble = (re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) for page in pages)
    assert first[0] == "make run\n"

    with running(tmp_path) as checkout:
        shown = [checkout.run(command) for command in [*first[1:-1], *trouble]]
    checkout.run(first[-1])

    assert '"events":35' in shown[0]
    assert '"kind": "Event"' in shown[1]
    assert shown[2].count("\n") > 3
    assert not (tmp_path / "var").exists()
