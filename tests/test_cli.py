"""The command line: results to standard output, talk to standard error, and exit codes that tell."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import DATA
from support.eventlists import event, eventlist, line, numbered

from auditsplit.cli import main
from auditsplit.policy.redaction import Redaction

PROGRAM = [sys.executable, "-c", "from auditsplit.cli import main; main()"]
LOG = b"".join(line("alice", auditID=f"id-{number}") + b"\n" for number in range(9))
ALICE = "var/log/kube-audit-alice/audit"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder of its own, with none of our settings; put the log's handlers back, which the command sets."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("AUDIT_") or name in ("K_SERVICE", "AWS_LAMBDA_FUNCTION_NAME"):
            monkeypatch.delenv(name)
    log = logging.getLogger("auditsplit")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield tmp_path
    log.handlers[:], log.level, log.propagate = handlers, level, propagate


def run(*arguments: str, **environ: str) -> Result:
    """Run the command; an exception but its own exit is the test's failure."""
    result = CliRunner().invoke(main, arguments, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def piped(data: bytes, *arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process with ``data`` as its standard input."""
    return subprocess.run(
        [*PROGRAM, *arguments], input=data, env={**os.environ, **environ}, capture_output=True, check=False, timeout=60
    )


# check


def test_check_names_the_stores_and_the_senders(folder: Path) -> None:
    """With good settings it says what is where and who may send, and stores nothing."""
    result = run("check", AUDIT_SINKS="file:here memory:")

    assert result.exit_code == 0
    assert result.stdout == (
        "file:here: takes events\nmemory:: takes events\nsenders: anyone on this machine, without a token\n"
        f"dropped: {Redaction()}\n"
    )
    assert result.stderr == ""
    assert [path.name for path in folder.iterdir()] == ["here"]


def test_check_names_the_clusters_of_the_tokens() -> None:
    """Each cluster is named once, whatever number of tokens it has; hashes are not shown."""
    tokens = " ".join(f"{cluster}=sha256:{number:064x}" for number, cluster in enumerate(["b", "a", "b"]))

    result = run("check", AUDIT_SINKS="memory:", AUDIT_TOKENS=tokens)

    assert result.exit_code == 0
    assert "senders: the clusters a, b, by token\n" in result.stdout
    assert "0" * 60 not in result.output


def test_check_shows_all_mistakes() -> None:
    """Settings that can't be served are misuse: exit 2, all mistakes, nothing on standard output."""
    result = run("check", AUDIT_SINKS="s3:bucket", AUDIT_KAY="x", AUDIT_CLUSTER="A")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert [mistake.split(":")[0] for mistake in result.stderr.splitlines()] == [
        "AUDIT_KAY",
        "AUDIT_SINKS",
        "AUDIT_CLUSTER",
    ]


def test_check_fails_where_a_store_would(folder: Path) -> None:
    """A store that can't take events is told with the reason, and exit 1; the others are checked too."""
    (folder / "blocked").write_text("a file where a folder should be")

    result = run("check", AUDIT_SINKS="file:blocked file:here")

    assert result.exit_code == 1
    assert result.stderr.startswith("file:blocked: ")
    assert "file:here: takes events" in result.stdout


# token


def test_token_prints_a_token_and_the_setting_that_lets_it_in() -> None:
    """The hash in the setting is that of the token, for its cluster."""
    result = run("token", "prod-1")

    found = re.fullmatch(r"token: (\S{43,})\nAUDIT_TOKENS='prod-1=sha256:([0-9a-f]{64})'\n", result.stdout)
    assert result.exit_code == 0
    assert found
    assert hashlib.sha256(found[1].encode()).hexdigest() == found[2]


def test_token_keeps_the_tokens_that_are_configured() -> None:
    """So a token can be rotated: the old one stays until it is taken out."""
    known = [f"prod=sha256:{number:064x}" for number in range(2)]

    result = run("token", "prod", AUDIT_TOKENS=f" {known[0]},{known[1]}\n")

    setting = result.stdout.splitlines()[1].removeprefix("AUDIT_TOKENS='").removesuffix("'").split()
    assert setting[:2] == known
    assert len(setting) == 3
    assert run("check", AUDIT_SINKS="memory:", AUDIT_TOKENS=" ".join(setting)).exit_code == 0


def test_every_token_is_another() -> None:
    """Two calls make two tokens."""
    assert run("token", "prod").stdout != run("token", "prod").stdout


@pytest.mark.parametrize("cluster", ["Prod", "a/b", "", "a" * 64, "..", "a b"])
def test_token_for_no_cluster(cluster: str) -> None:
    """A name that no cluster can have is misuse."""
    result = run("token", cluster)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "CLUSTER" in result.stderr


# split


def test_split_a_log(folder: Path) -> None:
    """A log's events are in their users' files; the summary goes to standard error."""
    (folder / "audit.log").write_bytes(LOG)

    result = run("split", "audit.log")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == "9 events stored in file:var/log (0 of them before), 0 rejected\n"
    assert (folder / ALICE).read_bytes() == LOG


def test_split_the_recording(folder: Path) -> None:
    """The recorded lists, plain and compressed, come to the same files as the server's own log."""
    plain = [str(path) for path in sorted(DATA.glob("eventlist-*.json"))]
    packed = []
    for path in plain:
        packed.append(Path(path).name + ".gz")
        (folder / packed[-1]).write_bytes(gzip.compress(Path(path).read_bytes()))

    results = [
        run("split", *plain, AUDIT_SINKS="file:plain"),
        run("split", *packed, AUDIT_SINKS="file:packed"),
        run("split", str(DATA / "audit.log"), AUDIT_SINKS="file:log"),
    ]

    trees = [
        {path.relative_to(root): sorted(path.read_bytes().splitlines()) for path in Path(root).glob("kube-audit-*/*")}
        for root in ("plain", "packed", "log")
    ]
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert all(result.stderr.startswith("407 events stored in file:") for result in results)
    assert len(trees[0]) == 12
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("packed", [False, True])
def test_split_standard_input(packed: bool, folder: Path) -> None:  # noqa: FBT001
    """``-`` is standard input, compressed or not."""
    result = piped(gzip.compress(LOG) if packed else LOG, "split", "-")

    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr == b"9 events stored in file:var/log (0 of them before), 0 rejected\n"
    assert (folder / ALICE).read_bytes() == LOG


def test_split_to_standard_output() -> None:
    """With the stdout store, standard output has the lines alone."""
    result = piped(eventlist(numbered(9)), "split", "-", AUDIT_SINKS="stdout:")

    assert result.returncode == 0
    assert result.stdout == LOG
    assert b"9 events stored in stdout:" in result.stderr


def test_split_again_stores_nothing_twice(folder: Path) -> None:
    """The summary says what was there before."""
    (folder / "audit.log").write_bytes(LOG)
    run("split", "audit.log")

    result = run("split", "audit.log")

    assert result.exit_code == 0
    assert "9 events stored in file:var/log (9 of them before), 0 rejected" in result.stderr
    assert (folder / ALICE).read_bytes() == LOG


def test_split_with_something_rejected(folder: Path) -> None:
    """What is no event is kept and complained of with its file; the rest is stored; exit 1."""
    (folder / "good.log").write_bytes(LOG)
    (folder / "bad.json").write_bytes(eventlist([event("bob"), b"42"]))

    result = run("split", "good.log", "bad.json", "--cluster", "prod")

    assert result.exit_code == 1
    assert result.stderr.startswith("bad.json: line 1: item 1: ")
    assert "10 events stored in file:var/log (0 of them before), 1 rejected\n" in result.stderr
    assert [path.read_bytes() for path in (folder / "var/log/_rejected/prod").iterdir()] == [b"42"]
    assert (folder / ALICE).read_bytes() == LOG


def test_split_goes_on_after_a_file_that_fails(folder: Path) -> None:
    """A file that ends too early costs neither the others nor the summary; exit 1."""
    (folder / "a.log.gz").write_bytes(gzip.compress(LOG)[:-9])
    (folder / "b.log").write_bytes(LOG)

    result = run("split", "a.log.gz", "b.log")

    assert result.exit_code == 1
    assert "Error: a.log.gz: the gzip data ends too early" in result.stderr
    assert " events stored in file:var/log" in result.stderr
    assert (folder / ALICE).read_bytes().endswith(LOG)


def test_split_as_a_cluster(folder: Path) -> None:
    """``--cluster`` says whose events they are, else ``AUDIT_CLUSTER`` does."""
    (folder / "a.json").write_bytes(eventlist([event("alice")]))
    key = "{cluster}/{user}"

    run("split", "a.json", AUDIT_KEY=key)
    run("split", "a.json", AUDIT_KEY=key, AUDIT_CLUSTER="prod")
    run("split", "a.json", "--cluster", "test", AUDIT_KEY=key, AUDIT_CLUSTER="prod")

    files = sorted(str(path.relative_to(folder / "var/log")) for path in (folder / "var/log").glob("*/alice"))
    assert files == ["default/alice", "prod/alice", "test/alice"]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ([], {}),
        (["split"], {}),
        (["splt"], {}),
        (["check", "x"], {}),
        (["token"], {}),
        (["split", "--cluster", "Prod/1", "audit.log"], {}),
        (["split", "--cluster", "", "audit.log"], {}),
        (["split", "--unknown", "audit.log"], {}),
        (["split", "audit.log"], {"AUDIT_FORMAT": "xml"}),
        (["split", "audit.log"], {"AUDIT_SINK": "memory:"}),
    ],
    ids=range(10),
)
def test_misuse(arguments: list[str], environ: dict[str, str], folder: Path) -> None:
    """Misuse exits with 2, says so on standard error and does nothing."""
    (folder / "audit.log").write_bytes(LOG)

    result = run(*arguments, **environ)

    assert result.exit_code == 2
    assert result.stderr
    assert not (folder / "var").exists()


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_a_file_that_cant_be_read(name: str) -> None:
    """A missing file, or a folder, is told without a stack trace."""
    result = run("split", name)

    assert result.exit_code in (1, 2)
    assert name in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(LOG)[:-9],
        gzip.compress(LOG)[:40],
        gzip.compress(LOG)[:40] + b"\xff" * 40,
        gzip.compress(LOG)[:-8] + bytes(8),
        b"\x1f\x8b",
        gzip.compress(LOG) + b"noise that is no gzip",
    ],
    ids=["torn", "torn early", "broken", "wrong checksum", "header", "noise behind"],
)
def test_a_broken_gzip_file(data: bytes, folder: Path) -> None:
    """A compressed file that ends too early or is broken is told without a stack trace, with its name."""
    (folder / "audit.log.gz").write_bytes(data)

    result = run("split", "audit.log.gz")

    assert result.exit_code == 1
    assert "audit.log.gz" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_line_too_large(folder: Path) -> None:
    """A line over the bound ends it with what to raise."""
    (folder / "audit.log").write_bytes(LOG)

    result = run("split", "audit.log", AUDIT_MAX_BODY_BYTES="100")

    assert result.exit_code == 1
    assert "AUDIT_MAX_BODY_BYTES" in result.stderr


