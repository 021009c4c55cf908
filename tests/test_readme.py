"""The README is run: its commands in their order, with the output that it shows."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from support.environment import plain_environment
from support.server import free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Return a checkout in which ``make run`` is up, and its port. It has installed what serving requires."""
    folder, port = tmp_path_factory.mktemp("checkout"), free_port()
    for path in ROOT.iterdir():
        if path.name not in (".venv-run", "kubeconfigs", "var"):
            (folder / path.name).symlink_to(path)
    assert "make run" in COMMANDS[0]
    process = subprocess.Popen(["make", "run", f"PORT={port}"], cwd=folder, env=plain_environment())
    try:
        _wait(port)
        yield folder, port
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.wait(30)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def run(command: str, checkout: tuple[Path, int]) -> str:
    """Return what the README's ``command`` prints; it has to succeed."""
    folder, port = checkout
    command = command.replace(":8888", f":{port}")
    return subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=plain_environment(), capture_output=True, check=True
    ).stdout.decode()


def test_the_first_screen_is_what_happens(checkout: tuple[Path, int]) -> None:
    """The curl answers as shown, and makes the files shown."""
    shown = [text for kind, text in BLOCKS if kind in ("json", "")]
    curl, listing = COMMANDS[1:3]

    receipt = run(curl, checkout)
    files = run(listing, checkout)

    assert receipt == shown[1]
    assert sorted(line.split() for line in files.splitlines()) == sorted(line.split() for line in shown[2].splitlines())
    assert '"alreadyStored":true' in run(curl, checkout)
    assert run(listing, checkout) == files


@pytest.mark.parametrize("command", COMMANDS[3:])
def test_every_other_command_succeeds(checkout: tuple[Path, int], command: str) -> None:
    """What the README shows can be typed."""
    assert run(command, checkout) is not None


def test_the_kubeconfig_is_one() -> None:
    """The kubeconfig shown has what kube-apiserver wants: one cluster, one context, the current one."""
    [text] = [text for kind, text in BLOCKS if kind == "yaml"]

    document = yaml.safe_load(text)

    assert document["current-context"] == document["contexts"][0]["name"]
    assert document["contexts"][0]["context"]["cluster"] == document["clusters"][0]["name"]
    assert document["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:8888/clusters/prod"
