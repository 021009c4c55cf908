"""The command line: results on standard output, messages on standard error, and exit codes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner, Result
from support.eventlists import event, eventlist, line, numbered
from support.recording import DATA

from auditsplit.cli import main
from auditsplit.policy.redaction import Redaction

PROGRAM = [sys.executable, "-c", "from auditsplit.cli import main; main()"]
LOG = b"".join(line("alice", auditID=f"id-{number}") + b"\n" for number in range(9))
ALICE = "var/log/kube-audit-alice/audit"
pytestmark = pytest.mark.usefixtures("workspace")


def run(*arguments: str, **environ: str) -> Result:
    """Run the command. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, arguments, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def piped(data: bytes, *arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process with ``data`` as its standard input."""
    return subprocess.run(
        [*PROGRAM, *arguments], input=data, env={**os.environ, **environ}, capture_output=True, check=False, timeout=60
    )


# check


def test_check_prints_the_sinks_and_the_senders(tmp_path: Path) -> None:
    """With good settings, and stores nothing."""
    result = run("check", AUDIT_SINKS="file:here memory:")

    assert result.exit_code == 0
    assert result.stdout == (
        "file:here: accepts events\nmemory:: accepts events\nsenders: anyone on this machine, without a token\n"
        f"redacted: {Redaction()}\n"
    )
    assert result.stderr == ""
    assert not list(tmp_path.iterdir())


def test_check_prints_each_cluster_that_has_a_token_once() -> None:
    """It does not print hashes."""
    tokens = " ".join(f"{cluster}=sha256:{number:064x}" for number, cluster in enumerate(["b", "a", "b"]))

    result = run("check", AUDIT_SINKS="memory:?key={cluster}/{user}", AUDIT_TOKENS=tokens)

    assert result.exit_code == 0
    assert "senders: the clusters a, b, by token\n" in result.stdout
    assert "0" * 60 not in result.output


def test_check_warns_that_the_first_stage_has_no_impersonated_user() -> None:
    """With what to write into the policy."""
    result = run("check", AUDIT_SINKS="memory:", AUDIT_USER="impersonated")

    assert result.exit_code == 0
    assert "omitStages: [RequestReceived]" in result.stderr


def test_check_reports_all_mistakes_in_the_settings() -> None:
    """Exit 2, and nothing on standard output."""
    result = run("check", AUDIT_SINKS="s3:bucket", AUDIT_KAY="x", AUDIT_CLUSTER="A")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert [mistake.split(": ")[1] for mistake in result.stderr.splitlines()] == [
        "AUDIT_KAY",
        "AUDIT_SINKS",
        "AUDIT_CLUSTER",
    ]


def test_check_fails_if_a_sink_does_not_accept_events(tmp_path: Path) -> None:
    """Exit 1 with the reason, and the other sinks are checked too."""
    (tmp_path / "blocked").write_text("a file where a folder should be")

    result = run("check", AUDIT_SINKS="file:blocked file:here")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: file:blocked: ")
    assert "file:here: accepts events" in result.stdout


# token


def test_token_prints_a_token_and_the_setting_that_accepts_it() -> None:
    """The setting has the token's hash for its cluster."""
    result = run("token", "prod-1")

    match = re.fullmatch(r"token: (\S{43,})\nAUDIT_TOKENS='prod-1=sha256:([0-9a-f]{64})'\n", result.stdout)
    assert result.exit_code == 0
    assert match
    assert hashlib.sha256(match[1].encode()).hexdigest() == match[2]


def test_token_keeps_the_tokens_that_are_configured() -> None:
    """So a token can be rotated. The old token is valid until its hash is removed."""
    known = [f"prod=sha256:{number:064x}" for number in range(2)]

    result = run("token", "prod", AUDIT_TOKENS=f" {known[0]},{known[1]}\n")

    setting = result.stdout.splitlines()[1].removeprefix("AUDIT_TOKENS='").removesuffix("'").split()
    assert setting[:2] == known
    assert len(setting) == 3
    assert run("check", AUDIT_SINKS="memory:", AUDIT_TOKENS=" ".join(setting)).exit_code == 0


def test_each_token_is_new() -> None:
    """Two runs for one cluster print different tokens."""
    assert run("token", "prod").stdout != run("token", "prod").stdout


@pytest.mark.parametrize("cluster", ["Prod", "a/b", "", "a" * 64, "..", "a b"])
def test_token_refuses_an_invalid_cluster_name(cluster: str) -> None:
    """Exit 2, and no token is printed."""
    result = run("token", cluster)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "is not a valid cluster name" in result.stderr


# split


def test_split_writes_a_logs_events_to_their_users_files(tmp_path: Path) -> None:
    """The summary goes to standard error."""
    (tmp_path / "audit.log").write_bytes(LOG)

    result = run("split", "audit.log")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == "9 events stored in file:var/log, 0 were stored before, 0 rejected\n"
    assert (tmp_path / ALICE).read_bytes() == LOG


def test_split_writes_the_same_files_from_lists_and_log(tmp_path: Path) -> None:
    """The recorded lists, plain and compressed, and the server's own log of the same events."""
    plain = [str(path) for path in sorted(DATA.glob("eventlist-*.json"))]
    compressed = []
    for path in plain:
        compressed.append(Path(path).name + ".gz")
        (tmp_path / compressed[-1]).write_bytes(gzip.compress(Path(path).read_bytes()))

    results = [
        run("split", *plain, AUDIT_SINKS="file:plain"),
        run("split", *compressed, AUDIT_SINKS="file:compressed"),
        run("split", str(DATA / "audit.log"), AUDIT_SINKS="file:log"),
    ]

    trees = [
        {path.relative_to(root): sorted(path.read_bytes().splitlines()) for path in Path(root).glob("kube-audit-*/*")}
        for root in ("plain", "compressed", "log")
    ]
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert all(result.stderr.startswith("407 events stored in file:") for result in results)
    assert len(trees[0]) == 12
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("compressed", [False, True])
def test_split_reads_standard_input(compressed: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """With ``-``, compressed or not."""
    result = piped(gzip.compress(LOG) if compressed else LOG, "split", "-")

    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr == b"9 events stored in file:var/log, 0 were stored before, 0 rejected\n"
    assert (tmp_path / ALICE).read_bytes() == LOG


def test_split_writes_only_lines_to_standard_output() -> None:
    """With the stdout sink, the summary still goes to standard error."""
    result = piped(eventlist(numbered(9)), "split", "-", AUDIT_SINKS="stdout:")

    assert result.returncode == 0
    assert result.stdout == LOG
    assert b"9 events stored in stdout:" in result.stderr


def test_splitting_a_file_twice_stores_its_events_once(tmp_path: Path) -> None:
    """The summary counts the events that were stored before."""
    (tmp_path / "audit.log").write_bytes(LOG)
    run("split", "audit.log")

    result = run("split", "audit.log")

    assert result.exit_code == 0
    assert "0 events stored in file:var/log, 9 were stored before, 0 rejected" in result.stderr
    assert (tmp_path / ALICE).read_bytes() == LOG


def test_split_warns_if_the_files_hold_another_clusters_events(tmp_path: Path) -> None:
    """It splits all the same. The files remember their clusters, also if another process wrote them."""
    (tmp_path / "audit.log").write_bytes(LOG)

    first, same, other, third = (
        run("split", "audit.log", "--cluster", cluster) for cluster in ("prod", "prod", "test", "prod")
    )

    assert "warning" not in first.stderr + same.stderr
    assert "warning: file:var/log holds events of prod. Those of test go to the same files" in other.stderr
    assert "warning: file:var/log holds events of test. Those of prod go to the same files" in third.stderr
    assert [result.exit_code for result in (first, same, other, third)] == [0] * 4
    assert (tmp_path / ALICE).read_bytes() == LOG * 2


def test_split_does_not_warn_if_the_key_has_the_cluster(tmp_path: Path) -> None:
    """Each cluster has files of its own."""
    (tmp_path / "audit.log").write_bytes(LOG)

    results = [run("split", "audit.log", "--cluster", cluster, AUDIT_KEY="{cluster}/{user}") for cluster in ("a", "b")]

    assert [result.stderr.count("warning") for result in results] == [0, 0]


def test_check_refuses_several_clusters_in_the_same_files() -> None:
    """Exit 2, with the setting to write. With that setting it exits with 0."""
    tokens = " ".join(f"{cluster}=sha256:{number:064x}" for number, cluster in enumerate(["a", "b"]))

    refused = run("check", AUDIT_TOKENS=tokens)
    [key] = re.findall(r"Write AUDIT_KEY='([^']+)'", refused.stderr)
    accepted = run("check", AUDIT_TOKENS=tokens, AUDIT_KEY=key)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert key == "{cluster}/kube-audit-{user}/audit"
    assert accepted.exit_code == 0


def test_split_rejects_a_malformed_item_and_stores_the_rest(tmp_path: Path) -> None:
    """Exit 1, with the file and line of the item, which is kept below ``_rejected``."""
    (tmp_path / "good.log").write_bytes(LOG)
    (tmp_path / "bad.json").write_bytes(eventlist([event("bob"), b"42"]))

    result = run("split", "good.log", "bad.json", "--cluster", "prod")

    assert result.exit_code == 1
    assert result.stderr.startswith("bad.json: line 1: item 1: ")
    assert "10 events stored in file:var/log, 0 were stored before, 1 rejected\n" in result.stderr
    assert [path.read_bytes() for path in (tmp_path / "var/log/_rejected/prod").iterdir()] == [b"42"]
    assert (tmp_path / ALICE).read_bytes() == LOG


def test_split_continues_after_a_file_that_fails(tmp_path: Path) -> None:
    """Exit 1, and the summary is printed."""
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(LOG)[:-9])
    (tmp_path / "b.log").write_bytes(LOG)

    result = run("split", "a.log.gz", "b.log")

    assert result.exit_code == 1
    assert "error: a.log.gz: the gzip data ends too early" in result.stderr
    assert " events stored in file:var/log" in result.stderr
    assert (tmp_path / ALICE).read_bytes().endswith(LOG)


def test_the_option_cluster_takes_precedence_over_the_setting(tmp_path: Path) -> None:
    """Without both, the cluster is ``default``."""
    (tmp_path / "a.json").write_bytes(eventlist([event("alice")]))
    key = "{cluster}/{user}"

    run("split", "a.json", AUDIT_KEY=key)
    run("split", "a.json", AUDIT_KEY=key, AUDIT_CLUSTER="prod")
    run("split", "a.json", "--cluster", "test", AUDIT_KEY=key, AUDIT_CLUSTER="prod")

    files = sorted(str(path.relative_to(tmp_path / "var/log")) for path in (tmp_path / "var/log").glob("*/alice"))
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
def test_misuse_exits_with_2(arguments: list[str], environ: dict[str, str], tmp_path: Path) -> None:
    """With a message on standard error, and nothing is stored."""
    (tmp_path / "audit.log").write_bytes(LOG)

    result = run(*arguments, **environ)

    assert result.exit_code == 2
    assert result.stderr
    assert not (tmp_path / "var").exists()


def test_split_reads_all_files_below_a_folder(tmp_path: Path) -> None:
    """In the order of their names, compressed or not. Hidden files and the sinks' own are left out."""
    lines = [line("alice", auditID=name) + b"\n" for name in ("a", "b", "c", "d")]
    (tmp_path / "logs/node-1").mkdir(parents=True)
    (tmp_path / "logs/node-1/audit-1.log.gz").write_bytes(gzip.compress(lines[0]))
    (tmp_path / "logs/node-1/audit.log").write_bytes(lines[1])
    (tmp_path / "logs/node-2").write_bytes(lines[2])
    for hidden in (".cache/audit.log", ".audit.log", "_rejected/prod/x", "node-1/.auditsplit/journal"):
        (tmp_path / "logs" / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / hidden).write_bytes(lines[3])

    result = run("split", "logs")

    assert result.exit_code == 0
    assert result.stderr == "3 events stored in file:var/log, 0 were stored before, 0 rejected\n"
    assert (tmp_path / ALICE).read_bytes() == b"".join(lines[:3])


@pytest.mark.parametrize(
    ("name", "mode"),
    [("logs.tar", "w"), ("logs.tgz", "w:gz"), ("logs.tar.gz", "w:gz"), ("logs", "w"), ("x.gz", "w:gz")],
)
def test_split_refuses_a_tar_archive(name: str, mode: Literal["w", "w:gz"], tmp_path: Path) -> None:
    """By its name or its contents, with what to do. The other files are split."""
    (tmp_path / "audit.log").write_bytes(LOG)
    with tarfile.open(tmp_path / name, mode) as archive:
        archive.add("audit.log")

    result = run("split", name, "audit.log")

    assert result.exit_code == 1
    assert f"error: {name}: this is a tar archive. Extract it, and split the folder" in result.stderr
    assert "9 events stored in file:var/log, 0 were stored before, 0 rejected\n" in result.stderr


def test_split_refuses_utf_16(tmp_path: Path) -> None:
    """As PowerShell's ``>`` writes it, with the command that converts it."""
    (tmp_path / "audit.log").write_bytes(LOG.decode().encode("utf-16"))

    result = run("split", "audit.log")

    assert result.exit_code == 1
    assert "iconv -f UTF-16 -t UTF-8" in result.stderr


def test_split_refuses_a_file_of_the_sink_itself(tmp_path: Path) -> None:
    """It would grow while it is read. What was rejected may be split again."""
    (tmp_path / "audit.log").write_bytes(LOG + b"x\n")
    run("split", "audit.log")
    [rejected] = (tmp_path / "var/log/_rejected/default").iterdir()
    rejected.write_bytes(line("bob"))

    whole, again = run("split", "var/log"), run("split", str(rejected))

    assert whole.exit_code == 1
    assert "the file is in the sink file:var/log itself. Set AUDIT_SINKS to another place" in whole.stderr
    assert (tmp_path / ALICE).read_bytes() == LOG
    assert again.exit_code == 0
    assert (tmp_path / "var/log/kube-audit-bob/audit").read_bytes() == line("bob") + b"\n"


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_an_unreadable_file_is_reported_with_its_name(name: str) -> None:
    """A missing file, or an empty folder, without a stack trace."""
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
def test_a_malformed_gzip_file_is_reported_with_its_name(data: bytes, tmp_path: Path) -> None:
    """Cut short or damaged, without a stack trace."""
    (tmp_path / "audit.log.gz").write_bytes(data)

    result = run("split", "audit.log.gz")

    assert result.exit_code == 1
    assert "audit.log.gz" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_line_over_the_limit_names_the_setting(tmp_path: Path) -> None:
    """Exit 1, with the setting to raise."""
    (tmp_path / "audit.log").write_bytes(LOG)

    result = run("split", "audit.log", AUDIT_MAX_BODY_BYTES="100")

    assert result.exit_code == 1
    assert "AUDIT_MAX_BODY_BYTES" in result.stderr


def test_a_sink_that_fails_is_reported_with_its_name(tmp_path: Path) -> None:
    """Exit 1, since the events are not stored."""
    (tmp_path / "audit.log").write_bytes(LOG)
    (tmp_path / "blocked").write_text("a file where a folder should be")

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


def test_split_shows_a_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    """It reaches 100 %."""
    (tmp_path / "audit.log").write_bytes(LOG)

    code, shown = on_a_terminal("split", "audit.log")

    assert code == 0
    assert "audit.log" in shown
    assert "100%" in shown
    assert "9 events stored" in shown


# help


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_prints_the_usage(command: list[str], option: str) -> None:
    """Of the program and of each command, with ``-h`` too."""
    result = run(*command, option)

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_option_version_prints_the_packages_version() -> None:
    """A number of three parts."""
    assert re.search(r"version \d+\.\d+\.\d+", run("--version").stdout)


def test_split_prints_nothing_of_a_rejected_item(tmp_path: Path) -> None:
    """Messages name the place and the reason."""
    bad = json.dumps({"user": "the-secret-of-an-event"}).encode()
    (tmp_path / "bad.json").write_bytes(eventlist([bad, event()]))

    result = run("split", "bad.json")

    assert result.exit_code == 1
    assert "the-secret-of-an-event" not in result.output