def test_a_store_in_trouble(folder: Path) -> None:
    """A store that doesn't take the events ends it with the reason."""
    (folder / "audit.log").write_bytes(LOG)
    (folder / "blocked").write_text("a file where a folder should be")

    result = run("split", "audit.log", AUDIT_SINKS="file:blocked")

    assert result.exit_code == 1
    assert "file:blocked" in result.stderr


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what a terminal shows of the command's standard error."""
    master, slave = pty.openpty()
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while piece := _read(master):
            shown += piece
    os.close(master)
    return process.returncode, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so where the other end is closed
        return b""


def test_split_shows_its_progress_on_a_terminal(folder: Path) -> None:
    """Long work on a terminal has a bar, at 100 % in the end."""
    (folder / "audit.log").write_bytes(LOG)

    code, shown = on_a_terminal("split", "audit.log")

    assert code == 0
    assert "audit.log" in shown
    assert "100%" in shown
    assert "9 events stored" in shown


# help


@pytest.mark.parametrize("command", [[], ["check"], ["token"], ["split"]])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(command: list[str], option: str) -> None:
    """Every command explains itself."""
    result = run(*command, option)

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_version() -> None:
    """The version is the package's."""
    assert re.search(r"version \d+\.\d+\.\d+", run("--version").stdout)


def test_split_logs_no_event(folder: Path) -> None:
    """Complaints name places and reasons, never what an event holds."""
    bad = json.dumps({"user": "the-secret-of-an-event"}).encode()
    (folder / "bad.json").write_bytes(eventlist([bad, event()]))

    result = run("split", "bad.json")

    assert result.exit_code == 1
    assert "the-secret-of-an-event" not in result.output
