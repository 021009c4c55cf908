"""The contract of all commands: help, examples, results, errors and exit codes. Each command is found by itself.

A new command needs no entry here. A failure names what the command lacks.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from support.environment import plain_environment
from support.eventlists import event, eventlist, line

from auditsplit.cli import main
from auditsplit.policy.profiles import profile

PROGRAM = Path(sys.executable).parent / "auditsplit"
NEEDS_A_SERVER = {"compact", "elasticsearch setup", "elasticsearch key", "ship", "serve"}
"""Commands whose examples talk to a server, or run until they are stopped. Their own tests run them."""

REPORTING = {
    *("check", "completeness counters", "completeness lines", "flags check", "flags size", "kubeconfig check"),
    *("policy check", "policy explain", "policy try", "split", "token"),
}
"""Commands that had ``--output json`` when this was written. They must keep it."""

DOCUMENTS = {"elasticsearch key", "elasticsearch setup", "kubeconfig create", "kubeconfig from-list", "policy init"}
"""Commands that write a document or a setting, and report nothing."""

SILENT = {"serve", "ship"}
"""Commands that run until they are stopped."""

LINES = {"policy explain"}
"""Commands whose JSON is a document a line, because a recording may have any number of events."""

pytestmark = pytest.mark.usefixtures("workspace")


def walk(command: click.Command, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield each command below ``command`` with its name, groups too."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, (*names, name))


ALL = dict(walk(main))
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


def run(*arguments: str, **environ: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, arguments, env=environ)


def examples(command: click.Command) -> list[str]:
    """Return the command lines of a command's help."""
    text = command.epilog or ""
    return [found.strip() for found in re.findall(r"^  (.*\bauditsplit .*)$", text, re.MULTILINE)]


def has_json(command: click.Command) -> bool:
    """Return whether the command has ``--output`` with ``json``."""
    return any(
        "--output" in option.opts and isinstance(option.type, click.Choice) and "json" in option.type.choices
        for option in command.params
    )


@pytest.mark.parametrize("name", ALL)
def test_help_is_plain_and_has_an_example(name: str) -> None:
    """No control character, at most 80 columns, except for lines that are to be copied."""
    shown = run(*name.split(), "--help").stdout

    assert examples(ALL[name]), f"{name}: add epilog=example('auditsplit {name} …') of cli/support/contract.py"
    assert "\b" not in shown
    assert r"\b" not in shown
    wide = [text for text in shown.splitlines() if len(text) > 80 and "auditsplit " not in text]
    assert not wide, f"{name}: shorten these lines to 80 columns: {wide}"


@pytest.mark.parametrize("name", LEAVES)
def test_a_reporting_command_has_json(name: str) -> None:
    """A command that reports nothing is named in `DOCUMENTS` or `SILENT`."""
    expected = name not in DOCUMENTS | SILENT

    assert has_json(LEAVES[name]) == expected, (
        f"{name}: add @output_option of cli/support/contract.py, or name the command in DOCUMENTS or SILENT"
    )


def test_no_command_lost_its_json() -> None:
    """Scripts read it."""
    assert {name for name in REPORTING if not has_json(LEAVES[name])} == set()


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - NEEDS_A_SERVER))
def test_the_examples_run(name: str, tmp_path: Path) -> None:
    """In an empty folder with the files that they read, without misuse and faults."""
    prepare(tmp_path)
    for text in examples(LEAVES[name]):
        done = shell(text)

        assert done.returncode in (0, 1), f"{text}: {done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", sorted({name for name in LEAVES if has_json(LEAVES[name])} - NEEDS_A_SERVER))
def test_json_is_the_only_text_on_standard_output(name: str, tmp_path: Path) -> None:
    """With the last example and ``--output json``."""
    prepare(tmp_path)
    text = next(
        text
        for text in examples(LEAVES[name])
        if f"auditsplit {name.removesuffix(' size')} " in f"{text} " and "|" not in text
    )
    done = shell(re.sub(r" > \S+$| --output json", "", text.replace(" --format kubeadm", "")) + " --output json")

    assert done.returncode in (0, 1), done.stderr
    documents = done.stdout.splitlines() if name in LINES else [done.stdout]
    assert all(isinstance(json.loads(document), dict) for document in documents)


