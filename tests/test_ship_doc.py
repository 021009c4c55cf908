"""docs/ship.md, docs/cluster/managed.md, the unit and the manifest: their commands are run, or at least understood."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from support.cloud_logs import azure_record
from support.environment import plain_environment
from support.eventlists import line
from support.processes import wait_for
from support.shipping import Shipping

from auditsplit.cli.ship import ship

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ship.md").read_text()
LOG = "/var/log/kubernetes/audit/audit.log"
COMMANDS = [shlex.split(text) for text in re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.MULTILINE)]
UNIT = (ROOT / "infra" / "systemd" / "auditsplit-ship.service").read_text()
MANIFEST = list(yaml.safe_load_all((ROOT / "infra" / "kubernetes" / "ship.yaml").read_text()))


def run(arguments: list[str], folder: Path, **settings: str) -> str:
    """Run ``auditsplit`` in ``folder``; return what it writes to standard error."""
    program = Path(sys.executable).with_name("auditsplit")
    environ = plain_environment() | settings
    ran = subprocess.run([program, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("number", [0, 2])
def test_the_pages_commands_ship_a_log(tmp_path: Path, number: int) -> None:
    """Once, and with a checkpoint below the test's folder. The way to a function is in tests/e2e."""
    words = COMMANDS[number]
    settings = dict(word.split("=", 1) for word in words if word.startswith("AUDIT_"))
    arguments = [word for word in words if not word.startswith("AUDIT_")][1:]
    (tmp_path / "audit.log").write_bytes((ROOT / "tests" / "data" / "audit.log").read_bytes())
    arguments[arguments.index(LOG)] = str(tmp_path / "audit.log")
    settings["AUDIT_SINKS"] = f"file:{tmp_path}/out"

    run([*arguments, "--once", "--checkpoint", str(tmp_path / "ship.json")], tmp_path, **settings)

    stored = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and ".auditsplit" not in path.parts]
    assert stored
    assert all(path.name.endswith(".log.gz") for path in stored) is (number == 2)


def test_a_storage_accounts_file_is_split(tmp_path: Path) -> None:
    """The command of the page on managed clusters."""
    page = (ROOT / "docs" / "cluster" / "managed.md").read_text()
    [command] = re.findall(r"^  ```sh\n  auditsplit (.*?)\n  ```$", page, re.MULTILINE)
    (tmp_path / "PT1H.json").write_text(json.dumps(azure_record(line("alice").decode())) + "\n")

    talk = run(shlex.split(command), tmp_path)

    assert "1 events stored" in talk
    assert (tmp_path / "var" / "log" / "kube-audit-alice" / "audit").read_bytes() == line("alice") + b"\n"


@pytest.mark.parametrize(
    "arguments",
    [
        shlex.split(re.findall(r"^ExecStart=\S+/auditsplit ship (.*)$", UNIT, re.MULTILINE)[0]),
        [
            *MANIFEST[-1]["spec"]["template"]["spec"]["containers"][0]["command"][2:],
            *MANIFEST[-1]["spec"]["template"]["spec"]["containers"][0]["args"],
        ],
        COMMANDS[1][2:],
    ],
    ids=["unit", "manifest", "function"],
)
def test_the_options_of_unit_and_manifest_exist(arguments: list[str]) -> None:
    """They follow the documented log."""
    with click.Context(ship) as context:
        ship.parse_args(context, list(arguments))

    assert context.params["logs"] == (LOG,)


def test_the_pages_options_have_the_commands_defaults() -> None:
    """In the table."""
    rows = re.findall(r"^\| `--([\w-]+)` \| `?(\w*)`? \|", PAGE, re.MULTILINE)

    assert rows
    for name, default in rows:
        [option] = [each for each in ship.params if f"--{name}" in each.opts]
        assert (option.default or "") == default, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.log", "--metrics", "9419"], "HOST:PORT"),
        (["x.log", "--cluster", "No_Cluster"], "not a valid cluster name"),
        (["x.log", "--kubeconfig", "none.yaml"], "none.yaml"),
        ([], "Missing argument"),
    ],
)
def test_misuse_exits_with_2_and_says_what_to_write(tmp_path: Path, arguments: list[str], message: str) -> None:
    """And no traceback."""
    program = str(Path(sys.executable).with_name("auditsplit"))
    command = [program, "ship", "--checkpoint", str(tmp_path / "ship.json"), "--once", *arguments]

    ran = subprocess.run(command, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_once_without_the_file_exits_with_1(tmp_path: Path) -> None:
    """A mistyped path must not look like a log that was shipped."""
    program = str(Path(sys.executable).with_name("auditsplit"))
    command = [program, "ship", "--checkpoint", str(tmp_path / "ship.json"), "--once", "none.log"]

    ran = subprocess.run(command, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert "none.log: there is no such file yet" in ran.stderr


def test_a_growing_log_gives_the_fluentd_recipes_hourly_files(tmp_path: Path) -> None:
    """The same files as splitting the whole log at once, with the same lines."""
    recorded = (ROOT / "tests" / "data" / "audit.log").read_bytes().splitlines(keepends=True)
    log = tmp_path / "audit.log"
    settings = {"AUDIT_PRESET": "fluentd", "AUDIT_DROP": "none"}
    shipping = Shipping(tmp_path / "ship", log, AUDIT_SINKS=f"file:{tmp_path}/shipped", **settings)
    shipping.start()
    try:
        for start in range(0, len(recorded), 100):
            with log.open("ab") as out:
                out.writelines(recorded[start : start + 100])
            wait_for("the lines are shipped", lambda: log.stat().st_size == offset(shipping.checkpoint))
    finally:
        shipping.stop()
    run(["split", str(log)], tmp_path, AUDIT_SINKS=f"file:{tmp_path}/split", **settings)

    shipped, split = hourly(tmp_path / "shipped"), hourly(tmp_path / "split")
    assert shipped == split
    assert sum(map(len, shipped.values())) == len(recorded)


def offset(checkpoint: Path) -> int:
    """Return how far the only file was delivered, 0 while there is no checkpoint."""
    if not checkpoint.exists():
        return 0
    document = json.loads(checkpoint.read_bytes())
    return 0 if document["sending"] else sum(each["offset"] for each in document["positions"].values())


def hourly(folder: Path) -> dict[str, list[bytes]]:
    """Return the lines of each file of the fluentd recipe, sorted."""
    files = [path for path in folder.iterdir() if path.is_file()]
    assert all(re.fullmatch(r"audit-[\w%.-]+\.\d{10}\.log\.gz", path.name) for path in files), files
    return {path.name: sorted(gzip.decompress(path.read_bytes()).splitlines()) for path in files}