MANIFEST = """\
apiVersion: v1
kind: Pod
spec:
  containers:
  - command: [kube-apiserver, --audit-policy-file=/etc/kubernetes/audit/policy.yaml, --audit-log-path=-]
"""


def prepare(folder: Path) -> None:
    """Write the files that the examples read, and stand-ins for the programs that ask servers."""
    (folder / "var/log").mkdir(parents=True)
    (folder / "var/log/kube-audit-alice").write_bytes(line("alice") + b"\n")
    times = ("2026-11-23T10:00:00Z", "2026-11-23T10:00:10Z")
    (folder / "audit.log").write_bytes(b"".join(line("alice", stageTimestamp=time) + b"\n" for time in times))
    (folder / "kubeconfigs").mkdir()
    reading = 'apiserver_audit_event_total 3\nauditsplit_events_stored_total{cluster="default"} 3\n'
    for name in ("before", "after"):
        (folder / name).write_text(reading)
    (folder / "policy.yaml").write_text(profile("recommended"))
    (folder / "kube-apiserver.yaml").write_text(MANIFEST)
    (folder / "cluster.yaml").write_text("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n")
    (folder / "tried.json").write_text('{"rate":20,"peak":40,"eventBytes":2000}')
    (folder / "bin").mkdir()
    for name, printed in (("curl", "before"), ("kubectl", "cluster.yaml")):
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\ncat {folder}/{printed}\n")
        program.chmod(0o755)
    (folder / "clusters.yaml").write_text("- {name: a, server: 'https://audit.example.com'}\n")
    made = run("kubeconfig", "create", "prod", "--server", "https://127.0.0.1:9", "--output", "kubeconfigs/prod.yaml")
    assert made.exit_code == 0, made.output
    if (folder / "kubeconfigs/prod.yaml").exists():
        (folder / "kubeconfigs/prod.yaml").chmod(0o600)


def shell(text: str) -> subprocess.CompletedProcess[str]:
    """Run an example in the working directory, where a file may be replaced."""
    if (" --server" in text and "kubeconfig" in text) or " --output policy.yaml" in text:
        text += " --force"
    environ = plain_environment() | {"PATH": f"{Path.cwd()}/bin:{PROGRAM.parent}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, env=environ, timeout=60)


@pytest.mark.parametrize("name", ALL)
def test_misuse_exits_with_2_and_one_style(name: str) -> None:
    """An unknown option is an error that says where to read on."""
    result = run(*name.split(), "--no-such-option")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["split", "none"],
        ["completeness", "lines", "none"],
        ["completeness", "counters", "none", "none"],
        ["kubeconfig", "check", "none"],
        ["kubeconfig", "from-list", "none"],
        ["kubeconfig", "create", "prod", "--server", "https://x", "--token-from", "none"],
        ["check", "--kubeconfig", "none"],
        ["ship", "none", "--kubeconfig", "none"],
    ],
    ids=" ".join,
)
def test_a_missing_file_is_named_in_a_sentence(arguments: list[str]) -> None:
    """Exit 2, without the system's number of the error."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "none" in result.stderr
    assert "[Errno" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["splt"], "split"),
        (["kubeconfig", "chek", "x"], "check"),
        (["completeness", "line"], "lines"),
        (["policy", "intt"], "init"),
    ],
    ids=str,
)
def test_a_mistyped_command_is_named_with_the_nearest(arguments: list[str], near: str) -> None:
    """Also where the first word may be a cluster."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert f"Did you mean {near}?" in result.stderr


def test_a_fault_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 70. The traceback is shown only with the variable that the sentence names."""

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main.commands["check"], "callback", lambda **_: fail())

    plain, loud = run("check"), run("check", AUDITSPLIT_TRACEBACK="1")

    assert plain.exit_code == 70
    assert plain.stderr.startswith("error: auditsplit has a fault: ZeroDivisionError. ")
    assert "AUDITSPLIT_TRACEBACK=1" in plain.stderr
    assert isinstance(loud.exception, ZeroDivisionError)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(name: str) -> None:
    """Of click's own, which needs no shell but for bash's version."""
    environ = plain_environment() | {"_AUDITSPLIT_COMPLETE": f"{name}_source"}

    done = subprocess.run([PROGRAM], capture_output=True, text=True, check=True, env=environ)

    assert f"{name}_complete" in done.stdout


def test_bash_completes_a_command() -> None:
    """As its script asks."""
    environ = plain_environment() | {
        "_AUDITSPLIT_COMPLETE": "bash_complete",
        "COMP_WORDS": "auditsplit spl",
        "COMP_CWORD": "1",
    }

    done = subprocess.run([PROGRAM], capture_output=True, text=True, check=True, env=environ)

    assert shlex.split(done.stdout) == ["plain,split"]


def test_the_output_of_token_is_the_input_of_kubeconfig(tmp_path: Path) -> None:
    """Through a pipe. Only the token is written."""
    done = shell("auditsplit token x | auditsplit kubeconfig x --server https://x.example.com --token-from -")

    assert done.returncode == 0, done.stderr
    assert "AUDIT_TOKENS" not in (tmp_path / "kubeconfigs/x.yaml").read_text()


def test_completeness_names_a_duplicate(tmp_path: Path) -> None:
    """By its auditID and stage, and how often it is stored."""
    (tmp_path / "x.log").write_bytes((line("alice", auditID="id-7") + b"\n") * 3)

    assert re.search(r"^  id-7\b.* is stored 3 times$", run("completeness", "lines", "x.log").stdout, re.MULTILINE)


def test_split_warns_of_an_empty_file(tmp_path: Path) -> None:
    """It may be the wrong file."""
    (tmp_path / "x.log").touch()

    assert "warning: x.log: there is no event in this file" in run("split", "x.log").stderr


def test_an_event_of_two_bytes_is_refused() -> None:
    """The message shows a size with a unit."""
    result = run("flags", "--rate", "9", "--platform", "local", "--event-size", "2")

    assert result.exit_code == 2
    assert "as in 2kB" in result.stderr


def test_elasticsearch_without_its_library_names_the_extra() -> None:
    """Exit 2 with a sentence, in a Python that cannot import the library."""
    code = (
        "import sys; sys.modules.update(elasticsearch=None, elastic_transport=None);"
        "from auditsplit.cli import main; main(['elasticsearch', 'setup', '--dry-run'])"
    )
    environ = plain_environment() | {"AUDIT_SINKS": "elasticsearch+http://127.0.0.1:9"}

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)

    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert "elasticsearch" in done.stderr


def test_a_terminal_shows_no_json_log() -> None:
    """There, a logged error is a line in words. Elsewhere it is JSON."""
    code = (
        "import logging; from auditsplit.cli import main;"
        "main.commands['check'].callback = lambda **_: logging.getLogger('auditsplit').error('boom'); main(['check'])"
    )
    ours, theirs = pty.openpty()

    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, env=plain_environment())
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=plain_environment())
    shown = os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)

    assert re.fullmatch(rb"\d\d:\d\d:\d\d ERROR +boom\r\n", shown)
    assert json.loads(piped.stderr)["message"] == "boom"


def test_split_prints_its_counts_in_json(tmp_path: Path) -> None:
    """A second run stores nothing."""
    (tmp_path / "x.json").write_bytes(eventlist([event("alice")]))
    first, second = (json.loads(run("split", "x.json", "--output", "json").stdout) for _ in range(2))

    assert (first["stored"], first["storedBefore"]) == (1, 0)
    assert (second["stored"], second["storedBefore"]) == (0, 1)
